"""Make the pictures of the README and the start page: `python docs/building/pictures.py`.

Both come from the library itself: the plot of a training run on the digits (extra `plot`), and
the page of `bp.explain` for the 2-3-2 net of the mathematics, drawn by Chromium without a window.
The name of another Chromium or Chrome is the first argument.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image  # comes with matplotlib

import bp_arrays as bp
from bp_arrays.data import read_digits

ASSETS = Path(__file__).resolve().parents[1] / "assets"
LARGEST = 150_000  # bytes: everyone who clones the repository downloads them
PAGE = "1180,832"  # pixels: the net, and the chain rule of one weight beside it


def training(path: Path) -> None:
    """Plot a training run on the digits with a fifth of the rows for validation."""
    digits = read_digits()
    x, t = digits.x.astype("float32") / 16, digits.t
    held_out = len(x) // 5
    net = bp.Sequential(bp.Linear(64), bp.ReLU(), bp.Dropout(0.2), bp.Linear(10))
    model = bp.Model(net, input_shape=64, device="cpu", seed=0)
    history = bp.fit(
        model,
        x[held_out:],
        t[held_out:],
        validation=(x[:held_out], t[:held_out]),
        loss=bp.CrossEntropy(),
        optimizer=bp.Adam(2e-3),
        epochs=40,
        batch_size=64,
        metrics=[bp.Accuracy()],
    )
    history.plot(path=path)
    reduce_colors(path)


def explanation(path: Path, browser: str) -> None:
    """Draw the page that `bp.explain` writes for one sample of the 2-3-2 net."""
    net = bp.Sequential(bp.Linear(3), bp.Sigmoid(), bp.Linear(2), bp.Sigmoid())
    model = bp.Model(net, input_shape=2, device="cpu", seed=0)
    page = bp.explain(model, x=[0.05, 0.35], t=[0.0175, 0.3825], loss=bp.L2Loss())
    with tempfile.TemporaryDirectory() as folder:
        html = Path(folder) / "notes.html"
        page.to_html(html)
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        subprocess.run(
            [
                browser,
                *arguments,
                f"--user-data-dir={folder}/profile",
                f"--window-size={PAGE}",
                f"--screenshot={path}",
                html.as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
    reduce_colors(path)


def reduce_colors(path: Path) -> None:
    """Rewrite a picture with 64 colors: enough for lines and text, a third of the bytes."""
    with Image.open(path) as picture:
        reduced = picture.convert("RGB").quantize(64, dither=Image.Dither.NONE)
    reduced.save(path, optimize=True)


def main() -> None:
    """Write both pictures and refuse one that is too large."""
    browser = sys.argv[1] if len(sys.argv) > 1 else "chromium"
    training(ASSETS / "training.png")
    explanation(ASSETS / "explanation.png", browser)
    for path in (ASSETS / "training.png", ASSETS / "explanation.png"):
        size = path.stat().st_size
        print(f"{path.name}: {size} bytes")
        if size > LARGEST:
            raise SystemExit(f"{path.name}: expected at most {LARGEST} bytes, got {size}")


if __name__ == "__main__":
    main()
