"""Initializers: descriptions that draw the first values of a parameter on the host."""

from bp_arrays.initializers._constant import Ones, Zeros
from bp_arrays.initializers._glorot import GlorotNormal, GlorotUniform
from bp_arrays.initializers._he import HeNormal, HeUniform
from bp_arrays.initializers._initializer import Initializer, fans
from bp_arrays.initializers._lecun import LeCunNormal, LeCunUniform
from bp_arrays.initializers._measured import Values as Values, mean_and_scale
from bp_arrays.initializers._normal import Normal
from bp_arrays.initializers._orthogonal import Orthogonal, orthonormal_columns
from bp_arrays.initializers._stacked import Stacked
from bp_arrays.names import by_name

INITIALIZERS: dict[str, type[Initializer]] = {
    kind.__name__: kind
    for kind in (
        GlorotUniform,
        GlorotNormal,
        HeUniform,
        HeNormal,
        LeCunUniform,
        LeCunNormal,
        Normal,
        Orthogonal,
        Zeros,
        Ones,
    )
}
"""Initializer classes by name; all their arguments have defaults."""


def initializer_named(name: str) -> type[Initializer]:
    """Return the initializer class of this name; case, "-" and "_" are ignored.

    >>> initializer_named("he-normal")()
    HeNormal()
    """
    return by_name("initializer", name, INITIALIZERS)


__all__ = [
    "INITIALIZERS",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Initializer",
    "LeCunNormal",
    "LeCunUniform",
    "Normal",
    "Ones",
    "Orthogonal",
    "Stacked",
    "Zeros",
    "fans",
    "initializer_named",
    "mean_and_scale",
    "orthonormal_columns",
]
