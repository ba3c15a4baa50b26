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
        (Square(), "dx is 5.0e-01 from"),
        (Doubtful(), "dy is 5.0e-01 from|dy is 1.0e"),
        (InPlace(), "the input x was changed"),
    ],
)
def test_faults_are_named(component, message):
    report = check(component, input_shape=(3,), devices=["cpu"])
    assert not report.ok
    assert any(__import__("re").search(message, d.message) for d in report.disagreements), (
        report.disagreements
    )
    assert "FAIL" in str(report)


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
