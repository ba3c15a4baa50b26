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
        (
            bp.BinaryCrossEntropy(pos_weight=3.0),
            YES_NO,
            lambda y: f.binary_cross_entropy_with_logits(y, yes_no, pos_weight=torch.tensor(3.0)),
        ),
        (
            bp.BinaryCrossEntropy(pos_weight=(0.5, 1.0, 2.0), reduction="sum"),
            probabilities.numpy(),
            lambda y: (
                f.binary_cross_entropy_with_logits(
                    y, probabilities, pos_weight=weights, reduction="sum"
                )
                / 3
            ),
        ),
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


@pytest.mark.parametrize("k", range(12))
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


@pytest.mark.parametrize("w", [0.3, 7.0, (7.0,)])
def test_a_weight_of_positives_keeps_the_tail_of_confident_logits(device, w):
    t, y = (a.reshape(-1, 1) for a in np.meshgrid([0.0, 0.25, 1.0], [-80, -20, -3, 0, 3, 20, 80.0]))
    loss = bp.BinaryCrossEntropy(pos_weight=w)
    arrays = (device.asarray(a, "float32") for a in (y, t))
    value, _ = loss.per_sample(*arrays, bp.Context(device.xp, device.native))
    right = np.ravel(w) * t * np.log1p(np.exp(-y)) + (1 - t) * np.log1p(np.exp(y))
    np.testing.assert_allclose(device.to_numpy(value), right[:, 0], rtol=1e-6)


def test_a_weight_of_positives_of_extreme_logits_is_that_of_pytorch(device, dtype):
    torch = pytest.importorskip("torch", reason="witness PyTorch is not installed")
    y, t = np.array([[1e4, -1e4], [-40.0, 40.0], [-80.0, 0.0]]), YES_NO[:3, :2]
    there = torch.tensor(y, requires_grad=True)
    f = torch.nn.functional
    expected = f.binary_cross_entropy_with_logits(
        there, torch.tensor(t), pos_weight=torch.tensor(7.0)
    )
    expected.backward()
    context = bp.Context(device.xp, device.native)
    value, backward = bp.BinaryCrossEntropy(pos_weight=7).forward(
        device.asarray(y, dtype), device.asarray(t, dtype), context
    )
    assert float(value) == pytest.approx(expected.item(), rel=1e-6)
    np.testing.assert_allclose(
        device.to_numpy(backward()), there.grad.numpy(), rtol=1e-5, atol=1e-7
    )


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
        (lambda: bp.L2Loss(reduction="none"), 'expected "mean" or "sum"'),
        (lambda: bp.Huber(0.0), "expected threshold > 0"),
        (lambda: bp.BinaryCrossEntropy(pos_weight=0.0), "expected pos_weight > 0"),
        (lambda: bp.BinaryCrossEntropy(pos_weight=(1.0, -1.0)), "expected finite numbers > 0"),
        (lambda: bp.BinaryCrossEntropy(pos_weight="3"), "expected finite numbers > 0"),
        (
            lambda: both(bp.BinaryCrossEntropy(pos_weight=(1.0, 2.0)), Y, YES_NO),
            "expected one weight for each of the 3 outputs",
        ),
        (lambda: bp.CrossEntropy(label_smoothing=1.0), "expected 0 <= label_smoothing < 1"),
        (lambda: bp.CrossEntropy(class_weights=(1.0, -1.0)), "expected finite numbers >= 0"),
        (
            lambda: both(bp.CrossEntropy(class_weights=(1.0, 1.0)), Y, CLASSES),
            "expected one weight for each of the 3 classes",
        ),
        (
            lambda: both(bp.L2Loss(), Y[:, :1], T[:, 0]),
            r"expected the shape of the output, \(6, 1\), got \(6,\)",
        ),
        (
            lambda: both(bp.CrossEntropy(), Y, T[:, :2]),
            r"expected classes \(6,\) or probabilities \(6, 3\), got \(6, 2\)",
        ),
        (
            lambda: both(bp.CrossEntropy(), Y[:, 0], CLASSES),
            r"expected logits \(batch, ..., classes\)",
        ),
        (lambda: loss_named("cross_entrpy"), "did you mean 'CrossEntropy'"),
    ],
)
def test_bad_input_says_what_is_expected(make, message):
    with pytest.raises(bp.InputError, match=message):
        make()


