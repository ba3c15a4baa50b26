"""`bp-arrays check`: exit codes, the report file, and what it prints."""

from __future__ import annotations

import json

import pytest

import bp_arrays as bp
from bp_arrays.command_line.main import main


def test_it_prints_the_matrix_and_writes_the_report(tmp_path, capsys):
    path = tmp_path / "report.json"
    words = ["check", "--device", "cpu", "--device", "strict", "--only", "tanh"]
    assert main([*words, "--dtype", "float32", "--json", str(path)]) == 0
    out = capsys.readouterr().out
    assert "Tanh" in out and "PASS" in out and "cases on cpu, strict: agree" in out
    report = json.loads(path.read_text())
    assert [device["name"] for device in report["devices"]] == ["cpu", "strict"]
    assert report["disagreements"] == []


def test_a_required_device_that_does_not_run_is_exit_code_1(capsys):
    if bp.device("cuda").availability().usable:
        pytest.skip("CUDA is there")
    words = ["check", "--device", "cpu", "--only", "identity", "--require", "cuda"]
    assert main(words) == 1
    assert "NOT RUN    cuda:0" in capsys.readouterr().out


def test_unknown_words_are_exit_code_2(capsys):
    assert main(["check", "--only", "linaer"]) == 2
    assert "did you mean 'Linear'" in capsys.readouterr().err
