"""`Model`: a network with its parameters, one vector on one device."""

from __future__ import annotations

import logging
import operator
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np

from bp_arrays import formats
from bp_arrays.checks import argument_error, array_error, as_integer
from bp_arrays.devices import Device, device as find_device, device_of, memory_advice
from bp_arrays.errors import InputError, unknown_name
from bp_arrays.files import write_atomically
from bp_arrays.formats import (
    COMPUTE_DTYPES,
    LOSS_SCALING,
    MONITORED,
    STORED_AS,
    Header,
    encode,
    vector_names,
)
from bp_arrays.inputs import (
    BatchSpec,
    Inputs,
    InputSpec,
    SampleBatches,
    array_of_device,
    as_inputs,
    as_numpy,
    check_indices,
    check_masks,
    check_overflow,
    describe_location,
    described,
    error_on_device,
    is_frame,
    is_host_data,
    is_iterable_of_batches,
    is_on_host,
    kind_of,
    move_samples,
    moved_to_device,
    only_output,
    only_shape,
    prepare_weights,
    read_samples,
    row_count,
    samples_to_device,
    shapes_of,
    target_on_device,
)
from bp_arrays.layers import Context, InPrecision, Layer, Parameter, walk
from bp_arrays.losses import Loss
from bp_arrays.model._index_inputs import check_index_inputs
from bp_arrays.model._jacobian import complete_gradient, jacobian
from bp_arrays.model._layout import Entry, Layout
from bp_arrays.model._objective import Objective
from bp_arrays.model._parameters import NamedParameters
from bp_arrays.model._prediction import (
    Prediction,
    activated,
    checked_activation,
    members_of,
    prediction_of,
)
from bp_arrays.model._summary import Summary, summary_of
from bp_arrays.optimizers import EMA, Optimizer, TrainingState, scales_loss
from bp_arrays.random import BatchPart, Stream, checked_seed, host_generator
from bp_arrays.tables import TABLE_KEY, TableSpec, frame_samples
from bp_arrays.trees import Tree, leaves, map_tree
from bp_arrays.typing import Array, Namespace, ParameterTree, Shape, StateUpdates

logger = logging.getLogger(__name__)

PREDICTION_ROWS = 8192
"""The default batch size of `predict`, which bounds the memory of activations."""


