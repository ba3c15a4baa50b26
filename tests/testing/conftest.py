"""What JAX compiles takes most of the time: here it runs two variants of a component, in float32.

So does the second device of array-api-strict, which computes what the first one does. `bp-arrays
check` runs every case in every dtype, and differentiates every one with `jax.grad`.
"""

from __future__ import annotations

from functools import cache

import pytest

from bp_arrays.testing import cases
from bp_arrays.testing.pytest_plugin import ByOracle, OnDevice

LEFT_TO_CHECK = {
    f"{device}-{dtype}"
    for device in ("jax:cpu", "strict:device1")
    for dtype in ("float64", "float16", "bfloat16")
}
SHORTENED = {"jax:cpu-float32", "strict:device1-float32", "jax.grad"}
VARIANTS = 2


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    selected, left = [], []
    for item in items:
        (left if _is_left(item) else selected).append(item)
    config.hook.pytest_deselected(items=left)
    items[:] = selected


def _is_left(item: pytest.Item) -> bool:
    if item.path.name != "test_cases.py" or not hasattr(item, "callspec"):
        return False
    check = item.callspec.params.get("check")
    if isinstance(check, OnDevice):
        runs_as = str(check)
    elif isinstance(check, ByOracle):
        runs_as = check.oracle.name
    else:
        return False
    return runs_as in LEFT_TO_CHECK or (runs_as in SHORTENED and check.case.name not in _first())


@cache
def _first() -> frozenset[str]:
    """Return the names of the first cases of each component."""
    names: dict[str, list[str]] = {}
    for case in cases():
        names.setdefault(case.component, []).append(case.name)
    return frozenset(name for each in names.values() for name in each[:VARIANTS])
