"""Covers: `bp-arrays bench`: one line per device, and the same numbers as JSON."""

from __future__ import annotations

import json

import pytest

from bp_arrays.command_line import _bench as bench
from bp_arrays.errors import InputError

WORDS = ("bench", "--layers", "5,8,3", "--batch", 4, "--steps", 8)


def test_a_line_for_each_device_and_the_same_as_json(run, tmp_path):
    result = run(*WORDS, "--device", "cpu", "--device", "strict", "--json", "speed.json")
    assert (result.code, result.err) == (0, "")
    title, head, *lines = result.out.splitlines()
    assert title == "5-8-3, batch 4, adam, float32: 75 parameters"
    assert head.split()[0] == "device"
    assert [line.split()[0] for line in lines] == ["cpu", "strict"]
    report = json.loads((tmp_path / "speed.json").read_text())
    assert [speed["device"] for speed in report["measured"]] == ["cpu", "strict"]
    cpu, strict = report["measured"]
    ratio = strict["microseconds_per_step"] / cpu["microseconds_per_step"]
    assert f"{ratio:.2f}×" in lines[1] and "1.00×" in lines[0]
    assert strict["path"] == "plain"
    assert report["versions"]["numpy"] and report["machine"]


def test_a_device_named_twice_is_measured_once(run):
    lines = run(*WORDS, "--device", "strict", "--device", "strict").out.splitlines()
    assert len(lines) == 3


def test_without_a_name_every_device_that_computes_and_is_no_checker(run, monkeypatch):
    names = []

    def measured(args, target, optimizer):
        names.append(target.name)
        raise InputError("lacks it") if target.name != "cpu" else KeyError("stop")

    monkeypatch.setattr(bench, "measure", measured)
    with pytest.raises(KeyError):
        run(*WORDS)
    assert names == ["cpu"]
    assert not any(device.backend == "strict" for device in bench.usable_devices())


def test_a_device_without_the_dtype_is_told_and_left_out(run, monkeypatch):
    lacks = bench.device("strict")
    monkeypatch.setattr(bench, "usable_devices", lambda: [bench.device("cpu"), lacks])
    result = run(*WORDS, "--dtype", "float16", "--optimizer", "sgd")
    assert result.code == 0
    assert "strict        not measured: device 'strict' has no dtype 'float16'" in result.out


def test_ctrl_c_is_an_interruption(run, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("bp_arrays.training.runners._eager.EagerRunner.epoch", interrupted)
    result = run(*WORDS, "--device", "strict")
    assert result.code == 130 and "interrupted" in result.err
