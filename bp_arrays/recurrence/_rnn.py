"""`RNN`: the simple recurrent layer."""

from __future__ import annotations

from dataclasses import dataclass

from bp_arrays.checks import check_choice
from bp_arrays.recurrence._recurrent import Recurrent, State
from bp_arrays.trees import Tree
from bp_arrays.typing import Array, Namespace, ParameterTree


@dataclass(frozen=True)
class RNN(Recurrent):
    """Simple recurrent layer: h_t = tanh(x_t wx + h_{t−1} wh + b), or with ReLU instead of tanh.

    Parameters
    ----------
    features : int
        The size n of the state h.
    layers : int, default 1
        Layers one above the other; each reads the outputs of the one below.
    bidirectional : bool, default False
        Whether each layer also reads the sequence from its end, with its own weights; the
        outputs of both directions are concatenated, (batch, time, 2 n).
    last : bool, default False
        Whether only the output after the last step is returned, (batch, n); that of the backward
        direction is the one at the first position.
    input_init : Initializer, default GlorotUniform()
        Draws wx, "input_weight", of shape (in_features, n).
    recurrent_init : Initializer, default Orthogonal()
        Draws wh, "recurrent_weight", of shape (n, n). The bias b, (n,), starts at 0.
    activation : "tanh" or "relu", default "tanh"

    Raises
    ------
    InputError
        If a field has the wrong type or value; when the model is built, if a sample has not the
        shape (time, in_features).

    See Also
    --------
    LSTM : Lengths, masks and states are as there.

    Notes
    -----
    Elman, "Finding structure in time", Cognitive Science 14, 1990. PyTorch has two biases, whose
    sum is b.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.RNN(3), input_shape=(10, 2), device="cpu")
    >>> model.output_shape
    (10, 3)
    """

    activation: str = "tanh"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "activation", ("tanh", "relu"))

    def step(self, w: ParameterTree, state: State, a: Array, xp: Namespace) -> tuple[State, Tree]:
        (h,) = state
        a = a + h @ w["recurrent_weight"]  # a: x wx + b
        h = xp.tanh(a) if self.activation == "tanh" else xp.maximum(a, 0.0)
        return (h,), (h,)

    def step_backward(
        self, w: ParameterTree, delta: State, kept: Tree, xp: Namespace
    ) -> tuple[State, tuple[Array, ...]]:
        (dh,), (h,) = delta, kept
        if self.activation == "tanh":
            da = dh * ((1.0 - h) * (1.0 + h))
        else:
            da = xp.where(h > 0.0, dh, 0.0)
        return (da @ w["recurrent_weight"].T,), (da,)
