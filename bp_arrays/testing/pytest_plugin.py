"""A pytest plugin: tests on every device, and the check of your own layers as tests.

Switched on with `-p bp_arrays.testing.pytest_plugin`, or in a project's settings:

    [tool.pytest.ini_options]
    addopts = ["-p", "bp_arrays.testing.pytest_plugin"]

It is not switched on by being installed: many projects have a `--device` option of their own,
which this one would break.

    pytest                              every usable device
    pytest --device cpu --device cuda   only these
    pytest --require cuda               fail, not skip, if CUDA cannot be used

A test that asks for a `device` runs on each; `parametrize_with_checks` makes tests of layers and
losses. What did not run is said at the end, always.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

# float64 on JAX must be asked for before JAX is first imported.
os.environ.setdefault("JAX_ENABLE_X64", "1")

import pytest

from bp_arrays.devices import Device, device as find_device
from bp_arrays.errors import InputError
from bp_arrays.layers import Layer
from bp_arrays.losses import Loss
from bp_arrays.testing._case import DTYPES, Case
from bp_arrays.testing._checking import DEVICES, check_dtypes, placements
from bp_arrays.testing._evidence import cuda_line
from bp_arrays.testing._oracles import Oracle, oracles_for
from bp_arrays.testing._placement import Placement
from bp_arrays.testing._running import (
    can_check_host_reads,
    host_read_error,
    oracle_error,
    run_case,
    witness_error,
)
from bp_arrays.testing.cases._user import own_cases
from bp_arrays.testing.witnesses import Witness

MARK = "bp_arrays_checks"
availability_key = pytest.StashKey[dict[str, tuple[bool, str]]]()


def parametrize_with_checks(
    *components: Layer | Loss,
    input_shape: Any,
    dtypes: Sequence[str] = DTYPES,
    **of_losses: Any,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator: one test for each component, variant, device and dtype, and each oracle.

    Parameters
    ----------
    *components : Layer or Loss
    input_shape : int, tuple of int, InputSpec, or tuple or dict of them
        Of one sample.
    dtypes : sequence of str
        As `bp_arrays.testing.check` takes both.
    **of_losses
        `targets`, `target_shape` and `sample_shape`, as for `bp_arrays.testing.check`.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> from bp_arrays.testing.pytest_plugin import parametrize_with_checks
    >>> @parametrize_with_checks(bp.Tanh(), bp.Linear(3), input_shape=4)
    ... def test_my_layers(check):
    ...     check()
    """
    check_dtypes(dtypes)
    cases = [
        replace(case, dtypes=tuple(dtype for dtype in case.dtypes if dtype in dtypes))
        for case in own_cases(components, input_shape, **of_losses)
    ]
    mark = getattr(pytest.mark, MARK)
    decorated: Callable[[Callable[..., Any]], Callable[..., Any]] = mark(cases)
    return decorated


@dataclass(frozen=True)
class OnDevice:
    """A case in one placement; called, it fails if anything is wrong there."""

    case: Case
    placement: Placement

    def __call__(self) -> None:
        __tracebackhide__ = True
        faults = run_case(self.case, self.placement).faults
        if faults:
            pytest.fail(f"{self.case.name} on {self}: {'; '.join(faults)}", pytrace=False)

    def __str__(self) -> str:
        return f"{self.placement.device}-{self.placement.dtype}"


@dataclass(frozen=True)
class ByOracle:
    """A case before one oracle; called, it fails if the backward is not the derivative."""

    case: Case
    oracle: Oracle

    def __call__(self) -> None:
        __tracebackhide__ = True
        fault = oracle_error(self.oracle, self.case)
        if fault:
            pytest.fail(f"{self.case.name}: {fault}", pytrace=False)

    def __str__(self) -> str:
        return self.oracle.name


@dataclass(frozen=True)
class ByWitness:
    """A case before one witness; called, it fails if a value of the reference is wrong."""

    case: Case
    witness: Witness

    def __call__(self) -> None:
        __tracebackhide__ = True
        fault = witness_error(self.witness, self.case)
        if fault:
            pytest.fail(f"{self.case.name}: {fault}", pytrace=False)

    def __str__(self) -> str:
        return self.witness.name


