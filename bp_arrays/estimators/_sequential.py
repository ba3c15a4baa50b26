"""`SequentialClassifier` and `SequentialRegressor`: a custom net as a scikit-learn estimator."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

from sklearn.utils.validation import check_is_fitted

from bp_arrays.activations import LogSoftmax, ReLU, Sigmoid, Softmax
from bp_arrays.devices import Device, device_of
from bp_arrays.errors import InputError
from bp_arrays.estimators._classifying import NetworkClassifier
from bp_arrays.estimators._estimator import NetworkEstimator
from bp_arrays.estimators._labels import Labels
from bp_arrays.estimators._network import Network
from bp_arrays.estimators._objectives import TrainingObjective
from bp_arrays.estimators._parameters import check_together, check_values
from bp_arrays.estimators._record import TrainingRecord
from bp_arrays.estimators._regressing import NetworkRegressor, one_column
from bp_arrays.estimators._samples import (
    FLOATS,
    Samples,
    computing_device,
    has_dtype,
    input_device,
)
from bp_arrays.estimators._stochastic import fit_stochastic
from bp_arrays.formats import STORED_AS
from bp_arrays.layers import Ensemble, Flatten, Layer, Linear, Sequential
from bp_arrays.losses import CrossEntropy, Loss
from bp_arrays.model import Model, check_compute_dtype, ends_in_ensemble, mean_and_spread
from bp_arrays.optimizers import OPTIMIZERS, Optimizer, optimizer_named
from bp_arrays.schedules import Schedule
from bp_arrays.training import Callback, Checkpoint
from bp_arrays.typing import Shape

DEFAULT_NET = Sequential(Linear(100), ReLU())


@dataclass
class TrainingPlan:
    """The parameters of a sequential estimator as training by batches reads them."""

    estimator: SequentialEstimator
    solver: str | Optimizer
    max_iter: int
    n_iter_no_change: int | float
    alpha: float
    batch_size: int | str
    shuffle: bool
    tol: float
    verbose: bool | int
    early_stopping: bool
    validation_fraction: float
    callbacks: Sequence[Callback]
    _random_state: Any
    learning_rate: str = "constant"
    learning_rate_init: float | Schedule = 0.001
    power_t: float = 0.5
    momentum: float = 0.9
    nesterovs_momentum: bool = True
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    dropout: float = 1.0  # a seed is drawn: any layer of the net may need random numbers

    def _score_of(self, network: Network, samples: Samples) -> float:
        return self.estimator._score_of(network, samples)


@dataclass(eq=False, repr=False)
class SequentialEstimator(NetworkEstimator):
    """Base class of the two; they document the parameters."""

    net: Layer | None = None
    _: KW_ONLY
    output_layer: bool | None = None
    optimizer: str | Optimizer = "adam"
    epochs: int = 100
    batch_size: int = 32
    shuffle: bool = True
    random_state: Any = None
    alpha: float = 0.0
    early_stopping: bool = False
    validation_fraction: float = 0.1
    n_iter_no_change: int | float = 10
    tol: float = 1e-4
    warm_start: bool = False
    verbose: bool | int = False
    device: str | Device | None = None
    dtype: str | None = None
    compute_dtype: str | None = None
    callbacks: Sequence[Callback] = ()

    def _check_parameters(self, *, incremental: bool) -> None:
        name = type(self).__name__
        if self.net is not None and not isinstance(self.net, Layer):
            raise InputError(
                f"{name}(net=): expected a layer such as bp.Sequential(bp.Linear(64), bp.ReLU()), "
                f"got {self.net!r:.80}"
            )
        if self.output_layer not in (None, True, False):
            raise InputError(
                f"{name}(output_layer=): expected None, True or False, got {self.output_layer!r}"
            )
        if not isinstance(self.optimizer, (str, Optimizer)):
            raise InputError(
                f"{name}(optimizer=): expected an optimizer such as bp.Adam(0.001), or one of "
                f"{', '.join(OPTIMIZERS)}, got {self.optimizer!r:.80}"
            )
        self._optimizer()
        if self.dtype is not None and self.dtype not in STORED_AS:
            raise InputError(
                f"{name}(dtype=): expected None or one of {', '.join(STORED_AS)}, "
                f"got {self.dtype!r:.80}"
            )
        check_values(self)
        if self.dtype is not None:
            check_compute_dtype(name, self.compute_dtype, self.dtype)
        check_together(self, incremental=incremental)

    def _optimizer(self) -> Optimizer:
        if isinstance(self.optimizer, Optimizer):
            return self.optimizer
        kind: Any = optimizer_named(self.optimizer)  # all their arguments have defaults
        optimizer: Optimizer = kind()
        return optimizer

    def _accepted(self, X: Any) -> dict[str, Any]:
        accepted = super()._accepted(X) | {"allow_nd": True}
        dtype = self.dtype if self.compute_dtype is None else "float32"
        if dtype in FLOATS and has_dtype(input_device(X), dtype):
            accepted["dtype"] = [input_device(X).dtype(dtype)]
        return accepted

    def _net_for(self, objective: TrainingObjective, outputs: int, X: Any) -> Layer:
        net = DEFAULT_NET if self.net is None else self.net
        return self._completed(net, objective, outputs, tuple(X.shape[1:]))

    def _completed(
        self, net: Layer, objective: TrainingObjective, outputs: int, shape: Shape
    ) -> Layer:
        """Return a net with its output layer and activation; those of an ensemble in its members.

        Parameters
        ----------
        net : Layer
        objective : TrainingObjective
        outputs : int
        shape : tuple of int
            The shape of one sample, as it enters this net.
        """
        name = type(self).__name__
        if isinstance(net, Ensemble):
            return replace(net, net=self._completed(net.net, objective, outputs, shape))
        if isinstance(net, Sequential) and ends_in_ensemble(net):
            *front, last = net.layers
            if not isinstance(last, (Ensemble, Sequential)):
                kind = type(last).__name__
                raise InputError(
                    f"{name}(net=): expected an Ensemble as the last layer, got {kind} after one; "
                    f"put {kind} into the members, Ensemble(Sequential(..., {kind}()), n)"
                )
            _, shape = Sequential(*front).init(shape)
            return Sequential(*front, self._completed(last, objective, outputs, shape))
        _, out_shape = net.init(shape)
        is_shape = isinstance(out_shape, tuple) and all(isinstance(n, int) for n in out_shape)
        if not is_shape or not out_shape:
            raise InputError(f"{name}(net=): expected a net of one output, got shape {out_shape}")
        last = last_layer(net)
        if self._refuses(last):
            raise InputError(
                f"{name}(net=): the net ends in {type(last).__name__}, but probabilities are "
                "computed by the estimator from raw outputs; leave that layer out"
            )
        given = isinstance(last, Linear) if self.output_layer is None else not self.output_layer
        if given and out_shape != (outputs,):
            raise InputError(
                f"{name}(net=): expected an output of shape ({outputs},) for such y, got "
                f"{out_shape}; end in Linear({outputs}), or pass output_layer=True, which appends "
                "an output layer"
            )
        layers = list(net.layers) if isinstance(net, Sequential) else [net]
        if not given:
            layers += ([Flatten()] if len(out_shape) > 1 else []) + [Linear(outputs)]
        if objective.last_layer is not None:
            layers.append(objective.last_layer)
        return Sequential(*layers)

    def _refuses(self, last: Layer) -> bool:
        """Return whether a net must not end in this layer."""
        return isinstance(last, (Softmax, LogSoftmax))

    def _first_model(self, net: Layer, X: Any) -> Model:
        device = computing_device(self.device, X)
        return Model(
            net,
            tuple(X.shape[1:]),
            device=device,
            dtype=self.dtype or self._dtype_for(X, device),
            compute_dtype=self.compute_dtype,
            seed=int(self._random_state.randint(2**31)),
        )

    def _next_model(self, net: Layer, X: Any) -> Model:
        model, device = self._network.model, computing_device(self.device, X)
        if model.net != net:
            raise InputError(
                f"{type(self).__name__}(net=): expected the net of the first fit, got another "
                "one; to train it, fit with warm_start=False"
            )
        if model.compute_dtype != self.compute_dtype:
            raise InputError(
                f"{type(self).__name__}(compute_dtype={self.compute_dtype!r}): expected that of "
                f"the first fit, {model.compute_dtype!r}; to change it, fit with warm_start=False"
            )
        return model if model.device == device else copy.copy(model).to(device)

    def _train(
        self,
        network: Network,
        samples: Samples,
        record: TrainingRecord,
        held_out: Samples | None,
        *,
        one_epoch: bool,
        checkpoint: Any,
        resume: Any,
    ) -> None:
        plan = TrainingPlan(
            estimator=self,
            solver=self._optimizer(),
            max_iter=self.epochs,
            n_iter_no_change=self.n_iter_no_change if self.early_stopping else math.inf,
            alpha=self.alpha,
            batch_size=min(self.batch_size, len(samples.y)),
            shuffle=self.shuffle,
            tol=self.tol,
            verbose=self.verbose,
            early_stopping=self.early_stopping,
            validation_fraction=self.validation_fraction,
            callbacks=self.callbacks,
            _random_state=self._random_state,
        )
        strata = self._strata(samples.y)
        fit_stochastic(
            plan, record, network, samples, strata, one_epoch, held_out, checkpoint, resume
        )


def last_layer(net: Layer) -> Layer:
    """Return the last layer of a net, within nested `Sequential`s; of an ensemble a member's."""
    while isinstance(net, Ensemble) or (isinstance(net, Sequential) and net.layers):
        net = net.net if isinstance(net, Ensemble) else net.layers[-1]
    return net


