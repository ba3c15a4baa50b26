"""Names of weights as they are printed: from "w₁₁", or w11 on a keyboard, to the parameter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from bp_arrays.errors import InputError, unknown_name
from bp_arrays.explanation._stages import LinearStage, ResidualStage, Stage

TYPED = str.maketrans("₀₁₂₃₄₅₆₇₈₉⁰¹²³⁴⁵⁶⁷⁸⁹⁽⁾", "01234567890123456789()")
"""Subscripts and superscripts as they are typed: b⁽¹⁾₂ is b(1)2."""

PRINTED = re.compile(r"([a-z]+(?:\(\d+\))?)[_\[]?((?:\d+(?:,\d+)*)?)\]?")

FIRST_LISTED = 8


def weight_named(
    name: str, indices: Sequence[int], stages: Sequence[Stage], parameters: Iterable[str]
) -> tuple[str, tuple[int, ...]]:
    """Return the parameter and the indices, from 1, of a weight by any of its names.

    Parameters
    ----------
    name : str
        A name of `model.parameters`, or one that the explanation prints, with its indices or
        without: "w₁₁", "w11", "w", "w(2)1,12", "b(1)2".
    indices : sequence of int
        Those that are not in the name.
    stages : sequence of Stage
    parameters : iterable of str
        The names of the model.

    Raises
    ------
    InputError
        If no parameter has this name; if its indices can be read in more than one way.
    """
    known = list(parameters)
    if name in known:
        return name, tuple(indices)
    printed = {letter: (parameter, axes) for letter, parameter, axes in _printed(stages)}
    match = PRINTED.fullmatch(str(name).translate(TYPED).replace(" ", ""))
    if match is None or match[1] not in printed or (match[2] and indices):
        error = unknown_name("weight", name, known)
        letters = ", ".join([*printed][:FIRST_LISTED])
        also = f"; or a name of the page, one of {letters} with its indices" if letters else ""
        raise InputError(f"{error}{also}")
    parameter, axes = printed[match[1]]
    digits = match[2]
    if not digits:
        return parameter, tuple(indices)
    numbers = digits.split(",")
    if len(numbers) == 1 and axes == 2:
        numbers = list(digits)
        if len(numbers) != axes:
            raise InputError(
                f"weight({name!r}): expected two digits, or a comma between the indices: "
                f"{match[1]}1,12"
            )
    return parameter, tuple(map(int, numbers))


def _printed(stages: Sequence[Stage]) -> Iterator[tuple[str, str, int]]:
    """Yield the printed name of each weight and bias, its parameter and its number of axes."""
    for stage in stages:
        if isinstance(stage, ResidualStage):
            yield from _printed(stage.body)
        if isinstance(stage, LinearStage):
            yield stage.weight_name.text().translate(TYPED), stage.parameter("weight"), 2
            if "bias" in stage.params:
                yield stage.bias_name.text().translate(TYPED), stage.parameter("bias"), 1
