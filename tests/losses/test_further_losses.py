"""Covers: hinge, multi-margin, Kullback-Leibler, likelihood and cosine losses against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp

RNG = np.random.default_rng(0)
Y, T = RNG.normal(size=(6, 4)), RNG.normal(size=(6, 4))
YES_NO, CLASSES = (T > 0).astype(float), np.array([0, 2, 1, 3, 0, 2])
COUNTS, SHARES = RNG.poisson(3.0, (6, 4)).astype(float), RNG.dirichlet(np.ones(4), 6)


def both(loss, y, t, weight=None):
    value, backward = loss.forward(y, t, bp.Context(np), weight)
    return float(value), backward()


def witnesses(torch, reduction):
    f, each = torch.nn.functional, {"reduction": reduction}
    s, t, counts = torch.tensor(2 * YES_NO - 1), torch.tensor(T), torch.tensor(COUNTS)
    reduced = torch.mean if reduction == "mean" else lambda a: torch.sum(a) / a.shape[-1]
    classes, shares = torch.tensor(CLASSES), torch.tensor(SHARES)

    def hinge(y):
        return torch.clamp(1 - s * y, min=0)

    def gaussian(full):
        def value(y):
            variance = 1e-6 + torch.exp(y[:, 2:])
            return f.gaussian_nll_loss(y[:, :2], t[:, :2], variance, full, 1e-12, reduction)

        return value

    part = 1.0 if reduction == "mean" else 4.0
    half = 1.0 if reduction == "mean" else 2.0
    total = reduction if reduction == "sum" else "batchmean"
    return [
        (bp.Hinge(**each), YES_NO, lambda y: reduced(hinge(y))),
        (bp.Hinge(**each), 2 * YES_NO - 1, lambda y: reduced(hinge(y))),
        (bp.SquaredHinge(**each), YES_NO, lambda y: reduced(hinge(y) ** 2)),
        (bp.MultiMargin(**each), CLASSES, lambda y: f.multi_margin_loss(y, classes, **each)),
        (bp.MultiMargin(2, 0.7, **each), CLASSES,
         lambda y: f.multi_margin_loss(y, classes, p=2, margin=0.7, **each)),
        (bp.KLDivergence(**each), SHARES,
         lambda y: f.kl_div(torch.log_softmax(y, -1), shares, reduction=total)),
        (bp.PoissonNLL(**each), COUNTS, lambda y: f.poisson_nll_loss(y, counts, **each) / part),
        (bp.PoissonNLL(full=True, **each), COUNTS,
         lambda y: -reduced(torch.distributions.Poisson(y.exp()).log_prob(counts))),
        (bp.GaussianNLL(**each), T[:, :2], lambda y: gaussian(False)(y) / half),
        (bp.GaussianNLL(full=True, **each), T[:, :2], lambda y: gaussian(True)(y) / half),
        (bp.CosineSimilarity(**each), T,
         lambda y: getattr(torch, reduction)(1.0 - f.cosine_similarity(y, t, dim=-1))),
    ]  # fmt: skip


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("k", range(11))
def test_value_and_gradient_are_those_of_pytorch(k, reduction):
    torch = pytest.importorskip("torch", reason="witness PyTorch is not installed")
    loss, t, theirs = witnesses(torch, reduction)[k]
    value, gradient = both(loss, Y, t)
    there = torch.tensor(Y, requires_grad=True)
    expected = theirs(there)
    expected.backward()
    assert value == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(gradient, there.grad.numpy(), rtol=1e-11, atol=1e-15)


POSITIONS = [
    (bp.KLDivergence(), RNG.dirichlet(np.ones(4), (3, 5))),
    (bp.CosineSimilarity(), RNG.normal(size=(3, 5, 4))),
    (bp.MultiMargin(), RNG.integers(0, 4, (3, 5))),
]


@pytest.mark.parametrize(("loss", "t"), POSITIONS)
def test_every_position_counts_like_a_sample(loss, t):
    y, weight = RNG.normal(size=(3, 5, 4)), RNG.random((3, 5))
    value, gradient = both(loss, y, t, weight)
    flat = both(loss, y.reshape(15, 4), t.reshape(15, *t.shape[2:]), weight.ravel())
    assert value == pytest.approx(flat[0], rel=1e-14)
    np.testing.assert_allclose(gradient.reshape(15, 4), flat[1], rtol=1e-13, atol=1e-17)


def test_the_divergence_is_the_cross_entropy_less_the_entropy():
    value, gradient = both(bp.KLDivergence(), Y, SHARES)
    other, other_gradient = both(bp.CrossEntropy(), Y, SHARES)
    entropy = -(SHARES * np.log(SHARES)).sum(axis=1).mean()
    assert value == pytest.approx(other - entropy, rel=1e-12)
    np.testing.assert_allclose(gradient, other_gradient, rtol=1e-12, atol=1e-16)
    assert abs(both(bp.KLDivergence(), np.log(SHARES), SHARES)[0]) < 1e-15


@pytest.mark.parametrize("t", [0.0, 0.5, 1.0, 7.0, 7.999, 8.0, 9.5, 20.0, 1e4, 1e9])
def test_log_factorial_is_that_of_the_gamma_function(t):
    import math

    from bp_arrays.losses._likelihood import log_factorial

    value = float(log_factorial(np.array([t]), np)[0])
    assert value == pytest.approx(math.lgamma(t + 1.0), rel=1e-14, abs=5e-15)


def test_extreme_outputs_have_finite_losses_and_gradients(device, dtype):
    ctx = bp.Context(device.xp, device.native)
    y = device.asarray([[1e4, -1e4, 3e4, -3e4], [0.0, 0.0, -1e4, 90.0]], dtype)

    def of(loss, t):
        t = device.asarray(t, dtype if np.asarray(t).dtype.kind == "f" else None)
        value, backward = loss.forward(y, t, ctx)
        gradient = device.to_numpy(backward())
        assert np.isfinite(float(value)) and np.isfinite(gradient).all()
        return float(value), gradient

    of(bp.Hinge(), np.eye(4)[:2])
    of(bp.SquaredHinge(), np.eye(4)[:2])
    of(bp.MultiMargin(2), np.array([1, 0]))
    of(bp.KLDivergence(), np.array([[0.5, 0.5, 0.0, 0.0], [0.25] * 4]))
    of(bp.CosineSimilarity(), np.eye(4)[:2])
    _, gradient = of(bp.GaussianNLL(), np.zeros((2, 2)))
    np.testing.assert_allclose(gradient[1], [0.0, 0.0, 0.0, 0.125], rtol=1e-6)  # ½ (1 − 0)/4


def test_a_variance_that_vanishes_is_bounded_by_the_smallest():
    value, gradient = both(bp.GaussianNLL(1e-4), np.array([[0.01, -1e6]]), np.array([[0.0]]))
    assert value == pytest.approx(0.5 * (np.log(1e-4) + 1.0))
    np.testing.assert_allclose(gradient, [[0.01 / 1e-4, 0.0]])


@pytest.mark.parametrize("zero", ["y", "t", "both"])
def test_a_vector_of_zeros_has_the_cosine_0_and_no_gradient(zero, device, dtype):
    ctx = bp.Context(device.xp, device.native)
    y = np.zeros((1, 3)) if zero != "t" else np.ones((1, 3))
    t = np.zeros((1, 3)) if zero != "y" else np.ones((1, 3))
    arrays = [device.asarray(a, dtype) for a in (y, t)]
    value, backward = bp.CosineSimilarity().forward(*arrays, ctx)
    assert float(value) == 1.0
    np.testing.assert_array_equal(device.to_numpy(backward()), 0.0)


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e160, 1e300])
def test_the_cosine_does_not_depend_on_the_lengths(size):
    value, gradient = both(bp.CosineSimilarity(), size * Y, T / size)
    expected, expected_gradient = both(bp.CosineSimilarity(), Y, T)
    assert value == pytest.approx(expected, rel=1e-14)
    np.testing.assert_allclose(gradient * size, expected_gradient, rtol=1e-12)


def test_at_the_kink_of_a_hinge_the_derivative_is_0():
    value, gradient = both(bp.Hinge(), np.array([[1.0, -1.0]]), np.array([[1.0, 0.0]]))
    assert value == 0.0 and not gradient.any()


def test_an_ignored_class_counts_neither_in_the_sum_nor_in_the_divisor():
    t = np.where(np.arange(6) % 2, CLASSES, -1)
    value, gradient = both(bp.MultiMargin(ignore_index=-1), Y, t)
    expected, rows = both(bp.MultiMargin(), Y[1::2], CLASSES[1::2])
    assert value == pytest.approx(expected, rel=1e-14)
    np.testing.assert_allclose(gradient[1::2], rows, rtol=1e-13)
    assert not gradient[::2].any()


PROBLEMS = {
    "Hinge": (bp.Hinge(), lambda x: np.sign(x @ [1.0, -1.0, 2.0])[:, None], 1),
    "SquaredHinge": (bp.SquaredHinge(), lambda x: (x > 0) * 1.0, 3),
    "MultiMargin": (bp.MultiMargin(), lambda x: x.argmax(axis=1), 3),
    "KLDivergence": (bp.KLDivergence(), lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True), 3),
    "PoissonNLL": (bp.PoissonNLL(), lambda x: np.floor(np.exp(x[:, 0])), 1),
    "GaussianNLL": (bp.GaussianNLL(), lambda x: x[:, :2] ** 2, 4),
    "GaussianNLL, one target": (bp.GaussianNLL(), lambda x: x[:, 0] ** 2, 2),
    "CosineSimilarity": (bp.CosineSimilarity(), lambda x: x @ np.eye(3)[::-1], 3),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_training_lowers_the_loss_the_same_way_compiled_or_not(name, device):
    loss, target, outputs = PROBLEMS[name]
    x = np.random.default_rng(3).normal(size=(30, 3))
    histories = []
    for compiled in (True, False):
        net = bp.Sequential(bp.Linear(6), bp.Tanh(), bp.Linear(outputs))
        model = bp.Model(net, 3, device=device, seed=0)
        history = bp.fit(
            model, x, target(x), loss=loss, optimizer=bp.Adam(0.02), epochs=6, batch_size=8,
            sample_weight=np.r_[0.0, np.ones(28), 2.0], compiled=compiled,
        )  # fmt: skip
        assert not history.not_compiled
        histories.append(history["loss"])
    np.testing.assert_allclose(histories[0], histories[1], rtol=2e-5)
    assert histories[0][-1] < histories[0][0]


def fit(loss, t, outputs=2, **options):
    t = np.asarray(t)
    model = bp.Model(bp.Linear(outputs), 3, device="cpu")
    return bp.fit(model, np.ones((len(t), 3)), t, loss=loss, optimizer=bp.SGD(0.1), **options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fit(bp.Hinge(), [[1.0, 0.5]]),
         r"t\[0, 1\]: expected one of -1, 0, 1 for Hinge, got 0.5"),
        (lambda: fit(bp.SquaredHinge(), [[1, 0], [-1, 1]]),
         r"t: expected 0 and 1, or -1 and 1, for SquaredHinge, got both -1 \(t\[1, 0\]\) and 0"),
        (lambda: fit(bp.Hinge(), [1, 0]), r"Hinge: .*expected .*\(2, 2\)|expected the shape of"),
        (lambda: fit(bp.Hinge(), [[1, -1]], metrics=[bp.BinaryAccuracy()]),
         "BinaryAccuracy, .*code two classes as 0 and 1"),
        (lambda: fit(bp.Hinge(), [[1, -1]], metrics=[bp.R2()]), r"R2: .*use BinaryAccuracy\(\)"),
        (lambda: fit(bp.PoissonNLL(), [[1.0, -2.0]]),
         r"t\[0, 1\]: expected a target >= 0 for PoissonNLL, got -2.0"),
        (lambda: fit(bp.PoissonNLL(), [[1.0, 2.0]], metrics=[bp.R2()]),
         "R2: expected outputs and targets that are values, .*got PoissonNLL"),
        (lambda: fit(bp.KLDivergence(), [[0.5, 0.6]]),
         r"t\[0\]: expected probabilities that sum to 1, for KLDivergence"),
        (lambda: fit(bp.KLDivergence(), [[-0.5, 1.5]]), "expected a target from 0 to 1"),
        (lambda: fit(bp.KLDivergence(), [0, 1]), r"use CrossEntropy\(\) for classes"),
        (lambda: fit(bp.MultiMargin(), [0, 2]), r"t\[1\]: expected classes 0 to 1, .*got 2"),
        (lambda: fit(bp.MultiMargin(), [[1.0, 0.0]]), r"use CrossEntropy\(\) for probabilities"),
        (lambda: fit(bp.MultiMargin(), [[0]], outputs=1), r"use Hinge\(\)"),
        (lambda: bp.MultiMargin(3), r"MultiMargin\(power=3\): expected 1 or 2"),
        (lambda: bp.MultiMargin(margin=0.0), "expected margin > 0"),
        (lambda: fit(bp.GaussianNLL(), [[1.0]], outputs=3),
         r"GaussianNLL.*expected outputs \(batch, ..., 2k\).*got \(1, 3\)"),
        (lambda: fit(bp.GaussianNLL(), [[1.0, 2.0]]),
         r"expected \(1, 1\), one target for two outputs of \(1, 2\), got \(1, 2\)"),
        (lambda: bp.GaussianNLL(0.0), "expected min_variance > 0"),
        (lambda: bp.PoissonNLL("yes"), "expected True or False"),
        (lambda: fit(bp.CosineSimilarity(), [[1.0]]), "expected the shape of the output"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_line(make, message):
    with pytest.raises(bp.InputError, match=message) as info:
        make()
    assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    ("loss", "t", "outputs", "written"),
    [
        (bp.Hinge(), [1, 0, 1], 3, "[s₁y₁ < 1]"),
        (bp.SquaredHinge(), [1, -1, 1], 3, "(1 − s₁·y₁)"),
        (bp.PoissonNLL(full=True), [2, 0, 1], 3, "(exp(y₁) − t₁)"),
        (bp.KLDivergence(), [0.2, 0.3, 0.5], 3, "(p₁ − t₁)"),
        (bp.MultiMargin(), 1, 3, "∂L/∂y₁"),
        (bp.GaussianNLL(), [1.0, 2.0], 4, "∂L/∂y₁"),
        (bp.GaussianNLL(), 1.0, 2, "∂L/∂y₁"),
        (bp.CosineSimilarity(), [1, 2, 3], 3, "∂L/∂y₁"),
    ],
)
def test_explain_writes_the_derivative_or_names_it(loss, t, outputs, written):
    net = bp.Sequential(bp.Linear(2), bp.Tanh(), bp.Linear(outputs))
    model = bp.Model(net, input_shape=2, device="cpu", seed=0)
    chain = str(bp.explain(model, [0.3, -0.2], t, loss).weight("0.weight", 1, 1))
    assert written in chain
    shown = [line.split()[-1] for line in chain.splitlines() if line.strip().startswith("by ")]
    by_backward, by_differences = (float(number.replace("−", "-")) for number in shown)
    assert by_backward == pytest.approx(by_differences, rel=1e-7)
    first = float(chain.splitlines()[3].split("=")[1].replace("−", "-"))
    assert first == pytest.approx(by_backward, rel=1e-6)


@pytest.mark.parametrize("size", [1e-3, 1.0, 8.0])
@pytest.mark.parametrize("name", PROBLEMS)
def test_losses_in_float16_are_those_of_float64_up_to_one_rounding(name, size):
    loss, target, outputs = PROBLEMS[name]
    rng = np.random.default_rng(0)
    t = target(rng.normal(size=(50, 3)))
    t = t[:, None] if name == "GaussianNLL, one target" or name == "PoissonNLL" else t
    y = (size * np.tanh(rng.normal(size=(50, outputs)))).astype(np.float16)
    half = t.astype(np.float16) if t.dtype.kind == "f" else t
    wide = half.astype(np.float64) if t.dtype.kind == "f" else t
    value, gradient = both(loss, y, half)
    expected, expected_gradient = both(loss, y.astype(np.float64), wide)
    assert value == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert gradient.dtype == np.float16
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-3, atol=2.0**-24)
