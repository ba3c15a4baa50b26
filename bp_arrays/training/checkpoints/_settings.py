"""The settings of a training run, as JSON values to compare: those of a checkpoint with today's."""

from __future__ import annotations

import logging
import platform
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from bp_arrays.errors import InputError
from bp_arrays.training._described import described, has_code, same

logger = logging.getLogger("bp_arrays")

SHOWN = 70
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class Setting(NamedTuple):
    """One setting: its name in messages, as it is shown, and as it is compared."""

    name: str
    shown: str
    value: Any


def setting(name: str, value: Any, shown: str | None = None) -> Setting:
    """Return a setting; by default it is shown as its repr, shortened."""
    text = " ".join((ADDRESS.sub("", repr(value)) if shown is None else shown).split())
    return Setting(name, text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}...", value)


def to_json(settings: list[Setting]) -> dict[str, Any]:
    """Return settings as JSON values."""
    return {s.name: {"shown": s.shown, "value": described(s.value)} for s in settings}


def check_settings(
    settings: list[Setting], stored: Mapping[str, Any], where: str, *, unchecked: set[str]
) -> None:
    """Raise InputError for the first setting that differs from that of a checkpoint.

    Functions that another version of Python compiled cannot be compared, which is logged.

    Parameters
    ----------
    settings : list of Setting
        Those of today.
    stored : mapping
        As `to_json` returned them.
    where : str
        The checkpoint, for the message.
    unchecked : set of str
        Names of settings that may differ.
    """
    for name, shown, value in settings:
        before = stored.get(name, {"shown": "none", "value": None})
        if name in unchecked:
            continue
        today = described(value)
        if same(before["value"], today):
            if before["value"] != today:
                logger.warning(
                    "%s: the code of the %s cannot be compared with today's, as another Python "
                    "than %s has compiled it; see that it is the same",
                    where,
                    name,
                    platform.python_version(),
                )
            continue
        got = shown
        if before["shown"] == shown:
            got = "one of other code or values" if has_code(today) else "one that differs from it"
        raise InputError(
            f"resume: expected the {name} of the checkpoint {where}, {before['shown']}, got "
            f"{got}; pass the same {name}, or leave out resume to start training"
        )
