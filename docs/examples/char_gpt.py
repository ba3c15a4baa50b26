"""Train a small GPT on the characters of a text, then write more of it.

    python char_gpt.py text.txt
    python char_gpt.py text.txt --device jax:cpu --steps 200
    bp-arrays sample gpt.safetensors --prompt "ROMEO:" --temperature 0.8 --top-k 20

The model predicts each character from those before it, up to 64. The last tenth of the text is for
validation. On one megabyte of Shakespeare, 2,000 steps of 12 windows, a few minutes on a CPU,
bring the validation loss to 1.79.
"""

import argparse
import math
from pathlib import Path

import numpy as np

import bp_arrays as bp

BATCH = 12


class RandomWindows:
    """Batches of random windows of a text: the targets are its characters, one further on."""

    def __init__(self, tokens: np.ndarray, block: int, steps: int) -> None:
        self.tokens, self.block, self.steps = tokens, block, steps
        self.generator = np.random.default_rng(0)

    def __iter__(self):
        for _ in range(self.steps):
            starts = self.generator.integers(0, len(self.tokens) - self.block, BATCH)
            windows = self.tokens[starts[:, None] + np.arange(self.block + 1)]
            yield windows[:, :-1], windows[:, 1:]


def gpt(vocabulary: int, blocks: int, heads: int, features: int, block: int) -> bp.Layer:
    """Return a GPT without biases, whose output layer is the table of its embedding."""
    init, out_init = bp.Normal(0.02), bp.Normal(0.02 / math.sqrt(2 * blocks))
    transformer = bp.TransformerBlock(
        heads,
        causal=True,
        bias=False,
        norm=bp.LayerNorm(bias=False),
        weight_init=init,
        out_init=out_init,
    )
    layers = [bp.LearnedPositions(block), *[transformer] * blocks, bp.LayerNorm(bias=False)]
    embedding = bp.Embedding(vocabulary, features, weight_init=init)
    return bp.TiedEmbedding(embedding, bp.Sequential(*layers))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path, help="a text file in UTF-8")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, torch:cpu, ...")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--blocks", type=int, default=4, help="of the transformer")
    parser.add_argument("--features", type=int, default=128)
    parser.add_argument("--window", type=int, default=64, help="characters that it looks back")
    parser.add_argument("--out", type=Path, default=Path("gpt.safetensors"))
    options = parser.parse_args()

    text = options.text.read_text(encoding="utf-8")
    vocabulary = "".join(sorted(set(text)))
    number = {character: k for k, character in enumerate(vocabulary)}
    tokens = np.array([number[character] for character in text])
    train, validation = np.split(tokens, [len(tokens) * 9 // 10])

    block = options.window
    net = gpt(len(vocabulary), options.blocks, 4, options.features, block)
    model = bp.Model(net, bp.InputSpec(block, "index"), device=options.device, seed=0)
    model.metadata["vocabulary"] = vocabulary  # for bp-arrays sample
    print(model.summary())

    rate = bp.Cosine(3e-3, steps=max(options.steps - 100, 1), final=1e-4)
    adam = bp.AdamW(bp.Warmup(100, then=rate), beta2=0.99, weight_decay=0.1)
    windows = (len(validation) - 1) // block
    epoch = min(options.steps, 500)
    history = bp.fit(
        model,
        RandomWindows(train, block, epoch),
        loss=bp.CrossEntropy(),
        optimizer=bp.Chain(bp.ClipByGlobalNorm(1.0), adam),
        epochs=options.steps // epoch,
        validation=(
            validation[: windows * block].reshape(windows, block),
            validation[1 : windows * block + 1].reshape(windows, block),
        ),
        progress=True,
    )
    for k, (loss, later) in enumerate(zip(history["loss"], history["val_loss"], strict=True)):
        print(f"step {(k + 1) * epoch}: loss {loss:.4f}, validation loss {later:.4f}")
    print(f"{sum(history['seconds']):.0f} s on {model.device}\n")

    model.save(options.out)
    start = [number[character] for character in text[:1]]
    written = bp.generate(model, start, length=300, temperature=0.8, top_k=20, seed=0)
    print(f"saved to {options.out}; it writes:\n\n" + "".join(vocabulary[k] for k in written))


if __name__ == "__main__":
    main()
