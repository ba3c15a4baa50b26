"""Compare training captured as CUDA graphs with training operation by operation."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

import bp_arrays as bp

ROWS, FEATURES, CLASSES = 1005, 20, 5
LIMITS = {"float32": 1e-3, "float64": 1e-10}
"""How far the losses may be apart: other kernels round otherwise, and training feeds it back."""

NETS = {
    "relu": (bp.Linear(64), bp.ReLU(), bp.Linear(33), bp.ReLU()),
    "dropout": (bp.Linear(64), bp.Tanh(), bp.Dropout(0.3)),
    "ten layers": (bp.Linear(16), bp.GELU()) * 9,
}
OPTIMIZERS = {
    "Adam, cosine": lambda: bp.Adam(bp.Cosine(0.003, steps=80)),
    "clipped SGD": lambda: bp.Chain(bp.ClipByGlobalNorm(1.0), bp.SGD(0.05, momentum=0.9)),
}


def compared(device: str, only: str = "") -> Iterator[dict[str, Any]]:
    """Return, for each kind of training, how it ran and its difference from eager training."""
    kinds = product(NETS, OPTIMIZERS, LIMITS, ("on the device", "on the host"))
    for net, optimizer, dtype, data in kinds:
        if only not in f"{net}, {optimizer}, {dtype}, {data}":
            continue
        captured, how = _trained(device, net, optimizer, dtype, data)
        again, _ = _trained(device, net, optimizer, dtype, data)
        plain, _ = _trained(device, net, optimizer, dtype, data, compiled=False)
        apart = float(np.max(np.abs(captured - plain) / np.abs(plain)))
        yield {
            "net": net, "optimizer": optimizer, "dtype": dtype, "data": data,
            "compiled_by": how, "repeatable": bool(np.array_equal(captured, again)),
            "losses_apart": apart, "ok": how == "CUDA graph" and apart < LIMITS[dtype],
        }  # fmt: skip


def _trained(
    device: str, net: str, optimizer: str, dtype: str, data: str, *, compiled: bool = True
) -> Any:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, FEATURES))
    t = (x @ rng.normal(size=(FEATURES, CLASSES))).argmax(axis=1)
    place = bp.device(device)
    layers = bp.Sequential(*NETS[net], bp.Linear(CLASSES))
    model = bp.Model(layers, FEATURES, device=place, dtype=dtype, seed=1)
    history = bp.fit(
        model, place.asarray(x, dtype) if data == "on the device" else x, t,
        loss=bp.CrossEntropy(), optimizer=OPTIMIZERS[optimizer](), metrics=[bp.Accuracy()],
        batch_size=50, epochs=4, seed=2, compiled=compiled,
    )  # fmt: skip
    return np.asarray(history["loss"]), history.compiled_by
