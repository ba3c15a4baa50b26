"""Covers: what the estimators add to scikit-learn's: dropout, callbacks, losses, class weights."""

from __future__ import annotations

import copy
import os
import signal
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn.datasets import load_digits, make_classification, make_regression

import bp_arrays as bp

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, y = make_classification(80, 6, n_informative=4, n_classes=3, random_state=1)
XR, YR = make_regression(80, 6, noise=1.0, random_state=3)
YR = YR / 100.0


class Log(bp.Callback):
    """Notes each call, and does `act` after the epoch of that number."""

    def __init__(self, epoch=None, act=None):
        self.calls, self.epoch, self.act = [], epoch, act

    def on_start(self, run):
        self.calls.append("start")

    def on_epoch_end(self, run):
        self.calls.append((run.history.epochs, run.history["loss"][-1]))
        if run.history.epochs == self.epoch:
            self.act(run)

    def on_end(self, run):
        self.calls.append("end")


# -- dropout ---------------------------------------------------------------------------------------


def test_dropout_stands_behind_each_hidden_activation():
    classifier = bp.MLPClassifier((5, 4), "silu", dropout=0.25, max_iter=1).fit(X, y)
    kinds = [type(layer) for layer in classifier.model_.net]
    hidden = [bp.Linear, bp.SiLU, bp.Dropout]
    assert kinds == [*hidden, *hidden, bp.Linear]
    assert classifier.model_.net.layers[2].rate == 0.25


def test_dropout_acts_in_training_only_and_is_drawn_from_random_state():
    settings = {"hidden_layer_sizes": 30, "max_iter": 4, "shuffle": False, "random_state": 0}
    plain = bp.MLPClassifier(**settings).fit(X, y)
    with_masks = bp.MLPClassifier(**settings, dropout=0.5).fit(X, y)
    assert np.abs(plain.coefs_[1] - with_masks.coefs_[1]).max() > 1e-3
    again = bp.MLPClassifier(**settings, dropout=0.5).fit(X, y)
    np.testing.assert_array_equal(again.coefs_[1], with_masks.coefs_[1])
    other = bp.MLPClassifier(**settings | {"random_state": 1}, dropout=0.5).fit(X, y)
    assert (other.coefs_[1] != with_masks.coefs_[1]).all()
    np.testing.assert_array_equal(with_masks.predict_proba(X), with_masks.predict_proba(X))


def test_masks_are_drawn_from_random_state():
    settings = {"hidden_layer_sizes": 30, "max_iter": 2, "shuffle": False, "warm_start": True}
    first = bp.MLPClassifier(**settings, random_state=0, dropout=0.5).fit(X, y)
    ones, twos = (
        copy.deepcopy(first).set_params(random_state=seed).fit(X, y).coefs_[1] for seed in (1, 2)
    )
    assert (ones != twos).all()


def test_with_dropout_the_first_loss_is_that_of_a_masked_network():
    """With a rate of almost 1 nearly all hidden values are zeroed: only the biases speak."""
    settings = {"hidden_layer_sizes": 30, "max_iter": 1, "alpha": 0.0, "random_state": 0}
    still = {"solver": "sgd", "learning_rate_init": 1e-30}
    plain = bp.MLPRegressor(**settings, **still).fit(XR, YR)
    masked = bp.MLPRegressor(**settings, **still, dropout=1.0 - 1e-9).fit(XR, YR)
    alone = np.mean((YR - plain.intercepts_[1][0]) ** 2) / 2
    assert masked.loss_ == pytest.approx(alone)
    assert plain.loss_ != pytest.approx(alone, rel=1e-3)


# -- callbacks and interruption --------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_callbacks_see_each_epoch(solver):
    log = Log()
    classifier = bp.MLPClassifier(4, solver=solver, max_iter=3, callbacks=[log]).fit(X, y)
    losses = classifier.history_["loss"]
    assert log.calls == ["start", *zip((1, 2, 3), losses, strict=True), "end"]
    assert losses[0] > losses[-1]
    assert classifier.loss_ == pytest.approx(losses[-1])


