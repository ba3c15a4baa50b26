"""`MLPRegressor`: the multi-layer perceptron for regression."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from sklearn.utils.metaestimators import available_if

from bp_arrays.estimators._perceptron import Perceptron
from bp_arrays.estimators._regressing import NetworkRegressor
from bp_arrays.losses import Loss
from bp_arrays.training import Checkpoint


@dataclass(eq=False, repr=False)
class MLPRegressor(NetworkRegressor, Perceptron):
    """Multi-layer perceptron regressor with scikit-learn's interface, on any device.

    A drop-in replacement for `sklearn.neural_network.MLPRegressor`: the same parameters,
    defaults, attributes and methods, and for the same `random_state` the same weights, up to
    rounding. New are more activations and losses, `dropout`, `device`, `callbacks`,
    `validation_loss_curve_`, `history_` and `model_`.

    Parameters
    ----------
    loss : str or Loss, default "squared_error"
        "squared_error" is half the squared error, "poisson" half the Poisson deviance, for
        y >= 0; or a loss of this library by name or as an object: "mean-absolute-error",
        `bp.Huber(2.0)`, ...; with `bp.BinaryCrossEntropy()`, y lies in [0, 1].
    hidden_layer_sizes : int or sequence of int, default (100,)
        The width of each hidden layer; () is a linear model.
    activation : str, Layer or a sequence of them, default "relu"
        After each hidden layer: "identity", "logistic", "tanh", "relu" as in scikit-learn, any
        other activation of this library by name ("gelu", "leaky-relu", "silu", ...) or as an
        object (`bp.LeakyReLU(0.2)`), or a list with one for each hidden layer.
    solver : str or Optimizer, default "adam"
        "adam" and "sgd" train in batches and are scikit-learn's; "lbfgs" minimizes the loss over
        all samples at once, which suits small data. Or an optimizer of this library, by name
        ("adamw", "rmsprop", "adagrad") or as an object with its own learning rate,
        `bp.AdamW(0.001)`.
    alpha : float, default 0.0001
        Strength of the L2 penalty, α/2 Σ w² divided by the samples in the batch; biases are not
        penalized.
    batch_size : int or "auto", default "auto"
        Samples per step, but for "lbfgs"; "auto" is min(200, samples).
    learning_rate : {"constant", "invscaling", "adaptive"}, default "constant"
        Schedule of the learning rate of "sgd": "invscaling" divides `learning_rate_init` by
        (t_ + 1) ** power_t after each epoch; "adaptive" divides the rate by 5 when training would
        stop, and stops at 1e-6.
    learning_rate_init : float or Schedule, default 0.001
        The learning rate of the first step, for solvers by name but "lbfgs"; or a schedule of the
        steps, `bp.Cosine(0.001, steps=1000)`: an epoch has ceil(samples / batch size) steps.
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
        Whether solvers but "lbfgs" hold out samples, or take those of `fit(validation=)`, stop
        when the score on them no longer improves, and restore the weights with the best score.
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
        The fraction of each hidden layer's outputs that is set to 0 in training, in [0, 1); not
        for "lbfgs".
    device : str, Device or None, default None
        The device to compute on: "cuda", "torch:cpu", ..., see `bp.device`; None is the device of
        X. Output is on the device of the input.
    compute_dtype : str or None, default None
        "bfloat16" or "float16" for mixed precision, in a float32 model whatever the dtype of X, see
        `bp.Model`; not for "lbfgs", whose line search needs exact gradients.
    callbacks : list of Callback, default ()
        Called at the start, after each epoch and at the end, such as
        `bp.EarlyStopping(monitor="loss")`. A clone, and so each fit of a search, gets copies.

    Attributes
    ----------
    coefs_ : list of array (fan_in, fan_out)
        The weights, layer by layer. An array assigned into this list replaces the weights of that
        layer.
    intercepts_ : list of array (fan_out,)
        The biases, layer by layer.
    loss_ : float
        The last loss, penalty included.
    loss_curve_ : list of float
        The loss of each epoch; with `warm_start`, over all calls. Not for "lbfgs".
    best_loss_ : float or None
        The lowest of `loss_curve_`; None with `early_stopping`. Not for "lbfgs".
    validation_scores_ : list of float or None
        `score` of the held-out samples after each epoch; None without `early_stopping`.
    validation_loss_curve_ : list of float or None
        The loss of the held-out samples after each epoch, without the penalty; None without
        `early_stopping`.
    best_validation_score_ : float or None
        The highest of `validation_scores_`.
    history_ : History
        The `History` of the last call: the recorded series, with "val_score" of validation samples,
        why training stopped, and the epoch whose weights were kept; `plot()` marks it.
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
        "identity"; "exp" for "poisson"; "logistic" or "softmax" for losses of probabilities.
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
    weighted mean over all samples, not the mean of its batches' means. With several outputs,
    "squared_error" is summed over them, so that the steps follow its gradient; scikit-learn
    reports the mean over the outputs, and passes "lbfgs" the gradient of another function.

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

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        validation: Any = None,
        checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
        resume: str | os.PathLike[str] | None = None,
    ) -> MLPRegressor:
        """Train on data; with `warm_start`, from the weights of the last call.

        Parameters
        ----------
        X : array, sparse matrix or table (samples, features)
        y : array (samples,) or (samples, outputs)
        sample_weight : array (samples,), optional
            Weight of each sample in the loss, 0 or more.
        validation : (X, y) or (X, y, sample_weight), optional
            Validation samples, scored after each epoch: "val_loss" and "val_score" in `history_`.
            With `early_stopping` they decide in place of a random part of the samples.
        checkpoint : bp.Checkpoint or path, optional
            Saves the whole state of training to a folder while it runs; "adam" and "sgd" only, and
            `random_state` must be a whole number.
        resume : path, optional
            A folder of checkpoints: training continues from the newest one that is intact, as if
            it had never stopped, with the same parameters and data; `max_iter` may be larger.

        Returns
        -------
        self

        Raises
        ------
        InputError, ValueError
            For invalid parameters or data, or if the weights become infinite or NaN.
        """
        self._fit(X, y, sample_weight, validation, checkpoint, resume, incremental=False)
        return self

    @available_if(lambda estimator: estimator._can_continue())  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """Train for one epoch, from the current weights; parameters as in `fit`."""
        self._fit(X, y, sample_weight, incremental=True)
        return self
