"""The list of faults fits the source it is about; running it is `python -m tests.mutation`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import bp_arrays
from bp_arrays.testing import chosen_cases
from mutation.faults import FAULTS

PACKAGE = Path(bp_arrays.__file__).parent


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_fault_can_be_planted(fault):
    source = (PACKAGE / fault.file).read_text(encoding="utf-8")
    assert source.count(fault.old) == 1, (
        f"{fault.old!r} stands there {source.count(fault.old)} times"
    )
    ast.parse(source.replace(fault.old, fault.new))
    assert (PACKAGE.parent / "tests" / fault.folder).is_dir()
    if fault.only:
        assert chosen_cases([fault.only])


def test_there_are_enough_of_many_kinds():
    assert len({(fault.file, fault.old, fault.new) for fault in FAULTS}) == len(FAULTS) >= 40
    assert len({fault.kind for fault in FAULTS}) >= 10
