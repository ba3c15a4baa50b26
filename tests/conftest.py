"""Shared by all tests; the devices come from the plugin that users have too."""

from __future__ import annotations

import os
import signal
from typing import Any

os.environ.pop("BP_ARRAYS_DEVICE", None)

import pytest

from bp_arrays.testing.pytest_plugin import usable_devices

# Tests of the emulated CUDA, which run in its own environment, with its own settings
collect_ignore = ["cuda_on_cpu"]

EMULATION = "tests/cuda_on_cpu/make_env.sh build/cuda_env"


# A shell starts background jobs with Ctrl-C ignored, and Python then keeps ignoring it
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "dtype" in metafunc.fixturenames:
        metafunc.parametrize("dtype", ["float32", "float64"])


@pytest.hookimpl(trylast=True)  # below the list of devices that the plugin prints
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if not any(name.startswith("cuda") for name in usable_devices(config)):
        terminalreporter.write_line(
            f"to run CuPy without a GPU, on an emulated CUDA device: sh {EMULATION} && "
            "build/cuda_env/bin/python -m pytest --device cuda --require cuda"
        )
