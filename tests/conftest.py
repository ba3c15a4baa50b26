"""Shared by all tests; the devices come from the plugin that users have too."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from typing import Any

os.environ.pop("BP_ARRAYS_DEVICE", None)

# Most of the time on JAX is its compiler. Every computation is compiled once per run of the tests,
# in all their processes, and without optimization but for the cases that prove the numbers.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder = tempfile.mkdtemp(prefix="bp_arrays_jax_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import pytest

from bp_arrays.execution._background import running_threads
from bp_arrays.testing.pytest_plugin import usable_devices

# Tests of the emulated CUDA, which run in its own environment, with its own settings
collect_ignore = ["cuda_on_cpu"]

EMULATION = "tests/cuda_on_cpu/make_env.sh build/cuda_env"


# A shell starts background jobs with Ctrl-C ignored, and Python then keeps ignoring it
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    """Fail for a file of tests that cannot be imported.

    `--doctest-ignore-import-errors`, for modules that need PyTorch, would skip all of its tests.
    """
    report = yield
    has_tests = collector.path.name.startswith("test_")
    if has_tests and report.skipped and "unable to import module" in str(report.longrepr):
        report.outcome = "failed"
    return report


@pytest.fixture
def optimized() -> Iterator[None]:
    """Let JAX compile with all optimizations, as in use."""
    try:
        import jax
    except ImportError:
        yield
        return
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


class DoctestsAlone:
    """Runs a doctest once no thread compiles, which may log to the output that a doctest sets."""

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if isinstance(item, pytest.DoctestItem):
            for thread in list(running_threads):
                thread.join()


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(DoctestsAlone())  # also for the doctests outside this folder


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