def test_partial_fit_calls_them_too():
    log = Log()
    classifier = bp.MLPClassifier(4, callbacks=[log])
    classifier.partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X, y)
    assert [call for call in log.calls if isinstance(call, str)] == ["start", "end"] * 2


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.filterwarnings("error")
def test_a_callback_may_stop_the_training(solver):
    def stop(run):
        run.stopped = "enough"

    classifier = bp.MLPClassifier(4, solver=solver, callbacks=[Log(5, stop)]).fit(X, y)
    assert (classifier.n_iter_, classifier.history_.stopped) == (5, "enough")


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_early_stopping_of_the_library_restores_its_best_epoch(solver):
    watched = []

    class Watch(bp.Callback):
        def on_epoch_end(self, run):
            watched.append(run.model.vector)

    stopping = bp.EarlyStopping(patience=2, monitor="loss", min_delta=0.02)
    classifier = bp.MLPClassifier(
        20, solver=solver, learning_rate_init=0.05, random_state=0, callbacks=[Watch(), stopping]
    ).fit(X, y)
    assert classifier.history_.stopped == "early stopping"
    assert stopping.best_epoch == len(watched) - 2
    np.testing.assert_array_equal(classifier.model_.vector, watched[stopping.best_epoch - 1])
    assert (classifier.model_.vector != watched[-1]).any()


def test_early_stopping_by_held_out_loss_needs_held_out_samples():
    callbacks = [bp.EarlyStopping(patience=3, monitor="val_loss")]
    settings = {"random_state": 0, "learning_rate_init": 0.1, "callbacks": callbacks}
    with pytest.raises(bp.InputError, match="unknown series to monitor 'val_loss'"):
        bp.MLPClassifier(20, **settings).fit(X, y)
    classifier = bp.MLPClassifier(20, **settings, early_stopping=True, n_iter_no_change=99)
    classifier.fit(X, y)
    curve = classifier.validation_loss_curve_
    assert classifier.history_.stopped == "early stopping"
    assert callbacks[0].best_epoch == int(np.argmin(curve)) + 1 == len(curve) - 3


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("kind", [bp.MLPClassifier, bp.MLPRegressor])
def test_ctrl_c_leaves_an_estimator_that_predicts(kind, solver):
    def press(run):
        os.kill(os.getpid(), signal.SIGINT)

    log = Log(3, press)
    estimator = kind(hidden_layer_sizes=4, solver=solver, callbacks=[log], random_state=0)
    with pytest.warns(UserWarning, match="interrupted by the user") as found:
        estimator.fit(X, y)
    assert found[0].filename == __file__
    assert estimator.n_iter_ == 3
    assert log.calls[-1] == "end"
    assert estimator.history_.stopped == "interrupted"
    assert len(estimator.history_["loss"]) == 3
    shorter = kind(hidden_layer_sizes=4, solver=solver, max_iter=3, random_state=0).fit(X, y)
    np.testing.assert_allclose(estimator.predict(X), shorter.predict(X))
    assert estimator.loss_ == pytest.approx(shorter.loss_)


def test_an_error_in_a_callback_reaches_the_user_and_nothing_is_fitted():
    def fail(run):
        raise ZeroDivisionError("mine")

    classifier = bp.MLPClassifier(4, callbacks=[Log(2, fail)])
    with pytest.raises(ZeroDivisionError, match="mine"):
        classifier.fit(X, y)
    assert not hasattr(classifier, "coefs_")


# -- activations and losses ------------------------------------------------------------------------


def test_each_hidden_layer_may_have_its_own_activation():
    classifier = bp.MLPClassifier((5, 4, 3), ["leaky-relu", bp.ELU(0.5), "logistic"], max_iter=1)
    layers = classifier.fit(X, y).model_.net.layers
    assert layers[1::2] == (bp.LeakyReLU(), bp.ELU(0.5), bp.Sigmoid())


