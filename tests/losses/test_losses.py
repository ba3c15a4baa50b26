"""Losses against the notes' formula, PyTorch's own, and their own definition of weights."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.losses import LOSSES, loss_named

RNG = np.random.default_rng(0)
Y, T = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 3))
CLASSES = np.array([0, 2, 1, 1, 0, 2])
YES_NO = (T > 0).astype(float)


def both(loss, y, t, weight=None):
    value, backward = loss.forward(y, t, bp.Context(np), weight)
    return float(value), backward()


def test_the_notes_loss_index_by_index():
    value, gradient = both(bp.L2Loss(), Y, T)
    total = sum(0.5 * sum((Y[i, j] - T[i, j]) ** 2 for j in range(3)) for i in range(6))
    assert value == pytest.approx(total / 6, rel=1e-14)
    assert both(bp.L2Loss(reduction="sum"), Y, T)[0] == pytest.approx(total, rel=1e-14)
    for i in range(6):
        for j in range(3):
            assert gradient[i, j] == pytest.approx((Y[i, j] - T[i, j]) / 6, rel=1e-14)


def witnesses(torch):
    f = torch.nn.functional
    classes, yes_no, t = torch.tensor(CLASSES), torch.tensor(YES_NO), torch.tensor(T)
    weights = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    probabilities = torch.softmax(t, -1)
    return [
        (bp.MeanSquaredError(), T, lambda y: f.mse_loss(y, t)),
        (bp.MeanAbsoluteError(), T, lambda y: f.l1_loss(y, t)),
        (bp.Huber(0.7), T, lambda y: f.huber_loss(y, t, delta=0.7)),
        (bp.L2Loss(), T, lambda y: f.mse_loss(y, t, reduction="sum") / 12),
        (bp.BinaryCrossEntropy(), YES_NO, lambda y: f.binary_cross_entropy_with_logits(y, yes_no)),
        (bp.CrossEntropy(), CLASSES, lambda y: f.cross_entropy(y, classes)),
        (bp.CrossEntropy(), probabilities.numpy(), lambda y: f.cross_entropy(y, probabilities)),
        (
            bp.CrossEntropy(reduction="sum"),
            CLASSES,
            lambda y: f.cross_entropy(y, classes, reduction="sum"),
        ),
        (
            bp.CrossEntropy(label_smoothing=0.2),
            CLASSES,
            lambda y: f.cross_entropy(y, classes, label_smoothing=0.2),
        ),
        (
            bp.CrossEntropy(class_weights=(0.5, 1, 2)),
            CLASSES,
            lambda y: f.cross_entropy(y, classes, weight=weights),
        ),
    ]


@pytest.mark.parametrize("k", range(10))
def test_value_and_gradient_are_those_of_pytorch(k):
    torch = pytest.importorskip("torch", reason="witness PyTorch is not installed")
    loss, t, theirs = witnesses(torch)[k]
    value, gradient = both(loss, Y, t)
    there = torch.tensor(Y, requires_grad=True)
    expected = theirs(there)
    expected.backward()
    assert value == pytest.approx(expected.item(), rel=1e-13)
    np.testing.assert_allclose(gradient, there.grad.numpy(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", LOSSES)
def test_a_weight_of_two_is_the_sample_twice(name):
    t = CLASSES if name == "CrossEntropy" else YES_NO
    weight = np.array([2.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    rows = [0, 0, 1, 3, 4, 5]
    value, gradient = both(LOSSES[name](), Y, t, weight)
    expected, rowwise = both(LOSSES[name](), Y[rows], t[rows])
    assert value == pytest.approx(expected, rel=1e-14)
    np.testing.assert_allclose(gradient[0], 2 * rowwise[0], rtol=1e-13)
    np.testing.assert_array_equal(gradient[2], 0.0)


def test_a_batch_in_which_nothing_counts_is_zero_not_nan():
    value, gradient = both(bp.CrossEntropy(), Y, CLASSES, np.zeros(6))
    assert value == 0.0
    np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("name", ["CrossEntropy", "BinaryCrossEntropy"])
def test_extreme_logits_stay_finite_and_exact(name, device, dtype):
    context = bp.Context(device.xp, device.native)
    y = device.asarray([[1e4, -1e4], [-1e4, 1e4], [40.0, 0.0]], dtype)
    t = [0, 1, 0] if name == "CrossEntropy" else [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    t = device.asarray(t, None if name == "CrossEntropy" else dtype)
    value, backward = LOSSES[name](reduction="sum").forward(y, t, context)
    tail = np.exp(-40.0)
    expected = tail if name == "CrossEntropy" else (tail + np.log(2.0)) / 2
    assert float(value) == pytest.approx(expected, rel=1e-5, abs=1e-16)
    assert np.isfinite(device.to_numpy(backward())).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bp.L2Loss(reduction="none"), "mean"),
        (lambda: bp.Huber(0.0), "above 0"),
        (lambda: bp.CrossEntropy(label_smoothing=1.0), "0 <= s < 1"),
        (lambda: bp.CrossEntropy(class_weights=(1.0, -1.0)), "0 or more"),
        (lambda: both(bp.CrossEntropy(class_weights=(1.0, 1.0)), Y, CLASSES), "3 classes"),
        (lambda: both(bp.L2Loss(), Y[:, :1], T[:, 0]), r"\(6, 1\), got \(6,\)"),
        (lambda: both(bp.CrossEntropy(), Y, T[:, :2]), r"classes \(6,\)"),
        (lambda: both(bp.CrossEntropy(), Y[:, 0], CLASSES), "batch, classes"),
        (lambda: loss_named("cross_entrpy"), "did you mean 'CrossEntropy'"),
    ],
)
def test_bad_input_says_what_is_expected(make, message):
    with pytest.raises(bp.InputError, match=message):
        make()


@pytest.mark.parametrize("shape", [(6, 1), (1,), (5,), ()])
def test_weights_are_one_number_a_sample(shape):
    with pytest.raises(bp.InputError, match=r"one number a sample, \(6,\), got"):
        both(bp.L2Loss(), Y, T, np.ones(shape))


@pytest.mark.parametrize("loss", [bp.L2Loss(), bp.CrossEntropy(reduction="sum")])
def test_an_empty_batch_is_refused(loss):
    with pytest.raises(bp.InputError, match="an empty batch"):
        both(loss, np.ones((0, 3)), np.ones((0, 3)))


def test_a_class_ruled_out_by_its_logit_costs_nothing():
    logits = np.array([[-np.inf, 0.0, 1.0]])
    value, gradient = both(bp.CrossEntropy(), logits, np.array([1]))
    assert value == pytest.approx(np.log(1.0 + np.e), rel=1e-14)
    p = np.e / (1.0 + np.e)
    np.testing.assert_allclose(gradient, [[0.0, -p, p]], rtol=1e-14)
    assert both(bp.CrossEntropy(), logits, np.array([0]))[0] == np.inf


def test_the_weight_of_a_class_multiplies_that_of_the_sample():
    logits, classes = np.array([[0.0, 1.0], [2.0, -1.0], [0.5, 0.5]]), np.array([0, 1, 1])
    by_sample, by_class = np.array([1.0, 2.0, 5.0]), (3.0, 0.5)
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(3), classes]
    c = by_sample * np.array(by_class)[classes]
    value, _ = both(bp.CrossEntropy(class_weights=by_class), logits, classes, by_sample)
    assert value == pytest.approx((c * losses).sum() / c.sum(), rel=1e-14)
