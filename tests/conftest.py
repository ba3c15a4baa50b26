"""Every test that asks for a `device` runs on every device that can be used here.

    pytest                              all usable devices
    pytest --device cpu --device cuda   only these
    pytest --require cuda               fail, not skip, if CUDA cannot be used

What did not run is said at the end, always.
"""

from __future__ import annotations

import os
from collections import Counter

# float64 on JAX must be asked for before JAX is first imported.
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.pop("BP_ARRAYS_DEVICE", None)

import pytest

import bp_arrays as bp

TESTED = ("cpu", "strict", "strict:device1", "torch:cpu", "jax:cpu", "cuda:0")
"""The devices of the matrix; others are tested when --device names them."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("bp_arrays")
    group.addoption(
        "--device", action="append", default=[], help="run on this device only (repeatable)"
    )
    group.addoption(
        "--require", action="append", default=[], help="fail if this device does not run"
    )


def _availability(config: pytest.Config) -> dict[str, tuple[bool, str]]:
    names = [bp.device(name).name for name in config.getoption("--device")] or list(TESTED)
    names += [bp.device(name).name for name in config.getoption("--require")]
    found = {}
    for name in dict.fromkeys(names):
        availability = bp.device(name).availability()
        found[name] = (availability.usable, f"{availability.reason} ({availability.advice})")
    return found


def pytest_configure(config: pytest.Config) -> None:
    config.bp_availability = _availability(config)
    required = [bp.device(name).name for name in config.getoption("--require")]
    missing = [name for name in required if not config.bp_availability[name][0]]
    if missing:
        reasons = "; ".join(f"{name}: {config.bp_availability[name][1]}" for name in missing)
        raise pytest.UsageError(f"required device cannot be used: {reasons}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "device" in metafunc.fixturenames:
        usable = [name for name, (ok, _) in metafunc.config.bp_availability.items() if ok]
        metafunc.parametrize("device", usable, indirect=True, scope="session")
    if "dtype" in metafunc.fixturenames:
        metafunc.parametrize("dtype", ["float32", "float64"])


@pytest.fixture
def device(request: pytest.FixtureRequest):
    """A usable device, in its own activation."""
    device = bp.device(request.param)
    with device.activate():
        yield device


def pytest_terminal_summary(terminalreporter, exitstatus, config) -> None:
    ran: Counter[str] = Counter()
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            if getattr(report, "when", "call") in ("call", "setup"):
                for name in config.bp_availability:
                    if f"[{name}-" in report.nodeid or f"[{name}]" in report.nodeid:
                        ran[name] += 1
    write = terminalreporter.write_line
    terminalreporter.section("devices")
    for name, (usable, _) in config.bp_availability.items():
        if usable:
            write(f"{name:<16} {ran[name]:>6} tests ran")
    for name, (usable, reason) in config.bp_availability.items():
        if not usable:
            write(f"{name:<16} NOT RUN: {reason}", red=True, bold=True)
    for module, why in (("torch", "PyTorch's autograd"), ("jax", "jax.grad")):
        try:
            __import__(module)
        except ImportError:
            write(f"witness {why}: NOT RUN, {module} is not installed", red=True, bold=True)
