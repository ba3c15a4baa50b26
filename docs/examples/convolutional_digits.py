"""Train a convolutional network on images of digits, and measure it on images held out.

    python convolutional_digits.py t10k-images-idx3-ubyte.gz
    python convolutional_digits.py train-images-idx3-ubyte.gz --device torch:cuda:0 --epochs 12

The images are an IDX file, the format of MNIST, with the labels in a second file in the same
folder. One in five, drawn at random, is held out. Two convolutions find strokes and their parts,
pooling keeps the strongest of each four neighbors, and two fully connected layers decide.
"""

import argparse
import math

import numpy as np

import bp_arrays as bp
from bp_arrays.data import open_dataset

BATCH = 64


def network(classes: int) -> bp.Sequential:
    return bp.Sequential(
        bp.Conv2d(32, 3, weight_init=bp.HeNormal()),
        bp.ReLU(),
        bp.Conv2d(64, 3, weight_init=bp.HeNormal()),
        bp.ReLU(),
        bp.MaxPool2d(2),
        bp.Dropout(0.25),
        bp.Flatten(),
        bp.Linear(128, weight_init=bp.HeNormal()),
        bp.ReLU(),
        bp.Dropout(0.5),
        bp.Linear(classes),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", help="IDX file of square images, compressed or not")
    parser.add_argument("--device", default="auto", help="auto, cpu, torch:cpu, cuda, ...")
    parser.add_argument("--epochs", type=int, default=12, help="epochs (default: 12)")
    options = parser.parse_args()

    data = open_dataset(options.images)
    side = round(data.x.shape[1] ** 0.5)
    x = (data.x / data.x.max()).astype(np.float32).reshape(-1, side, side, 1)  # one channel
    order = np.random.default_rng(0).permutation(len(x))
    held_out, train = np.split(order, [len(x) // 5])

    model = bp.Model(network(len(data.classes)), x.shape[1:], device=options.device, seed=0)
    print(model.summary())
    steps = options.epochs * math.ceil(len(train) / BATCH)
    history = bp.fit(
        model,
        x[train],
        data.t[train],
        loss=bp.CrossEntropy(),
        optimizer=bp.AdamW(bp.OneCycle(2e-3, steps)),
        epochs=options.epochs,
        batch_size=BATCH,
        validation=(x[held_out], data.t[held_out]),
        metrics=[bp.Accuracy()],
        progress=True,
    )
    seconds = np.median(history["seconds"])
    print(f"\n{history.epochs} epochs on {model.device}, {seconds:.1f} s each")

    read = model.predict(x[held_out]).argmax(axis=1)
    right = read == data.t[held_out]
    print(f"{right.mean():.2%} of {len(held_out)} images held out are read correctly\n")
    print(bp.ConfusionMatrix.of(data.t[held_out], read, data.classes))


if __name__ == "__main__":
    main()