class Model:
    """A network with its parameters, on a device, in a dtype.

    Parameters
    ----------
    net : Layer
        The network, usually a `Sequential`.
    input_shape : int, tuple of int, InputSpec, or tuple or dict of them
        The shape of one sample, without the batch. Use an `InputSpec` for an input of indices; a
        tuple or dict, such as {"ids": bp.InputSpec(8, "index"), "age": 1}, for a net of several
        inputs, whose first layer then receives a tuple or dict of arrays.
    device : str or Device, default "auto"
        The device of the parameters: "cpu", "cuda", "cuda:1", "torch:cpu", "jax:cpu", ...; "auto"
        uses CUDA if a test computation succeeds, else the CPU.
    dtype : str, default "float32"
        "float32" or "float64"; "float16" or "bfloat16" if the device has them.
    seed : int, default 0
        Seed of the initial weights, which are drawn on the host and the same on every device.
    compute_dtype : str, optional
        "bfloat16" or "float16" for mixed precision, if the device has it: the layers compute in
        it, while parameters, losses, gradients and updates stay in float32, the dtype of the
        model and of its outputs.

    Raises
    ------
    InputError
        If the layers do not fit each other or the input, or the device lacks the dtype; for a
        compute_dtype with another dtype than float32.
    DeviceUnavailableError
        If the device cannot compute on this machine; the message says why and what to do.

    Attributes
    ----------
    inputs : InputSpec, or tuple or dict of them
        The specification of each input.
    input_shape : tuple of int, or tuple or dict of them
        The shape of one sample of each input.
    output_shape : tuple of int, or tuple or dict of them
        The shape of one sample of each output.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> net = bp.Sequential(bp.Linear(3), bp.Sigmoid(), bp.Linear(2), bp.Sigmoid())
    >>> model = bp.Model(net, input_shape=(2,), device="cpu", dtype="float64", seed=0)
    >>> value, gradients = model.gradients([[0.1, 0.2]], [[0.0, 1.0]], bp.L2Loss())
    >>> gradients["0.weight"].shape
    (2, 3)
    """

    def __init__(
        self,
        net: Layer,
        input_shape: Any,
        *,
        device: str | Device = "auto",
        dtype: str = "float32",
        seed: int = 0,
        compute_dtype: str | None = None,
    ) -> None:
        def draw(entry: Entry) -> np.ndarray[Any, Any]:
            generator = host_generator(seed, *entry.path)
            return np.asarray(entry.parameter.initializer.draw(entry.shape, generator))

        self._assemble(net, input_shape, find_device(device), dtype, compute_dtype, seed, draw)

    @classmethod
    def from_values(
        cls,
        net: Layer,
        input_shape: Any,
        values: Callable[[Entry], np.ndarray[Any, Any]],
        *,
        device: str | Device = "auto",
        dtype: str = "float32",
        compute_dtype: str | None = None,
    ) -> Model:
        """Return a model whose parameters are `values(entry)` instead of drawn ones."""
        model = cls.__new__(cls)
        model._assemble(net, input_shape, find_device(device), dtype, compute_dtype, 0, values)
        return model

    def _assemble(
        self,
        net: Layer,
        input_shape: Any,
        device: Device,
        dtype: str,
        compute_dtype: str | None,
        seed: int,
        values: Callable[[Entry], np.ndarray[Any, Any]],
    ) -> None:
        if not isinstance(net, Layer):
            raise argument_error("Model", "net", net, "a layer such as Sequential(...)")
        self.net = net
        self.inputs = as_inputs(input_shape)
        self.device = device.require()
        self.dtype = str(dtype)
        if self.dtype not in STORED_AS:
            raise argument_error("Model", "dtype", self.dtype, f"one of {', '.join(STORED_AS)}")
        self.compute_dtype = check_compute_dtype("Model", compute_dtype, self.dtype)
        self.seed = seed
        self.metadata: dict[str, str] = {}
        self.training_state: Any = None
        self.layout, self.output_shape = _laid_out(net, self.inputs)
        self.inputs = _with_sizes(self.inputs, net)
        self.input_shape: Any = shapes_of(self.inputs)
        device.dtype(self.dtype)  # raises if the device lacks it, before weights are drawn
        self.computed_net = self._net_on(device)

        def checked(entry: Entry) -> np.ndarray[Any, Any]:
            value = values(entry)
            _check_sign(entry.parameter, value, entry.name, self.dtype)
            return value

        self._theta, self._state = (
            device.asarray(_fill(entries, checked), self.dtype)
            for entries in (self.layout.trainable, self.layout.fixed)
        )
        self._theta_is_shared = self._state_is_shared = False

    def _net_on(self, device: Device) -> Layer:
        """Return the net as passes run it on a device: in mixed precision, within `InPrecision`.

        Raises
        ------
        InputError
            If the device lacks the compute dtype.
        """
        if self.compute_dtype is None:
            return self.net
        try:
            return InPrecision(self.net, device.dtype(self.compute_dtype), self.scales_loss)
        except InputError as error:
            raise InputError(
                f"compute_dtype: {error}; leave it out, or load(path, compute_dtype=None), to "
                "compute in float32"
            ) from None

    def __copy__(self) -> Model:
        """Return a model with the same parameters; training one leaves the other as it is."""
        copied = Model.__new__(Model)
        vars(copied).update(vars(self))
        for model in (self, copied):
            model._theta_is_shared = model._state_is_shared = True
        state = self.training_state
        if state is not None:
            copied.training_state = state.moved_to(self.device, self.dtype, self.compute_dtype)
        return copied

    def without_parameters(self) -> Model:
        """Return the net, device and dtype of this model without arrays: enough for `context`."""
        bare = Model.__new__(Model)
        for name in ("net", "inputs", "layout", "device", "dtype", "compute_dtype", "seed"):
            setattr(bare, name, getattr(self, name))
        return bare

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a pickled model, on its device: CuPy unpickles arrays on the current one."""

        def moved(array: Array) -> Array:
            return array if self.device.owns(array) else self.device.asarray(array)

        earlier = {"compute_dtype": None, "computed_net": state["net"]}  # pickled before these
        vars(self).update(earlier | state)
        self._theta, self._state = moved(self._theta), moved(self._state)
        if self.training_state is not None:
            arrays = tuple(map(moved, self.training_state.arrays))
            self.training_state = self.training_state.after(arrays, self.training_state.step)

    # -- parameters --------------------------------------------------------------------------

    @property
    def parameters(self) -> NamedParameters:
        """Every parameter by name, on the model's device: {"0.weight": ..., "0.bias": ...}.

        Assigning to a name sets it: `model.parameters["0.weight"] -= 0.1 * g`.
        """
        return NamedParameters(self)

    @parameters.setter
    def parameters(self, values: Mapping[str, Any]) -> None:
        if not (isinstance(values, NamedParameters) and values.belongs_to(self)):  # after |=
            self.parameters.update(values)

    def parameter(self, entry: Entry) -> Array:
        """Return one parameter as a view of its vector; `parameters` returns it by name."""
        vector = self.vector if entry.parameter.trainable else self.state_vector
        with self.device.activate():
            return self.layout.part(vector, entry, self.device.xp)

    @property
    def vector(self) -> Array:
        """All trainable parameters as one vector, in the order of `layout.trainable`."""
        self._theta_is_shared = True
        return self._theta

    @vector.setter
    def vector(self, theta: Array) -> None:
        self._check_vector("vector", theta, self._theta)
        self._theta, self._theta_is_shared = self.device.detached(theta), True

    @property
    def state_vector(self) -> Array:
        """All non-trainable parameters, such as running statistics, as one vector."""
        self._state_is_shared = True
        return self._state

    @state_vector.setter
    def state_vector(self, state: Array) -> None:
        self._check_vector("state_vector", state, self._state)
        for entry in self.layout.fixed:
            if entry.parameter.positive or entry.parameter.non_negative:
                part = self.device.to_numpy(state[entry.offset : entry.offset + entry.size])
                _check_sign(entry.parameter, part.reshape(entry.shape), entry.name, self.dtype)
        self._state, self._state_is_shared = self.device.detached(state), True

    def _check_vector(self, name: str, vector: Any, current: Array) -> None:
        """Raise InputError unless a vector has the shape, dtype and device of the current one."""
        device, shape = self.device, tuple(current.shape)
        if not device.owns(vector) or vector.shape != shape or vector.dtype != current.dtype:
            raise InputError(
                f"Model.{name}: expected an array of shape {shape}, dtype {self.dtype}, "
                f"on device {str(device)!r}, got {_described(vector)}; use set_parameters for host "
                "data by name"
            )

    def set_vectors(self, theta: Array, state: Array) -> None:
        """Set `vector` and `state_vector` to vectors computed from them, as a training step does.

        Nothing is checked: reading a scale on the host would wait for the device in every step.
        """
        self._theta, self._state = map(self.device.detached, (theta, state))
        self._theta_is_shared = self._state_is_shared = True

    def current_vectors(self) -> tuple[Array, Array]:
        """Return `vector` and `state_vector` for immediate use: training may overwrite them."""
        return self._theta, self._state

    def own_vectors(self) -> tuple[Array, Array]:
        """Return `vector` and `state_vector` in memory that nobody else refers to, to write to.

        Arrays returned earlier, as `vector`, `parameters` or in `backward` functions, keep their
        values: if there are any, the model continues with a copy.
        """
        if self._theta_is_shared:
            self._theta = self.device.asarray(self._theta, self.dtype)
        if self._state_is_shared:
            self._state = self.device.asarray(self._state, self.dtype)
        self._theta_is_shared = self._state_is_shared = False
        return self._theta, self._state

    @property
    def parameter_count(self) -> int:
        """The number of trainable values."""
        return self.layout.trainable_size

    def set_parameters(self, values: Mapping[str, Any], *, finite: bool = False) -> None:
        """Replace the named parameters; none of them if one does not fit.

        `model.parameters[name] = value` sets one, and refuses numbers that are not finite.

        Parameters
        ----------
        values : mapping of str to array
            Host data, or arrays on the model's device, of the parameter's shape.
        finite : bool, default False
            Whether to refuse NaN and infinity.

        Raises
        ------
        InputError, DeviceMismatchError
            For an unknown name, another shape, another device, or a scale that is not > 0; with
            finite=True for numbers that are not finite in the model's dtype.
        """
        if not isinstance(values, Mapping):
            raise argument_error("set_parameters", "values", values, "arrays by name, a dict")
        named = {entry.name: entry for entry in self.layout.entries}
        arrays: dict[str, Array] = {}
        with self.device.activate():
            for name, value in values.items():
                if name not in named:
                    raise unknown_name("parameter", name, named)
                arrays[name] = self._parameter_value(named[name], value, finite)
            xp = self.device.xp
            theta, state = (
                self.layout.with_values(vector, entries, arrays, xp)
                for vector, entries in zip(
                    self.current_vectors(), (self.layout.trainable, self.layout.fixed), strict=True
                )
            )
        self.set_vectors(theta, state)

    def _parameter_value(self, entry: Entry, value: Any, finite: bool) -> Array:
        """Return a checked value of a parameter on the device, in the model's dtype."""
        name, device = entry.name, self.device
        host = is_host_data(value)
        array = as_numpy(value, name) if host else array_of_device(value, device, name)
        if tuple(array.shape) != entry.shape:
            raise InputError(f"{name}: expected shape {entry.shape}, got {tuple(array.shape)}")
        if entry.parameter.positive or entry.parameter.non_negative:
            _check_sign(entry.parameter, as_numpy(array, name, device), name, self.dtype)
        with np.errstate(over="ignore"):  # told in a sentence below, or meant
            stored = (
                device.asarray(array, self.dtype)
                if host
                else device.xp.astype(array, device.dtype(self.dtype))
            )
        if finite and not bool(device.xp.all(device.xp.isfinite(stored))):
            index = tuple(map(int, np.argwhere(~np.isfinite(device.to_numpy(stored)))[0]))
            raise InputError(
                f"{describe_location(name, index)}: expected a number that is finite in "
                f"{self.dtype}, got {as_numpy(array, name, device)[index]}; if an update diverges, "
                "use a smaller learning rate"
            )
        return stored

    def host_parameters(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return every parameter by name, as a copy in NumPy."""
        theta, state = map(self.device.to_numpy, self.current_vectors())
        return self.layout.named(theta, state, np)

    def tree(self, theta: Array | None = None) -> ParameterTree:
        """Return the parameters nested as the layers expect them, with θ = `theta` if passed."""
        vector = self.vector if theta is None else theta
        return self.layout.tree(vector, self.state_vector, self.device.xp)

    # -- forward and backward ----------------------------------------------------------------

    def context(
        self,
        *,
        training: bool,
        needs_input_gradient: bool,
        needs_parameter_gradients: bool = True,
        step: Any = 0,
        seed: int | None = None,
        xp: Namespace | None = None,
        traced: bool = False,
        constants: dict[Any, Array] | None = None,
        sum_dtype: Any = None,
        part: BatchPart | None = None,
    ) -> Context:
        """Return the context of one pass of this model.

        Parameters
        ----------
        training : bool
            Whether layers such as Dropout act and running statistics change.
        needs_input_gradient : bool
            Whether the derivative by the input is needed.
        needs_parameter_gradients : bool, default True
            Whether the derivatives by the parameters are needed.
        step : int or 0-d array, default 0
            The number of updates before this pass; it selects the random numbers.
        seed : int, optional
            Seed of the random numbers; by default the model's.
        xp : namespace, optional
            The array functions to use; by default the device's.
        traced : bool, default False
            Whether a compiler traces the pass and chooses the device of new arrays.
        constants : dict, optional
            The cache of `Context.constant`.
        sum_dtype : dtype, optional
            As `Context.sum_dtype`.
        part : BatchPart, optional
            The batch of whose rows this pass computes some, for the random numbers.
        """
        xp = self.device.xp if xp is None else xp
        native = None if traced else self.device.native
        random: Stream | None = None
        updates: StateUpdates | None = None
        if training:
            random = Stream(xp, native, self.seed if seed is None else seed, step, part)
            updates = {}
        return Context(
            xp,
            native,
            training,
            needs_input_gradient,
            needs_parameter_gradients,
            random,
            state_updates=updates,
            constants=constants,
            sum_dtype=sum_dtype,
        )

    def forward(
        self, x: Any, training: bool = False, *, step: int = 0, seed: int | None = None
    ) -> tuple[Tree, Callable[[Tree], tuple[Tree, dict[str, Array]]]]:
        """Return the output y for a batch x, and the function that propagates an error back.

        Parameters
        ----------
        x : array (batch, *input_shape), or tuple or dict of arrays
            Host data, or arrays on the model's device.
        training : bool, default False
            Whether layers such as Dropout act. Running statistics do not change: `bp.fit` and
            `bp.Trainer` change them.
        step : int, default 0
            With training=True, the number of updates before this pass, >= 0: it selects the masks
            of Dropout. Another step has other masks; the same step has the same ones.
        seed : int, optional
            Seed of the masks; by default the model's. `fit` has one of its own, by default 0.

        Returns
        -------
        y : array (batch, *output_shape), on the model's device; a tuple or dict of several outputs
        backward : function
            Takes δ = ∂L/∂y, returns ∂L/∂x and the gradients by the parameters' names. For several
            inputs ∂L/∂x is a tuple or dict, as the first layer returns it, None for indices. For
            several outputs δ is a tuple or dict like y, None where an error is zero.

        Raises
        ------
        InputError, DeviceMismatchError
            If x or δ has the wrong shape or dtype, or is on another device; for a negative step.
        OutOfMemoryError
            If the batch needs more memory than there is, in either pass.

        Examples
        --------
        Monte Carlo dropout: the mean and the spread of passes with different masks.

        >>> import numpy as np
        >>> import bp_arrays as bp
        >>> net = bp.Sequential(bp.Linear(8), bp.Tanh(), bp.Dropout(0.5), bp.Linear(1))
        >>> model = bp.Model(net, input_shape=2, device="cpu", seed=0)
        >>> samples = [model.forward([[1.0, 2.0]], training=True, step=k)[0] for k in range(50)]
        >>> np.stack(samples).std(axis=0)[0, 0] > 0.1
        np.True_
        """
        device, options = self.device, _random_options("forward", step, seed)
        with device.activate(), _one_batch_advice("forward", device):
            x = samples_to_device(x, self.inputs, device, self.dtype)
            context = self.context(training=training, needs_input_gradient=True, **options)
            theta = self.vector
            y, net_backward = self.computed_net.forward(self.tree(theta), x, context)

        def backward(delta: Tree) -> tuple[Tree, dict[str, Array]]:
            with device.activate(), _one_batch_advice("backward", device):
                delta = error_on_device(delta, y, device, self.dtype)
                dx, gradients = net_backward(delta)
                named = self.layout.names(gradients, theta, device.xp)
            return dx, named

        return y, backward

    def gradients(
        self,
        x: Any,
        t: Any,
        loss: Loss,
        *,
        sample_weight: Any = None,
        training: bool = True,
        step: int = 0,
        seed: int | None = None,
    ) -> tuple[Array, dict[str, Array]]:
        """Return the loss of a batch and its derivative by every trainable parameter.

        Parameters
        ----------
        x : array (batch, *input_shape), or tuple or dict of arrays
        t : array, or dict or tuple of arrays
            Targets, as the loss expects them.
        loss : Loss
        sample_weight : array (batch,), optional
        training : bool, default True
            Whether layers such as Dropout act.
        step, seed : int
            As for `forward`: by default the masks are those of the first step of a training run.

        Returns
        -------
        value : 0-d array on the model's device
        gradients : dict of str to array
            By the names of `parameters`; `update` takes them.

        Raises
        ------
        InputError, DeviceMismatchError
            If x, t or the weights do not fit the model and the loss, or each sample has the
            weight 0.
        OutOfMemoryError
            If the batch needs more memory than there is.
        """
        if not isinstance(loss, Loss):
            raise argument_error("gradients", "loss", loss, "a loss such as CrossEntropy()")
        options = _random_options("gradients", step, seed)
        device = self.device
        with device.activate(), _one_batch_advice("gradients", device):
            x = samples_to_device(x, self.inputs, device, self.dtype)
            rows = row_count(x)
            spec = BatchSpec.of(self, loss)
            host, t_dtype = spec.check_targets(t, rows)
            weight = prepare_weights(sample_weight, rows, device, self.dtype, spec.positions)
            if rows:
                spec.check_counted(host, sample_weight)
            t = target_on_device(t, host, device, t_dtype)
            context = self.context(training=training, needs_input_gradient=False, **options)
            objective = Objective(self.computed_net, self.layout, loss)
            result = objective.gradient(self.vector, self.state_vector, (x, t, weight), context)
            return result.loss, self.layout.named_gradients(result.g, device.xp)

    def jacobian(self, x: Any) -> Tree:
        """Return the derivatives of every output by every input, for each sample of a batch.

        J[n, k, i] = ∂y_nk/∂x_ni, of what `predict` computes: Dropout is off, and BatchNorm uses its
        running values. One forward pass, and backward passes that propagate the errors of many
        outputs at once; no gradients of the weights are computed. For few inputs and very many
        outputs, differences in x may take less time.

        Parameters
        ----------
        x : array (batch, *input_shape), tuple or dict of arrays, bp.data.Batches, or iterable
            As for `predict`.

        Returns
        -------
        array (batch, *output_shape, *input_shape)
            NumPy for host data, else on the model's device. Of several inputs, a tuple or dict of
            such arrays, in which indices, which have no derivative, are None. Of several outputs,
            a tuple or dict of all that, one for each output.

        Raises
        ------
        InputError, DeviceMismatchError
            As `predict`; if all inputs are indices.

        Notes
        -----
        A custom layer that lets the samples of a batch depend on each other, outside of training,
        has a derivative that this shape cannot hold.

        Examples
        --------
        >>> import bp_arrays as bp
        >>> model = bp.Model(bp.Linear(3), input_shape=2, device="cpu", seed=0)
        >>> jacobian = model.jacobian([[0.1, 0.2], [0.3, 0.4]])
        >>> jacobian.shape, bool((jacobian[1] == model.parameters["weight"].T).all())
        ((2, 3, 2), True)
        """
        self._check_differentiable("jacobian")
        return self._over_batches(
            "jacobian",
            x,
            None,
            lambda params, batch, ctx: jacobian(
                self.computed_net, params, batch, self.output_shape, ctx
            ),
            needs_input_gradient=True,
        )

    def input_gradient(self, x: Any, delta: Any) -> Tree:
        """Return ∂L/∂x for an error δ = ∂L/∂y at the output, without gradients of the weights.

        The derivatives of what `predict` computes, in one forward and one backward pass: for
        saliency maps, adversarial inputs, or the product of a vector with the Jacobian.

        Parameters
        ----------
        x : array (batch, *input_shape), or tuple or dict of arrays
            Host data, or arrays on the model's device.
        delta : array (batch, *output_shape), or tuple or dict of arrays like the outputs
            Host data, or on the model's device; None for an output whose error is zero.

        Returns
        -------
        array of the shape of x, or tuple or dict of them
            NumPy for host data, else on the model's device; None for indices.

        Raises
        ------
        InputError, DeviceMismatchError
            If x or δ has the wrong shape or dtype, or is on another device; if all inputs are
            indices.

        Examples
        --------
        >>> import bp_arrays as bp
        >>> model = bp.Model(bp.Linear(3), input_shape=2, device="cpu", seed=0)
        >>> dx = model.input_gradient([[0.1, 0.2]], [[1.0, 0.0, 0.0]])
        >>> bool((dx[0] == model.parameters["weight"][:, 0]).all())
        True
        """
        self._check_differentiable("input_gradient")
        device = self.device
        with device.activate(), np.errstate(under="ignore"):
            samples = read_samples(x, self.inputs, device)
            to_host = is_on_host(samples)
            samples = samples_to_device(x, self.inputs, device, self.dtype)
            context = self.context(
                training=False, needs_input_gradient=True, needs_parameter_gradients=False
            )
            params = self.layout.tree(*self.current_vectors(), device.xp)
            y, backward = self.computed_net.forward(params, samples, context)
            dx, _ = backward(error_on_device(delta, y, device, self.dtype))
            dx = complete_gradient(dx, samples, device.xp)
            return map_tree(device.to_numpy, dx) if to_host else dx

    def _check_differentiable(self, method: str) -> None:
        if all(spec.is_index for spec in leaves(self.inputs)):
            raise InputError(
                f"{method}: expected a model with an input of numbers, got {described(self.inputs)}"
                "; indices have no derivative. For that by the vectors of an Embedding, make a "
                "model of the layers after it"
            )

    def flatten(self, gradients: Mapping[str, Array]) -> Array:
        """Return gradients by name as one vector in the order of `vector`.

        Parameters
        ----------
        gradients : mapping of str to array
            One for each trainable parameter, as `gradients` and a `backward` return them.

        Raises
        ------
        InputError
            For a parameter without a gradient, or a gradient of another shape.
        """
        return self.layout.flatten(gradients, self.device.xp)

    def update(self, optimizer: Optimizer, gradients: Mapping[str, Array]) -> None:
        """Change the parameters by one update of an optimizer, as one step of `fit` does.

        Called again with the same optimizer object, it continues: its state and the number of
        updates are in `training_state`, so that a loop, `fit`, `bp.Trainer` and a saved file can
        follow each other. With another optimizer object it starts over.

        Parameters
        ----------
        optimizer : Optimizer
        gradients : mapping of str to array
            One for each trainable parameter, on the model's device or the host, as `gradients` and
            the function `backward` of `forward` return them, or any others of these shapes.

        Raises
        ------
        InputError, DeviceMismatchError
            For another type of optimizer, an unknown name, a parameter without a gradient, or a
            gradient of another shape or on another device; the model is then unchanged.

        Notes
        -----
        Gradients are not checked for NaN, which would wait for the device: look at the loss. A
        learning rate by `ReduceOnPlateau` stays as it is, as only `fit` knows epochs. Running
        statistics, such as those of BatchNorm, do not change: use `bp.Trainer` for them.

        Examples
        --------
        >>> import bp_arrays as bp
        >>> model = bp.Model(bp.Linear(1), input_shape=1, device="cpu", seed=0)
        >>> loss, optimizer = bp.L2Loss(), bp.SGD(0.5)
        >>> for step in range(200):
        ...     value, gradients = model.gradients([[0.0], [1.0]], [[1.0], [3.0]], loss, step=step)
        ...     model.update(optimizer, gradients)
        >>> float(value) < 1e-6, model.training_state.step
        (True, 200)
        """
        if not isinstance(optimizer, Optimizer):
            raise argument_error("update", "optimizer", optimizer, "an optimizer such as SGD(0.1)")
        device, (theta, others) = self.device, self.current_vectors()
        # an overflow makes the loss infinite, and an underflow to 0 is meant: no warning needed
        with device.activate(), np.errstate(over="ignore", under="ignore", invalid="ignore"):
            g = self.layout.flatten(self._moved_gradients(gradients), device.xp)
            state: TrainingState | None = self.training_state
            if state is not None and state.optimizer is optimizer:
                self.use_trained()
                theta, state = self._theta, self.training_state
            else:
                state = TrainingState.first(optimizer, theta, device, self.compute_dtype)
            scalars = optimizer.scalars(state.step + 1, optimizer.rate(state.step, state.monitored))
            theta, vectors = optimizer.update(theta, g, state.vectors, scalars, device.xp)
        self.set_vectors(theta, others)
        self.training_state = replace(state, vectors=vectors, step=state.step + 1)

    def use_averages(self) -> None:
        """Use the averages of `EMA` as the parameters, if the model is trained by it.

        For a custom loop, before validation and at the end; `fit` does so after each epoch. The
        next update continues from the trained parameters, see `use_trained`. A model that is not
        trained by `EMA`, or uses the averages already, stays as it is.

        Examples
        --------
        >>> import bp_arrays as bp
        >>> model = bp.Model(bp.Linear(1, bias=False), input_shape=1, device="cpu", seed=0)
        >>> optimizer = bp.EMA(bp.SGD(1.0), decay=0.5)
        >>> for weight in (2.0, 5.0):
        ...     g = model.parameters["weight"] - weight
        ...     model.update(optimizer, {"weight": g})
        >>> model.use_averages()
        >>> model.parameters["weight"].tolist()  # (0.5 · 2 + 5) / 1.5
        [[4.0]]
        >>> model.use_trained()
        >>> model.parameters["weight"].tolist()
        [[5.0]]
        """
        self._exchange_averages(averaged=True)

    def use_trained(self) -> None:
        """Use the parameters as trained again, after `use_averages` or a `fit` with `EMA`.

        Training does so before its next update: parameters that were set in between are taken
        for the averages.
        """
        self._exchange_averages(averaged=False)

    def _exchange_averages(self, *, averaged: bool) -> None:
        """Exchange θ and the last vector of an `EMA`, unless that is done already."""
        state: TrainingState | None = self.training_state
        if state is None or not isinstance(state.optimizer, EMA) or state.averaged == averaged:
            return
        device, xp = self.device, self.device.xp
        *vectors, other = state.vectors
        with device.activate():  # copies, as training may overwrite the vectors and θ in place
            own = xp.astype(self._theta, other.dtype, copy=True)
            theta = xp.astype(other, self._theta.dtype, copy=True)
        self.set_vectors(theta, self._state)
        self.training_state = replace(state, vectors=(*vectors, own), averaged=averaged)

    def _moved_gradients(self, gradients: Any) -> dict[str, Array]:
        """Return gradients by name on the device, in the model's dtype."""
        if not isinstance(gradients, Mapping):
            expected = "a mapping of names to arrays, as Model.gradients returns second"
            raise array_error("update", "gradients", expected, kind_of(gradients))
        names = {entry.name: entry.shape for entry in self.layout.trainable}
        moved = {}
        for name, gradient in gradients.items():
            if name not in names:
                raise unknown_name("trainable parameter", str(name), names)
            what = f"gradients[{name!r}]"
            if is_host_data(gradient):
                array = as_numpy(gradient, what)
            else:
                array = array_of_device(gradient, self.device, what)
            array = moved_to_device(array, self.device, self.dtype)
            if tuple(array.shape) != names[name]:
                got = tuple(array.shape)
                raise array_error("update", what, f"shape {names[name]}", got)
            moved[name] = array
        return moved

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        *,
        spread: bool = False,
        activation: Layer | Tree = None,
    ) -> Tree:
        """Return the output for each row of x: NumPy for host data, else on the model's device.

        Of a net of several outputs it is a tuple or dict of arrays.

        Parameters
        ----------
        x : array (batch, *input_shape), tuple or dict of arrays, bp.data.Batches, or iterable
            A tuple or dict for a net of several inputs. An iterable yields batches: samples, or
            tuples of which only the first element is used, so that training data can be passed.
            `bp.data.Batches` are not shuffled; for them the output is NumPy.
        batch_size : int, optional
            Rows of an array per forward pass; 8192 by default.
        spread : bool, default False
            Whether to return the mean and the spread over the members of an `Ensemble` instead of
            the outputs of each. They are those of the outputs as they are: of logits, pass
            `activation`.
        activation : Layer, optional
            A layer without parameters that is applied to the outputs, to those of each member
            before they are averaged: `Softmax()` turns the logits of CrossEntropy into
            probabilities, `Sigmoid()` those of BinaryCrossEntropy. Of several outputs, a tuple or
            dict of layers, or one for all.

        Returns
        -------
        array (batch, *output_shape), or tuple or dict of arrays
            With spread=True a `Prediction`, to unpack as mean and spread, each without the axis of
            the members. Of several outputs, both are tuples or dicts; an output that is of no
            ensemble is its mean, and its spread is None.

        Raises
        ------
        InputError, DeviceMismatchError
            If x has the wrong shape, does not hold real numbers, has numbers beyond the model's
            dtype, or is on another device; if one batch is host data and another is not; with
            spread=True if the net does not end in an `Ensemble`.

        Examples
        --------
        >>> import bp_arrays as bp
        >>> model = bp.Model(bp.Ensemble(bp.Linear(3), 5), input_shape=2, device="cpu", seed=0)
        >>> mean, spread = model.predict([[0.1, 0.2]], spread=True, activation=bp.Softmax())
        >>> mean.shape, spread.shape, round(float(mean.sum()), 6)
        ((1, 3), (1, 3), 1.0)
        """
        if not isinstance(spread, bool):
            raise argument_error("predict", "spread", spread, "True or False")
        of_members = members_of(self.net, self.output_shape) if spread else None
        activation = checked_activation(activation, self.output_shape)

        def outputs(params: ParameterTree, batch: Tree, context: Context) -> Tree:
            y = activated(self.computed_net.forward(params, batch, context)[0], activation, context)
            return prediction_of(y, of_members, context.xp) if spread else y

        y = self._over_batches("predict", x, batch_size, outputs, needs_input_gradient=False)
        return Prediction(*y) if spread else y

    def _over_batches(
        self,
        method: str,
        x: Any,
        batch_size: int | None,
        function: Callable[[ParameterTree, Tree, Context], Tree],
        *,
        needs_input_gradient: bool,
    ) -> Tree:
        """Return function(params, batch, context) of all batches of x, in one array or tree.

        On the host for host data. `function` does not compute gradients of parameters.
        """
        device = self.device
        x = self._frame_as_rows(method, x)
        # an underflow to 0 is intended, whatever np.seterr was set to
        with device.activate(), np.errstate(under="ignore"):
            to_host, batches = self._batches(x, batch_size)
            context = self.context(
                training=False,
                needs_input_gradient=needs_input_gradient,
                needs_parameter_gradients=False,
            )
            params = self.layout.tree(*self.current_vectors(), device.xp)
            outputs: list[Tree] = []
            with memory_advice(method, device, batch_size, "The model is unchanged"):
                for batch in batches:
                    y = function(params, batch, context)
                    outputs.append(map_tree(device.to_numpy, y) if to_host else y)
        if not outputs:
            raise InputError(f"{method}(x=): expected at least one batch, got an empty iterable")
        if len(outputs) == 1:
            return outputs[0]
        xp = np if to_host else device.xp
        with device.activate():
            return map_tree(lambda *parts: xp.concat(parts, axis=0), *outputs)

    def _frame_as_rows(self, method: str, x: Any) -> Any:
        """Return a DataFrame as the table that the model was trained on; anything else as it is."""
        if TABLE_KEY not in self.metadata or not is_frame(x) or len(x.shape) != 2:
            return x
        spec = TableSpec.from_metadata(self.metadata, "model.metadata")
        assert spec is not None
        rows, notes = frame_samples(x, spec)
        for note in notes:
            logger.info("%s: %s", method, note)
        return rows

    def _batches(self, x: Any, batch_size: int | None) -> tuple[bool, Iterator[Tree]]:
        """Return whether outputs go to the host, and x in batches on the device."""
        rows = PREDICTION_ROWS if batch_size is None else batch_size
        rows = as_integer("predict", "batch_size", rows, at_least=1)
        if batch_size is not None and (isinstance(x, SampleBatches) or is_iterable_of_batches(x)):
            raise InputError("batch_size: do not pass it, the batches of x have their own")
        if isinstance(x, SampleBatches):
            return True, x.samples(BatchSpec(self.device, self.dtype, self.inputs))
        if is_iterable_of_batches(x):
            return self._iterated(x)
        samples = read_samples(x, self.inputs, self.device)
        check_indices(samples, self.inputs, self.device)
        check_overflow(samples, self.inputs, self.dtype)
        check_masks(samples)
        return is_on_host(samples), self._cut(samples, rows)

    def _cut(self, samples: Tree, rows: int) -> Iterator[Tree]:
        """Yield checked samples in batches of `rows`; one empty batch if there are none."""
        count = row_count(samples)
        for start in range(0, max(count, 1), rows):
            stop = min(start + rows, count)
            part = map_tree(operator.itemgetter((slice(start, stop), ...)), samples)
            yield move_samples(part, self.inputs, self.device, self.dtype)

    def _iterated(self, x: Any) -> tuple[bool, Iterator[Tree]]:
        """Return whether outputs go to the host, as of the first batch, and the batches."""
        batches = self._read_batches(x)
        first = next(batches, None)
        if first is None:
            return True, iter(())
        to_host = is_on_host(first)

        def moved() -> Iterator[Tree]:
            for number, samples in enumerate(chain([first], batches), start=1):
                if is_on_host(samples) != to_host:
                    kinds = "host data", f"arrays on {str(self.device)!r}"
                    expected, got = kinds if to_host else kinds[::-1]
                    raise InputError(
                        f"batch {number}: expected {expected} as in the batches before, got {got}"
                    )
                yield move_samples(samples, self.inputs, self.device, self.dtype)

        return to_host, moved()

    def _read_batches(self, x: Any) -> Iterator[Tree]:
        """Yield the samples of each batch of an iterable, checked."""
        for number, item in enumerate(x, start=1):
            try:
                samples = read_samples(
                    item[0] if isinstance(item, tuple) else item, self.inputs, self.device
                )
                check_indices(samples, self.inputs, self.device)
                check_overflow(samples, self.inputs, self.dtype)
                check_masks(samples)
            except InputError as error:
                raise type(error)(f"batch {number}: {error}") from None
            yield samples

    # -- devices, display, files -------------------------------------------------------------

    def to(self, device: str | Device) -> Model:
        """Move the model and its training state to another device; return the model itself.

        The numbers are not changed. Everything is copied before anything is replaced.

        Raises
        ------
        InputError
            If the device lacks the model's dtype or compute dtype.
        DeviceUnavailableError
            If the device cannot compute on this machine; the model stays where it was.
        """
        target = find_device(device).require()
        target.dtype(self.dtype)
        computed_net = self._net_on(target)
        theta, others = (target.asarray(v, self.dtype) for v in self.current_vectors())
        state = self.training_state
        if state is not None:
            state = state.moved_to(target, self.dtype, self.compute_dtype)
        self.device, self.training_state = target, state
        self.computed_net = computed_net
        self._theta, self._state = theta, others
        self._theta_is_shared = self._state_is_shared = False
        return self

    def summary(self) -> Summary:
        """Return a table of the layers: class, output shape and number of parameters of each.

        It prints as text and is shown as an HTML table in a notebook.
        """
        description = f"{self.described_dtype}, on {self.device}"
        return summary_of(self.net, self.input_shape, description)

    @property
    def scales_loss(self) -> bool:
        """True if training scales the loss, as it computes in float16."""
        return scales_loss(self.compute_dtype)

    @property
    def described_dtype(self) -> str:
        """The dtype in words: "float32", or "float32, computed in bfloat16"."""
        computed = "" if self.compute_dtype is None else f", computed in {self.compute_dtype}"
        return f"{self.dtype}{computed}"

    def __repr__(self) -> str:
        computed = "" if self.compute_dtype is None else f", compute_dtype={self.compute_dtype!r}"
        return (
            f"Model({self.net!r}, input_shape={self._shown_inputs}, "
            f"device={str(self.device)!r}, dtype={self.dtype!r}{computed})"
        )

    @property
    def _shown_inputs(self) -> Any:
        """The argument `input_shape` in its shortest form."""
        return self.inputs if self.inputs != as_inputs(self.input_shape) else self.input_shape

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    def save(self, path: str | os.PathLike[str], *, training_state: bool = False) -> None:
        """Write architecture, parameters and `metadata` to a safetensors file; see `bp.load`.

        Values of `metadata` that are no text are written as text, by str().

        Parameters
        ----------
        path : path
            An existing file is replaced at the very end; after a failure it is unchanged.
        training_state : bool, default False
            Whether to write the optimizer and its state, so that `fit` can continue from the file
            as if it had never stopped. With Adam such a file is three times as large.

        Raises
        ------
        OSError
            If the folder does not exist or cannot be written to.
        InputError
            If a custom layer or optimizer cannot be described as JSON; with
            training_state=True, if the model has not been trained.
        """
        state: TrainingState | None = self.training_state if training_state else None
        if training_state and state is None:
            raise InputError("save(training_state=True): expected a model that was trained by fit")
        arrays = self.host_parameters()
        if state is not None:
            vectors = map(self.device.to_numpy, state.vectors)
            arrays |= dict(zip(vector_names(state), vectors, strict=True))
        arrays = {
            name: np.ascontiguousarray(value).reshape(value.shape) for name, value in arrays.items()
        }
        if state is not None:
            arrays[MONITORED] = np.asarray(state.monitored, dtype=np.float64)
            if state.loss_scaling is not None:
                arrays[LOSS_SCALING] = self.device.to_numpy(state.loss_scaling)
        header = Header(
            self.net,
            self.inputs,
            self.dtype,
            int(self.seed),
            self.metadata,
            state,
            compute_dtype=self.compute_dtype,
        )
        write_atomically(path, encode(header, arrays))

    def to_onnx(
        self,
        path: str | os.PathLike[str],
        *,
        operators: Mapping[type[Layer], Callable[..., Any]] | None = None,
    ) -> None:
        """Write an ONNX file that computes what `predict` does, for any number of rows.

        Its input is "input", laid out as for `predict`, and its output "output"; of several inputs
        each is named by its key, or "input_0", "input_1", ..., and indices are int64; of several
        outputs each is named "output_" and its key or position. Parameters
        keep their names, and `metadata` is included, as text. Layers are written with ONNX's own
        operators if there is one for the model's dtype, others as the operations that their
        forward calls in `xp`. A model with a `compute_dtype` is written in float32.

        Parameters
        ----------
        path : path
            An existing file is replaced at the very end.
        operators : mapping from layer class to function, optional
            For custom layers that use functions of `xp` that ONNX lacks:
            write(layer, params, x, graph) returns, say, graph.node("Mul", x, params["gain"]).

        Raises
        ------
        MissingExtraError
            If onnx is not installed (extra `onnx`).
        InputError
            If a layer cannot be written, or the model is neither float32 nor float64.
        OSError
            If the folder does not exist or cannot be written to.
        """
        content = formats.onnx_bytes(
            self.net,
            self._host_tree(),
            map_tree(lambda spec: formats.Input(spec.shape, spec.is_index, spec.size), self.inputs),
            self.dtype,
            metadata={str(key): str(value) for key, value in self.metadata.items()},
            operators=operators or {},
        )
        write_atomically(path, content)

    def to_torch(self) -> Any:
        """Return the network as a `torch.nn.Sequential`, on the CPU, in the model's dtype.

        It is in evaluation mode, so that it computes what `predict` does: call its `train()`
        before you train it. It shares no memory with this model. Of a model with a `compute_dtype`
        it computes in float32: run it under `torch.autocast` for mixed precision.

        Where a layer takes channels, as `Conv2d` does, the module expects them where PyTorch has
        them: images (batch, channels, height, width), signals (batch, channels, time). So are its
        outputs if they still have several axes. Where an image becomes a vector, by `Flatten`, the
        rows of the next Linear weight are reordered, so that no axes are moved; elsewhere a module
        `Permute` moves the channels.

        Raises
        ------
        MissingExtraError
            If PyTorch is not installed.
        InputError
            If PyTorch has no module for a layer, such as Residual or a custom one, or for a
            setting of it, or the model has several inputs or several outputs.
        """
        shape = only_shape(self.inputs, "to_torch", indices=True)
        only_output(self.output_shape, "to_torch")
        return formats.to_module(self.net, self._host_tree(), shape, self.dtype)

    def _host_tree(self) -> ParameterTree:
        """Return the parameters nested like the layers, as NumPy arrays."""
        theta, state = map(self.device.to_numpy, self.current_vectors())
        return self.layout.tree(theta, state, np)


