"""A net of two inputs for tests: rows of a table, by index, beside numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import bp_arrays as bp

RNG = np.random.default_rng(11)
IDS = RNG.integers(0, 5, 20)
AGES = RNG.normal(size=(20, 3))
X = {"ids": IDS, "age": AGES}
T = RNG.integers(0, 2, 20)
INPUTS = {"ids": bp.InputSpec((), "index", size=5), "age": 3}


@dataclass(frozen=True)
class Lookup(bp.Layer):
    """h = (table[ids], age); x is {"ids": (batch,), "age": (batch, n)} or the tuple of both."""

    size: int = 5
    features: int = 2

    def init(self, input_shape):
        _, (numbers,) = _both(input_shape)
        table = bp.Parameter((self.size, self.features), bp.GlorotNormal())
        return {"table": table}, (self.features + numbers,)

    def forward(self, params, x, ctx):
        xp, table, k = ctx.xp, params["table"], self.features
        ids, age = _both(x)
        assert xp.isdtype(ids.dtype, "signed integer")  # from the door to the layer
        h = xp.concat([xp.take(table, ids, axis=0), age], axis=1)

        def backward(delta):
            rows = xp.arange(self.size, dtype=ids.dtype, device=ctx.device)
            one_hot = xp.astype(ids[:, None] == rows[None, :], delta.dtype)
            dx = {"ids": None, "age": delta[:, k:]}
            return dx, {"table": one_hot.T @ delta[:, :k]}

        return h, backward


def _both(x):
    return (x["ids"], x["age"]) if isinstance(x, dict) else x


def make(device="cpu", dtype="float32", inputs=INPUTS):
    net = bp.Sequential(Lookup(), bp.Tanh(), bp.Linear(2))
    return bp.Model(net, inputs, device=device, dtype=dtype, seed=3)


def moved(x, device):
    """The same samples on a device, numbers in float32."""
    return {
        name: device.asarray(part.astype(np.float32) if part.dtype.kind == "f" else part)
        if part.dtype.name != "int64" or device.backend != "jax"
        else device.asarray(part.astype(np.int32))
        for name, part in x.items()
    }
