"""Activations: layers without parameters, each with its derivative right below it."""

from bp_arrays.activations.elu import ELU, SELU
from bp_arrays.activations.gelu import GELU, SiLU
from bp_arrays.activations.identity import Identity
from bp_arrays.activations.relu import LeakyReLU, ReLU
from bp_arrays.activations.sigmoid import Sigmoid, Tanh
from bp_arrays.activations.softmax import LogSoftmax, Softmax
from bp_arrays.activations.softplus import Softplus
from bp_arrays.errors import unknown_name
from bp_arrays.layers.layer import Layer

ACTIVATIONS: dict[str, type[Layer]] = {
    kind.__name__: kind
    for kind in (
        Identity,
        Sigmoid,
        Tanh,
        ReLU,
        LeakyReLU,
        ELU,
        SELU,
        GELU,
        SiLU,
        Softplus,
        Softmax,
        LogSoftmax,
    )
}
"""Every activation by name; none needs an argument."""


def activation_named(name: str) -> type[Layer]:
    """The activation of that name; capitals, "-" and "_" do not matter.

    >>> activation_named("leaky-relu")()
    LeakyReLU(negative_slope=0.01)
    """
    plain = str(name).lower().replace("-", "").replace("_", "")
    for known, kind in ACTIVATIONS.items():
        if known.lower() == plain:
            return kind
    raise unknown_name("activation", name, ACTIVATIONS)


__all__ = [
    "ACTIVATIONS",
    "ELU",
    "GELU",
    "SELU",
    "Identity",
    "LeakyReLU",
    "LogSoftmax",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "activation_named",
]
