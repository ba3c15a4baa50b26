"""Every layer of the library, in the variants that differ."""

from __future__ import annotations

import bp_arrays as bp
from bp_arrays import activations

ACTIVATIONS = {name: kind() for name, kind in activations.ACTIVATIONS.items()} | {
    "ELU(0.3)": bp.ELU(0.3),
    "GELU(exact)": bp.GELU(exact=True),
    "LeakyReLU(-1.5)": bp.LeakyReLU(-1.5),
    "LeakyReLU(0.1)": bp.LeakyReLU(0.1),
}
LAYERS = {
    "Dropout": bp.Dropout(0.5),
    "Flatten": bp.Flatten(),
    "Linear": bp.Linear(5),
    "Linear(no bias)": bp.Linear(5, bias=False),
    "Residual": bp.Residual(bp.Linear(8), bp.SiLU(), bp.Linear(8)),
    "Residual(one)": bp.Residual(bp.Linear(8)),
    "Sequential": bp.Sequential(
        bp.Linear(6), bp.Sequential(bp.Tanh(), bp.Linear(3, bias=False)), bp.LogSoftmax()
    ),
    "Sequential()": bp.Sequential(),
    "Standardize": bp.Standardize(),
}
NETS = ACTIVATIONS | LAYERS
