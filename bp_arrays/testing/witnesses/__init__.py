"""Witnesses: the values of the maths computed a second time, by other means.

The reference of a case is the library's own code in float64: a wrong formula agrees with itself,
and a fault made in both forward and backward agrees with every derivative. A witness shares no
code with the component that it judges. It computes the same values from the same numbers

- by the formula in the literature, written out index by index in plain Python floats;
- by known-answer vectors of the authors, for the random stream;
- by PyTorch's optimizers and ONNX's reference operators, where these are installed.

A witness of a component must not import it.
"""

from bp_arrays.testing.witnesses._witness import Witness

__all__ = ["Witness"]
