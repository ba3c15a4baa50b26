"""`GRU`: the gated recurrent unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bp_arrays.initializers import Zeros
from bp_arrays.kernels import sum_rows
from bp_arrays.layers import Context, Parameter, Specification
from bp_arrays.recurrence._recurrent import Recurrent, State, gate
from bp_arrays.trees import Tree
from bp_arrays.typing import Array, Namespace, ParameterTree


@dataclass(frozen=True)
class GRU(Recurrent):
    """Gated recurrent unit: r decides what the new value v reads of h, z how much of h stays.

        r = σ(x_t wx_r + h_{t−1} wh_r + b_r),  z = σ(x_t wx_z + h_{t−1} wh_z + b_z)
        v = tanh(x_t wx_v + b_v + r (h_{t−1} wh_v + b'))
        h_t = (1 − z) v + z h_{t−1}

    The reset gate r acts on the product, as in PyTorch.

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
        Whether only the output at the last real position is returned, (batch, n). That of the
        backward direction is the one after its last step, at the first position.
    input_init : Initializer, default GlorotUniform()
        Draws wx, "input_weight", of shape (in_features, 3 n), the gates in the order r, z, v.
    recurrent_init : Initializer, default Orthogonal()
        Draws wh, "recurrent_weight", of shape (n, 3 n). The biases b, "bias", (3 n,), and b',
        "recurrent_bias", (n,), start at 0.

    Raises
    ------
    InputError
        If a field has the wrong type or value; when the model is built, if a sample has not the
        shape (time, in_features), or a mask or state does not fit it.

    See Also
    --------
    LSTM : Lengths, masks, states and the names of parameters are as there; the state is "h".

    Notes
    -----
    Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014, in which r acts
    on h before the product: h_{t−1} is multiplied by wh_v once for all gates only in the form
    here. ONNX has this form with linear_before_reset=1, Keras with reset_after=True (the default);
    both order the gates z, r, v. PyTorch and Keras have recurrent biases for r and z, too, which
    only add to b.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.GRU(3, last=True), input_shape=(10, 2), device="cpu")
    >>> model.output_shape, list(model.parameters)
    ((3,), ['input_weight', 'recurrent_weight', 'bias', 'recurrent_bias'])
    """

    gates: ClassVar[int] = 3

    def _specification(self, in_features: int) -> Specification:
        recurrent_bias = Parameter((self.features,), Zeros())
        return super()._specification(in_features) | {"recurrent_bias": recurrent_bias}

    def step(self, w: ParameterTree, state: State, a: Array, xp: Namespace) -> tuple[State, Tree]:
        (h,) = state
        n = self.features
        q = h @ w["recurrent_weight"]  # a: x wx + b
        q_v = q[:, 2 * n :] + w["recurrent_bias"]
        r = gate(a[:, :n] + q[:, :n], xp)
        z = gate(a[:, n : 2 * n] + q[:, n : 2 * n], xp)
        v = xp.tanh(a[:, 2 * n :] + r * q_v)
        h_new = (1.0 - z) * v + z * h
        return (h_new,), (r, z, v, q_v, h)

    def step_backward(
        self, w: ParameterTree, delta: State, kept: Tree, xp: Namespace
    ) -> tuple[State, tuple[Array, ...]]:
        (dh,) = delta
        r, z, v, q_v, h = kept
        dv = dh * (1.0 - z) * ((1.0 - v) * (1.0 + v))
        dz = dh * (h - v) * (z * (1.0 - z))
        dr = dv * q_v * (r * (1.0 - r))
        da = xp.concat([dr, dz, dv], axis=1)
        dq = xp.concat([dr, dz, dv * r], axis=1)
        return (dh * z + dq @ w["recurrent_weight"].T,), (da, dq)

    def further_gradients(self, dq: Array, ctx: Context) -> ParameterTree:
        dq_v = dq[:, 2 * self.features :]  # ∂L/∂b' = Σ_t r δ_v
        return {"recurrent_bias": sum_rows(dq_v, device=ctx.device, xp=ctx.xp)}
