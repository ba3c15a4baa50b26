"""Train a network on handwritten digits, look at its mistakes, and save it.

    python read_digits.py
    python read_digits.py --device cuda

1,797 real digits come with the library. They are split into training, validation and test rows:
training stops when the validation loss no longer improves, and the test rows measure the accuracy.
The page worst.html shows every number of the most confident mistake.
"""

import argparse

import numpy as np

import bp_arrays as bp
from bp_arrays.data import read_digits, split

SHADES = " .:-=+*#%"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, torch:cpu, ...")
    parser.add_argument("--epochs", type=int, default=200, help="epochs at most (default: 200)")
    options = parser.parse_args()

    digits = read_digits()
    x, t = digits.x / 16.0, digits.t
    train, validation, test, _ = split(digits, validation=0.15)

    net = bp.Sequential(
        bp.Linear(128, weight_init=bp.HeNormal()),
        bp.ReLU(),
        bp.Dropout(0.2),
        bp.Linear(10),
    )
    model = bp.Model(net, input_shape=64, device=options.device, seed=0)
    print(model.summary())

    stopping = bp.EarlyStopping(patience=10)
    history = bp.fit(
        model,
        x[train],
        t[train],
        loss=bp.CrossEntropy(label_smoothing=0.05),
        optimizer=bp.AdamW(3e-3),
        epochs=options.epochs,
        batch_size=32,
        validation=(x[validation], t[validation]),
        metrics=[bp.Accuracy()],
        callbacks=[stopping],
        progress=True,
    )
    took = f"{history.epochs} epochs on {model.device} in {sum(history['seconds']):.1f} s"
    print(f"\n{took}; the best was epoch {stopping.best_epoch}")

    logits = model.predict(x[test])
    read = logits.argmax(axis=1)
    print(f"{(read == t[test]).mean():.1%} of {len(test)} test digits are read correctly\n")
    print(bp.ConfusionMatrix.of(t[test], read, digits.classes))

    wrong = np.flatnonzero(read != t[test])
    if len(wrong):
        surest = wrong[logits[wrong].max(axis=1).argmax()]
        row = test[surest]
        print(f"\nThe most confident mistake is row {row}: a {t[row]}, read as {read[surest]}")
        show_image(digits.x[row])
        bp.explain(model, x[row], t[row], bp.CrossEntropy()).to_html("worst.html")
        print("worst.html shows the backward pass with every number")

    model.save("digits.safetensors")
    again = bp.load("digits.safetensors", device="cpu")
    same = np.abs(again.predict(x[test]) - logits).max()
    print(f"\nsaved to digits.safetensors; loaded on cpu, its outputs differ by {same:.1e} at most")


def show_image(pixels: np.ndarray) -> None:
    """Print 8×8 pixels from 0 to 16 as characters."""
    for line in pixels.reshape(8, 8):
        print("    " + "".join(2 * SHADES[int(pixel) // 2] for pixel in line))


if __name__ == "__main__":
    main()