def test_the_logistic_activation_has_its_own_first_weights_under_each_name():
    first = {
        name: bp.MLPClassifier(
            (5,), name, solver="sgd", learning_rate_init=1e-30, max_iter=1, random_state=0
        ).fit(X, y).coefs_[0]
        for name in ("logistic", "sigmoid", "relu")
    }  # fmt: skip
    np.testing.assert_array_equal(first["logistic"], first["sigmoid"])
    np.testing.assert_allclose(first["relu"], first["logistic"] * np.sqrt(3.0))


@pytest.mark.parametrize(
    ("named", "given"),
    [
        ("cross-entropy", bp.CrossEntropy()),
        ("MeanSquaredError", bp.MeanSquaredError()),
        ("huber", bp.Huber()),
    ],
)
def test_a_loss_by_name_is_that_loss(named, given):
    settings = {"hidden_layer_sizes": 4, "max_iter": 3, "random_state": 0}
    for kind, target in ((bp.MLPClassifier, y), (bp.MLPRegressor, np.abs(YR[:, None]) * [1, 1])):
        target = target / target.sum(axis=1, keepdims=True) if target.ndim == 2 else target
        one = kind(**settings, loss=named).fit(X, target)
        other = kind(**settings, loss=given).fit(X, target)
        np.testing.assert_array_equal(one.coefs_[0], other.coefs_[0])


def test_two_classes_by_cross_entropy_have_two_outputs_and_the_same_interface():
    two = (y > 0).astype(int)
    settings = {"max_iter": 300, "learning_rate_init": 0.03, "random_state": 0}
    classifier = bp.MLPClassifier(20, loss="cross-entropy", **settings)
    classifier.fit(X, two)
    assert (classifier.n_outputs_, classifier.out_activation_) == (2, "softmax")
    p = classifier.predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    np.testing.assert_array_equal(classifier.predict(X), p.argmax(axis=1))
    assert classifier.score(X, two) > 0.9


@pytest.mark.parametrize("loss", ["mean-squared-error", bp.MeanAbsoluteError()])
@pytest.mark.parametrize("several", [False, True])
def test_losses_of_predictions_see_probabilities(loss, several):
    target = np.stack([y == 0, y > 0], axis=1).astype(int) if several else y > 0
    settings = {"max_iter": 300, "learning_rate_init": 0.03, "random_state": 0}
    classifier = bp.MLPClassifier(20, loss=loss, **settings)
    classifier.fit(X, target)
    p = classifier.predict_proba(X)
    assert p.shape == (80, 2)
    assert 0.0 <= p.min() <= p.max() <= 1.0
    assert classifier.score(X, target) > 0.8
    np.testing.assert_allclose(classifier.model_.predict(X)[:, -1], p[:, -1])


def test_losses_that_cannot_suit_the_targets_say_which_can():
    labels = np.stack([y == 0, y > 0], axis=1).astype(int)
    with pytest.raises(bp.InputError, match="several labels per sample; use BinaryCrossEntropy"):
        bp.MLPClassifier(loss="cross-entropy").fit(X, labels)
    with pytest.raises(bp.InputError, match="more than two classes; use CrossEntropy"):
        bp.MLPClassifier(loss=bp.BinaryCrossEntropy()).fit(X, y)
    with pytest.raises(
        bp.InputError, match=r"y\[0\]: expected a target >= 0 for loss='poisson', got -1.0"
    ):
        bp.MLPRegressor("poisson").fit(X, np.full(80, -1.0))
    with pytest.raises(bp.InputError, match=r"y\[0\]: expected probabilities that sum to 1"):
        bp.MLPRegressor("cross_entropy").fit(X, np.tile([1.0, 1.0, 0.0], (80, 1)))
    with pytest.raises(
        bp.InputError, match=r"y\[3\]: expected a target from 0 to 1 for .*, got 1.5; code"
    ):
        bp.MLPRegressor("binary-cross-entropy").fit(X, np.where(np.arange(80) == 3, 1.5, 0.5))
    with pytest.raises(bp.InputError, match="two or more columns of y, got one column"):
        bp.MLPRegressor("cross-entropy").fit(X, np.ones(80))