def _one_batch_advice(method: str, device: Device) -> AbstractContextManager[None]:
    """Return the context of a method that computes all of the rows it receives at once."""
    return memory_advice(method, device, None, "The model is unchanged", "a smaller batch")


def check_compute_dtype(where: str, compute_dtype: Any, dtype: str) -> str | None:
    """Return the compute dtype of a model of a dtype, checked; None for none."""
    if compute_dtype is None:
        return None
    if not (isinstance(compute_dtype, str) and compute_dtype in COMPUTE_DTYPES):
        expected = f"{' or '.join(map(repr, COMPUTE_DTYPES))}, or None to compute in the dtype"
        raise argument_error(where, "compute_dtype", compute_dtype, expected)
    if dtype != "float32":
        advice = "leave out compute_dtype to compute in the dtype itself"
        raise argument_error(where, "dtype", dtype, "'float32' with a compute_dtype", advice)
    return compute_dtype


def _random_options(where: str, step: Any, seed: Any) -> dict[str, Any]:
    """Return the step and the seed of a pass, checked, as arguments of `context`."""
    seed = None if seed is None else checked_seed(seed)
    return {"step": as_integer(where, "step", step, at_least=0), "seed": seed}


def _laid_out(net: Layer, inputs: Inputs) -> tuple[Layout, Tree]:
    """Return the layout of the parameters of a net for these inputs, and its output shape."""
    try:
        specification, output_shape = net.init(shapes_of(inputs))
        layout = Layout(specification)
        for entry in layout.entries:
            tuple(map(operator.index, entry.shape))  # raises if a size is not an integer
    except Exception as error:
        if isinstance(inputs, InputSpec) or isinstance(error, InputError):
            raise
        raise InputError(
            f"Model(net): expected a net whose first layer takes {described(inputs)}, got "
            f"{net!r:.200}, which fails with {error!r:.100}; begin with a layer that combines the "
            "inputs"
        ) from error
    check_index_inputs(net, shapes_of(inputs))
    return layout, output_shape


