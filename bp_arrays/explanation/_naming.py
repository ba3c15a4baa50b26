"""Names of values: as in the notes for a net of two layers, with layer numbers for larger nets.

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
    """A letter, optionally with the number of a layer as superscript: "a", 1 is a⁽¹⁾."""

    letter: str
    layer: int | None = None
    latex_letter: str = ""

    def text(self, *indices: int) -> str:
        """Write the name with the indices of one element: a⁽¹⁾₂."""
        superscript = f"({self.layer})".translate(SUPERSCRIPTS) if self.layer is not None else ""
        return f"{self.letter}{superscript}{_joined(indices).translate(SUBSCRIPTS)}"

    def latex(self, *indices: int) -> str:
        """Write the name in LaTeX with the indices of one element."""
        superscript = f"^{{({self.layer})}}" if self.layer is not None else ""
        subscript = f"_{{{_joined(indices)}}}" if indices else ""
        letter = self.latex_letter or self.letter.replace("′", "'")
        return f"{letter}{superscript}{subscript}"

    def symbol(self, value: float, *indices: int) -> Symbol:
        """Return the symbol of one element with its value."""
        return Symbol(self.text(*indices), self.latex(*indices), value)


def _joined(indices: Sequence[int]) -> str:
    """Join indices: "12" for 1 and 2, with a comma if that would be ambiguous."""
    return ("," if any(index > 9 for index in indices) else "").join(map(str, indices))
