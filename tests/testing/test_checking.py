"""Covers: `check`: results for correct and faulty layers, and for missing devices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.testing import Case, check, check_cases, chosen_cases


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


class FlipsZeros(bp.Layer):
    """Equal numbers each time, but the sign of the zeros alternates."""

    calls = 0

    def forward(self, params, a, ctx):
        FlipsZeros.calls += 1
        zero = -0.0 if FlipsZeros.calls % 2 else 0.0
        h = ctx.xp.where(a > 0.0, a, zero)
        return h, lambda delta: (ctx.xp.where(a > 0.0, delta, 0.0), {})


class Raises(bp.Layer):
    def forward(self, params, a, ctx):
        raise RuntimeError("out of ideas")


class NoPair(bp.Layer):
    def forward(self, params, a, ctx):
        return a * 2.0


class NoGradients(bp.Layer):
    def forward(self, params, a, ctx):
        return a * 2.0, lambda delta: delta * 2.0


class NoneForDx(bp.Layer):
    def forward(self, params, a, ctx):
        return a * 2.0, lambda delta: (None, {})


class OnTheHost(bp.Layer):
    def forward(self, params, a, ctx):
        return np.ones(a.shape, np.float32), lambda delta: (delta * 0.0, {})


class BreaksItsWord(bp.Layer):
    def init(self, input_shape):
        return {}, (7,)

    def forward(self, params, a, ctx):
        return a * 2.0, lambda delta: (delta * 2.0, {})


class ForgetsOne(bp.Layer):
    def init(self, input_shape):
        return {"gain": bp.Parameter(input_shape, bp.Ones())}, input_shape

    def forward(self, params, a, ctx):
        return a * params["gain"], lambda delta: (delta * params["gain"], {})


class OneTooMany(bp.Layer):
    def forward(self, params, a, ctx):
        return a * 2.0, lambda delta: (delta * 2.0, {"gain": delta})


class WrongAtOnePlace(bp.Layer):
    """As wide as an image; one derivative of thousands is wrong."""

    def forward(self, params, a, ctx):
        one = ctx.xp.arange(a.shape[1], dtype=ctx.xp.int64, device=ctx.device) == 7

        def backward(delta):
            return ctx.xp.where(one, 3.0 * delta, 2.0 * delta), {}

        return a * 2.0, backward


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
        (Widens(), "y: expected dtype float32, got float64"),
        (LosesPrecision(), "eps off, the limit is 16"),
        (HostConstant(), "did not run: "),
        (Remembers(), "y has different bits in a second run"),
        (OtherShape(), "dx: expected shape (5, 3), got (3,)"),
        (FlipsZeros(), "y has different bits in a second run"),
        (Raises(), "did not run: RuntimeError: out of ideas"),
        (NoPair(), "forward must return (output, backward), got ndarray"),
        (NoGradients(), "backward must return (dx, gradients by name), got ndarray"),
        (NoneForDx(), "dx is None, not an array"),
        (OnTheHost(), "y left the device: it is on cpu"),
        (BreaksItsWord(), "y: expected shape (5, 7), as returned by init, got (5, 3)"),
        (ForgetsOne(), "d gain is missing, central differences has one"),
        (OneTooMany(), "d gain is the gradient of no trainable parameter"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_faults_are_named(component, message):
    if isinstance(component, ReadsBack):
        pytest.importorskip("torch", reason="the device without numbers is PyTorch's")
    report = check(component, input_shape=3, devices=["cpu", "strict:device1"])
    assert not report.ok
    assert any(message in d.message for d in report.disagreements), report.disagreements
    assert "FAIL" in str(report) or "did not run" in str(report)


def test_a_layer_that_always_fails_is_not_said_to_read_back():
    report = check(Raises(), input_shape=3, devices=["cpu"], dtypes=["float32"])
    assert not report.ok and report.cases == 0
    assert "Raises                did not run" in str(report) and "inf" not in str(report)
    assert "0 cases on cpu: 5 DID NOT RUN" in report.summary()
    assert "did not run" in bp.testing.to_html(report)
    assert {d.message for d in report.disagreements} == {"did not run: RuntimeError: out of ideas"}


def test_decisions_by_value_are_caught_by_the_tracing_compiler():
    if not bp.device("jax:cpu").availability().usable:
        pytest.skip("JAX is not installed")
    report = check(ReadsBack(), input_shape=3, devices=["jax:cpu"], dtypes=["float32"])
    assert any("did not run: ConcretizationTypeError" in d.message for d in report.disagreements)


def test_a_layer_as_wide_as_an_image_is_judged_at_some_places_by_differences_at_all_by_autograd():
    pytest.importorskip("torch", reason="autograd sees every place")
    report = check(WrongAtOnePlace(), input_shape=3000, devices=["cpu"], dtypes=["float64"])
    assert any("dx is" in d.message and "torch.autograd" in d.message for d in report.disagreements)
    assert check(SignedSquare(), input_shape=3000, devices=["cpu"], dtypes=["float64"]).ok


def test_results_that_must_be_exact_are_held_to_their_dtype_too():
    def compute(place, arrays):
        kind = place.xp.float32 if place.device.backend == "strict" else place.xp.int64
        return {"count": place.xp.asarray([1, 2], dtype=kind, device=place.native)}

    case = Case("counter", "ordinary", "random", dict, compute, exact=frozenset({"count"}))
    assert check_cases([case], ["cpu"]).ok
    [found] = check_cases([case], ["strict"], dtypes=["float32"]).disagreements
    assert "count: expected dtype int64" in found.message


def test_components_are_chosen_by_name():
    assert {case.component for case in chosen_cases(["relu"])} == {"ReLU", "LeakyReLU", "PReLU"}
    with pytest.raises(bp.InputError, match="did you mean 'Linear'"):
        chosen_cases(["linaer"])
    with pytest.raises(bp.InputError, match="expected part of a component's name"):
        chosen_cases([""])


def test_a_quick_check_runs_the_first_case_of_each_component_and_says_so():
    chosen = chosen_cases(["relu"])
    report = check_cases(chosen, ["cpu"], dtypes=["float32"], quick=True)
    [result] = report.devices
    assert set(result.worst) == {"ReLU", "LeakyReLU", "PReLU"}
    assert result.cases == 3 and set(result.errors) == {
        f"{name}, ordinary" for name in result.worst
    }
    assert report.oracles and report.witnesses
    rest = len(chosen) - 3
    assert f"all agree; QUICK, {rest} more cases of these components were left out" in str(report)
    assert "QUICK" not in str(check_cases(chosen[:3], ["cpu"], dtypes=["float32"]))


class NeedsSix(bp.Layer):
    def init(self, input_shape):
        return {"w": bp.Parameter((input_shape[5],), bp.Zeros())}, input_shape


class NoShape(bp.Layer):
    def init(self, input_shape):
        return {}


@pytest.mark.parametrize(
    ("component", "settings", "message"),
    [
        (3, {}, "a layer or a loss"),
        (bp.Tanh, {}, r"got the class Tanh; pass an instance, such as Tanh\(\)"),
        (bp.Tanh(), {"input_shape": 0}, "expected positive integers"),
        (bp.Tanh(), {"input_shape": 2.5}, r"expected positive integers, .* got 2\.5"),
        (bp.Tanh(), {"input_shape": "4"}, "expected positive integers"),
        (bp.Tanh(), {"dtypes": ["flaot32"]}, "unknown dtype 'flaot32': did you mean 'float32'"),
        (bp.Tanh(), {"dtypes": "float32"}, r"check\(dtypes=\): expected a list of names"),
        (bp.Tanh(), {"devices": "cpu"}, r"expected a list of names, got 'cpu'; pass \['cpu'\]"),
        (bp.Tanh(), {"devices": ["cdua"]}, "did you mean 'cuda'"),
        (bp.Tanh(), {"require": ["gpu"]}, "did you mean 'cuda'"),
        (
            NeedsSix(),
            {},
            r"NeedsSix.init\(\(2,\)\) raised IndexError.*check that input_shape fits",
        ),
        (NoShape(), {}, r"expected the parameters by name and the output shape"),
        (bp.Residual(bp.Linear(2)), {"input_shape": 3}, r"f\(x\)"),
    ],
)
def test_what_cannot_be_checked_is_refused_at_the_door(component, settings, message):
    with pytest.raises(bp.InputError, match=message):
        check(component, **{"input_shape": 2, "devices": ["cpu"]} | settings)


@dataclass(frozen=True)
class Gain(bp.Layer):
    """One gain for all features: a parameter without an axis."""

    def init(self, input_shape):
        return {"gain": bp.Parameter((), bp.Ones())}, input_shape

    def forward(self, params, x, ctx):
        g = params["gain"]
        return x * g, lambda delta: (delta * g, {"gain": ctx.xp.sum(delta * x)})


def test_a_parameter_without_an_axis_is_checked_like_any_other():
    report = bp.testing.check(Gain(), input_shape=(3,), devices=["cpu"])
    assert report.ok, report


@pytest.mark.parametrize(
    ("loss", "shape"),
    [(bp.CrossEntropy(), (2, 3)), (bp.GaussianNLL(), (2, 4)), (bp.Contrastive(), 3)],
)
def test_a_loss_gets_targets_of_the_shape_that_it_takes(loss, shape):
    assert check(loss, input_shape=shape, devices=["cpu"]).ok
