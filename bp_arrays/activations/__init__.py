"""Activation functions, each with its derivative."""

from bp_arrays.activations._elu import ELU, SELU
from bp_arrays.activations._gelu import GELU, SiLU
from bp_arrays.activations._glu import GLU, SwiGLU
from bp_arrays.activations._hard import Hardsigmoid, Hardswish
from bp_arrays.activations._identity import Identity
from bp_arrays.activations._mish import Mish
from bp_arrays.activations._prelu import PReLU
from bp_arrays.activations._relu import LeakyReLU, ReLU
from bp_arrays.activations._sigmoid import Sigmoid, Tanh
from bp_arrays.activations._softmax import LogSoftmax, Softmax
from bp_arrays.activations._softplus import Softplus
from bp_arrays.layers import Layer
from bp_arrays.names import by_name

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
        Mish,
        Hardsigmoid,
        Hardswish,
        Softmax,
        LogSoftmax,
    )
}
"""Activation classes by name: without parameters, for inputs of any shape, which they keep; all
their arguments have defaults. PReLU, which has a parameter, and GLU and SwiGLU, which halve the
last axis, are layers like any other."""


def activation_named(name: str) -> type[Layer]:
    """Return the activation class of this name; case, "-" and "_" are ignored.

    >>> activation_named("leaky-relu")()
    LeakyReLU(negative_slope=0.01)
    """
    return by_name("activation", name, ACTIVATIONS)


__all__ = [
    "ACTIVATIONS",
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "Hardsigmoid",
    "Hardswish",
    "Identity",
    "LeakyReLU",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "SwiGLU",
    "Tanh",
    "activation_named",
]
