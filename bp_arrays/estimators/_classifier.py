"""`MLPClassifier`: the multi-layer perceptron for classification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target

from bp_arrays.devices import device_of
from bp_arrays.errors import InputError
from bp_arrays.estimators._labels import Labels
from bp_arrays.estimators._network import Network
from bp_arrays.estimators._objectives import TrainingObjective, classifying
from bp_arrays.estimators._perceptron import Perceptron
from bp_arrays.estimators._samples import HOST, Samples, moved_to_host, validated_weight
from bp_arrays.losses import CrossEntropy, Loss
from bp_arrays.typing import Array, HostArray


@dataclass(eq=False, repr=False)
class MLPClassifier(ClassifierMixin, Perceptron):  # type: ignore[misc]
    """Multi-layer perceptron classifier with scikit-learn's interface, on any device.

    A drop-in replacement for `sklearn.neural_network.MLPClassifier`: the same parameters,
    defaults, attributes and methods, and for the same `random_state` the same weights, up to
    rounding. New are more activations, `loss`, `class_weight`, `dropout`, `device`, `callbacks`,
    `validation_loss_curve_`, `history_` and `model_`.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default (100,)
        The width of each hidden layer; () is a linear model.
    activation : str, Layer or a sequence of them, default "relu"
        After each hidden layer: "identity", "logistic", "tanh", "relu" as in scikit-learn, any
        other activation of this library by name ("gelu", "leaky-relu", "silu", ...) or as an
        object (`bp.LeakyReLU(0.2)`), or a list with one for each hidden layer.
    solver : {"adam", "sgd", "lbfgs"}, default "adam"
        "adam" and "sgd" train in batches; "lbfgs" minimizes the loss over all samples at once,
        which suits small data.
    alpha : float, default 0.0001
        Strength of the L2 penalty, α/2 Σ w² divided by the samples in the batch; biases are not
        penalized.
    batch_size : int or "auto", default "auto"
        Samples per step of "sgd" and "adam"; "auto" is min(200, samples).
    learning_rate : {"constant", "invscaling", "adaptive"}, default "constant"
        Schedule of the learning rate of "sgd": "invscaling" divides `learning_rate_init` by
        (t_ + 1) ** power_t after each epoch; "adaptive" divides the rate by 5 when training would
        stop, and stops at 1e-6.
    learning_rate_init : float, default 0.001
        The learning rate of the first step, for "sgd" and "adam".
    power_t : float, default 0.5
        The exponent of "invscaling".
    max_iter : int, default 200
        Maximum number of epochs; with "lbfgs", of iterations.
    shuffle : bool, default True
        Whether to shuffle the samples in each epoch.
    random_state : int, RandomState or None, default None
        Source of the initial weights, the held-out samples, the order of the samples and the
        dropout masks. The same int gives the same weights, on every device up to rounding.
    tol : float, default 0.0001
        Smallest improvement of the loss or score that counts; with "lbfgs", the gradient below
        which training stops.
    verbose : bool or int, default False
        Whether to print the loss of each epoch.
    warm_start : bool, default False
        Whether `fit` continues from the current weights.
    momentum : float, default 0.9
        μ in [0, 1], for "sgd".
    nesterovs_momentum : bool, default True
        Whether "sgd" uses Nesterov's momentum.
    early_stopping : bool, default False
        Whether "sgd" and "adam" hold out samples, stop when the score on them no longer
        improves, and restore the weights with the best score.
    validation_fraction : float, default 0.1
        The fraction of the samples that is held out.
    beta_1, beta_2 : float, default 0.9, 0.999
        Decay rates of Adam's two moments, in [0, 1).
    epsilon : float, default 1e-8
        Adam's ε, added to the denominator.
    n_iter_no_change : int or inf, default 10
        Epochs in a row without an improvement by `tol` before training stops.
    max_fun : int, default 15000
        Maximum number of evaluations of the loss, for "lbfgs".
    dropout : float, default 0.0
        The fraction of each hidden layer's outputs that is set to 0 in training, in [0, 1); for
        "sgd" and "adam".
    device : str, Device or None, default None
        The device to compute on: "cuda", "torch:cpu", ..., see `bp.device`; None is the device of
        X. Output is on the device of the input.
    callbacks : list of Callback, default ()
        Called at the start, after each epoch and at the end, such as
        `bp.EarlyStopping(monitor="loss")`. A clone, and so each fit of a search, gets copies.
    loss : str or Loss, default "log_loss"
        "log_loss" is the cross-entropy for the kind of y; or a loss of this library by name or
        as an object, such as `bp.CrossEntropy(label_smoothing=0.1)`. Other losses, such as
        `bp.MeanSquaredError()`, compare the predicted probabilities with 0 and 1.
    class_weight : dict, "balanced" or None, default None
        Weight of the samples of each class, multiplied by their `sample_weight`, in the loss and
        in `validation_scores_`; "balanced" gives all classes the same total weight.

    Attributes
    ----------
    classes_ : array (classes,)
        The classes, sorted; for multilabel y, the column numbers.
    coefs_ : list of array (fan_in, fan_out)
        The weights, layer by layer. An array assigned into this list replaces the weights of that
        layer.
    intercepts_ : list of array (fan_out,)
        The biases, layer by layer.
    loss_ : float
        The last loss, penalty included.
    loss_curve_ : list of float
        The loss of each epoch; with `warm_start`, over all calls. For "sgd" and "adam".
    best_loss_ : float or None
        The lowest of `loss_curve_`; None with `early_stopping`. For "sgd" and "adam".
    validation_scores_ : list of float or None
        `score` of the held-out samples after each epoch; None without `early_stopping`.
    validation_loss_curve_ : list of float or None
        The loss of the held-out samples after each epoch, without the penalty; None without
        `early_stopping`.
    best_validation_score_ : float or None
        The highest of `validation_scores_`.
    history_ : History
        The `History` of the last call: the recorded series, and why training stopped.
    n_iter_ : int
        Epochs, or iterations of "lbfgs", of the last call.
    t_ : int
        Samples seen so far: epochs times samples.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : array (features,)
        Names of the columns, if X was a table whose column names are all strings.
    n_layers_ : int
        Number of layers, including input and output.
    n_outputs_ : int
        Number of outputs of the network.
    out_activation_ : str
        "logistic" for two classes and for multilabel y; "softmax" for more classes, and with
        `bp.CrossEntropy`.
    model_ : Model
        The network as a `bp.Model`, for `save`, `bp.explain` and the rest of the library; its
        outputs are the raw ones, before `out_activation_`. Before pickling for a machine
        without the device: `estimator.model_.to("cpu")`.

    Raises
    ------
    MissingExtraError
        When the class is first imported and scikit-learn is not installed.

    Notes
    -----
    X may be an array, a pandas or polars table, or a sparse matrix. With
    `sklearn.set_config(array_api_dispatch=True)`, CuPy arrays, PyTorch tensors, JAX arrays and
    strict arrays are processed on their device, and predictions are arrays of the same kind.
    Ctrl-C ends training after the current step, with a warning; the estimator is fitted then.

    Two differences from scikit-learn's loss: with sample weights, an epoch's loss is the
    weighted mean over all samples, not the mean of its batches' means; and probabilities near 0
    are not clipped to the machine epsilon.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = load_iris(return_X_y=True)
    >>> net = bp.MLPClassifier((20,), "gelu", max_iter=100, tol=0.01, dropout=0.1, random_state=0)
    >>> classifier = make_pipeline(StandardScaler(), net).fit(X, y)
    >>> classifier.score(X, y) > 0.9
    True
    >>> classifier.predict(X[:3]).tolist(), classifier.predict_proba(X[:3]).shape
    ([0, 0, 0], (3, 3))
    """

    hidden_layer_sizes: Any = (100,)
    activation: Any = "relu"
    _: KW_ONLY
    loss: str | Loss = "log_loss"
    class_weight: Mapping[Any, float] | str | None = None

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPClassifier:
        """Train on data; with `warm_start`, from the weights of the last call.

        Parameters
        ----------
        X : array, sparse matrix or table (samples, features)
        y : array (samples,) or (samples, labels)
            One class per sample, or 0 and 1 in a column for each label.
        sample_weight : array (samples,), optional
            Weight of each sample in the loss, 0 or more.

        Returns
        -------
        self

        Raises
        ------
        InputError, ValueError
            For invalid parameters or data, or if the weights become infinite or NaN.
        """
        self._fit(X, y, sample_weight, incremental=False)
        return self

    @available_if(lambda estimator: estimator._can_continue())  # type: ignore[untyped-decorator]
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None
    ) -> MLPClassifier:
        """Train for one epoch, from the current weights.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`; y need not contain every class.
        classes : array (classes,)
            All classes that will ever occur; required in the first call.

        Returns
        -------
        self

        Raises
        ------
        InputError, ValueError
            As in `fit`; also if the classes are missing, or differ from those of the first call.
        """
        if classes is None and not hasattr(self, "classes_"):
            raise InputError("classes must be passed on the first call to partial_fit")
        if classes is not None:
            labels = Labels.of_classes(moved_to_host(classes))
            if not hasattr(self, "classes_"):
                multilabel = type_of_target(moved_to_host(y)).startswith("multilabel")
                self._learn(Labels.of_targets(moved_to_host(y)) if multilabel else labels)
            elif not np.array_equal(labels.classes, self.classes_):
                raise InputError(
                    f"`classes={classes!r}` is not the same as on last call to partial_fit, "
                    f"which was {self.classes_}"
                )
        self._fit(X, y, sample_weight, incremental=True)
        return self

    def predict(self, X: Any) -> Array:
        """Predict the most probable class of each sample.

        Parameters
        ----------
        X : array, sparse matrix or table (samples, features)

        Returns
        -------
        array (samples,), or (samples, labels) of 0 and 1 for multilabel targets
        """
        network, y = self._outputs_for(X, "predict")
        with network.input_device.activate():
            choice = network.objective.choice(y, multilabel=self._labels.multilabel)
        if network.input_device == HOST:
            return self._labels.decode(choice)
        labels = self._labels.decode(moved_to_host(choice))
        return network.input_device.asarray(labels) if labels.dtype.kind in "biuf" else labels

    def predict_proba(self, X: Any) -> Array:
        """Predict the probability of each class, or of each label.

        Parameters
        ----------
        X : array, sparse matrix or table (samples, features)

        Returns
        -------
        array (samples, classes), in the order of `classes_`
        """
        network, y = self._outputs_for(X, "predict_proba")
        with network.input_device.activate():
            return network.objective.probabilities(y)

    def predict_log_proba(self, X: Any) -> Array:
        """Predict the logarithm of `predict_proba`, −∞ where that rounds to 0.

        Parameters
        ----------
        X : array, sparse matrix or table (samples, features)

        Returns
        -------
        array (samples, classes), in the order of `classes_`
        """
        network, y = self._outputs_for(X, "predict_log_proba")
        with network.input_device.activate(), np.errstate(divide="ignore"):
            return device_of(y).xp.log(network.objective.probabilities(y))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy; a multilabel sample counts only if all its labels are right.

        Parameters
        ----------
        X : array, sparse matrix or table (samples, features)
        y : array (samples,) or (samples, labels)
        sample_weight : array (samples,), optional

        Returns
        -------
        float

        Notes
        -----
        Computed on the host, so that it is the same for every array library.
        """
        predicted = moved_to_host(self.predict(X))
        return float(
            accuracy_score(moved_to_host(y), predicted, sample_weight=moved_to_host(sample_weight))
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    # -- what differs from the regressor -------------------------------------------------------

    def _learn_targets(self, y: HostArray, *, incremental: bool) -> None:
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._learn(Labels.of_targets(y))
        elif not incremental and set(Labels.of_targets(y).classes) != set(self.classes_):
            raise InputError(
                f"y: expected the classes of the last fit, {self.classes_}, got {np.unique(y)}; "
                "to train on other classes, fit with warm_start=False"
            )

    def _learn(self, labels: Labels) -> None:
        self._labels, self.classes_ = labels, labels.classes

    def _objective_for(self, y: HostArray) -> tuple[TrainingObjective, HostArray, int]:
        labels, codes = self._labels, self._labels.encode(y)
        objective = classifying(self.loss, labels.kind)
        outputs = len(labels.classes)
        if labels.kind == "binary":  # one output is enough for two classes; softmax needs two
            outputs = 2 if isinstance(objective.loss, CrossEntropy) else 1
        targets = codes if objective.loss.takes_classes else labels.one_hot(codes)
        return objective, targets, outputs

    def _weight_of(self, sample_weight: HostArray | None, y: HostArray) -> HostArray | None:
        if self.class_weight is None:
            return sample_weight
        weight = compute_sample_weight(self.class_weight, y)
        return validated_weight(weight if sample_weight is None else weight * sample_weight, len(y))

    def _strata(self, y: HostArray) -> HostArray | None:
        if self._labels.kind != "binary":
            return None
        return self._labels.encode(y)[:, None].astype(bool)

    def _score_of(self, network: Network, samples: Samples) -> float:
        outputs = moved_to_host(network.outputs(samples.X))
        if not np.isfinite(outputs).all():
            return np.nan
        choice = network.objective.choice(outputs, multilabel=self._labels.multilabel)
        predicted = self._labels.decode(choice)
        return float(accuracy_score(samples.y, predicted, sample_weight=samples.weight))
