"""The nets of three examples, trained for some steps on several devices: the same losses?

A GPT and an LSTM of characters and a convolutional network, built by the scripts in
docs/examples, on random data that no file is needed for. Every device draws the same initial
parameters and the same Dropout masks, so the losses differ by rounding only. In mixed precision
the mean of the losses is compared with that of float32: single losses differ by more, as training
feeds every rounding back, and in float16 the first steps may be skipped.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import bp_arrays as bp

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
SAME = 1e-4
"""How far losses may be apart, relative: rounding of float32, which training feeds back."""
SAME_IN_HALF = 1e-2
"""The same for mixed precision."""


@dataclass(frozen=True)
class Example:
    """A net, its loss and optimizer, and a function that draws one batch."""

    net: bp.Layer
    inputs: Any
    loss: bp.Loss
    optimizer: Callable[[], bp.Optimizer]
    batch: Callable[[np.random.Generator], tuple[Any, Any]]

    def losses(self, device: str, steps: int, compute_dtype: str | None = None) -> list[float]:
        """Train on a device for some steps; return the loss of each."""
        model = bp.Model(self.net, self.inputs, device=device, seed=0, compute_dtype=compute_dtype)
        trainer = bp.Trainer(model, loss=self.loss, optimizer=self.optimizer(), seed=0)
        rng = np.random.default_rng(0)
        return [trainer.step(*self.batch(rng)) for _ in range(steps)]


def examples(*, small: bool = False) -> dict[str, Example]:
    """Return the three by name, in the sizes of the examples or in small ones for tests."""
    return {"char-GPT": _gpt(small), "CNN": _cnn(small), "char-LSTM": _lstm(small)}


@dataclass(frozen=True)
class Comparison:
    """The losses of an example on NumPy and on another device, there in mixed precision or not."""

    name: str
    device: str
    expected: list[float]
    losses: list[float]
    compute_dtype: str | None = None

    @property
    def difference(self) -> float:
        """The largest relative difference; in mixed precision, that of the mean losses."""
        losses = self.expected, self.losses
        if self.compute_dtype is not None:
            losses = [np.mean(self.expected)], [np.mean(self.losses)]
        return float(max(abs(a - b) / abs(a) for a, b in zip(*losses, strict=True)))

    @property
    def same(self) -> bool:
        """Whether the losses are the same but for rounding."""
        return self.difference <= (SAME if self.compute_dtype is None else SAME_IN_HALF)

    def __str__(self) -> str:
        first, *_, last = self.losses
        where = (
            self.device if self.compute_dtype is None else f"{self.device}, {self.compute_dtype}"
        )
        return (
            f"{'same     ' if self.same else 'DIFFERENT'} {self.name} on {where}: loss "
            f"{first:.6f} to {last:.6f} in {len(self.losses)} steps, {self.difference:.1e} from "
            f"NumPy's {'at most' if self.compute_dtype is None else 'float32 on average'}"
        )


def compared_examples(
    devices: list[str], steps: int, *, small: bool, only: str, compute_dtype: str | None = None
) -> Iterator[Comparison]:
    """Train each on NumPy in float32, and on the devices."""
    for name, example in examples(small=small).items():
        if only in name:
            expected = example.losses("cpu", steps)
            for device in devices:
                losses = example.losses(device, steps, compute_dtype)
                yield Comparison(name, device, expected, losses, compute_dtype)


def _gpt(small: bool) -> Example:
    words, blocks, features, time, batch = (11, 1, 16, 8, 4) if small else (65, 4, 128, 64, 12)

    def draw(rng: np.random.Generator) -> tuple[Any, Any]:
        tokens = rng.integers(0, words, (batch, time + 1))
        return tokens[:, :-1], tokens[:, 1:]

    return Example(
        _example("char_gpt").gpt(words, blocks, 4, features, time),
        bp.InputSpec(time, "index"),
        bp.CrossEntropy(),
        lambda: bp.Chain(bp.ClipByGlobalNorm(1.0), bp.AdamW(1e-3, beta2=0.99, weight_decay=0.1)),
        draw,
    )


def _cnn(small: bool) -> Example:
    classes, side, batch = (3, 8, 4) if small else (10, 28, 64)

    def draw(rng: np.random.Generator) -> tuple[Any, Any]:
        x = rng.random((batch, side, side, 1), np.float32)
        return x, rng.integers(0, classes, batch)

    return Example(
        _example("convolutional_digits").network(classes),
        (side, side, 1),
        bp.CrossEntropy(),
        lambda: bp.AdamW(1e-3),
        draw,
    )


def _lstm(small: bool) -> Example:
    example = _example("next_character")
    size, features, time, batch = (7, 8, 6, 4) if small else (65, 128, 48, 32)

    def draw(rng: np.random.Generator) -> tuple[Any, Any]:
        x = rng.integers(0, size, (batch, time))
        lengths = rng.integers(0, time + 1, batch)
        lengths[0] = time  # at least one target counts
        ended = np.arange(time) >= lengths[:, None]
        t = np.where(ended, example.IGNORED, np.roll(x, -1, axis=1))
        return {"x": x, "lengths": lengths}, t

    return Example(
        example.network(size, features),
        example.inputs(size, time),
        bp.CrossEntropy(ignore_index=example.IGNORED),
        lambda: bp.Chain(bp.ClipByGlobalNorm(1.0), bp.Adam(3e-3)),
        draw,
    )


def _example(name: str) -> Any:
    """Import a script of docs/examples."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
