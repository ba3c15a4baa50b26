"""The library's cases run on JAX in float32 only: compiling takes most of their time.

`bp-arrays check` runs them in every dtype.
"""

from __future__ import annotations

import pytest

from bp_arrays.testing.pytest_plugin import OnDevice

LEFT_TO_CHECK = {"jax:cpu-float64", "jax:cpu-float16", "jax:cpu-bfloat16"}


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
    return isinstance(check, OnDevice) and str(check) in LEFT_TO_CHECK
