"""Covers: `Diagnosis`: findings in runs with a known problem, none in healthy ones."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.explanation import Recorder
from bp_arrays.training import Diagnosis

RNG = np.random.default_rng(0)
X = RNG.normal(size=(100, 6))
T = (X[:, :1] > 0) * 1.0
LOSS = bp.BinaryCrossEntropy()


def diagnosed(net, x=X, rate=0.1, device="cpu"):
    diagnosis = Diagnosis(x, T, LOSS)
    model = bp.Model(net, 6, device=device, seed=0)
    bp.fit(model, x, T, loss=LOSS, optimizer=bp.SGD(rate), epochs=2, callbacks=[diagnosis])
    return diagnosis


def deep(activation, layers=8, init=None):
    parts = []
    for _ in range(layers):
        parts += [bp.Linear(20, **({"weight_init": init} if init else {})), activation]
    return bp.Sequential(*parts, bp.Linear(1))


def test_a_healthy_net_is_healthy(device):
    diagnosis = diagnosed(deep(bp.ReLU(), 1, bp.HeNormal()), device=device)
    assert diagnosis.findings() == []
    assert str(diagnosis).endswith("no problems")
    assert {h.epoch for h in diagnosis.layers} == {0, 1, 2}
    assert [h.kind for h in diagnosis.last] == ["Linear", "ReLU", "Linear"]


def test_saturated_sigmoids_are_named():
    [found] = diagnosed(deep(bp.Sigmoid(), 1), X * 300).findings()
    assert "layer 1 (Sigmoid) is saturated: at 9" in found and "Standardize the inputs" in found


def test_dead_relus_are_named():
    net = bp.Sequential(bp.Linear(9, bias_init=Down()), bp.ReLU(), bp.Linear(1))
    found = diagnosed(net).findings()
    assert "layer 1 (ReLU) has dead units: 100% of them give 0" in found[0]
    assert "LeakyReLU" in found[0]


class Down(bp.Zeros):
    def draw(self, shape, rng):
        return np.full(shape, -100.0)


class Large(bp.Zeros):
    def draw(self, shape, rng):
        return 3.0 * rng.normal(size=shape)


def test_vanishing_and_exploding_errors_are_named():
    assert "the error vanishes" in " ".join(diagnosed(deep(bp.Sigmoid())).findings())
    exploding = diagnosed(deep(bp.LeakyReLU(), init=Large()), rate=1e-30)
    assert "the error explodes" in " ".join(exploding.findings())


def watched(net, x, t, loss, optimizer, epochs):
    """A whole training with the diagnosis looking on."""
    diagnosis = Diagnosis(x, t, loss)
    model = bp.Model(net, x.shape[1], device="cpu", seed=0)
    bp.fit(model, x, t, loss=loss, optimizer=optimizer, epochs=epochs, callbacks=[diagnosis])
    return diagnosis


def test_outputs_that_have_arrived_are_not_called_stuck():
    """XOR learned to the end: its output is flat where it should be, 0 and 1."""
    x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    t = np.array([[0.0], [1.0], [1.0], [0.0]])
    net = bp.Sequential(bp.Linear(4), bp.Tanh(), bp.Linear(1), bp.Sigmoid())
    learned, stuck = (Diagnosis(x, goal, bp.L2Loss()) for goal in (t, 1.0 - t))
    model = bp.Model(net, 2, device="cpu", seed=0)
    bp.fit(model, x, t, loss=bp.L2Loss(), optimizer=bp.Adam(0.1), epochs=3000,
           callbacks=[learned, stuck])  # fmt: skip
    assert np.abs(model.predict(x) - t).max() < 0.005
    assert not any("layer 3" in found for found in learned.findings())
    assert any("layer 3 (Sigmoid) is saturated: at 100%" in found for found in stuck.findings())


def test_relus_killed_by_a_rate_too_large_are_named():
    """A real training that goes wrong: one step so large that no unit is ever above 0 again."""
    x = np.abs(X)
    net = bp.Sequential(bp.Linear(20), bp.ReLU(), bp.Linear(1))
    found = watched(net, x, -100.0 + 0.0 * T, bp.L2Loss(), bp.SGD(0.05), 5).findings()
    assert any("layer 1 (ReLU) has dead units" in words for words in found)


def test_a_training_that_diverges_is_named():
    net = bp.Linear(1)
    found = watched(net, 10.0 * X, T, bp.L2Loss(), bp.SGD(0.05), 3).findings()
    assert len(found) == 1 and "training diverges: gradients are" in found[0]


def test_layers_inside_blocks_are_looked_at(device):
    block = bp.Residual(bp.Linear(8, bias_init=Down()), bp.ReLU(), bp.Linear(6))
    diagnosis = diagnosed(bp.Sequential(block, bp.Linear(1)), device=device)
    assert [(h.path, h.kind) for h in diagnosis.last] == [
        ("0.0", "Linear"), ("0.1", "ReLU"), ("0.2", "Linear"), ("1", "Linear"),
    ]  # fmt: skip
    assert any("layer 0.1 (ReLU) has dead units" in words for words in diagnosis.findings())


def test_the_errors_through_a_block_are_those_of_the_model():
    """The sum of both paths: the gradients seen are those the model computes."""
    net = bp.Sequential(
        bp.Linear(5), bp.Residual(bp.Linear(4), bp.Tanh(), bp.Linear(5)), bp.Linear(1)
    )
    model = bp.Model(net, 6, device="cpu", dtype="float64", seed=0)
    _, gradients = model.gradients(X, T, LOSS, training=False)
    diagnosis = Diagnosis(X, T, LOSS)
    bp.fit(model, X, T, loss=LOSS, optimizer=bp.SGD(0.1), callbacks=[diagnosis])
    g = np.concatenate([gradients["0.weight"].ravel(), gradients["0.bias"].ravel()])
    assert diagnosis.layers[0].gradient == pytest.approx(np.sqrt((g**2).mean()), rel=1e-12)


def test_the_statistics_are_those_of_the_samples():
    """One layer by hand."""
    diagnosis = Diagnosis(X, T, LOSS)
    model = bp.Model(bp.Linear(1), 6, device="cpu", dtype="float64", seed=0)
    before = model.host_parameters()
    bp.fit(model, X, T, loss=LOSS, optimizer=bp.SGD(0.1), callbacks=[diagnosis])
    first = diagnosis.layers[0]
    y = X @ before["weight"] + before["bias"]
    delta = (1 / (1 + np.exp(-y)) - T) / len(X)
    g = np.concatenate([(X.T @ delta).ravel(), delta.sum(axis=0)])
    assert first.mean == pytest.approx(y.mean()) and first.std == pytest.approx(y.std())
    assert first.error == pytest.approx(np.sqrt((delta**2).mean()))
    assert first.gradient == pytest.approx(np.sqrt((g**2).mean()))
    assert np.isnan(first.saturated) and np.isnan(first.dead)


def test_it_draws_a_picture(tmp_path):
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed")
    diagnosis = diagnosed(deep(bp.Tanh(), 2))
    figure = diagnosis.plot(tmp_path / "health.png")
    assert (tmp_path / "health.png").stat().st_size > 10_000
    assert len(figure.axes) == 3
    with pytest.raises(bp.InputError, match="expected a training run, got none"):
        Diagnosis(X, T, LOSS).plot()


def test_what_does_not_fit_is_told_before_the_training():
    model = bp.Model(bp.Linear(1), 6, device="cpu")
    with pytest.raises(bp.InputError, match=r"Diagnosis\(x=\)"):
        bp.fit(model, X, T, loss=LOSS, optimizer=bp.SGD(0.1),
               callbacks=[Diagnosis(X[:, :2], T, LOSS)])  # fmt: skip
    with pytest.raises(bp.InputError, match="at least one sample of finite values"):
        bp.fit(model, X, T, loss=LOSS, optimizer=bp.SGD(0.1),
               callbacks=[Diagnosis(X * np.nan, T, LOSS)])  # fmt: skip
    assert str(Diagnosis(X, T, LOSS)).startswith("no epoch recorded")
    with pytest.raises(bp.InputError, match="expected a loss"):
        Diagnosis(X, T, "bce")
    with pytest.raises(bp.InputError, match="expected an integer >= 2"):
        Recorder(frames=1)
    with pytest.raises(bp.InputError, match="an integer"):
        Recorder(frames="60")


def by_notes(start=None, rate=2.0, epochs=40):
    """The notes' net on four samples, from weights of one's own."""
    x = np.random.default_rng(0).uniform(size=(4, 2))
    t = np.stack([x[:, 0] * x[:, 1], x[:, 0]], axis=1)
    net = bp.Sequential(bp.Linear(3), bp.Sigmoid(), bp.Linear(2), bp.Sigmoid())
    model = bp.Model(net, 2, device="cpu", seed=0)
    if start is not None:
        model.parameters = {k: np.full(w.shape, start) for k, w in model.parameters.items()}
    diagnosis = Diagnosis(x, t, bp.L2Loss())
    bp.fit(model, x, t, loss=bp.L2Loss(), optimizer=bp.SGD(rate), epochs=epochs,
           callbacks=[diagnosis])  # fmt: skip
    return diagnosis.findings()


@pytest.mark.parametrize("start", [0.0, 0.5])
def test_units_that_stay_the_same_are_named(start):
    [found] = by_notes(start)
    assert found.startswith("layer 0 (Linear): units 1, 2, 3 are the same: with equal weights")
    assert "Use random initial weights" in found


def test_only_the_units_that_are_the_same_are_named():
    """Two of twenty began equal, in all their weights."""
    net = bp.Sequential(bp.Linear(20), bp.Tanh(), bp.Linear(1))
    model = bp.Model(net, 6, device="cpu", seed=0)
    first, last = (model.host_parameters()[f"{k}.weight"] for k in (0, 2))
    first[:, 16], last[16] = first[:, 3], last[3]
    model.parameters.update({"0.weight": first, "2.weight": last})
    diagnosis = Diagnosis(X, T, LOSS)
    bp.fit(model, X, T, loss=LOSS, optimizer=bp.Adam(0.01), epochs=5, callbacks=[diagnosis])
    [found] = diagnosis.findings()
    assert "units 4, 17 are the same" in found


def test_equal_weights_below_unequal_ones_are_no_symmetry():
    """They get different errors, so they part at the first step, however small it was so far."""
    net = bp.Sequential(bp.Linear(9, weight_init=bp.Ones()), bp.Tanh(), bp.Linear(1))
    for rate in (0.1, 1e-30):
        assert "are the same" not in " ".join(watched(net, X, T, LOSS, bp.SGD(rate), 3).findings())
    output = bp.Sequential(bp.Linear(9), bp.Tanh(), bp.Linear(2, weight_init=bp.Zeros()))
    both = np.concatenate([T, T], axis=1)
    assert watched(output, X, both, LOSS, bp.SGD(0.1), 3).findings() == []


def test_a_rate_too_small_is_named():
    [found] = by_notes(rate=1e-4)
    assert found.startswith("the weights hardly move: by ") and "in 40 epochs" in found
    assert found.endswith("Use a larger learning rate")
    net = bp.Sequential(bp.Linear(16), bp.ReLU(), bp.Linear(1))
    [found] = watched(net, X, T, LOSS, bp.Adam(1e-7), 3).findings()
    assert "the weights hardly move" in found


def test_ordinary_training_has_no_findings():
    """Also where weights hardly move with good reason: nothing is left to learn."""
    assert by_notes() == []
    assert by_notes(rate=0.1) == []
    net = bp.Sequential(bp.Linear(16), bp.ReLU(), bp.Linear(1))
    assert watched(net, X, T, LOSS, bp.Adam(1e-3), 3).findings() == []
    assert watched(net, X, T, LOSS, bp.SGD(0.01), 3).findings() == []
    for noise in (0.0, 0.3):
        t = X[:, :1] + noise * np.random.default_rng(1).normal(size=(100, 1))
        loss, model = bp.MeanSquaredError(), bp.Model(bp.Linear(1), 6, device="cpu", seed=0)
        bp.fit(model, X, t, loss=loss, optimizer=bp.SGD(0.1), epochs=100, batch_size=100)
        diagnosis = Diagnosis(X, t, loss)
        bp.fit(model, X, t, loss=loss, optimizer=bp.SGD(1e-7), epochs=3, callbacks=[diagnosis])
        assert diagnosis.findings() == []


def test_a_doubled_softmax_is_a_finding():
    net = bp.Sequential(bp.Linear(3), bp.Softmax())
    with pytest.warns(bp.BpArraysWarning, match="ends in Softmax"):
        found = watched(net, X, np.arange(100) % 3, bp.CrossEntropy(), bp.SGD(0.1), 1).findings()
    assert (
        "the net ends in Softmax (layer 1), but CrossEntropy applies a softmax itself" in found[0]
    )
