"""Covers: the report of devices that ran, of devices that did not, and of disagreements."""

from __future__ import annotations

import json

import pytest

import bp_arrays as bp
from bp_arrays.testing import check, check_cases, chosen_cases


class Widens(bp.Layer):
    """Right numbers in float64, whatever came."""

    def forward(self, params, a, ctx):
        wide = ctx.xp.astype(a, ctx.xp.float64)
        return wide * 2.0, lambda delta: (delta * 2.0, {})


def test_a_device_that_does_not_run_cannot_be_missed():
    cuda = bp.device("cuda")
    if cuda.availability().usable:
        pytest.skip("CUDA is there")
    report = check_cases(chosen_cases(["tanh"]), ["cpu", "cuda"], dtypes=["float32"])
    assert report.ok
    assert "\n\nNOT RUN    cuda:0: " in str(report)
    assert not check_cases(chosen_cases(["tanh"]), ["cpu"], require=["cuda"]).ok
    written = json.loads(json.dumps(report.to_json()))
    assert [d["ran"] for d in written["devices"]] == [True, False]
    assert written["devices"][1]["reason"]
    assert {"cases", "disagreements", "versions", "machine"} <= set(written)


def test_where_nothing_ran_nothing_is_claimed():
    report = check(bp.Tanh(), input_shape=2, devices=["strict"], dtypes=["bfloat16"])
    assert not report.ok
    assert "NOT RUN    strict: no case has a dtype it supports; it lacks bfloat16" in str(report)
    assert "NOTHING ran" in report.summary()
    assert "agree" not in str(report)
    assert not check(bp.Tanh(), input_shape=2, devices=[]).ok


def test_the_written_report_is_json_whatever_was_found():
    found = check(Widens(), input_shape=3, devices=["cpu"], dtypes=["float32"]).to_json()
    json.dumps(found, allow_nan=False)
    assert found["devices"][0]["errors"]["Widens, ordinary"] == {"float32": None}
    assert found["limits"]["Widens, ordinary"] == 16.0


def test_the_same_fault_is_told_once():
    report = check(Widens(), input_shape=3, devices=["cpu", "strict"], dtypes=["float32"])
    lines = [line for line in str(report).splitlines() if "y: expected dtype" in line]
    assert len(lines) == 1 and lines[0].endswith("(and 9 more)")


def test_several_of_a_class_are_told_apart():
    report = check(bp.Linear(1), bp.Linear(2), bp.Tanh(), input_shape=3, devices=["cpu"])
    assert report.components == ["Linear 1", "Linear 2", "Tanh"]


def test_what_was_traced_is_said():
    traced = "traceable by jax.jit"
    report = check(bp.Tanh(), input_shape=2, devices=["cpu"], dtypes=["float32"])
    assert report.properties[traced].startswith("NOT RUN")
    if bp.device("jax:cpu").availability().usable:
        report = check(bp.Tanh(), input_shape=2, devices=["jax:cpu"], dtypes=["float32"])
        assert report.properties[traced] == "5 cases"


def test_the_report_names_each_way_an_oracle_was_used():
    report = check_cases(chosen_cases(["tanh", "relu"]), ["cpu"], dtypes=["float32"])
    assert report.oracles["Tanh"][0] == "complex step"
    assert report.oracles["ReLU"][0] == "central differences"
    assert report.devices[0].worst_by_dtype["float32"] > 0.0
