"""What is measured of a layer to tell how healthy it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerHealth:
    """One layer after one epoch, on the probed samples.

    Parameters
    ----------
    epoch : int
    path, kind : str
        The layer's place in the net and its class.
    mean, deviation : float
        Of its outputs.
    saturated : float
        The share of outputs at which its slope is nearly 0; NaN for layers that do not saturate.
    dead : float
        The share of units that give 0 for every sample; NaN for other layers than ReLU.
    error : float
        The root mean square of δ = ∂L/∂(output).
    gradient : float
        The root mean square of the gradients of its parameters; NaN without parameters.
    """

    epoch: int
    path: str
    kind: str
    mean: float
    deviation: float
    saturated: float
    dead: float
    error: float
    gradient: float
