"""Covers: Contrastive, which compares the samples of a batch, and CTC, which sums over paths."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp

RNG = np.random.default_rng(0)
Y, CLASSES = RNG.normal(size=(8, 3)), np.array([0, 1, 0, 2, 5, 1, 1, 7])
LOGITS = RNG.normal(size=(4, 7, 5))
LABELS = np.array([[1, 1, 2], [3, -1, -1], [4, 2, -1], [-1, -1, -1]])


def both(loss, y, t, weight=None):
    value, backward = loss.forward(y, t, bp.Context(np), weight)
    return float(value), backward()


# -- Contrastive ---------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_contrastive_loss_is_that_written_with_pytorch(temperature, reduction):
    torch = pytest.importorskip("torch", reason="witness PyTorch is not installed")
    there, t = torch.tensor(Y, requires_grad=True), torch.tensor(CLASSES)
    z = torch.nn.functional.normalize(there, dim=1)
    same, itself = t[:, None] == t[None, :], torch.eye(8, dtype=torch.bool)
    s = (z @ z.T / temperature).masked_fill(itself, -torch.inf)
    positive = same & ~itself
    log_p = torch.where(positive, s - torch.logsumexp(s, 1, keepdim=True), 0.0)
    counted = positive.any(1)
    losses = -log_p.sum(1)[counted] / positive.sum(1)[counted]
    expected = getattr(losses, reduction)()
    expected.backward()
    value, gradient = both(bp.Contrastive(temperature, reduction=reduction), Y, CLASSES)
    assert value == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(gradient, there.grad.numpy(), rtol=1e-10, atol=1e-14)


def test_two_views_of_each_sample_give_the_loss_of_simclr():
    """Cross-entropy of 2n − 1 similarities, the other view being the class."""
    n, temperature = 4, 0.5
    z = Y / np.linalg.norm(Y, axis=1, keepdims=True)
    s = z @ z.T / temperature
    np.fill_diagonal(s, -np.inf)
    other_view = (np.arange(2 * n) + n) % (2 * n)
    expected, _ = both(bp.CrossEntropy(), s, other_view)
    value, _ = both(bp.Contrastive(temperature), Y, np.arange(2 * n) % n)
    assert value == pytest.approx(expected, rel=1e-12)


def test_the_order_of_a_batch_and_the_lengths_of_vectors_do_not_matter():
    value, gradient = both(bp.Contrastive(), Y, CLASSES)
    order = RNG.permutation(8)
    other, other_gradient = both(bp.Contrastive(), 1e3 * Y[order], CLASSES[order])
    assert other == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(1e3 * other_gradient, gradient[order], rtol=1e-10, atol=1e-14)


def test_a_sample_without_a_partner_or_weight_counts_but_as_what_others_avoid(device, dtype):
    ctx = bp.Context(device.xp, device.native)
    y, t = device.asarray(Y[:3], dtype), device.asarray(np.array([0, 0, 1]))
    value, backward = bp.Contrastive().forward(y, t, ctx)
    gradient = device.to_numpy(backward())
    assert gradient[2].any()
    total = bp.Contrastive().total_weight(t, y, ctx, None)
    assert float(total) == 2.0
    weight = device.asarray(np.array([1.0, 0.0, 1.0]), dtype)
    alone, _ = bp.Contrastive().forward(y, t, ctx, weight)
    first, _ = bp.Contrastive(reduction="sum").forward(y, t, ctx, weight)
    assert float(alone) == pytest.approx(float(first), rel=1e-6)
    assert float(value) > 0.0


@pytest.mark.parametrize("size", [0.0, 1e-300, 1e300])
@pytest.mark.parametrize("temperature", [1e-3, 1.0])
def test_vectors_of_any_length_have_a_finite_contrastive_loss(size, temperature):
    value, gradient = both(bp.Contrastive(temperature), size * Y, CLASSES)
    assert np.isfinite(value) and np.isfinite(gradient).all()
    assert size or not gradient.any()


def test_training_draws_the_vectors_of_a_class_together(device):
    rng = np.random.default_rng(1)
    t = np.arange(40) % 4
    x = np.eye(4)[t] + 0.7 * rng.normal(size=(40, 4))
    results = []
    for compiled in (True, False):
        net = bp.Sequential(bp.Linear(8), bp.Tanh(), bp.Linear(3))
        model = bp.Model(net, 4, device=device, seed=0)
        history = bp.fit(
            model, x, 100 * t, loss=bp.Contrastive(0.5), optimizer=bp.Adam(0.02), epochs=6,
            batch_size=20, compiled=compiled, sample_weight=np.r_[0.0, np.ones(39)],
        )  # fmt: skip
        assert not history.not_compiled
        results.append(history["loss"])
    assert results[0][-1] < results[0][0] - 0.1
    np.testing.assert_allclose(results[0], results[1], rtol=2e-5)


# -- CTC -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("blank", [0, 2, 4])
def test_value_and_gradient_of_ctc_are_those_of_pytorch(blank):
    torch = pytest.importorskip("torch", reason="witness PyTorch is not installed")
    t = np.where(blank == LABELS, 0, LABELS) if blank else LABELS
    there = torch.tensor(LOGITS, requires_grad=True)
    lengths = torch.tensor((t >= 0).sum(1))
    expected = torch.nn.functional.ctc_loss(
        torch.log_softmax(there, -1).transpose(0, 1),
        torch.tensor(np.where(t < 0, (blank + 1) % 5, t)),
        torch.full((4,), 7),
        lengths,
        blank=blank,
        reduction="sum",
    )
    expected.backward()
    value, gradient = both(bp.CTC(blank, reduction="sum"), LOGITS, t)
    assert value == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(gradient, there.grad.numpy(), rtol=1e-10, atol=1e-13)
    assert both(bp.CTC(blank), LOGITS, t)[0] == pytest.approx(value / 4, rel=1e-12)


def test_the_gradient_of_ctc_sums_to_zero_and_padding_does_not_matter():
    value, gradient = both(bp.CTC(), LOGITS, LABELS)
    np.testing.assert_allclose(gradient.sum(axis=-1), 0.0, atol=1e-14)
    more = np.concatenate([LABELS, np.full((4, 2), -7)], axis=1)
    more[more == -1] = -7
    other, other_gradient = both(bp.CTC(padding=-7), LOGITS, more)
    assert other == pytest.approx(value, rel=1e-14)
    np.testing.assert_allclose(other_gradient, gradient, atol=1e-15)


def test_logits_of_any_size_have_a_finite_ctc_loss(device, dtype):
    ctx = bp.Context(device.xp, device.native)
    y = device.asarray(1e4 * LOGITS, dtype)
    value, backward = bp.CTC().forward(y, device.asarray(LABELS), ctx)
    assert np.isfinite(float(value)) and np.isfinite(device.to_numpy(backward())).all()
    torch = pytest.importorskip("torch", reason="witness PyTorch is not installed")
    expected = torch.nn.functional.ctc_loss(
        torch.log_softmax(torch.tensor(1e4 * LOGITS), -1).transpose(0, 1),
        torch.tensor(np.where(LABELS < 0, 0, LABELS)),
        torch.full((4,), 7),
        torch.tensor((LABELS >= 0).sum(1)),
        reduction="sum",
    )
    assert float(value) == pytest.approx(expected.item() / 4, rel=1e-5)


def test_training_learns_the_labels_without_their_times(device):
    rng = np.random.default_rng(2)
    x = np.zeros((24, 5, 3))
    t = rng.integers(1, 3, (24, 2))
    for row in range(24):  # a label is seen at a time of its own, the rest is silence
        for place, label in zip(rng.choice(5, 2, replace=False).tolist(), t[row], strict=True):
            x[row, place, label] = 1.0
        order = np.argmax(x[row], axis=1)
        t[row] = order[order > 0]
    results = []
    for compiled in (True, False):
        model = bp.Model(bp.Linear(3), (5, 3), device=device, seed=0)
        history = bp.fit(
            model, x, t, loss=bp.CTC(), optimizer=bp.Adam(0.1), epochs=5, batch_size=12,
            compiled=compiled, sample_weight=np.r_[0.0, np.ones(23)],
        )  # fmt: skip
        assert not history.not_compiled
        results.append(history["loss"])
    assert results[0][-1] < 0.7 * results[0][0]
    np.testing.assert_allclose(results[0], results[1], rtol=2e-5)


# -- bad input -----------------------------------------------------------------------------------


def fit(loss, t, net=None, x=None, **options):
    t = np.asarray(t)
    x = np.ones((len(t), 5, 3)) if x is None else x
    model = bp.Model(net or bp.Linear(3), x.shape[1:], device="cpu")
    return bp.fit(model, x, t, loss=loss, optimizer=bp.SGD(0.1), **options)


FLAT = np.ones((2, 3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bp.Contrastive(0.0), "expected temperature > 0"),
        (lambda: fit(bp.Contrastive(), [0, 1]), r"Contrastive\(y=\): expected vectors \(batch, f"),
        (lambda: fit(bp.Contrastive(), [[0, 1, 1]], x=FLAT[:1]), r"expected classes \(1,\)"),
        (lambda: fit(bp.Contrastive(), [0, -1], x=FLAT),
         r"t\[1\]: expected a class, a whole number from 0, for Contrastive, got -1"),
        (lambda: fit(bp.Contrastive(), [0, 0.5], x=FLAT), "expected a class, a whole number"),
        (lambda: fit(bp.Contrastive(), [0, 1], x=FLAT), "t: expected samples that count"),
        (lambda: fit(bp.Contrastive(), [0, 0], x=FLAT, metrics=[bp.Accuracy()]),
         "Accuracy: expected outputs that are one per class, got the vectors of Contrastive"),
        (lambda: bp.explain(bp.Model(bp.Linear(3), 3, device="cpu"), FLAT[0], 0, bp.Contrastive()),
         "explain.*got Contrastive, which cannot be written out"),
        (lambda: bp.CTC(padding=1), "expected a negative integer, no class"),
        (lambda: bp.CTC(-1), "expected blank >= 0"),
        (lambda: fit(bp.CTC(), [[1, 3]]), r"t\[0, 1\]: expected classes 0 to 2"),
        (lambda: fit(bp.CTC(), [[1, 0]]), r"t\[0, 1\]: expected labels, other than the blank 0"),
        (lambda: fit(bp.CTC(), [[1, 1], [-1, 1]]),
         r"t\[1, 0\]: expected the padding -1 at the end only, for CTC, got -1"),
        (lambda: fit(bp.CTC(), [[1, 2, 1, -1], [1, 1, 1, 2]]),
         r"t\[1\]: expected labels that fit into 5 times, .* got \[1, 1, 1, 2\]"),
        (lambda: fit(bp.CTC(), [1, 2]), r"expected labels \(2, length\)"),
        (lambda: fit(bp.CTC(3), [[1, 2]]), "one class the blank 3"),
        (lambda: fit(bp.CTC(), [[1, 2]], x=FLAT[:1]), r"expected logits \(batch, time, classes\)"),
        (lambda: fit(bp.CTC(), [[1, 2]], sample_weight=np.ones((1, 5))), r"expected shape \(1,\)"),
        (lambda: fit(bp.CTC(), [[1, 2]], metrics=[bp.Accuracy()]), "Accuracy: expected classes"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_line(make, message):
    with pytest.raises(bp.InputError, match=message) as info:
        make()
    assert "\n" not in str(info.value)


def test_ctc_takes_a_logit_of_minus_infinity():
    """A class that never occurs, of no path that spells the labels."""
    y, t = LOGITS[1:3].copy(), LABELS[1:3]
    y[0, :, 1] = -np.inf
    value, gradient = both(bp.CTC(), y, t)
    low = y.copy()
    low[0, :, 1] = -1e3
    expected, expected_gradient = both(bp.CTC(), low, t)
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-12)


def test_triplet_margin_is_that_of_pytorch_for_the_triplets_it_chooses():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    y, t = rng.normal(size=(8, 3)), np.array([0, 1, 2, 0, 1, 1, 0, 9])
    loss = bp.TripletMargin(0.8)
    value, backward = loss.forward(y, t, bp.Context(np))
    distances = np.linalg.norm(y[:, None] - y[None], axis=2)
    same = (t[:, None] == t) & ~np.eye(8, dtype=bool)
    anchors = [i for i in range(8) if same[i].any()]
    farthest = [int(np.where(same[i], distances[i], -1).argmax()) for i in anchors]
    nearest = [int(np.where(t != t[i], distances[i], np.inf).argmin()) for i in anchors]
    outputs = torch.tensor(y, requires_grad=True)
    peer = torch.nn.TripletMarginLoss(margin=0.8, eps=0.0)
    expected = peer(outputs[anchors], outputs[farthest], outputs[nearest])
    expected.backward()
    assert float(value) == pytest.approx(expected.item(), rel=1e-13)
    np.testing.assert_allclose(backward(), outputs.grad.numpy(), rtol=1e-12, atol=1e-14)


def test_triplet_margin_without_triplets_and_of_equal_vectors():
    loss, ctx = bp.TripletMargin(), bp.Context(np)
    for classes in ([0, 0, 0], [0, 1, 2]):
        value, backward = loss.forward(np.ones((3, 2)), np.array(classes), ctx)
        assert value == 0.0 and not backward().any()
    value, backward = loss.forward(np.ones((3, 2)), np.array([0, 0, 1]), ctx)
    assert value == 1.0 and not backward().any()
    with pytest.raises(bp.InputError, match=r"TripletMargin\(margin=0\)"):
        bp.TripletMargin(0)
    with pytest.raises(bp.InputError, match="expected vectors"):
        loss.forward(np.ones((3, 2, 2)), np.array([0, 0, 1]), ctx)
