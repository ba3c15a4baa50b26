"""The multi-layer perceptron that predicts numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if

from bp_arrays.devices import device_of
from bp_arrays.estimators._network import Network
from bp_arrays.estimators._objectives import Objective, regressing
from bp_arrays.estimators._perceptron import Perceptron
from bp_arrays.estimators._samples import Samples, on_host
from bp_arrays.losses import Loss
from bp_arrays.typing import Array, HostArray


@dataclass(eq=False, repr=False)
class MLPRegressor(RegressorMixin, Perceptron):  # type: ignore[misc]
    """A multi-layer perceptron that predicts numbers: scikit-learn's interface, any device.

    A drop-in for `sklearn.neural_network.MLPRegressor`: its parameters with its defaults, its
    attributes and its methods, and for the same `random_state` its weights, up to rounding. New
    are more activations and losses, `dropout`, `device`, `callbacks`, `validation_loss_curve_`,
    `history_` and `model_`.

    Parameters
    ----------
    loss : str or Loss, default "squared_error"
        "squared_error" is half the squared error, "poisson" half the Poisson deviance, for y of
        0 or more; or a loss of this library by name or as an object: "mean-absolute-error",
        `bp.Huber(2.0)`, ...; with `bp.BinaryCrossEntropy()`, y are shares from 0 to 1.
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

    Attributes
    ----------
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
        "identity"; "exp" for "poisson"; "logistic" or "softmax" for losses of probabilities.
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
    weighted mean over all samples, not the mean of its batches' means. With several outputs,
    "squared_error" adds up over them, so that it is the function whose gradient the steps take;
    scikit-learn reports its mean over the outputs, and gives "lbfgs" a gradient that is not of it.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = load_diabetes(return_X_y=True)
    >>> net = bp.MLPRegressor(
    ...     "huber", (20,), learning_rate_init=0.05, max_iter=300, tol=0.01, random_state=0
    ... )
    >>> regressor = make_pipeline(StandardScaler(), net).fit(X, y)
    >>> regressor.score(X, y) > 0.5
    True
    """

    loss: str | Loss = "squared_error"
    hidden_layer_sizes: Any = (100,)
    activation: Any = "relu"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """Train on data; with `warm_start`, from the weights of the last call.

        Parameters
        ----------
        X : array, sparse matrix or table (samples, features)
        y : array (samples,) or (samples, outputs)
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
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """Train on data for one epoch, from the weights there are; as `fit` otherwise."""
        self._fit(X, y, sample_weight, incremental=True)
        return self

    def predict(self, X: Any) -> Array:
        """The predicted values.

        Parameters
        ----------
        X : array, sparse matrix or table (samples, features)

        Returns
        -------
        array (samples,), or (samples, outputs) if there are several
        """
        network, y = self._outputs_for(X, "predict")
        return _predicted(network.objective, y)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The coefficient of determination R², 1 at best; with several outputs, their mean.

        Parameters
        ----------
        X : array, sparse matrix or table (samples, features)
        y : array (samples,) or (samples, outputs)
        sample_weight : array (samples,), optional

        Returns
        -------
        float

        Notes
        -----
        It is counted on the host, so it is the same for every array library.
        """
        predicted = on_host(self.predict(X))
        return float(r2_score(on_host(y), predicted, sample_weight=on_host(sample_weight)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    # -- what differs from the classifier ------------------------------------------------------

    def _learn_targets(self, y: HostArray, *, incremental: bool) -> None:
        pass  # numbers are not learnt by heart

    def _objective_for(self, y: HostArray) -> tuple[Objective, HostArray, int]:
        targets = y[:, None] if y.ndim == 1 else y
        return regressing(self.loss, targets), targets, targets.shape[1]

    def _score_of(self, network: Network, samples: Samples) -> float:
        predicted = on_host(_predicted(network.objective, network.outputs(samples.X)))
        if not np.isfinite(predicted).all():
            return np.nan
        return float(r2_score(samples.y, predicted, sample_weight=samples.weight))


def _predicted(objective: Objective, y: Array) -> Array:
    y = objective.activated(y, device_of(y).xp)
    return y[:, 0] if y.shape[1] == 1 else y
