"""The multi-layer perceptron that tells classes apart."""

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
from bp_arrays.estimators._objectives import Objective, classifying
from bp_arrays.estimators._perceptron import Perceptron
from bp_arrays.estimators._samples import HOST, Samples, on_host, validated_weight
from bp_arrays.losses import CrossEntropy, Loss
from bp_arrays.typing import Array, HostArray


@dataclass(eq=False, repr=False)
class MLPClassifier(ClassifierMixin, Perceptron):  # type: ignore[misc]
    """A multi-layer perceptron that tells classes apart: scikit-learn's interface, any device.

    A drop-in for `sklearn.neural_network.MLPClassifier`: its parameters with its defaults, its
    attributes and its methods, and for the same `random_state` its weights, up to rounding. New
    are more activations, `loss`, `class_weight`, `dropout`, `device`, `callbacks`,
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
        "adam" and "sgd" step batch by batch; "lbfgs" takes all samples as one function to
        minimise, which suits small data.
    alpha : float, default 0.0001
        Strength of the L2 penalty, α/2 Σ w² over the number of samples of the batch; biases are
        left alone.
    batch_size : int or "auto", default "auto"
        Samples a step of "sgd" and "adam"; "auto" is min(200, samples).
    learning_rate : {"constant", "invscaling", "adaptive"}, default "constant"
        How the rate of "sgd" goes on: "invscaling" divides `learning_rate_init` by
        (t_ + 1) ** power_t after each epoch; "adaptive" divides it by 5 when training would
        stop, and stops at 1e-6.
    learning_rate_init : float, default 0.001
        The learning rate of the first step, for "sgd" and "adam".
    power_t : float, default 0.5
        The exponent of "invscaling".
    max_iter : int, default 200
        Epochs at most; with "lbfgs", iterations.
    shuffle : bool, default True
        Whether each epoch takes the samples in a new order.
    random_state : int, RandomState or None, default None
        For the initial weights, the held-out samples, the order of the samples and the dropout.
        The same int gives the same weights, on every device up to rounding.
    tol : float, default 0.0001
        How much better an epoch must be to count as better; with "lbfgs", the largest slope
        that counts as flat.
    verbose : bool or int, default False
        Whether the loss of each epoch is printed.
    warm_start : bool, default False
        Whether `fit` goes on from the weights there are.
    momentum : float, default 0.9
        μ in [0, 1], for "sgd".
    nesterovs_momentum : bool, default True
        Whether "sgd" looks ahead by the momentum.
    early_stopping : bool, default False
        Whether "sgd" and "adam" hold out samples, stop when the score on them no longer
        improves, and keep the weights with the best score.
    validation_fraction : float, default 0.1
        The share of the samples that is held out.
    beta_1, beta_2 : float, default 0.9, 0.999
        Decay rates of Adam's two moments, in [0, 1).
    epsilon : float, default 1e-8
        What Adam adds to the denominator.
    n_iter_no_change : int or inf, default 10
        How many epochs in a row may fail to improve by `tol` before training stops.
    max_fun : int, default 15000
        Calls of the loss at most, for "lbfgs".
    dropout : float, default 0.0
        The share of each hidden layer's outputs that is zeroed in training, in [0, 1); for
        "sgd" and "adam".
    device : str, Device or None, default None
        Where to compute: "cuda", "torch:cpu", ... as `bp.device` takes it; None is where X is.
        Input and output stay where they are.
    callbacks : list of Callback, default ()
        Called at the start, after each epoch and at the end, such as
        `bp.EarlyStopping(monitor="loss")`. A clone, and so each fit of a search, has copies.
    loss : str or Loss, default "log_loss"
        "log_loss" is the cross-entropy that suits y; or a loss of this library by name or as an
        object, such as `bp.CrossEntropy(label_smoothing=0.1)`. Losses that are not of
        probabilities, such as `bp.MeanSquaredError()`, compare probabilities with 0 and 1.
    class_weight : dict, "balanced" or None, default None
        How much a sample of each class counts, multiplied with its `sample_weight`, in the loss
        and in `validation_scores_`; "balanced" makes all classes count alike.

    Attributes
    ----------
    classes_ : array (classes,)
        The classes, sorted; for several labels a sample, their numbers.
    coefs_ : list of array (fan_in, fan_out)
        The weights, layer by layer. An array that is put in place of one of these counts from
        then on.
    intercepts_ : list of array (fan_out,)
        The biases, layer by layer.
    loss_ : float
        The last loss, penalty included.
    loss_curve_ : list of float
        The loss of each epoch; with `warm_start`, of all calls. For "sgd" and "adam".
    best_loss_ : float or None
        The lowest of them; None with `early_stopping`. For "sgd" and "adam".
    validation_scores_ : list of float or None
        `score` of the held-out samples after each epoch; None without `early_stopping`.
    validation_loss_curve_ : list of float or None
        The loss of the held-out samples after each epoch, without the penalty; None without
        `early_stopping`.
    best_validation_score_ : float or None
        The highest of `validation_scores_`.
    history_ : History
        What `bp.fit` recorded in the last call, and why it stopped.
    n_iter_ : int
        Epochs, or iterations of "lbfgs", of the last call.
    t_ : int
        Samples seen so far: epochs times samples.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : array (features,)
        Their names, if X was a table whose names are all strings.
    n_layers_ : int
        Layers, input and output among them.
    n_outputs_ : int
        Outputs of the network.
    out_activation_ : str
        "logistic" for two classes or several labels a sample; "softmax" for more classes, and with
        `bp.CrossEntropy`.
    model_ : Model
        The network as a `bp.Model`, for `save`, `bp.explain` and the rest of the library; its
        outputs are the raw ones, before `out_activation_`. Before pickling for a machine
        without the device: `estimator.model_.to("cpu")`.

    Raises
    ------
    MissingExtraError
        When the class is first asked for and scikit-learn is not installed.

    Notes
    -----
    X may be an array, a pandas or polars table, or a sparse matrix. With
    `sklearn.set_config(array_api_dispatch=True)`, CuPy arrays, PyTorch tensors, JAX arrays and
    strict arrays are computed with where they are, and predictions are of the same kind. Ctrl-C
    ends the training after the current step, with a warning, and leaves an estimator that
    predicts.

    Where the loss departs from scikit-learn's: with sample weights, an epoch's loss is the
    weighted mean over all samples, not the mean of its batches' means; and probabilities near 0
    cost what they cost, where scikit-learn takes at least the machine epsilon.

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
            One class a sample, or 0 and 1 in a column for each label.
        sample_weight : array (samples,), optional
            How much each sample counts, 0 or more.

        Returns
        -------
        self

        Raises
        ------
        InputError, ValueError
            For parameters or data that do not fit, or if the weights grow beyond all bounds.
        """
        self._fit(X, y, sample_weight, incremental=False)
        return self

    @available_if(lambda estimator: estimator._can_continue())  # type: ignore[untyped-decorator]
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None
    ) -> MLPClassifier:
        """Train on data for one epoch, from the weights there are.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`; y need not hold every class.
        classes : array (classes,)
            All classes there will ever be; needed in the first call.

        Returns
        -------
        self

        Raises
        ------
        InputError, ValueError
            As `fit` does; and if the classes are missing or other ones than at first.
        """
        if classes is None and not hasattr(self, "classes_"):
            raise InputError("classes must be passed on the first call to partial_fit")
        if classes is not None:
            labels = Labels.of_classes(on_host(classes))
            if not hasattr(self, "classes_"):
                several = type_of_target(on_host(y)).startswith("multilabel")
                self._learn(Labels.of_targets(on_host(y)) if several else labels)
            elif not np.array_equal(labels.classes, self.classes_):
                raise InputError(
                    f"`classes={classes!r}` is not the same as on last call to partial_fit, "
                    f"which was {self.classes_}"
                )
        self._fit(X, y, sample_weight, incremental=True)
        return self

    def predict(self, X: Any) -> Array:
        """The most probable class of each sample.

        Parameters
        ----------
        X : array, sparse matrix or table (samples, features)

        Returns
        -------
        array (samples,), or of 0 and 1, (samples, labels), where there are several labels
        """
        network, y = self._outputs_for(X, "predict")
        choice = network.objective.choice(y, several=self._labels.several)
        if network.place == HOST:
            return self._labels.decode(choice)
        labels = self._labels.decode(on_host(choice))
        return network.place.asarray(labels) if labels.dtype.kind in "biuf" else labels

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, or of each label.

        Parameters
        ----------
        X : array, sparse matrix or table (samples, features)

        Returns
        -------
        array (samples, classes), in the order of `classes_`
        """
        network, y = self._outputs_for(X, "predict_proba")
        return network.objective.probabilities(y)

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithm of `predict_proba`, −∞ where that rounds to 0.

        Parameters
        ----------
        X : array, sparse matrix or table (samples, features)

        Returns
        -------
        array (samples, classes), in the order of `classes_`
        """
        network, y = self._outputs_for(X, "predict_log_proba")
        with np.errstate(divide="ignore"):
            return device_of(y).xp.log(network.objective.probabilities(y))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of samples whose prediction is right; with several labels, all of them.

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
        It is counted on the host, so it is the same for every array library.
        """
        predicted = on_host(self.predict(X))
        return float(accuracy_score(on_host(y), predicted, sample_weight=on_host(sample_weight)))

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
                f"warm_start=True goes on with the same classes, {self.classes_}, but y now has "
                f"{np.unique(y)}"
            )

    def _learn(self, labels: Labels) -> None:
        self._labels, self.classes_ = labels, labels.classes

    def _objective_for(self, y: HostArray) -> tuple[Objective, HostArray, int]:
        labels, codes = self._labels, self._labels.encode(y)
        objective = classifying(self.loss, labels.kind)
        outputs = len(labels.classes)
        if labels.kind == "binary":  # one output tells two classes apart, but softmax needs two
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
        outputs = on_host(network.outputs(samples.X))
        if not np.isfinite(outputs).all():
            return np.nan
        choice = network.objective.choice(outputs, several=self._labels.several)
        predicted = self._labels.decode(choice)
        return float(accuracy_score(samples.y, predicted, sample_weight=samples.weight))