@dataclass(eq=False, repr=False)
class SequentialClassifier(NetworkClassifier, SequentialEstimator):
    """A custom net as a classifier with scikit-learn's interface.

    Parameters
    ----------
    net : Layer or None, default None
        The net, such as `bp.Sequential(bp.Linear(64), bp.ReLU())`; None is one hidden layer of
        100 ReLUs. The shape of its input is that of a sample of X: (features,), or
        (height, width, channels) for images. A net that ends in an `Ensemble` is trained with
        `EnsembleLoss`, and `predict_proba` is the mean of the members' probabilities.
    output_layer : bool or None, default None
        True appends an output layer, `bp.Linear(outputs)`, after a `bp.Flatten` where the net ends
        in several axes; False takes the net as it is; None appends one unless the net ends in a
        Linear. The estimator computes probabilities itself: the net does not end in Softmax or
        Sigmoid.
    optimizer : str or Optimizer, default "adam"
        `bp.Adam(0.001)`, with a schedule `bp.Adam(bp.Cosine(0.001, steps=1000))`, or a name.
    epochs : int, default 100
        Passes over the samples; fewer with `early_stopping`.
    batch_size : int, default 32
        Samples per step.
    shuffle : bool, default True
        Whether to shuffle the samples in each epoch.
    random_state : int, RandomState or None, default None
        Source of the initial weights, the held-out samples, the order of the samples and the
        random numbers of layers. The same int gives the same weights.
    alpha : float, default 0.0
        Strength of the L2 penalty, α/2 Σ w² divided by the samples in the batch.
    early_stopping : bool, default False
        Whether to hold out samples, or take those of `fit(validation=)`, stop when the score on
        them no longer improves, and restore the weights with the best score.
    validation_fraction : float, default 0.1
        The fraction of the samples that is held out.
    n_iter_no_change : int or inf, default 10
        With `early_stopping`, epochs in a row without an improvement by `tol` before it stops.
    tol : float, default 0.0001
        Smallest improvement of the score that counts.
    warm_start : bool, default False
        Whether `fit` continues from the current weights.
    verbose : bool or int, default False
        Whether to print the loss of each epoch.
    device : str, Device or None, default None
        The device to compute on: "cuda", "torch:cpu", ..., see `bp.device`; None is the device of
        X. Output is on the device of the input.
    dtype : str or None, default None
        The dtype of the model: "float32", "float64", ...; None is that of X, float64 for integers.
    compute_dtype : str or None, default None
        "bfloat16" or "float16" for mixed precision, see `bp.Model`; the dtype is then float32.
    callbacks : list of Callback, default ()
        Called at the start, after each epoch and at the end. A clone gets copies.
    loss : str or Loss, default "log_loss"
        As for `MLPClassifier`.
    class_weight : dict, "balanced" or None, default None
        As for `MLPClassifier`.

    Attributes
    ----------
    classes_ : array (classes,)
        The classes, sorted; for multilabel y, the column numbers.
    loss_ : float
        The last loss, penalty included.
    loss_curve_ : list of float
        The loss of each epoch; with `warm_start`, over all calls.
    best_loss_ : float or None
        The lowest of `loss_curve_`; None with `early_stopping`.
    validation_scores_ : list of float or None
        `score` of the held-out samples after each epoch; None without `early_stopping`.
    validation_loss_curve_ : list of float or None
        The loss of the held-out samples after each epoch, without the penalty; None without
        `early_stopping`.
    best_validation_score_ : float or None
        The highest of `validation_scores_`.
    history_ : History
        The `History` of the last call.
    n_iter_ : int
        Epochs of the last call.
    t_ : int
        Samples seen so far: epochs times samples.
    n_features_in_ : int
        Size of the first axis of a sample: the number of columns of a table.
    feature_names_in_ : array (features,)
        Names of the columns, if X was a table whose column names are all strings.
    n_outputs_ : int
        Number of outputs of the network.
    out_activation_ : str
        "logistic" or "softmax".
    model_ : Model
        The network as a `bp.Model`; its outputs are the raw ones, before `out_activation_`.

    Notes
    -----
    X may be an array of two or more axes, a pandas or polars table, or a sparse matrix. All
    parameters but `net` are passed by name.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> images = X[:300].reshape(-1, 8, 8, 1) / 16.0
    >>> net = bp.Sequential(bp.Conv2d(8, 3), bp.ReLU(), bp.MaxPool2d(2))
    >>> classifier = bp.SequentialClassifier(
    ...     net, optimizer=bp.Adam(0.01), epochs=12, dtype="float32", random_state=0
    ... )
    >>> classifier.fit(images, y[:300]).score(images, y[:300]) > 0.9
    True
    """

    _: KW_ONLY
    loss: str | Loss = "log_loss"
    class_weight: Mapping[Any, float] | str | None = None

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        validation: Any = None,
        checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
        resume: str | os.PathLike[str] | None = None,
    ) -> SequentialClassifier:
        """Train on data; with `warm_start`, from the weights of the last call.

        Parameters
        ----------
        X : array (samples, ...), sparse matrix or table (samples, features)
        y : array (samples,) or (samples, labels)
        sample_weight : array (samples,), optional
        validation : (X, y) or (X, y, sample_weight), optional
        checkpoint : bp.Checkpoint or path, optional
        resume : path, optional
            As in `MLPClassifier.fit`.

        Returns
        -------
        self

        Raises
        ------
        InputError, ValueError
            For invalid parameters or data, a net that does not fit them, or if the weights become
            infinite or NaN.
        """
        self._fit(X, y, sample_weight, validation, checkpoint, resume, incremental=False)
        return self

    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None
    ) -> SequentialClassifier:
        """Train for one epoch, from the current weights; as `MLPClassifier.partial_fit`."""
        self._learn_classes(y, classes)
        self._fit(X, y, sample_weight, incremental=True)
        return self

    def _loss_for(self, labels: Labels) -> str | Loss:
        two = labels.kind == "binary" and self.loss == "log_loss" and self.net is not None
        last = last_layer(self.net) if two and self.net is not None else None
        if isinstance(last, Linear) and last.out_features == 2 and not self.output_layer:
            return CrossEntropy()
        return self.loss

    def _refuses(self, last: Layer) -> bool:
        return super()._refuses(last) or isinstance(last, Sigmoid)


