"""The rows of array functions, and what an author of a library needs when one is wrong or hangs.

Covers: functions as cases, causes, known faults, workers, the time limit.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.command_line import main
from bp_arrays.testing import chosen_cases, functions

ROOT = Path(bp.__file__).parent.parent


@pytest.fixture
def thin(monkeypatch):
    import thin_library

    device = bp.device("thin_library")
    yield device, thin_library, monkeypatch
    bp.devices.unregister("thin_library")


def check(*only, **options):
    devices = ["thin_library"]
    return bp.testing.check_cases(chosen_cases(only), devices, dtypes=["float32"], **options)


def test_functions_are_the_first_rows_and_each_has_one():
    first = [case.component for case in chosen_cases() if case.component.startswith("xp.")]
    assert first == [f"xp.{name}" for name in functions()]
    assert chosen_cases()[0].component == first[0]


def test_the_page_for_authors_lists_each_function_that_has_a_row():
    page = (ROOT / "docs" / "own-array-library.md").read_text(encoding="utf-8")
    needs = page.partition("These functions, which")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"`(\w+)`", needs)) == functions()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("exp", lambda right: lambda x: right(x) * 1.00001),
        ("flip", lambda right: lambda x, **options: right(right(x, **options), **options)),
        ("argmax", lambda right: lambda x, **options: right(-x, **options)),
    ],
)
def test_a_wrong_function_is_one_row(thin, name, wrong):
    _, module, patch = thin
    patch.setattr(module, name, wrong(getattr(module, name)))
    failed = {d.component for d in check("xp.").disagreements}
    assert failed == {f"xp.{name}"}


def test_what_fails_because_of_a_function_is_summed_up_under_it(thin):
    _, module, patch = thin
    exp = module.exp
    patch.setattr(module, "exp", lambda x: exp(x) * 1.001)
    report = check("xp.exp", "xp.tanh", "mish", "l2loss")
    caused = [d for d in report.disagreements if d.component == "Mish"]
    assert caused and {d.cause for d in caused} == {"xp.exp"}
    assert list(report.faults) == ["xp.exp"]
    assert re.search(
        r"xp.exp on thin_library: \d+ results of 1 components disagree because of it: "
        "Mish",
        str(report),
    )
    assert report.to_json()["disagreements"][-1]["cause"] == "xp.exp"
    assert "because of an array function" in report.summary() and not report.ok


def test_a_fault_of_its_own_keeps_its_line(thin):
    _, module, patch = thin
    exp, tanh = module.exp, module.tanh
    patch.setattr(module, "exp", lambda x: exp(x) * 1.001)
    patch.setattr(module, "tanh", lambda x: tanh(x) * 1.001)
    report = check("xp.exp", "tanh")  # xp.tanh is a row too
    assert {d.cause for d in report.disagreements if d.component == "Tanh"} == {"xp.tanh"}
    report = bp.testing.check_cases(
        [case for case in chosen_cases() if case.component in ("xp.exp", "Tanh")],
        ["thin_library"], dtypes=["float32"],
    )  # fmt: skip
    assert {d.cause for d in report.disagreements if d.component == "Tanh"} == {""}


def test_an_operator_that_raises_is_the_cause_of_the_same_error(thin):
    _, module, patch = thin

    def refuse(one, other):
        raise ValueError("no gemv")

    patch.setattr(module.Array, "__matmul__", refuse)
    names = ("matrix product (@), operators", "Linear, ordinary")
    report = bp.testing.check_cases(
        [case for case in chosen_cases() if case.name in names], ["thin_library"]
    )
    assert {d.cause for d in report.disagreements if d.component == "Linear"} == {
        "matrix product (@)"
    }


def test_known_faults_do_not_fail_the_check_and_stale_lines_are_reported(thin, tmp_path, capsys):
    _, module, patch = thin
    exp = module.exp
    patch.setattr(module, "exp", lambda x: exp(x) * 1.001)
    known = tmp_path / "known.txt"
    known.write_text(
        "# known faults\nxp.exp  # 1e-3 off\nMish, * on thin_library, *\nxp.log*\nno\n"
    )
    words = ["check", "--device", "thin_library", "--only", "xp.exp", "--only", "xp.log", "--only",
             "mish", "--dtype", "float32", "--workers", "1"]  # fmt: skip
    assert main([*words, "--xfail", str(known)]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"XFAIL      \d+ known: xp.exp, function, Mish, ", printed)
    assert "XPASS      xp.log*: 4 results that it names agree; remove the line" not in printed
    assert re.search(r"XPASS      xp\.log\*: \d results that it names agree; remove", printed)
    assert "XPASS      no: it names no case that ran; remove the line" in printed
    assert main(words) == 1
    known.write_bytes(b"\xff")
    assert main([*words, "--xfail", str(known)]) == 2
    assert main([*words, "--xfail", str(tmp_path / "none")]) == 2
    assert "none: expected a file of patterns, got no such file" in capsys.readouterr().err


def test_a_case_that_does_not_return_is_named_and_ends_the_run(thin):
    import threading

    _, module, patch = thin
    released = threading.Event()
    patch.setattr(module, "tanh", lambda x: released.wait(20.0))
    report = check("xp.tan", "xp.where", "l2loss", timeout=0.3, workers=2)
    released.set()
    assert report.ended_by.startswith("xp.tanh, function on thin_library, float32 did not return "
                                      "within 0.3 s; run it alone")  # fmt: skip
    assert not report.ok and "ENDED" in str(report) and "ENDED EARLY" in report.summary()


BLOCKS = """
import ctypes, sys
sys.modules["torch"] = sys.modules["jax"] = None  # absent, to save time
import thin_library
from bp_arrays.command_line import main
blocking = ctypes.PyDLL(None).{call}  # PyDLL keeps Python's lock
thin_library.tanh = lambda x: blocking({argument})
sys.exit(main(["check", "--device", "thin_library", "--only", "xp.tanh", "--timeout", "0.5"]))
"""


@pytest.mark.skipif(os.name != "posix", reason="the watchdog is a POSIX process")
@pytest.mark.parametrize(
    ("call", "argument", "message"),
    [
        ("sleep", "60", "xp.tanh, function on thin_library, .* did not return and blocks Python"),
        ("abort", "", "xp.tanh, function on thin_library, .* was running when the process ended"),
    ],
)
def test_a_case_that_blocks_or_kills_python_is_named(tmp_path, call, argument, message):
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "devices")])
    done = subprocess.run(
        [sys.executable, "-c", BLOCKS.format(call=call, argument=argument)],
        env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode < 0 and re.search(message, done.stderr), done.stderr


def test_one_worker_is_the_thread_of_the_caller(thin):
    import threading

    _, module, patch = thin
    threads = set()
    tanh = module.tanh

    def recording(x):
        threads.add(threading.current_thread())
        return tanh(x)

    patch.setattr(module, "tanh", recording)
    check("tanh", workers=1)
    assert threads == {threading.main_thread()}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, r"check\(workers=0\)"),
        ({"timeout": 0.0}, r"check\(timeout=0.0\)"),
        ({"xfail": "Tanh"}, r"check\(xfail=\): expected a list"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(bp.InputError, match=message):
        bp.testing.check(bp.Tanh(), input_shape=3, devices=["cpu"], **options)


def test_an_error_of_one_element_is_seen():
    from bp_arrays.testing._error_norms import largest_error_in_eps

    right = np.array([1e9, 1.0])
    assert largest_error_in_eps(np.array([1e9, 1.0 + 1e-6]), right, "float64") > 1e9
    assert largest_error_in_eps(right, right[:1], "float64") == np.inf
