"""`CombinedLoss`: a loss for each of several outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from bp_arrays.checks import argument_error, array_error, as_number
from bp_arrays.errors import InputError, unknown_name
from bp_arrays.kernels import narrowed, widened
from bp_arrays.layers import Context
from bp_arrays.losses._loss import Loss
from bp_arrays.trees import Tree, described_tree, is_shape
from bp_arrays.typing import Array, Shape

Key = str | int
"""The name of an output in a dict, or its position in a tuple."""


@dataclass(frozen=True, init=False)
class CombinedLoss(Loss):
    """The weighted sum of a loss for each of several outputs: L = Σ_k λ_k L_k(y_k, t_k).

    Each output receives its own error, δ_k = λ_k ∂L_k/∂y_k. Targets are nested like the losses: a
    dict of them by name, or a tuple. Sample weights are shared by all losses.

    `fit` and `evaluate` record each loss as well, without its factor: of the output "size" as
    "size_loss", of the output at position 0 as "0_loss".

    Parameters
    ----------
    losses : dict of str to Loss, or tuple of Loss
        For a net whose output is a dict, or a tuple. Outputs of a dict without a loss are not
        trained and have no target.
    weights : dict of str to float, or sequence of float, optional
        The factors λ_k, finite and >= 0; by default, and for names that are missing, 1.

    Raises
    ------
    InputError
        If there is no loss, one is not a loss of one output, one is a mean and another a sum, or a
        weight has no loss, or all are 0; in training, for an unknown output.

    Notes
    -----
    The loss of an epoch is the mean over batches, each with its sample weights, or its number of
    rows. For losses that ignore targets or weigh classes, whose divisors are others, it
    differs slightly from the weighted sum of the recorded "..._loss", which are exact.

    Examples
    --------
    >>> import numpy as np
    >>> import bp_arrays as bp
    >>> loss = bp.CombinedLoss({"kind": bp.CrossEntropy(), "size": bp.Huber()}, {"size": 0.5})
    >>> heads = bp.Parallel(kind=bp.Linear(3), size=bp.Linear(1))
    >>> model = bp.Model(heads, 4, device="cpu", seed=0)
    >>> x, t = np.ones((6, 4)), {"kind": np.arange(6) % 3, "size": np.zeros((6, 1))}
    >>> history = bp.fit(model, x, t, loss=loss, optimizer=bp.SGD(0.1))
    >>> np.isclose(history["loss"][0], history["kind_loss"][0] + 0.5 * history["size_loss"][0])
    np.True_
    """

    losses: Mapping[str, Loss] | tuple[Loss, ...]
    weights: tuple[float, ...]
    """The factors in the order of the losses."""
    reduction: str = field(init=False)
    """That of the losses."""

    def __init__(self, losses: Any, weights: Any = None) -> None:
        losses = dict(losses) if isinstance(losses, Mapping) else losses
        if not isinstance(losses, (dict, tuple, list)) or not len(losses):
            expected = "a dict or a tuple of losses, one for each output"
            raise argument_error("CombinedLoss", "losses", losses, expected)
        losses = losses if isinstance(losses, dict) else tuple(losses)
        for key, loss in _items(losses):
            if not isinstance(loss, Loss) or isinstance(loss, CombinedLoss):
                advice = f"write {loss.__name__}()" if isinstance(loss, type) else ""
                where = f"losses[{key!r}]"
                raise argument_error("CombinedLoss", where, loss, "a loss of one output", advice)
        reductions = {loss.reduction for _, loss in _items(losses)}
        if len(reductions) > 1:
            raise InputError(
                "CombinedLoss: expected losses with the same reduction, got a mean and a sum"
            )
        object.__setattr__(self, "losses", losses)
        object.__setattr__(self, "weights", _factors(losses, weights))
        object.__setattr__(self, "reduction", reductions.pop())

    @property
    def uses_inputs(self) -> bool:  # type: ignore[override]
        """True if one of the losses does."""
        return any(loss.uses_inputs for _, loss in self.items())

    def __hash__(self) -> int:
        return hash((frozenset(self.items()), self.weights))  # a dict has no hash

    def __repr__(self) -> str:
        return f"CombinedLoss({self.losses!r}, weights={self.weights!r})"

    def items(self) -> Iterator[tuple[Key, Loss]]:
        """Yield the loss of each output with its name, or its position in a tuple."""
        return _items(self.losses)

    @property
    def is_separable(self) -> bool:
        return all(loss.is_separable for _, loss in self.items())

    def _direct(self, y: Any, t: Any, weight: Any) -> tuple[Tree, Tree, Any]:
        self._check_keys("y", y)
        self._check_keys("t", t)
        arrays: Tree = dict(_items(y))
        targets: Tree = {}
        for key, loss in self.items():
            arrays[key], targets[key], weights = loss._direct(y[key], t[key], weight)
        if isinstance(self.losses, dict):
            return arrays, targets, weights
        return tuple(arrays.values()), tuple(targets.values()), weights

    def _check_keys(self, name: str, tree: Any) -> None:
        """Raise InputError unless y or t of a direct call has an entry for each loss."""
        if isinstance(self.losses, dict):
            fits = isinstance(tree, dict) and all(key in tree for key in self.losses)
        else:
            fits = isinstance(tree, tuple) and len(tree) == len(self.losses)
        if not fits:
            got = described_tree(tree)
            raise array_error("CombinedLoss", name, described_losses(self), got)

    def forward(
        self,
        y: Tree,
        t: Tree,
        ctx: Context,
        weight: Array | None = None,
        shares: Array | None = None,
    ) -> tuple[Array, Callable[[], Tree]]:
        """Return the loss of a batch, and the function that returns δ of each output.

        Parameters
        ----------
        y : dict or tuple of arrays
        t : dict or tuple of arrays
            The targets of the outputs with a loss.
        ctx : Context
        weight : array (batch,), optional
            The weight of each sample.
        shares : array (losses,), optional
            A second factor of each loss, for the part of a larger batch: the divisors of its
            means need not be proportional.

        Returns
        -------
        value : 0-d array
        backward : function without arguments that returns δ nested like y, None for outputs
            without a loss
        """
        total: Any = None
        steps = []
        for k, ((key, loss), factor) in enumerate(zip(self.items(), self.weights, strict=True)):
            value, back = loss.forward(y[key], t[key], ctx, weight)
            if shares is not None:
                factor = factor * shares[k, ...]
            total = factor * value if total is None else total + factor * value
            steps.append((key, factor, back))

        def backward() -> Tree:
            # ∂L/∂y_k = λ_k ∂L_k/∂y_k
            deltas: Tree = {key: _times(factor, back(), ctx) for key, factor, back in steps}
            if isinstance(y, dict):
                return dict.fromkeys(y) | deltas
            return tuple(deltas.values())

        return total, backward

    def per_sample(self, y: Array, t: Array, ctx: Context) -> NoReturn:
        raise InputError("CombinedLoss: it has a value for each output, not for one array")

    def positions(self, y: Tree) -> Shape:
        return (*_first_shape(y)[:1],)

    def total_weight(self, t: Tree, y: Tree, ctx: Context, weight: Array | None) -> Any:
        """Return the weight of a batch in an epoch: of its samples, or its number of rows."""
        if weight is not None:
            return ctx.xp.sum(widened(weight, ctx.xp))
        key, _ = next(self.items())
        return float(y[key].shape[0])

    def check_outputs(self, output_shape: Tree) -> None:
        """Raise InputError unless the outputs of a net are those of the losses."""
        names = isinstance(self.losses, dict)
        if is_shape(output_shape) or isinstance(output_shape, dict) is not names:
            expected = f"a net whose output is {described_losses(self)}"
            raise array_error("CombinedLoss", "losses", expected, described_tree(output_shape))
        if not names and len(output_shape) != len(self.losses):
            expected = f"one loss for each of the {len(output_shape)} outputs of the net"
            raise array_error("CombinedLoss", "losses", expected, len(self.losses))
        for key, _ in self.items():
            if names and key not in output_shape:
                raise InputError(f"CombinedLoss: {unknown_name('output', str(key), output_shape)}")
            if not is_shape(output_shape[key]):
                got = described_tree(output_shape[key])
                raise array_error("CombinedLoss", f"losses[{key!r}]", "an output of one array", got)

    def check_shapes(self, y: Tree, t: Tree) -> None:
        for key, loss in self.items():
            loss.check_shapes(y[key], t[key])


def _times(factor: Any, delta: Array, ctx: Context) -> Array:
    if not isinstance(factor, float):
        factor = narrowed(factor, delta.dtype, ctx.xp)
    return factor * delta


def described_losses(loss: CombinedLoss) -> str:
    """Describe the outputs of the losses: "a dict of kind, size"."""
    if isinstance(loss.losses, dict):
        return f"a dict of {', '.join(map(str, loss.losses))}"
    return f"a tuple of {len(loss.losses)}"


def _items(losses: Any) -> Iterator[tuple[Key, Any]]:
    return iter(losses.items() if isinstance(losses, dict) else enumerate(losses))


def _factors(losses: Any, weights: Any) -> tuple[float, ...]:
    """Return the factor of each loss, checked."""
    keys = [key for key, _ in _items(losses)]
    if isinstance(weights, Mapping):
        for name in weights:
            if name not in keys:
                error = unknown_name("output", str(name), map(str, keys))
                raise InputError(f"CombinedLoss(weights=): {error}")
        weights = [weights.get(key, 1.0) for key in keys]
    elif weights is None:
        weights = [1.0] * len(keys)
    elif not isinstance(weights, (list, tuple)) or len(weights) != len(keys):
        expected = f"a dict, or {len(keys)} numbers, one for each loss"
        raise argument_error("CombinedLoss", "weights", weights, expected)
    factors = tuple(
        as_number("CombinedLoss", f"weights[{key!r}]", weight, at_least=0.0)
        for key, weight in zip(keys, weights, strict=True)
    )
    if not any(factors):
        raise argument_error("CombinedLoss", "weights", weights, "one of them > 0")
    return factors


def _first_shape(shapes: Tree) -> Any:
    while not is_shape(shapes):
        shapes = next(iter(shapes.values() if isinstance(shapes, dict) else shapes))
    return shapes