def test_shares_are_predicted_as_shares():
    shares = 1.0 / (1.0 + np.exp(-YR))
    regressor = bp.MLPRegressor("binary-cross-entropy", (8,), solver="lbfgs", max_iter=50)
    predicted = regressor.fit(XR, shares).predict(XR)
    assert regressor.out_activation_ == "logistic"
    assert np.abs(predicted - shares).max() < 0.1


# -- class weights ---------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_class_weights_are_those_of_cross_entropy(solver):
    settings = {"hidden_layer_sizes": 4, "solver": solver, "max_iter": 5, "random_state": 0}
    weights = (1.0, 2.5, 0.5)
    ours = bp.MLPClassifier(**settings, class_weight=dict(enumerate(weights))).fit(X, y)
    by_loss = bp.MLPClassifier(**settings, loss=bp.CrossEntropy(class_weights=weights)).fit(X, y)
    by_sample = bp.MLPClassifier(**settings).fit(X, y, np.asarray(weights)[y])
    plain = bp.MLPClassifier(**settings).fit(X, y)
    for other in (by_loss, by_sample):
        np.testing.assert_allclose(ours.coefs_[0], other.coefs_[0], rtol=1e-8)
        np.testing.assert_allclose(ours.history_["loss"], other.history_["loss"])
    assert np.abs(ours.coefs_[0] - plain.coefs_[0]).max() > 1e-3


@pytest.mark.parametrize(("parameters", "weight"), [
    ({}, np.full(80, 1e-50)),
    ({"solver": "lbfgs"}, np.full(80, 1e50)),
    ({"class_weight": dict.fromkeys(range(3), 1e50)}, None),
])  # fmt: skip
def test_weights_that_float32_cannot_hold_are_refused(parameters, weight):
    with pytest.raises(bp.InputError, match=r"sample_weight\[0\]: expected .* weights are float32"):
        bp.MLPClassifier(4, max_iter=1, **parameters).fit(X.astype(np.float32), y, weight)


def test_balanced_class_weights_find_a_rare_class():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2))
    names = np.where((x[:, 0] > 1.3) & (rng.uniform(size=400) < 0.8), "rare", "usual")
    recall = {}
    for class_weight in (None, "balanced", {"usual": 1.0, "rare": 8.0}):
        classifier = bp.MLPClassifier(
            (), class_weight=class_weight, solver="lbfgs", random_state=0, alpha=10.0
        ).fit(x, names)
        recall[str(class_weight)] = (classifier.predict(x)[names == "rare"] == "rare").mean()
    plain, *weighted = recall.values()
    assert min(weighted) > plain + 0.1


def test_class_weights_multiply_sample_weights_and_count_in_partial_fit():
    settings = {"hidden_layer_sizes": 4, "random_state": 0, "class_weight": {0: 3.0}}
    sample_weight = np.linspace(0.5, 1.5, 80)
    one = bp.MLPClassifier(**settings).partial_fit(X, y, sample_weight, classes=[0, 1, 2])
    product = sample_weight * np.where(y == 0, 3.0, 1.0)
    other = bp.MLPClassifier(4, random_state=0).partial_fit(X, y, product, classes=[0, 1, 2])
    np.testing.assert_array_equal(one.coefs_[0], other.coefs_[0])
    with pytest.raises(bp.InputError, match="'balanced' requires all of y, which partial_fit does"):
        bp.MLPClassifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2])


@pytest.mark.parametrize("class_weight", ["balance", {0: -1.0}, 3])
def test_bad_class_weights_are_refused(class_weight):
    with pytest.raises(ValueError, match="weight"):
        bp.MLPClassifier(class_weight=class_weight).fit(X, y)


# -- other devices ---------------------------------------------------------------------------------


