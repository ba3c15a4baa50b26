"""The multi-layer perceptron that tells classes apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from bp_arrays.devices import Device, device_of
from bp_arrays.errors import InputError
from bp_arrays.estimators.inputs import HOST, floats, on_host
from bp_arrays.estimators.labels import Labels
from bp_arrays.estimators.objectives import Objective, classifying
from bp_arrays.estimators.perceptron import HostArray, Perceptron
from bp_arrays.losses import CrossEntropy, Loss
from bp_arrays.training import Callback
from bp_arrays.typing import Array


class MLPClassifier(ClassifierMixin, Perceptron):  # type: ignore[misc]
    """PARAMETERS"""

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int | float = 10,
        max_fun: int = 15000,
        loss: str | Loss = "log_loss",
        dropout: float = 0.0,
        device: str | Device | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        super().__init__(
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            power_t=power_t,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            verbose=verbose,
            warm_start=warm_start,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            n_iter_no_change=n_iter_no_change,
            max_fun=max_fun,
            loss=loss,
            dropout=dropout,
            device=device,
            callbacks=callbacks,
        )

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
            labels = Labels.of_classes(classes)
            if not hasattr(self, "classes_"):
                self._learn(_several(y) or labels)
            elif not np.array_equal(labels.classes, self.classes_):
                raise InputError(
                    f"`classes={classes!r}` is not the same as on last call to partial_fit, "
                    f"which was {self.classes_}"
                )
        self._fit(X, y, sample_weight, incremental=True)
        return self

    def predict(self, X: Any) -> Array:
        """The most probable class of each sample, (samples,); or 0 and 1, (samples, labels)."""
        check_is_fitted(self)
        y = self._outputs_for(X, "predict")
        if self._place == HOST:
            return self._labels.decode(self._choice(y))
        choice = self._labels.decode(self._place.to_numpy(self._choice(y)))
        return self._place.asarray(choice) if choice.dtype.kind in "biuf" else choice

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, (samples, classes), in the order of `classes_`."""
        check_is_fitted(self)
        y, objective = self._pairs(self._outputs_for(X, "predict_proba"))
        return objective.activated(y, device_of(y).xp)

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithm of the same, −inf where the probability rounds to 0."""
        check_is_fitted(self)
        y, objective = self._pairs(self._outputs_for(X, "predict_log_proba"))
        xp = device_of(y).xp
        with np.errstate(divide="ignore"):
            return xp.log(objective.activated(y, xp))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of samples whose prediction is right; with several labels, all of them.

        Counted on the host, in float64: scikit-learn's own would round to the default dtype of
        the array library.
        """
        predicted = on_host(self.predict(X))
        return float(accuracy_score(on_host(y), predicted, sample_weight=on_host(sample_weight)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    # -- what differs from the regressor -------------------------------------------------------

    def _validated(
        self, X: Any, y: Any, *, reset: bool, incremental: bool
    ) -> tuple[Any, HostArray]:
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            dtype=floats(X),
            reset=reset,
        )
        y = y.toarray() if hasattr(y, "toarray") else y
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._learn(Labels.of_targets(y))
        elif not incremental and set(Labels.of_targets(y).classes) != set(self.classes_):
            raise InputError(
                f"warm_start=True goes on with the same classes, {self.classes_}, but y now has "
                f"{np.unique(y)}"
            )
        return X, y

    def _learn(self, labels: Labels) -> None:
        self._labels, self.classes_ = labels, labels.classes

    def _objective(self) -> Objective:
        return classifying(self.loss, self._labels.kind)

    def _targets(self, y: HostArray, objective: Objective) -> HostArray:
        labels, codes = self._labels, self._labels.encode(y)
        two_outputs = isinstance(objective.loss, CrossEntropy)
        if labels.kind == "binary":
            self.n_outputs_ = 2 if two_outputs else 1
        else:
            self.n_outputs_ = len(labels.classes)
        return codes if objective.loss.takes_classes else labels.one_hot(codes)

    def _strata(self, y: HostArray) -> HostArray | None:
        if self._labels.kind != "binary":
            return None
        return self._labels.encode(y)[:, None].astype(bool)

    def _held_out_score(self, X: Any, y: HostArray, weight: HostArray | None) -> float:
        outputs = self._outputs(X)
        if not np.isfinite(on_host(outputs)).all():
            return np.nan
        predicted = self._labels.decode(on_host(self._choice(outputs)))
        return float(accuracy_score(y, predicted, sample_weight=weight))

    def _choice(self, y: Array) -> Array:
        """The number of the chosen class, or which labels are chosen, by the raw outputs y."""
        yes = y > (0.0 if self._objective().takes_raw else 0.5)
        if self._labels.kind == "multilabel-indicator":
            return yes
        xp = device_of(y).xp
        return xp.astype(yes[:, 0], xp.int32) if y.shape[1] == 1 else xp.argmax(y, axis=1)

    def _pairs(self, y: Array) -> tuple[Array, Objective]:
        """Outputs with a column for each class, also where two classes share one."""
        objective = self._objective()
        if self._labels.kind != "binary" or y.shape[1] != 1:
            return y, objective
        xp = device_of(y).xp
        if objective.takes_raw:  # σ(y) is the second of softmax(0, y)
            y = xp.concat([xp.zeros_like(y), y], axis=1)
            return y, replace(objective, out_activation="softmax")
        return xp.concat([1.0 - y, y], axis=1), objective


def _several(y: Any) -> Labels | None:
    """The labels of an indicator matrix; None for anything else."""
    if not type_of_target(y).startswith("multilabel"):
        return None
    return Labels.of_targets(y)