@dataclass(frozen=True)
class WithoutReading:
    """A case where no number can be read; called, it fails if one is needed on the host."""

    case: Case

    def __call__(self) -> None:
        __tracebackhide__ = True
        fault = host_read_error(self.case)
        if fault:
            pytest.fail(f"{self.case.name}: {fault}", pytrace=False)

    def __str__(self) -> str:
        return "hidden transfer"


Check = OnDevice | ByWitness | ByOracle | WithoutReading


def usable_devices(config: pytest.Config) -> list[str]:
    """The names of the devices that tests run on here."""
    return [name for name, (usable, _) in config.stash[availability_key].items() if usable]


def checks(config: pytest.Config, cases: Sequence[Case]) -> Iterator[Check]:
    """Everything there is to check of these cases on this machine."""
    for case in cases:
        for name in usable_devices(config):
            for placement in placements(find_device(name), case.dtypes):
                yield OnDevice(case, placement)
        if can_check_host_reads(case):
            yield WithoutReading(case)
        for witness in case.witnesses:
            yield ByWitness(case, witness)
        for oracle in oracles_for(case):
            yield ByOracle(case, oracle)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("bp_arrays")
    group.addoption(
        "--device", action="append", default=[], help="run on this device only (repeatable)"
    )
    group.addoption(
        "--require", action="append", default=[], help="fail if this device does not run"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{MARK}(cases): of `parametrize_with_checks`")
    try:
        required = [find_device(name).name for name in config.getoption("--require")]
        asked = [find_device(name).name for name in config.getoption("--device")]
    except InputError as error:
        raise pytest.UsageError(str(error)) from None
    found = {}
    for name in dict.fromkeys((asked or [find_device(name).name for name in DEVICES]) + required):
        availability = find_device(name).availability()
        found[name] = (availability.usable, f"{availability.reason} ({availability.advice})")
    missing = [f"{name}: {found[name][1]}" for name in required if not found[name][0]]
    if missing:
        raise pytest.UsageError(f"required device cannot be used: {'; '.join(missing)}")
    config.stash[availability_key] = found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    mark = metafunc.definition.get_closest_marker(MARK)
    if mark is not None:
        found = list(checks(metafunc.config, mark.args[0]))
        ids = [f"{check.case.name}-{check}" for check in found]
        metafunc.parametrize("check", found, ids=ids)
    if "device" in metafunc.fixturenames:
        metafunc.parametrize(
            "device", usable_devices(metafunc.config), indirect=True, scope="session"
        )


@pytest.fixture
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    """A usable device, in its own activation."""
    found = find_device(request.param)
    with found.activate():
        yield found


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    found = config.stash[availability_key]
    ran = _tests_by_device(terminalreporter, list(found))
    write = terminalreporter.write_line
    terminalreporter.section("devices")
    for name, (usable, _) in found.items():
        if usable:
            write(f"{name:<16} {ran[name]:>6} tests ran")
    for name, (usable, reason) in found.items():
        if not usable:
            write(f"{name:<16} NOT RUN: {reason}", red=True, bold=True)
            if "GITHUB_ACTIONS" in os.environ:
                write(f"::warning::{name} NOT RUN: {reason}")
    for name, why in (("torch:cpu", "PyTorch's autograd"), ("jax:cpu", "jax.grad")):
        if not find_device(name).availability().usable:
            write(f"witness {why}: NOT RUN, it is not installed", red=True, bold=True)
    if "cuda:0" in found:
        write(cuda_line())


def _tests_by_device(terminalreporter: Any, names: list[str]) -> Counter[str]:
    """How many tests ran on each device, from their names."""
    ran: Counter[str] = Counter()
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            if getattr(report, "when", "call") in ("call", "setup"):
                _, _, parameters = report.nodeid.partition("[")
                parts = parameters.rstrip("]").split("-")
                for name in names:
                    ran[name] += name in parts
    return ran
