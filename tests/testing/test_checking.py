"""The check as a product: what it says of good and of faulty layers, and of missing devices."""

from __future__ import annotations

import json

import pytest

import bp_arrays as bp
from bp_arrays.testing import check, check_cases, chosen_cases


class Square(bp.Layer):
    """h = a², with a backward that forgets the factor 2."""

    def forward(self, params, a, ctx):
        return a * a, lambda delta: (delta * a, {})


class SignedSquare(bp.Layer):
    def forward(self, params, a, ctx):
        return a * a, lambda delta: (2.0 * delta * a, {})


class InPlace(bp.Layer):
    """Right numbers, but the caller's array is changed."""

    def forward(self, params, a, ctx):
        a *= 2.0
        return a * 1.0, lambda delta: (delta * 2.0, {})


class ReadsBack(bp.Layer):
    """Decides by a value, which a tracing compiler and a GPU would have to wait for."""

    def forward(self, params, a, ctx):
        factor = 2.0 if float(ctx.xp.max(a)) > 0.0 else 3.0
        return a * factor, lambda delta: (delta * factor, {})


class Widens(bp.Layer):
    def forward(self, params, a, ctx):
        wide = ctx.xp.astype(a, ctx.xp.float64)
        return wide * 2.0, lambda delta: (delta * 2.0, {})


class LosesPrecision(bp.Layer):
    def forward(self, params, a, ctx):
        moved = (a + 1000.0) - 1000.0
        return moved, lambda delta: (delta, {})


class HostConstant(bp.Layer):
    def forward(self, params, a, ctx):
        two = ctx.xp.asarray(2.0, dtype=a.dtype)  # on the library's default device
        return a * two, lambda delta: (delta * two, {})


class Remembers(bp.Layer):
    calls = 0

    def forward(self, params, a, ctx):
        Remembers.calls += 1
        return a * (1.0 + 1e-7 * Remembers.calls), lambda delta: (delta, {})


class OtherShape(bp.Layer):
    def forward(self, params, a, ctx):
        return a * 2.0, lambda delta: (2.0 * ctx.xp.sum(delta, axis=0), {})


class Doubtful(bp.Loss):
    """Value of ½Σr², gradient of Σr²: not the same function."""

    def per_sample(self, y, t, ctx):
        r = y - t
        return 0.5 * ctx.xp.sum(r * r, axis=1), lambda c: 2.0 * c * r


def test_a_right_layer_passes():
    report = check(SignedSquare(), input_shape=(3,), devices=["cpu", "strict"])
    assert report.ok
    assert "PASS" in str(report)


@pytest.mark.parametrize(
    ("component", "message"),
    [
        (Square(), "dx is 5.0e-01 from central differences, everywhere 0.5 times it"),
        (Doubtful(), "dy is 1.0e+00 from central differences, everywhere 2 times it"),
        (InPlace(), "the input x was changed"),
        (ReadsBack(), "needs a number on the host"),
        (Widens(), "y has the dtype float64, not float32"),
        (LosesPrecision(), "eps off, the limit is 16"),
        (HostConstant(), "raised "),
        (Remembers(), "y has other bits when run again"),
        (OtherShape(), "dx has the shape (3,), not (5, 3)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_faults_are_named(component, message):
    if isinstance(component, ReadsBack):
        pytest.importorskip("torch", reason="the device without numbers is PyTorch's")
    report = check(component, input_shape=3, devices=["cpu", "strict:device1"])
    assert not report.ok
    assert any(message in d.message for d in report.disagreements), report.disagreements
    assert "FAIL" in str(report)


def test_decisions_by_value_are_caught_by_the_tracing_compiler():
    if not bp.device("jax:cpu").availability().usable:
        pytest.skip("JAX is not installed")
    report = check(ReadsBack(), input_shape=3, devices=["jax:cpu"], dtypes=["float32"])
    assert any("raised ConcretizationTypeError" in d.message for d in report.disagreements)


def test_a_device_that_does_not_run_cannot_be_missed():
    cuda = bp.device("cuda")
    if cuda.availability().usable:
        pytest.skip("CUDA is there")
    report = check_cases(chosen_cases(["tanh"]), ["cpu", "cuda"], dtypes=["float32"])
    assert report.ok
    assert "NOT RUN    cuda:0" in str(report)
    assert not check_cases(chosen_cases(["tanh"]), ["cpu"], require=["cuda"]).ok
    written = json.loads(json.dumps(report.to_json()))
    assert [d["ran"] for d in written["devices"]] == [True, False]
    assert written["devices"][1]["reason"]
    assert {"cases", "disagreements", "versions", "machine"} <= set(written)


def test_components_are_chosen_by_name():
    assert {case.component for case in chosen_cases(["relu"])} == {"ReLU", "LeakyReLU"}
    with pytest.raises(bp.InputError, match="did you mean 'Linear'"):
        chosen_cases(["linaer"])
    with pytest.raises(bp.InputError, match="a layer or a loss"):
        check(3, input_shape=(2,))
    with pytest.raises(bp.InputError, match=r"Tanh is a class; pass a layer .* such as Tanh\(\)"):
        check(bp.Tanh, input_shape=2)
    with pytest.raises(bp.InputError, match="expected positive integers"):
        check(bp.Tanh(), input_shape=0)
    with pytest.raises(bp.InputError, match="none of these devices has a dtype of float8"):
        check(bp.Tanh(), input_shape=2, devices=["cpu"], dtypes=["float8"])


def test_the_report_names_each_way_an_oracle_was_used():
    report = check_cases(chosen_cases(["tanh", "relu"]), ["cpu"], dtypes=["float32"])
    assert report.oracles["Tanh"][0] == "complex step"
    assert report.oracles["ReLU"][0] == "central differences"
    assert report.devices[0].worst_by_dtype["float32"] > 0.0
