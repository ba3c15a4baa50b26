"""Covers: scikit-learn's check_estimator, with and without the array API.

The array API checks need SCIPY_ARRAY_API=1 before SciPy is imported, so the whole list runs in a
separate process, once with it and once without.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("sklearn")

import bp_arrays as bp

CHECKING = """
import json, sys, warnings
import bp_arrays as bp
from sklearn.utils.estimator_checks import check_estimator
kind, solver = sys.argv[1:]
estimator = getattr(bp, kind)(solver=solver)
assert estimator.__sklearn_tags__().array_api_support
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    found = check_estimator(estimator, on_fail=None, on_skip=None)
print(json.dumps([
    [result["check_name"], result["status"], f"{type(result['exception']).__name__}: "
     f"{result['exception']}"] for result in found
]))
"""

KNOWN = {
    # Probabilities of 1 after 200 steps of lbfgs on separable data; scikit-learn's own do it too.
    ("MLPClassifier", "lbfgs", "check_classifiers_multilabel_output_format_predict_proba"),
}


def environment(*, dispatch):
    """The environment variables with array API support in SciPy, or without."""
    plain = {name: value for name, value in os.environ.items() if name != "SCIPY_ARRAY_API"}
    return plain | {"SCIPY_ARRAY_API": "1"} if dispatch else plain


# each solver and each kind once: a run takes ten seconds, and they share all but a few lines
@pytest.mark.parametrize(
    ("kind", "solver", "dispatch"),
    [
        ("MLPClassifier", "adam", True),
        ("MLPRegressor", "lbfgs", False),
        ("MLPClassifier", "sgd", False),
    ],
)
def test_no_common_check_fails(kind, solver, dispatch):
    said = subprocess.run(
        [sys.executable, "-c", CHECKING, kind, solver],
        env=environment(dispatch=dispatch),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert said.returncode == 0, said.stderr
    results = json.loads(said.stdout.splitlines()[-1])
    cuda = bp.device("cuda").availability().usable
    failed = [
        (name, why)
        for name, status, why in results
        if status == "failed"
        and (kind, solver, name) not in KNOWN
        # scikit-learn's checks ask whether CuPy can be imported, not whether there is a GPU
        and not (not cuda and name.startswith("check_array_api") and "cudaErrorInsuf" in why)
    ]
    assert failed == []
    passed = [name for name, status, _ in results if status == "passed"]
    assert len(passed) > 55
    if dispatch:
        # array-api-strict on its devices, and PyTorch, which the mixed checks need, if it is there
        torch = bp.device("torch:cpu").availability().usable
        assert passed.count("check_array_api_input") >= (5 if torch else 3)
        assert not torch or "check_array_api_mixed_inputs" in passed
        assert not torch or "check_array_api_same_namespace" in passed


VALUES = """
import sys
import bp_arrays as bp
from sklearn.utils.estimator_checks import check_array_api_input_and_values as check

for place in (
    ("numpy", None, "float64"),
    ("torch", "cpu", "float64"),
    ("torch", "cpu", "float32"),
    ("array_api_strict", "CPU_DEVICE", "float64"),
    ("array_api_strict", "device1", "float32"),
):
    for solver in ("adam", "sgd", "lbfgs"):
        print(*place, solver, flush=True)
        estimator = getattr(bp, sys.argv[1])(solver=solver, max_iter=5)
        for weighted in (True, False):
            check(sys.argv[1], estimator, *place, check_sample_weight=weighted)
"""


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_other_arrays_give_the_values_of_numpy(kind):
    pytest.importorskip("torch")
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", VALUES, kind],
        env=environment(dispatch=True),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert said.returncode == 0, said.stdout[-200:] + said.stderr[-2000:]
    assert len(said.stdout.splitlines()) == 15
