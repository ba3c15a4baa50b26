"""Covers: targets that are missing (NaN) or masked by weights of positions, up to fit."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp

RNG = np.random.default_rng(0)
Y, T = RNG.normal(size=(6, 4)), RNG.normal(size=(6, 4))
GONE = RNG.random((6, 4)) < 0.4
ELEMENTWISE = {
    "L2Loss": bp.L2Loss, "MeanSquaredError": bp.MeanSquaredError, "Huber": bp.Huber,
    "MeanAbsoluteError": bp.MeanAbsoluteError, "BinaryCrossEntropy": bp.BinaryCrossEntropy,
    "Hinge": bp.Hinge, "SquaredHinge": bp.SquaredHinge, "PoissonNLL": bp.PoissonNLL,
    "GaussianNLL": bp.GaussianNLL,
}  # fmt: skip


def both(loss, y, t, weight=None):
    value, backward = loss.forward(y, t, bp.Context(np), weight)
    return float(value), backward()


def targets_of(name, shape):
    t = np.random.default_rng(1).normal(size=shape)
    if name in ("BinaryCrossEntropy", "Hinge", "SquaredHinge"):
        return (t > 0).astype(float)
    return np.abs(t) if name == "PoissonNLL" else t


@pytest.mark.parametrize(
    ("name", "theirs"),
    [("MeanSquaredError", "mse_loss"), ("MeanAbsoluteError", "l1_loss"), ("Huber", "huber_loss"),
     ("BinaryCrossEntropy", "binary_cross_entropy_with_logits")],
)  # fmt: skip
def test_the_mean_is_that_of_pytorch_over_what_is_known(name, theirs):
    torch = pytest.importorskip("torch", reason="witness PyTorch is not installed")
    t = targets_of(name, Y.shape)
    value, gradient = both(ELEMENTWISE[name](ignore_nan=True), Y, np.where(GONE, np.nan, t))
    there, known = torch.tensor(Y, requires_grad=True), torch.tensor(~GONE)
    expected = getattr(torch.nn.functional, theirs)(there[known], torch.tensor(t)[known])
    expected.backward()
    assert value == pytest.approx(expected.item(), rel=1e-13)
    np.testing.assert_allclose(gradient, there.grad.numpy(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_batch_of_which_no_target_is_known_is_zero_not_nan(name, device, dtype):
    ctx = bp.Context(device.xp, device.native)
    y = device.asarray(1e3 * Y, dtype)
    columns = 2 if name == "GaussianNLL" else 4
    t = device.asarray(np.full((6, columns), np.nan), dtype)
    value, backward = ELEMENTWISE[name](ignore_nan=True).forward(y, t, ctx)
    assert float(value) == 0.0
    np.testing.assert_array_equal(device.to_numpy(backward()), 0.0)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_weights_of_ones_and_nothing_missing_change_nothing(name, reduction):
    y = RNG.normal(size=(3, 5, 4))
    t = targets_of(name, (3, 5, 2 if name == "GaussianNLL" else 4))
    value, gradient = both(ELEMENTWISE[name](reduction=reduction), y, t)
    for ignore_nan, weight in ((True, None), (False, np.ones((3, 5))), (True, np.ones(3))):
        loss = ELEMENTWISE[name](reduction=reduction, ignore_nan=ignore_nan)
        other, other_gradient = both(loss, y, t, weight)
        assert other == pytest.approx(value, rel=1e-13)
        np.testing.assert_allclose(other_gradient, gradient, rtol=1e-12, atol=1e-16)
        total = loss.total_weight(t, y, bp.Context(np), weight)
        assert float(total) == pytest.approx(3.0)  # the samples, of which the mean is taken


def test_what_is_masked_may_be_of_any_size():
    y, t = np.ones((1, 3, 1)), np.zeros((1, 3, 1))
    y[0, 1] = 1e200
    value, gradient = both(bp.MeanSquaredError(), y, t, np.array([[1.0, 0.0, 1.0]]))
    assert value == 1.0
    np.testing.assert_array_equal(gradient[0, :, 0], [1.0, 0.0, 1.0])


@pytest.mark.parametrize("name", ["L2Loss", "MeanSquaredError", "SquaredHinge", "MultiMargin"])
def test_a_sample_of_weight_0_may_have_an_infinite_loss(name, device):
    ctx = bp.Context(device.xp, device.native)
    y = device.asarray([[1e30, -1e30], [0.0, 0.5]], "float32")
    loss = ELEMENTWISE[name]() if name in ELEMENTWISE else bp.MultiMargin(2)
    t = device.asarray([0, 1]) if loss.takes_classes else device.asarray(np.eye(2), "float32")
    with np.errstate(over="ignore"):
        value, backward = loss.forward(y, t, ctx, device.asarray([0.0, 1.0], "float32"))
        gradient = device.to_numpy(backward())
    alone, of_alone = loss.forward(y[1:, :], t[1:, ...], ctx)
    assert float(value) == pytest.approx(float(alone), rel=1e-6)
    np.testing.assert_allclose(gradient[1:], device.to_numpy(of_alone()), rtol=1e-6)
    assert not gradient[0].any()


def test_training_on_sequences_under_a_mask_is_training_on_their_real_part(device):
    """Padding by NaN, by weights, and no padding at all: the same numbers."""
    rng = np.random.default_rng(0)
    x, t, real = rng.normal(size=(12, 5, 4)), rng.normal(size=(12, 5, 2)), np.arange(5) < 3
    results = []
    for inputs, targets, weight, size, ignore in (
        (x, np.where(real[:, None], t, np.nan), None, (5, 4), True),
        (x, t, np.tile(real.astype(float), (12, 1)), (5, 4), False),
        (x[:, :3], t[:, :3], None, (3, 4), False),
    ):
        model = bp.Model(bp.Linear(2), size, device=device, seed=1)
        history = bp.fit(
            model, inputs, targets, loss=bp.MeanSquaredError(ignore_nan=ignore),
            optimizer=bp.Adam(0.01), epochs=3, batch_size=5, sample_weight=weight,
            validation=(inputs, targets) if weight is None else (inputs, targets, weight),
        )  # fmt: skip
        assert not history.not_compiled
        results.append([*history["loss"], *history["val_loss"]])
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5)
    np.testing.assert_allclose(results[2], results[0], rtol=1e-5)


def test_labels_that_are_not_known_are_left_out_of_loss_and_accuracy(device):
    x, t = np.eye(3), np.array([[1.0, np.nan], [0.0, np.nan], [np.nan, 1.0]])
    model = bp.Model(bp.Linear(2), 3, device=device, seed=0)
    loss, metric = bp.BinaryCrossEntropy(ignore_nan=True), bp.BinaryAccuracy(ignore_nan=True)
    result = bp.evaluate(model, x, t, loss=loss, metrics=[metric])
    y, known = model.predict(x), ~np.isnan(t)
    assert result["accuracy"] == pytest.approx(np.mean((y > 0)[known] == (t > 0.5)[known]))
    terms = np.log1p(np.exp(y)) - np.nan_to_num(t) * y
    assert result["loss"] == pytest.approx(terms[known].mean(), rel=1e-5)


def fit(t, loss, x=None, **options):
    x = np.ones((len(t), 3)) if x is None else x
    model = bp.Model(bp.Linear(np.shape(t)[-1]), 3, device="cpu")
    return bp.fit(model, x, t, loss=loss, optimizer=bp.SGD(0.1), **options)


NAN = np.nan


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fit([[1.0], [NAN]], bp.MeanSquaredError()),
         r"t\[1, 0\]: expected a finite number, got nan"),
        (lambda: fit([[NAN], [np.inf]], bp.MeanSquaredError(ignore_nan=True)),
         r"t\[1, 0\]: expected a finite number, or NaN, which MeanSquaredError ignores, got inf"),
        (lambda: fit([[NAN], [NAN]], bp.MeanSquaredError(ignore_nan=True)),
         "t: expected samples that count"),
        (lambda: fit([[NAN], [2.0]], bp.BinaryCrossEntropy(ignore_nan=True)),
         r"t\[1, 0\]: expected a target from 0 to 1"),
        (lambda: fit([[NAN], [2.0]], bp.MeanSquaredError(ignore_nan=True), metrics=[bp.R2()]),
         r"R2, t\[0, 0\]: expected a number, got NaN; measure it on rows without"),
        (lambda: fit([[NAN], [1.0]], bp.BinaryCrossEntropy(ignore_nan=True),
                     metrics=[bp.BinaryAccuracy()]),
         r"BinaryAccuracy, t\[0, 0\]: .* got NaN; use BinaryAccuracy\(ignore_nan=True\)"),
        (lambda: bp.MeanSquaredError(ignore_nan=1),
         r"MeanSquaredError\(ignore_nan=1\): expected True or False"),
        (lambda: bp.L2Loss().forward(np.ones((2, 3)), np.ones((2, 3)), bp.Context(np),
                                     np.ones((2, 3))),
         r"expected one number per sample, shape \(2,\), got \(2, 3\)"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_line(make, message):
    with pytest.raises(bp.InputError, match=message) as info:
        make()
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("y, t, loss", [
    ([[1.0], [200.0]], [[1.0], [1.0]], bp.PoissonNLL()),
    ([[1.0, 0.0], [np.nan, 0.0]], [0, 1], bp.CrossEntropy()),
])  # fmt: skip
def test_the_gradient_of_a_sample_without_weight_is_0_if_its_loss_overflows(y, t, loss, device):
    xp, native = device.xp, device.native
    y = xp.asarray(y, dtype=xp.float32, device=native)
    t = xp.asarray(t, dtype=xp.int32 if loss.takes_classes else xp.float32, device=native)
    weight = xp.asarray([1.0, 0.0], dtype=xp.float32, device=native)
    with np.errstate(all="ignore"):
        value, backward = loss.forward(y, t, bp.Context(xp, native), weight)
        delta = device.to_numpy(backward())
    assert np.isfinite(float(value))
    np.testing.assert_array_equal(delta[1], 0.0)
    assert np.isfinite(delta).all() and delta[0].any()


def test_a_fit_leaves_out_a_row_without_weight_whose_loss_overflows():
    x = np.array([[1.0], [500.0], [2.0]])
    model = bp.Model(bp.Linear(1, weight_init=bp.initializers.Ones()), 1, device="cpu", seed=0)
    history = bp.fit(model, x, np.ones((3, 1)), loss=bp.PoissonNLL(), optimizer=bp.SGD(0.01),
                     sample_weight=np.array([1.0, 0.0, 1.0]), epochs=3)  # fmt: skip
    assert np.isfinite(history["loss"]).all()
