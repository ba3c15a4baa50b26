"""Covers: `require_extra`, the one error for a missing optional dependency."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from bp_arrays.errors import MissingExtraError
from bp_arrays.extras import EXTRAS, NO_EXTRA, require_extra


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_missing_package_is_reported_with_the_command_that_installs_it(extra, monkeypatch):
    package, reason = EXTRAS[extra]
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError) as raised:
        require_extra(extra)
    requirement = extra if extra in NO_EXTRA else f'"bp_arrays[{extra}]"'
    assert str(raised.value) == f"{reason}: pip install {requirement}"


def test_every_extra_in_the_message_is_one_that_pip_knows():
    project = Path(__file__).parents[2] / "pyproject.toml"
    extras = tomllib.loads(project.read_text())["project"]["optional-dependencies"]
    assert [extra for extra in EXTRAS if extra not in NO_EXTRA and extra not in extras] == []


def test_an_installed_package_raises_nothing():
    require_extra("sklearn")
