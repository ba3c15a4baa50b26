"""What all tests share; the devices come from the plugin that users have too."""

from __future__ import annotations

import os

os.environ.pop("BP_ARRAYS_DEVICE", None)

import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "dtype" in metafunc.fixturenames:
        metafunc.parametrize("dtype", ["float32", "float64"])
