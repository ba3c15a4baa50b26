"""`BatchSpec`: the specification of the inputs, targets and weights of a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from bp_arrays.devices import Device
from bp_arrays.errors import InputError
from bp_arrays.inputs._input_spec import Inputs
from bp_arrays.inputs._samples import (
    check_indices,
    check_not_empty,
    check_numbers,
    check_overflow,
    move_samples,
    read_samples,
    row_count,
    sample_dtypes,
)
from bp_arrays.inputs._targets import (
    check_counted,
    check_outputs,
    check_targets,
    check_weights,
    target_on_device,
    weight_dtype,
)
from bp_arrays.losses import CombinedLoss, Loss
from bp_arrays.trees import Tree, leaves
from bp_arrays.typing import Array, HostArray, Shape


class BatchSpec:
    """The specification of a batch: checks it and moves it to a device.

    Parameters
    ----------
    device : Device
    dtype : str
        Of numbers on the device.
    inputs : InputSpec, or tuple or dict of them, optional
        The specification of the samples; by default numbers of any shape.
    loss : Loss, optional
        The loss that the targets must suit; by default targets are optional, of any shape.
    output_shape : tuple of int, or tuple or dict of them, optional
        The shape of one sample of each output, with a loss.
    metrics : sequence of Metric, optional
        Metrics that the targets must suit, too.
    """

    def __init__(
        self,
        device: Device,
        dtype: str,
        inputs: Inputs | None = None,
        loss: Loss | None = None,
        output_shape: Tree = (),
        metrics: Sequence[Any] = (),
    ) -> None:
        self.device, self.dtype, self.inputs = device, dtype, inputs
        self.loss, self.output_shape, self.metrics = loss, output_shape, metrics
        device.require().dtype(dtype)
        check_outputs(loss, output_shape)

    @classmethod
    def of(cls, model: Any, loss: Loss, metrics: Sequence[Any] = ()) -> BatchSpec:
        """Return the specification of a batch for a model, a loss and metrics."""
        return cls(model.device, model.dtype, model.inputs, loss, model.output_shape, metrics)

    @property
    def positions(self) -> Shape:
        """The axes of a sample over which weights may be given: of a sequence, its time."""
        if self.loss is None or isinstance(self.loss, CombinedLoss):
            return ()
        return self.loss.weighted_positions((1, *self.output_shape))[1:]

    # -- data as a whole -----------------------------------------------------------------------

    def read(self, x: Any, what: str = "x") -> Tree:
        """Return samples as arrays where they are, all their values checked; not empty.

        Raises
        ------
        InputError, DeviceMismatchError
            If they do not fit `inputs`, are empty, or not finite.
        """
        samples = read_samples(x, self.inputs, self.device, what)
        check_not_empty(samples, what)
        check_numbers(samples, self.inputs, self.device, what)
        check_overflow(samples, self.inputs, self.dtype, what)
        check_indices(samples, self.inputs, self.device, what)
        return samples

    def has_targets(self, t: Any) -> bool:
        """Return True if there are targets.

        Raises
        ------
        InputError
            If there are none, but a loss, which needs them.
        """
        if t is None and self.loss is not None:
            raise InputError(
                "t: expected targets; without them, x must be bp.data.Batches or an iterable of "
                "batches (x, t)"
            )
        return t is not None

    def check_targets(self, t: Any, rows: int) -> tuple[Tree, Tree]:
        """Return targets on the host, checked, and the name of their dtype on the device."""
        return check_targets(
            t, rows, self.loss, self.output_shape, self.device, self.dtype, self.metrics
        )

    def check_weights(self, weight: Any, rows: int) -> HostArray:
        """Return sample weights on the host, checked; a batch may have the weight 0."""
        return check_weights(weight, rows, self.device, self.dtype, self.positions, self.metrics)

    def check_counted(self, t: Tree, weight: Any) -> None:
        """Raise InputError if each sample has the weight 0, by its own weight or by the loss.

        Parameters
        ----------
        t : array (rows, ...), or dict or tuple of arrays
            Targets on the host, checked.
        weight : array (rows, ...), or None
            As passed by the user.
        """
        assert self.loss is not None
        rows = len(next(leaves(t)))
        weights = None if weight is None else self.check_weights(weight, rows)
        check_counted(t, weights, self.loss, self.output_shape, self.dtype)

    # -- batch by batch ------------------------------------------------------------------------

    def move(self, samples: Tree) -> Tree:
        """Return samples that were read and checked, on the device."""
        return move_samples(samples, self.inputs, self.device, self.dtype)

    def dtypes(self, samples: Tree) -> Tree:
        """Return the name of the dtype of each input on the device."""
        return sample_dtypes(samples, self.inputs, self.device, self.dtype)

    def batch_samples(self, x: Any, what: str = "x") -> Tree:
        """Return a batch of samples, checked, on the device.

        Numbers on an accelerator are not checked, which would wait for it: the loss will not be
        finite either.
        """
        samples = read_samples(x, self.inputs, self.device, what)
        check_not_empty(samples, what)
        check_numbers(samples, self.inputs, None, what)
        check_overflow(samples, self.inputs, self.dtype, what)
        check_indices(samples, self.inputs, self.device, what)
        return self.move(samples)

    def batch_targets(self, t: Any, rows: int) -> Tree:
        """Return a batch of targets, checked, on the device; None stays None."""
        if not self.has_targets(t):
            return None
        host, dtype = self.check_targets(t, rows)
        return target_on_device(t, host, self.device, dtype)

    def batch_weights(self, weight: Any, rows: int) -> Array | None:
        """Return a batch of sample weights, checked, on the device; None stays None."""
        if weight is None:
            return None
        host = self.check_weights(weight, rows)
        return target_on_device(weight, host, self.device, weight_dtype(self.dtype))

    def batch(self, x: Any, t: Any = None, weight: Any = None) -> tuple[Tree, Any, Any]:
        """Return the samples, targets and weights of a batch, checked, on the device."""
        samples = self.batch_samples(x)
        rows = row_count(samples)
        return samples, self.batch_targets(t, rows), self.batch_weights(weight, rows)


@runtime_checkable
class SampleBatches(Protocol):
    """The protocol of an object that yields samples in batches: `bp.data.Batches`."""

    def samples(self, spec: BatchSpec) -> Iterator[Tree]:
        """Yield the samples in order, on the device of a specification, checked against it."""
