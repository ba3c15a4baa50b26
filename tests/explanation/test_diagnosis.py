"""The diagnosis finds what is wrong with a training, and nothing where nothing is."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.explanation import Diagnosis, Recorder

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
    assert str(diagnosis).endswith("nothing to worry about")
    assert {h.epoch for h in diagnosis.layers} == {0, 1, 2}
    assert [h.kind for h in diagnosis.last] == ["Linear", "ReLU", "Linear"]


def test_saturated_sigmoids_are_named():
    [found] = diagnosed(deep(bp.Sigmoid(), 1), X * 300).findings()
    assert "layer 1 (Sigmoid) is saturated: 9" in found and "Inputs on a common scale" in found


def test_dead_relus_are_named():
    net = bp.Sequential(bp.Linear(9, bias_init=Down()), bp.ReLU(), bp.Linear(1))
    found = diagnosed(net).findings()
    assert "layer 1 (ReLU) is dying: 100% of its units give 0" in found[0]
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
    assert first.mean == pytest.approx(y.mean()) and first.deviation == pytest.approx(y.std())
    assert first.error == pytest.approx(np.sqrt((delta**2).mean()))
    assert first.gradient == pytest.approx(np.sqrt((g**2).mean()))
    assert np.isnan(first.saturated) and np.isnan(first.dead)


def test_it_draws_a_picture(tmp_path):
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed")
    diagnosis = diagnosed(deep(bp.Tanh(), 2))
    figure = diagnosis.plot(tmp_path / "health.png")
    assert (tmp_path / "health.png").stat().st_size > 10_000
    assert len(figure.axes) == 3
    with pytest.raises(bp.InputError, match="nothing to plot yet"):
        Diagnosis(X, T, LOSS).plot()


def test_what_does_not_fit_is_told_before_the_training():
    model = bp.Model(bp.Linear(1), 6, device="cpu")
    with pytest.raises(bp.InputError, match=r"Diagnosis\(x\)"):
        bp.fit(model, X, T, loss=LOSS, optimizer=bp.SGD(0.1),
               callbacks=[Diagnosis(X[:, :2], T, LOSS)])  # fmt: skip
    with pytest.raises(bp.InputError, match="expected a loss"):
        Diagnosis(X, T, "bce")
    with pytest.raises(bp.InputError, match="2 or more"):
        Recorder(frames=1)
