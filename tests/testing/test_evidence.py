"""Covers: what is said of CUDA: what a recorded run has shown, on what, and if it still holds."""

from __future__ import annotations

import json

import pytest

import bp_arrays as bp
from benchmarks.record import record
from bp_arrays.command_line import main
from bp_arrays.testing import Evidence, cases, check_cases, chosen_cases, cuda_line, write_record
from bp_arrays.testing._evidence import RECORD, read_record

NEVER = "CUDA on hardware: never verified; CUDA emulated on the CPU: never verified"
CARD = "CuPy 14.2.0 on NVIDIA H200, driver for CUDA 13.0, runtime 13.0"
EMULATED = "CuPy 14.2.0 on CUDA emulated on the CPU, driver for CUDA 13.0, runtime 13.0"


@pytest.fixture(scope="module")
def report():
    """A report as a machine with a GPU writes it."""
    found = check_cases(chosen_cases(["tanh"]), ["cpu"], dtypes=["float32"]).to_json()
    found["devices"][0] |= {
        "name": "cuda:0",
        "description": CARD,
        "errors": {case.name: {"float32": 1.5} for case in cases()},
        "worst_by_dtype": {"float32": 1.5, "float64": 0.25},
    }
    found["date"], found["commit"] = "2026-01-02T03:04:05", "0123456789abcdef"
    return found


def changed(report, **device):
    return report | {"devices": [report["devices"][0] | device]}


def recorded(tmp_path, *reports):
    path = tmp_path / "record.json"
    for each in reports:
        write_record(Evidence.of_report(each), path)
    return path


def test_a_case_that_only_lacking_dtypes_have_need_not_run(tmp_path, report):
    [name] = [case.name for case in cases() if case.dtypes == ("bfloat16",)]
    errors = {n: e for n, e in report["devices"][0]["errors"].items() if n != name}
    assert not Evidence.of_report(changed(report, errors=errors, lacks=["bfloat16"])).is_stale
    with pytest.raises(bp.InputError, match="1 cases did not run"):
        Evidence.of_report(changed(report, errors=errors, lacks=[]))


def test_nothing_recorded_is_nothing_verified(tmp_path):
    assert cuda_line(tmp_path / "record.json") == NEVER


def test_the_last_run_of_each_kind_is_named(tmp_path, report):
    emulated = changed(report, emulated=True, description=EMULATED)
    path = recorded(tmp_path, report)
    assert cuda_line(path) == (
        f"CUDA on hardware: verified 2026-01-02 ({CARD}; commit 0123456789; "
        f"{report['devices'][0]['cases']} cases agree, worst eps: float32 1.5, float64 0.2); "
        "CUDA emulated on the CPU: never verified"
    )
    path = recorded(tmp_path, emulated | {"date": "2026-03-01", "commit": "abc+changes"})
    line = cuda_line(path)
    assert "on hardware: verified 2026-01-02 (CuPy 14.2.0 on NVIDIA H200" in line
    assert f"emulated on the CPU: verified 2026-03-01 ({EMULATED}; commit abc+changes;" in line
    assert "STALE" not in line


@pytest.mark.parametrize(
    "signs",
    [
        {"emulated": True, "description": EMULATED},
        {"emulated": True, "description": CARD},
        {"emulated": False, "description": EMULATED},
    ],
    ids=["both", "the field", "the name"],
)
def test_one_sign_of_emulation_is_enough_to_be_no_hardware(tmp_path, report, signs):
    evidence = Evidence.of_report(changed(report, **signs))
    assert evidence.kind == "emulated"
    path = tmp_path / "record.json"
    write_record(evidence, path)
    assert "CUDA on hardware: never verified" in cuda_line(path)


def test_an_emulated_run_written_where_hardware_stands_is_not_believed(tmp_path, report):
    path = recorded(tmp_path, changed(report, emulated=True, description=EMULATED))
    values = json.loads(path.read_text())
    for kind in ("emulated", "hardware"):
        forged = values["emulated"] | {"kind": kind}
        path.write_text(json.dumps({"hardware": forged, "emulated": None}))
        assert cuda_line(path) == NEVER


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"name": "cpu"}, "it did not run"),
        ({"ran": False}, "it did not run"),
        ({"errors": {"Tanh, ordinary": {"float32": 1.5}}}, "cases did not run"),
    ],
)
def test_a_report_that_proves_nothing_is_refused(report, change, why):
    with pytest.raises(bp.InputError, match=why):
        Evidence.of_report(changed(report, **change))


def test_a_run_with_disagreements_is_refused(report):
    with pytest.raises(bp.InputError, match="results disagree"):
        Evidence.of_report(report | {"ok": False})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"hardware": 3}', '{"hardware": {}}', "\x00"])
def test_a_record_that_cannot_be_read_verifies_nothing(tmp_path, text):
    (tmp_path / "record.json").write_text(text)
    assert cuda_line(tmp_path / "record.json") == NEVER


@pytest.mark.parametrize("change", ["source", "cases"])
def test_a_run_of_other_code_is_stale(tmp_path, report, change):
    if change == "source":
        report = report | {"source": "of another day"}
    else:
        report = changed(report, errors=report["devices"][0]["errors"] | {"gone": {}})
    path = recorded(tmp_path, report)
    assert ". STALE: code or cases have changed since; CUDA emulated" in cuda_line(path)
    assert "STALE" not in cuda_line(path, stale=False)


def test_the_package_has_its_record_and_asks_for_no_other_file():
    assert RECORD.parent.name == "testing" and RECORD.exists()
    assert read_record()["emulated"] is not None


def test_the_emulated_device_says_so_and_no_gpu_is_claimed(capsys):
    device = bp.device("cuda")
    if not device.availability().usable or not device.is_emulated:
        pytest.skip("needs the emulated CUDA device")
    assert "on CUDA emulated on the CPU" in device.description
    assert not bp.device("cpu").is_emulated
    assert main(["devices"]) == 0
    shown = capsys.readouterr().out
    assert "on CUDA emulated on the CPU" in shown and "CUDA on hardware: " in shown
    assert main(["check", "--only", "identity", "--device", "cuda"]) == 0
    assert "EMULATED on the CPU, no GPU took part: cuda:0" in capsys.readouterr().out


def test_a_file_that_is_no_report_is_named(tmp_path):
    path = tmp_path / "check.json"
    path.write_text("{}")
    with pytest.raises(bp.InputError, match=r"check\.json: not a report of bp-arrays check --json"):
        record([path], tmp_path / "README.md")
