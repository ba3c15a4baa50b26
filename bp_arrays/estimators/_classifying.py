"""`NetworkClassifier`: what all classifiers do: encode classes, predict and score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import type_of_target

from bp_arrays.devices import device_of
from bp_arrays.errors import InputError
from bp_arrays.estimators._estimator import NetworkEstimator
from bp_arrays.estimators._labels import Labels
from bp_arrays.estimators._network import Network
from bp_arrays.estimators._objectives import TrainingObjective, classifying
from bp_arrays.estimators._samples import HOST, Samples, moved_to_host, validated_weight
from bp_arrays.losses import CrossEntropy, Loss
from bp_arrays.typing import Array, HostArray


class NetworkClassifier(ClassifierMixin, NetworkEstimator):  # type: ignore[misc]
    """Base class of the classifiers, with scikit-learn's methods."""

    loss: str | Loss
    class_weight: Mapping[Any, float] | str | None

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

    # -- what differs from regressors ----------------------------------------------------------

    def _learn_targets(self, y: HostArray, *, incremental: bool) -> None:
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._learn(Labels.of_targets(y))
        elif not incremental and set(Labels.of_targets(y).classes) != set(self.classes_):
            raise InputError(
                f"y: expected the classes of the last fit, {self.classes_}, got {np.unique(y)}; "
                "to train on other classes, fit with warm_start=False"
            )

    def _loss_for(self, labels: Labels) -> str | Loss:
        """Return the loss for these classes."""
        return self.loss

    def _learn_classes(self, y: Any, classes: Any) -> None:
        """Learn the classes passed to `partial_fit`, or compare them with the known ones."""
        if classes is None and not hasattr(self, "classes_"):
            raise InputError("classes must be passed on the first call to partial_fit")
        if classes is None:
            return
        labels = Labels.of_classes(moved_to_host(classes))
        if not hasattr(self, "classes_"):
            multilabel = type_of_target(moved_to_host(y)).startswith("multilabel")
            self._learn(Labels.of_targets(moved_to_host(y)) if multilabel else labels)
        elif not np.array_equal(labels.classes, self.classes_):
            raise InputError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, "
                f"which was {self.classes_}"
            )

    def _learn(self, labels: Labels) -> None:
        self._labels, self.classes_ = labels, labels.classes

    def _objective_for(self, y: HostArray) -> tuple[TrainingObjective, HostArray, int]:
        labels, codes = self._labels, self._labels.encode(y)
        objective = classifying(self._loss_for(labels), labels.kind)
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

    def _explained_target(self, t: HostArray, loss: Loss) -> HostArray:
        row = np.reshape(t, (1, -1))
        codes = self._labels.encode(row if self._labels.multilabel else row[0])
        if loss.takes_classes:
            return codes
        several = self._labels.one_hot(codes)
        one_of_two = several.shape[1] == 1 and self.n_outputs_ == 2
        return np.hstack([1.0 - several, several]) if one_of_two else several

    def _output_names(self, network: Network) -> tuple[str, ...]:
        names = tuple(map(str, self.classes_.tolist()))
        if self._labels.kind == "binary" and network.model.output_shape == (1,):
            return names[-1:]
        return names

    def _score_of(self, network: Network, samples: Samples) -> float:
        outputs = moved_to_host(network.outputs(samples.X))
        if not np.isfinite(outputs).all():
            return np.nan
        choice = network.objective.choice(outputs, multilabel=self._labels.multilabel)
        predicted = self._labels.decode(choice)
        return float(accuracy_score(samples.y, predicted, sample_weight=samples.weight))