@pytest.mark.parametrize("shape", [(6, 1), (1,), (5,), ()])
def test_weights_are_one_number_a_sample(shape):
    with pytest.raises(bp.InputError, match=r"one number per sample, shape \(6,\), got"):
        both(bp.L2Loss(), Y, T, np.ones(shape))


@pytest.mark.parametrize("loss", [bp.L2Loss(), bp.CrossEntropy(reduction="sum")])
def test_an_empty_batch_is_refused(loss):
    with pytest.raises(bp.InputError, match="expected a batch that is not empty"):
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


# -- logits (batch, ..., classes) ------------------------------------------------------------

SHAPES = [(1, 5), (3, 1), (4, 7), (2, 3, 5), (1, 1, 1)]
RULES = [
    {},
    {"label_smoothing": 0.1},
    {"class_weights": (0.5, 1.0, 2.0)},
    {"ignore_index": -100},
    {"ignore_index": 1},
    {"ignore_index": -100, "class_weights": (0.5, 1.0, 2.0)},
    {"ignore_index": 1, "label_smoothing": 0.2},
]


def sequence(shape, ignore_index=None):
    rng = np.random.default_rng(sum(shape))
    y, t = rng.normal(size=(*shape, 3)), rng.integers(0, 3, shape)
    if ignore_index is not None:
        t = np.where(rng.random(shape) < 0.4, ignore_index, t)
    return y, t


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_cross_entropy_of_sequences_is_pytorchs(shape, rule, reduction):
    torch = pytest.importorskip("torch", reason="witness PyTorch is not installed")
    y, t = sequence(shape, rule.get("ignore_index"))
    weight = rule.get("class_weights")
    there = torch.tensor(y, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(
        torch.movedim(there, -1, 1),
        torch.tensor(t),
        weight=None if weight is None else torch.tensor(weight, dtype=torch.float64),
        ignore_index=rule.get("ignore_index", -999),
        label_smoothing=rule.get("label_smoothing", 0.0),
        reduction=reduction,
    )
    expected.backward()
    value, gradient = both(bp.CrossEntropy(**rule, reduction=reduction), y, t)
    if np.isnan(expected.item()):  # PyTorch's 0 / 0 where nothing counts
        assert value == 0.0 and not gradient.any()
        return
    assert value == pytest.approx(expected.item(), rel=1e-13, abs=1e-15)
    np.testing.assert_allclose(gradient, there.grad.numpy(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_probabilities_of_sequences_are_pytorchs(reduction):
    torch = pytest.importorskip("torch", reason="witness PyTorch is not installed")
    y, _ = sequence((4, 5))
    t = np.random.default_rng(1).dirichlet(np.ones(3), size=(4, 5))
    expected = torch.nn.functional.cross_entropy(
        torch.movedim(torch.tensor(y), -1, 1), torch.movedim(torch.tensor(t), -1, 1),
        reduction=reduction,
    )  # fmt: skip
    value, _ = both(bp.CrossEntropy(reduction=reduction), y, t)
    assert value == pytest.approx(expected.item(), rel=1e-13)


@pytest.mark.parametrize("per_position", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_weights_of_samples_and_of_positions_position_by_position(per_position, reduction):
    y, t = sequence((4, 7), ignore_index=-1)
    weight = np.random.default_rng(2).random((4, 7) if per_position else 4)
    by_class = (0.5, 1.0, 2.0)
    total, counted, gradient = 0.0, 0.0, np.zeros_like(y)
    for n in range(4):
        for i in range(7):
            if t[n, i] == -1:
                continue
            w = (weight[n, i] if per_position else weight[n]) * by_class[t[n, i]]
            p = np.exp(y[n, i]) / np.exp(y[n, i]).sum()
            total -= w * np.log(p[t[n, i]])
            counted += w
            gradient[n, i] = w * (p - np.eye(3)[t[n, i]])
    divisor = counted if reduction == "mean" else 1.0
    loss = bp.CrossEntropy(class_weights=by_class, ignore_index=-1, reduction=reduction)
    value, found = both(loss, y, t, weight)
    assert value == pytest.approx(total / divisor, rel=1e-13)
    np.testing.assert_allclose(found, gradient / divisor, rtol=1e-12, atol=1e-15)
    divided_by = loss.total_weight(t, y, bp.Context(np), weight)
    assert float(divided_by) == pytest.approx(counted, rel=1e-13)


def test_a_mask_and_an_ignored_class_leave_out_the_same():
    y, t = sequence((4, 7))
    mask = np.random.default_rng(5).random((4, 7)) < 0.5
    masked = both(bp.CrossEntropy(), y, t, mask.astype(float))
    ignored = both(bp.CrossEntropy(ignore_index=-100), y, np.where(mask, t, -100))
    assert masked[0] == pytest.approx(ignored[0], rel=1e-14)
    np.testing.assert_allclose(masked[1], ignored[1], rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("rule", [{}, {"class_weights": (1.0, 2.0, 3.0)}, {"label_smoothing": 0.1}])
def test_a_batch_in_which_every_target_is_ignored_has_the_loss_0(rule, device, dtype):
    ctx = bp.Context(device.xp, device.native)
    y = device.asarray(sequence((2, 3))[0], dtype)
    t = device.asarray(np.full((2, 3), -100))
    value, backward = bp.CrossEntropy(ignore_index=-100, **rule).forward(y, t, ctx)
    assert float(value) == 0.0
    np.testing.assert_array_equal(device.to_numpy(backward()), 0.0)


def test_a_ruled_out_class_may_be_the_ignored_one():
    y = np.array([[[-np.inf, 0.0, 1.0], [-np.inf, 2.0, 1.0]]])
    value, gradient = both(bp.CrossEntropy(ignore_index=0), y, np.array([[0, 1]]))
    assert value == pytest.approx(np.log(1 + np.exp(-1)), rel=1e-14)
    assert not gradient[0, 0].any() and np.isfinite(gradient).all()


def test_training_does_not_count_what_is_ignored(device):
    """The same as training on the positions that count, one by one."""
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(12, 5, 4)), rng.integers(0, 3, (12, 5))
    t[:, 3:] = 7
    losses = []
    for data in ((x, t, 4, (5, 4)), (x[:, :3].reshape(36, 4), t[:, :3].reshape(36), 12, 4)):
        model = bp.Model(bp.Linear(3), data[3], device=device, seed=1)
        history = bp.fit(
            model, *data[:2], loss=bp.CrossEntropy(ignore_index=7), optimizer=bp.SGD(0.1),
            epochs=3, batch_size=data[2], shuffle=False, metrics=[bp.Accuracy(ignore_index=7)],
        )  # fmt: skip
        losses.append([*history["loss"], *history["accuracy"]])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


def test_an_epoch_in_which_nothing_counts_is_refused(device):
    model = bp.Model(bp.Linear(3), 2, device=device)
    x, t = np.ones((4, 2)), np.full(4, -1)
    for data in ((x, t), ([(x, t)],)):
        with pytest.raises(bp.InputError, match="expected samples that count"):
            bp.fit(
                model, *data, loss=bp.CrossEntropy(ignore_index=-1), optimizer=bp.SGD(0.1),
                metrics=[bp.Accuracy(ignore_index=-1)],
            )  # fmt: skip


@pytest.mark.parametrize(
    ("loss", "t"),
    [(bp.CrossEntropy(), np.zeros(6, int)), (bp.CrossEntropy(), np.ones((6, 10))),
     (bp.MeanSquaredError(), np.ones((6, 10)))],
)  # fmt: skip
def test_who_forgot_flatten_on_images_is_told_so(loss, t):
    model = bp.Model(bp.Linear(10), (28, 28), device="cpu")
    with pytest.raises(bp.InputError, match=r"put Flatten\(\) at the front of the net"):
        bp.fit(model, np.ones((6, 28, 28)), t, loss=loss, optimizer=bp.SGD(0.1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: both(bp.CrossEntropy(ignore_index=1), Y, np.ones((6, 3))),
            r"expected classes \(6,\), which ignore_index requires, got probabilities",
        ),
        (
            lambda: both(bp.CrossEntropy(), *sequence((4, 7)), np.ones((4, 1))),
            r"expected one number per sample, shape \(4,\), or per position, \(4, 7\), got",
        ),
        (
            lambda: both(bp.L2Loss(), np.ones((4, 7, 3)), np.ones((4, 7, 3)), np.ones((4, 3))),
            r"expected one number per sample, shape \(4,\), or per position, \(4, 7\), got",
        ),
    ],
)
def test_what_does_not_fit_a_sequence_is_refused(make, message):
    with pytest.raises(bp.InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("t", "message"),
    [
        ([[0, 1], [2, 3]], r"t\[1, 1\]: expected classes 0 to 2, .*got 3"),
        ([[0, -100], [-1, 2]], r"t\[1, 0\]: expected classes 0 to 2, .*got -1"),
        ([[0, -100], [0.5, 2]], r"t\[1, 0\]: expected classes 0 to 2, .*got 0\.5"),
    ],
)
def test_a_class_out_of_range_is_named_by_its_position(t, message):
    model = bp.Model(bp.Linear(3), (2, 4), device="cpu")
    loss = bp.CrossEntropy(ignore_index=-100)
    with pytest.raises(bp.InputError, match=message):
        bp.fit(model, np.ones((2, 2, 4)), t, loss=loss, optimizer=bp.SGD(0.1))


def test_training_under_a_mask_is_training_without_what_it_hides(device):
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(12, 5, 4)), rng.integers(0, 3, (12, 5))
    mask = (rng.random((12, 5)) < 0.5).astype(float)
    results = []
    for loss, targets, weight in (
        (bp.CrossEntropy(), t, mask),
        (bp.CrossEntropy(ignore_index=9), np.where(mask, t, 9), None),
    ):
        model = bp.Model(bp.Linear(3), (5, 4), device=device, seed=1)
        value, _ = model.gradients(x, targets, loss, sample_weight=weight)
        history = bp.fit(
            model, bp.data.Batches(x, targets, weight, batch_size=5), loss=loss,
            optimizer=bp.SGD(0.1), epochs=2, validation=(x, targets, weight),
        )  # fmt: skip
        results.append([float(value), *history["loss"], *history["val_loss"]])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones((6, 4)), r"expected shape \(6,\) or \(6, 5\), got \(6, 4\)"),
        (-np.eye(6)[:, :5], r"sample_weight\[0, 0\]: expected a number >= 0, got -1"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(weight, message):
    model = bp.Model(bp.Linear(3), (5, 4), device="cpu")
    with pytest.raises(bp.InputError, match=message):
        bp.fit(
            model, np.ones((6, 5, 4)), np.zeros((6, 5), int), loss=bp.CrossEntropy(),
            optimizer=bp.SGD(0.1), sample_weight=weight,
        )  # fmt: skip


HALF = {
    "L2Loss": (bp.L2Loss(), lambda f, y, t: f.mse_loss(y, t, reduction="sum") / (2 * len(y))),
    "MeanSquaredError": (bp.MeanSquaredError(), lambda f, y, t: f.mse_loss(y, t)),
    "MeanAbsoluteError": (bp.MeanAbsoluteError(), lambda f, y, t: f.l1_loss(y, t)),
    "Huber": (bp.Huber(), lambda f, y, t: f.huber_loss(y, t)),
    "BinaryCrossEntropy": (
        bp.BinaryCrossEntropy(),
        lambda f, y, t: f.binary_cross_entropy_with_logits(y, t),
    ),
    "CrossEntropy": (bp.CrossEntropy(), lambda f, y, t: f.cross_entropy(y, t.argmax(1))),
}


@pytest.mark.parametrize("name", HALF)
@pytest.mark.parametrize("size", [0.0, 1e-7, 1e-3, 1.0, 300.0, 6e4])
@pytest.mark.parametrize("rows", [3, 2**17])
def test_losses_in_float16_are_those_of_float64_up_to_one_rounding(name, size, rows):
    """Squares of 300 overflow in float16, and so does a sum of 131,072 weights."""
    torch = pytest.importorskip("torch", reason="witness PyTorch is not installed")
    if rows > 3 and size not in (1e-3, 300.0):
        return
    loss, theirs = HALF[name]
    rng = np.random.default_rng(0)
    y = (size * np.tanh(rng.normal(size=(rows, 2)))).astype(np.float16)
    t = (rng.random((rows, 1)) < 0.5) * np.array([[1, -1]]) + np.array([[0, 1]])
    if loss.output_kind == "values":
        t = (size * t).astype(np.float16)
    t = t.astype(np.float16)
    given = t.argmax(axis=1) if loss.takes_classes else t
    there = torch.tensor(y.astype(np.float64), requires_grad=True)
    expected = theirs(torch.nn.functional, there, torch.tensor(t.astype(np.float64)))
    expected.backward()
    for weight in (None, np.ones(rows, np.float16)):
        value, gradient = both(loss, y, given, weight)
        assert value == pytest.approx(expected.item(), rel=1e-5, abs=1e-12)
        assert gradient.dtype == np.float16
        np.testing.assert_allclose(gradient, there.grad.numpy(), rtol=1e-3, atol=2.0**-25)