@dataclass(eq=False, repr=False)
class SequentialRegressor(NetworkRegressor, SequentialEstimator):
    """A custom net as a regressor with scikit-learn's interface.

    Parameters
    ----------
    net : Layer or None, default None
        As for `SequentialClassifier`. A net that ends in an `Ensemble` predicts the mean of its
        members, with their standard deviation if `return_std=True`.
    output_layer : bool or None, default None
        As for `SequentialClassifier`; a net that ends in an activation of its own, such as
        Sigmoid for values from 0 to 1, is passed with False.
    optimizer : str or Optimizer, default "adam"
    epochs : int, default 100
    batch_size : int, default 32
    shuffle : bool, default True
    random_state : int, RandomState or None, default None
    alpha : float, default 0.0
    early_stopping : bool, default False
    validation_fraction : float, default 0.1
    n_iter_no_change : int or inf, default 10
    tol : float, default 0.0001
    warm_start : bool, default False
    verbose : bool or int, default False
    device : str, Device or None, default None
    dtype : str or None, default None
    compute_dtype : str or None, default None
    callbacks : list of Callback, default ()
        These as for `SequentialClassifier`.
    loss : str or Loss, default "squared_error"
        As for `MLPRegressor`.

    Attributes
    ----------
    model_ : Model
        The network as a `bp.Model`. The others are those of `SequentialClassifier`, without
        `classes_`.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(200, 5, random_state=0)
    >>> net = bp.Sequential(bp.Linear(32), bp.GELU(), bp.LayerNorm())
    >>> regressor = bp.SequentialRegressor(net, optimizer=bp.Adam(0.02), random_state=0)
    >>> regressor.fit(X, y / y.std()).score(X, y / y.std()) > 0.9
    True
    """

    _: KW_ONLY
    loss: str | Loss = "squared_error"

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        validation: Any = None,
        checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
        resume: str | os.PathLike[str] | None = None,
    ) -> SequentialRegressor:
        """Train on data; parameters as in `SequentialClassifier.fit`, y (samples, outputs) too."""
        self._fit(X, y, sample_weight, validation, checkpoint, resume, incremental=False)
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Predict the values, of an ensemble the mean of its members.

        Parameters
        ----------
        X : array (samples, ...), sparse matrix or table (samples, features)
        return_std : bool, default False
            Whether to return the standard deviation over the members of an `Ensemble`, too.

        Returns
        -------
        array (samples,), or (samples, outputs) if there are several; with return_std=True a tuple
        of two of them, mean and standard deviation

        Raises
        ------
        InputError
            With return_std=True if the net does not end in an `Ensemble`.

        Examples
        --------
        >>> import bp_arrays as bp
        >>> from sklearn.datasets import make_regression
        >>> X, y = make_regression(100, 3, random_state=0)
        >>> net = bp.Ensemble(bp.Sequential(bp.Linear(8), bp.Tanh()), 5)
        >>> regressor = bp.SequentialRegressor(net, epochs=5, random_state=0).fit(X, y)
        >>> mean, std = regressor.predict(X, return_std=True)
        >>> mean.shape, std.shape
        ((100,), (100,))
        """
        if not return_std:
            return super().predict(X)
        check_is_fitted(self)
        if not self._trained().is_ensemble:
            raise InputError(
                "predict(return_std=True): expected a net that ends in an Ensemble, got one "
                "without; fit SequentialRegressor(bp.Ensemble(net, 5))"
            )
        network, y = self._outputs_for(X, "predict")
        xp = device_of(y).xp
        with network.input_device.activate():
            mean, spread = mean_and_spread(network.objective.activated(y, xp), xp)
            return one_column(mean), one_column(spread)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> SequentialRegressor:
        """Train for one epoch, from the current weights; parameters as in `fit`."""
        self._fit(X, y, sample_weight, incremental=True)
        return self
