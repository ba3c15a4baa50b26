"""`LSTM`: long short-term memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from bp_arrays.checks import check_number
from bp_arrays.initializers import Initializer, Zeros
from bp_arrays.recurrence._recurrent import Recurrent, State, gate
from bp_arrays.trees import Tree
from bp_arrays.typing import Array, Namespace, ParameterTree, Shape


@dataclass(frozen=True)
class LSTM(Recurrent):
    """Long short-term memory: gates i, f, o decide what the cell c reads, keeps and shows.

        a_t = x_t wx + h_{t−1} wh + b,  cut into the four sums of the gates i, f, g, o
        i, f, o = σ(a_i), σ(a_f), σ(a_o),  g = tanh a_g
        c_t = f c_{t−1} + i g,  h_t = o tanh c_t

    The input is an array (batch, time, in_features), the output (batch, time, n). Sequences of
    different lengths come as a dict with the key "x" and any of these:

    - "lengths", integers (batch,): how many positions are real, 0 to time.
    - "mask" (batch, time): real positions are not 0 (or True); the others may be anywhere.
    - "h" and "c", numbers (batch, n): the initial states, zeros without them. With several
      layers or directions (batch, layers · directions, n), in the order layer 0 forward, layer 0
      backward, layer 1 forward, ...

    The output is then the same dict with the new "x" and, if initial states came in, the final
    ones. A position that is not real leaves the state as it is and has an output of zeros. The
    backward direction reads each sequence from its own last real position.

    Parameters
    ----------
    features : int
        The size n of the states h and c.
    layers : int, default 1
        Layers one above the other; each reads the outputs of the one below.
    bidirectional : bool, default False
        Whether each layer also reads the sequence from its end, with its own weights; the
        outputs of both directions are concatenated, (batch, time, 2 n).
    last : bool, default False
        Whether only the output at the last real position is returned, (batch, n). That of the
        backward direction is the one after its last step, at the first position.
    input_init : Initializer, default GlorotUniform()
        Draws wx, "input_weight", of shape (in_features, 4 n).
    recurrent_init : Initializer, default Orthogonal()
        Draws wh, "recurrent_weight", of shape (n, 4 n).
    forget_bias : float, default 1.0
        The first value of b for the gate f, so that the cell keeps what it has at first; the
        rest of b, (4 n,), starts at 0.

    Raises
    ------
    InputError
        If a field has the wrong type or value; when the model is built, if a sample has not the
        shape (time, in_features), or a mask or state does not fit it.

    Notes
    -----
    Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9, 1997; with the
    forget gate of Gers, Schmidhuber and Cummins, 2000.

    Parameters are named "input_weight", "recurrent_weight" and "bias"; with several layers
    "input_weight_0", ...; of the backward direction "input_weight_reverse".

    PyTorch has weights (4 n, in), the transposed ones, and two biases, whose sum is b; its forget
    gate starts like the others, and its states have the batch on the second axis. Keras has the
    weights and the one bias of this layer. ONNX orders the gates i, o, f, g.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.LSTM(3), input_shape=(10, 2), device="cpu")
    >>> {name: w.shape for name, w in model.parameters.items()}
    {'input_weight': (2, 12), 'recurrent_weight': (3, 12), 'bias': (12,)}

    Sequences of different lengths:

    >>> inputs = {"x": (10, 2), "lengths": bp.InputSpec((), "index", size=11)}
    >>> bp.Model(bp.LSTM(3, bidirectional=True), inputs, device="cpu").output_shape["x"]
    (10, 6)
    """

    forget_bias: float = 1.0

    states: ClassVar[tuple[str, ...]] = ("h", "c")
    gates: ClassVar[int] = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "forget_bias")

    def bias_init(self) -> Initializer:
        return _ForgetBias(self.forget_bias)

    def step(self, w: ParameterTree, state: State, a: Array, xp: Namespace) -> tuple[State, Tree]:
        h, c = state
        n = self.features
        a = a + h @ w["recurrent_weight"]  # a: x wx + b
        i = gate(a[:, :n], xp)
        f = gate(a[:, n : 2 * n], xp)
        g = xp.tanh(a[:, 2 * n : 3 * n])
        o = gate(a[:, 3 * n :], xp)
        c_new = f * c + i * g
        u = xp.tanh(c_new)
        h = o * u
        return (h, c_new), (i, f, g, o, c, u)

    def step_backward(
        self, w: ParameterTree, delta: State, kept: Tree, xp: Namespace
    ) -> tuple[State, tuple[Array, ...]]:
        dh, dc = delta
        i, f, g, o, c, u = kept
        dc = dc + dh * o * ((1.0 - u) * (1.0 + u))  # c reaches the loss through h, too
        gates = [  # the four sums; concatenated last, or XLA's program is five times slower
            dc * g * (i * (1.0 - i)),
            dc * c * (f * (1.0 - f)),
            dc * i * ((1.0 - g) * (1.0 + g)),
            dh * u * (o * (1.0 - o)),
        ]
        da = xp.concat(gates, axis=1)
        return (da @ w["recurrent_weight"].T, dc * f), (da,)


@dataclass(frozen=True)
class _ForgetBias(Initializer):
    """Zeros; `value` for the second of four gates."""

    value: float

    def draw(self, shape: Shape, rng: Any) -> Array:
        values = Zeros().draw(shape, rng)
        n = shape[0] // 4
        values[n : 2 * n] = self.value
        return values