def test_a_device_by_name_computes_there_and_answers_here(device):
    images, digits = load_digits(return_X_y=True)
    images, digits = images[:150].astype("float32") / 16.0, digits[:150]
    settings = {"hidden_layer_sizes": 12, "max_iter": 5, "random_state": 0, "dropout": 0.2}
    here = bp.MLPClassifier(**settings).fit(images, digits)
    there = bp.MLPClassifier(**settings, device=str(device)).fit(images, digits)
    assert there.model_.device == device
    for answer in (there.predict(images), there.predict_proba(images), *there.coefs_):
        assert type(answer) is np.ndarray
    np.testing.assert_allclose(there.predict_proba(images), here.predict_proba(images), atol=1e-4)


def test_a_device_that_cannot_compute_says_so_before_anything_is_trained():
    if bp.device("cuda").availability().usable:
        pytest.skip("CUDA computes here")
    with pytest.raises(bp.DeviceUnavailableError, match="'cuda:0' cannot be used"):
        bp.MLPClassifier(device="cuda").fit(X, y)


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", [bp.MLPClassifier, bp.MLPRegressor])
def test_tensors_that_numpy_cannot_read_are_the_numbers_they_hold(name, kind):
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(X, dtype=getattr(torch, name))
    numbers, weight = tensor.to(torch.float32).numpy(), torch.ones(80, requires_grad=True)
    targets = torch.tensor(y if kind is bp.MLPClassifier else YR)
    settings = {"hidden_layer_sizes": 4, "max_iter": 2, "random_state": 0}
    with warnings.catch_warnings(action="ignore"):
        ours = kind(**settings).fit(tensor.requires_grad_(), targets, weight)
        plain = kind(**settings).fit(numbers, targets.numpy(), np.ones(80))
    np.testing.assert_array_equal(ours.predict(tensor), plain.predict(numbers))
    np.testing.assert_array_equal(ours.coefs_[0], plain.coefs_[0])
    assert ours.score(tensor, targets) == plain.score(numbers, targets.numpy())


@pytest.mark.parametrize("loss", [bp.Hinge(), bp.MultiMargin(), bp.KLDivergence(), bp.PoissonNLL()])
def test_a_classifier_refuses_losses_that_do_not_compare_probabilities(loss):
    with pytest.raises(bp.InputError, match="a loss that compares probabilities with 0 and 1"):
        bp.MLPClassifier((2,), loss=loss, max_iter=1).fit(X, y)


def test_a_regressor_predicts_rates_and_probabilities_of_losses_that_have_them():
    counts, shares = np.floor(np.exp(XR[:, 0])), np.exp(XR[:, :3])
    shares = shares / shares.sum(axis=1, keepdims=True)
    how = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0}
    rates = bp.MLPRegressor(loss=bp.PoissonNLL(), **how).fit(XR, counts).predict(XR)
    assert (rates > 0.0).all()
    p = bp.MLPRegressor(loss=bp.KLDivergence(), **how).fit(XR, shares).predict(XR)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-6)


@pytest.mark.parametrize("kind", [bp.MLPClassifier, bp.SequentialClassifier])
def test_mixed_precision(kind, tmp_path):
    options = {"random_state": 0, "compute_dtype": "float16", "device": "cpu"}
    options |= {"max_iter": 5} if kind is bp.MLPClassifier else {"epochs": 5}
    estimator = kind(**options).fit(X, y)
    assert (estimator.model_.dtype, estimator.model_.compute_dtype) == ("float32", "float16")
    assert "skipped_steps" in estimator.history_
    bp.save_estimator(estimator, tmp_path / "e.safetensors")
    loaded = bp.load_estimator(tmp_path / "e.safetensors")
    np.testing.assert_array_equal(loaded.predict_proba(X), estimator.predict_proba(X))
    loaded.partial_fit(X, y)
    assert loaded.model_.compute_dtype == "float16"
    for wrong in ("float32", "bfloat16"):  # the CPU has no bfloat16
        with pytest.raises(bp.InputError, match="compute_dtype"):
            kind(**options | {"compute_dtype": wrong}).fit(X, y)


def test_lbfgs_is_not_in_mixed_precision():
    with pytest.raises(bp.InputError, match="compute_dtype requires solver='sgd' or 'adam'"):
        bp.MLPRegressor(solver="lbfgs", compute_dtype="float16").fit(XR, YR)
