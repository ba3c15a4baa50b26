"""Learn to predict the next character of a text, line by line, with an LSTM.

    python next_character.py shakespeare.txt
    python next_character.py shakespeare.txt --device torch:cpu --epochs 5

The text is any file of yours in UTF-8. Each line is a sequence. Lines differ in length, so they are
padded, and the LSTM gets their lengths. Where a line has ended there is nothing to predict: these
targets are ignored by the loss. The script prints the loss of lines that it did not train on, in
bits per character, next to that of a model that only knows how frequent each character is, and
writes a few lines of its own.
"""

import argparse
import math
from pathlib import Path

import numpy as np

import bp_arrays as bp

IGNORED = -1
"""The target where there is nothing to predict."""


def sequences(lines: list[str], index: dict[str, int], time: int):
    """Return characters, lengths, and the targets: each character's successor, at last "\\n"."""
    x = np.zeros((len(lines), time), dtype=np.int64)
    t = np.full((len(lines), time), IGNORED)
    lengths = np.zeros(len(lines), dtype=np.int64)
    for row, line in enumerate(lines):
        # a line starts after the end of the line before
        numbers = [index[character] for character in f"\n{line}\n"[: time + 1]]
        lengths[row] = len(numbers) - 1
        x[row, : len(numbers) - 1] = numbers[:-1]
        t[row, : len(numbers) - 1] = numbers[1:]
    return {"x": x, "lengths": lengths}, t


def network(size: int, features: int = 128) -> bp.Sequential:
    return bp.Sequential(
        bp.Parallel(x=bp.Embedding(size, 32)),  # the lengths pass through
        bp.LSTM(features),
        bp.Select("x"),
        bp.Linear(size),
    )


def inputs(size: int, time: int) -> dict[str, bp.InputSpec]:
    return {
        "x": bp.InputSpec((time,), "index", size=size),
        "lengths": bp.InputSpec((), "index", size=time + 1),
    }


def bits_by_frequency(t, t_test, size: int) -> float:
    """Return the bits per character of a model that knows only the frequencies in t."""
    counts = np.bincount(t[t != IGNORED], minlength=size) + 1.0
    return float(-np.mean(np.log2(counts / counts.sum())[t_test[t_test != IGNORED]]))


def continued(model, characters: list[str], time: int, start: str, rng) -> str:
    """Return a line that begins with `start`, each further character drawn by its probability."""
    index = {character: k for k, character in enumerate(characters)}
    line = start
    while len(line) + 1 < time:
        x, _ = sequences([line], index, time)
        logits = model.predict(x)[0, len(line)]
        p = np.exp(logits - logits.max())
        character = characters[rng.choice(len(p), p=p / p.sum())]
        if character == "\n":
            break
        line += character
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path, help="a text file")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--time", type=int, default=48, help="longest line, in characters")
    parser.add_argument("--lines", type=int, default=4500, help="lines to use, a tenth to test")
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()

    time = options.time
    lines = [line for line in options.text.read_text(encoding="utf-8").splitlines() if line]
    if len(lines) < 100:
        raise SystemExit(f"{options.text}: expected 100 lines or more, got {len(lines)}")
    characters = sorted({"\n", *"".join(lines)})
    index = {character: k for k, character in enumerate(characters)}
    order = np.random.default_rng(0).permutation(len(lines))[: options.lines]
    chosen = [lines[k] for k in order]
    test = len(chosen) // 10
    x, t = sequences(chosen[test:], index, time)
    x_test, t_test = sequences(chosen[:test], index, time)

    size = len(characters)
    model = bp.Model(network(size), inputs(size, time), device=options.device, seed=0)
    loss = bp.CrossEntropy(ignore_index=IGNORED)
    optimizer = bp.Chain(bp.ClipByGlobalNorm(1.0), bp.Adam(3e-3))
    print(f"{len(t)} lines, {size} characters, on {model.device}")

    history = bp.fit(
        model, x, t, loss=loss, optimizer=optimizer, epochs=options.epochs, batch_size=32, seed=0
    )
    for epoch, value in enumerate(history["loss"], start=1):
        print(f"epoch {epoch}  loss {value:.6f}")

    bits = bp.evaluate(model, x_test, t_test, loss=loss)["loss"] / math.log(2.0)
    print(f"\nbits per character of {test} other lines:")
    print(f"  the LSTM             {bits:.3f}")
    print(f"  frequencies alone    {bits_by_frequency(t, t_test, size):.3f}\n")
    rng = np.random.default_rng(1)
    for start in ("The ", "I ", "And "):
        if set(start) <= set(characters):
            print(continued(model, characters, time, start, rng))


if __name__ == "__main__":
    main()
