"""What things are called: as in the notes for a net of two layers, with numbered layers beyond.

Indices count from 1, as on paper: w₁₁ leads from the first input to the first hidden unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bp_arrays.explanation._expression import Symbol

SUBSCRIPTS = str.maketrans("0123456789,", "₀₁₂₃₄₅₆₇₈₉,")
SUPERSCRIPTS = str.maketrans("0123456789()", "⁰¹²³⁴⁵⁶⁷⁸⁹⁽⁾")


@dataclass(frozen=True)
class Name:
    """A letter, maybe with the number of a layer above it: "a", 1 is a⁽¹⁾."""

    letter: str
    layer: int | None = None
    latex_letter: str = ""

    def text(self, *indices: int) -> str:
        """With the indices of one element below: a⁽¹⁾₂."""
        above = f"({self.layer})".translate(SUPERSCRIPTS) if self.layer is not None else ""
        return f"{self.letter}{above}{_joined(indices).translate(SUBSCRIPTS)}"

    def latex(self, *indices: int) -> str:
        above = f"^{{({self.layer})}}" if self.layer is not None else ""
        below = f"_{{{_joined(indices)}}}" if indices else ""
        letter = self.latex_letter or self.letter.replace("′", "'")
        return f"{letter}{above}{below}"

    def symbol(self, value: float, *indices: int) -> Symbol:
        """One element with its value."""
        return Symbol(self.text(*indices), self.latex(*indices), value)


def _joined(indices: Sequence[int]) -> str:
    """ "12" for 1 and 2; a comma where that could be read in another way."""
    return ("," if any(index > 9 for index in indices) else "").join(map(str, indices))