def _with_sizes(inputs: Inputs, net: Layer) -> Inputs:
    """Return the inputs, those of indices with the size of the smallest table they are passed to.

    An input has its size already, or it is passed to a layer with an `index_size` unchanged, or
    it stays without one.
    """
    shapes = shapes_of(inputs)
    if not any(spec.is_index and spec.size is None for spec in leaves(inputs)):
        return inputs
    tables = [(node.input_shape, node.layer.index_size) for node in walk(net, shapes)]

    def sized(spec: InputSpec, shape: Shape) -> InputSpec:
        sizes = [size for passed, size in tables if passed is shape and size is not None]
        return replace(spec, size=min(sizes)) if sizes and spec.size is None else spec

    return map_tree(sized, inputs, shapes)


def _described(theta: Any) -> str:
    """Describe an array by its shape, dtype and device, anything else by its type."""
    if not hasattr(theta, "dtype"):
        return f"a {type(theta).__name__}"
    return f"shape {tuple(theta.shape)}, dtype {theta.dtype}, on device {str(device_of(theta))!r}"


def _fill(
    entries: tuple[Entry, ...], values: Callable[[Entry], np.ndarray[Any, Any]]
) -> np.ndarray[Any, Any]:
    """Return the values of these entries as one host vector, in float64 to lose no digits."""
    vector = np.empty(sum(entry.size for entry in entries), dtype=np.float64)
    for entry in entries:
        vector[entry.offset : entry.offset + entry.size] = values(entry).reshape(-1)
    return vector


def _check_sign(parameter: Parameter, values: np.ndarray[Any, Any], name: str, dtype: str) -> None:
    """Raise InputError, naming the index, unless a parameter's values have the sign it must have.

    In the model's dtype, and finite if positive. Any value will do for other parameters.
    """
    if not (parameter.positive or parameter.non_negative):
        return
    with np.errstate(all="ignore"):
        stored = np.asarray(values, "float32" if dtype == "bfloat16" else dtype)
    # a variance may be infinite in float16; NaN is neither
    right = np.isfinite(stored) & (stored > 0.0) if parameter.positive else stored >= 0.0
    wrong = ~right
    if wrong.any():
        index = tuple(map(int, np.argwhere(wrong)[0]))
        raise InputError(
            f"{describe_location(name, index)}: expected a "
            f"{'finite number > 0' if parameter.positive else 'number >= 0'}, got {values[index]}"
            f"{'; set 1 for a constant feature' if parameter.positive else ''}"
        )
