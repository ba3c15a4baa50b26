"""`TableSpec`: what was learned of the columns of a table, kept in the model's file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bp_arrays.errors import DataError

KEY = "table"
"""The key of the specification in the metadata of a model."""

MISSING_CATEGORY = "(missing)"


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers: one input, (value − mean) / scale.

    Parameters
    ----------
    name : str
    fill : float, or None
        The number that a missing one counts as; None if a missing number is an error.
    mean : float, default 0.0
    scale : float, default 1.0
    """

    name: str
    fill: float | None
    mean: float = 0.0
    scale: float = 1.0

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of its inputs."""
        return (self.name,)


@dataclass(frozen=True)
class TextColumn:
    """A column of texts that recur: one input for each of them, 1 where the cell has that text.

    Parameters
    ----------
    name : str
    categories : tuple of str
        A text that is none of them has 0 in each of its inputs.
    has_missing : bool
        Whether a last input is 1 where the cell is empty.
    """

    name: str
    categories: tuple[str, ...]
    has_missing: bool

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of its inputs, such as "island=Biscoe"."""
        labels = (*self.categories, *[MISSING_CATEGORY] * self.has_missing)
        return tuple(f"{self.name}={label}" for label in labels)


@dataclass(frozen=True)
class TableSpec:
    """The columns that a model learned from, in the order of its inputs.

    Parameters
    ----------
    columns : tuple of NumberColumn or TextColumn
    target : str, or None
        The column of the targets.
    classes : tuple of str, or None
        The names of the classes; None for values, or without a target.
    left_out : dict of str to str
        The columns that are not learned from, and why.
    """

    columns: tuple[NumberColumn | TextColumn, ...]
    target: str | None
    classes: tuple[str, ...] | None
    left_out: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The name of each input of the model."""
        return tuple(name for column in self.columns for name in column.feature_names)

    @property
    def is_indicator(self) -> tuple[bool, ...]:
        """Whether each input is 0 or 1, of a category."""
        return tuple(
            isinstance(column, TextColumn) for column in self.columns for _ in column.feature_names
        )

    def to_metadata(self) -> dict[str, str]:
        """Encode the specification as metadata of a model file."""
        columns = [
            {"kind": "number" if isinstance(column, NumberColumn) else "text", **asdict(column)}
            for column in self.columns
        ]
        fields = {
            "columns": columns,
            "target": self.target,
            "classes": self.classes,
            "left_out": dict(self.left_out),
        }
        return {KEY: json.dumps(fields, ensure_ascii=False)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], source: object) -> TableSpec | None:
        """Decode the specification; None for a model that was not trained on a table.

        Raises
        ------
        DataError
            If it is damaged; `source` names the file.
        """
        if KEY not in metadata:
            return None
        try:
            fields = json.loads(metadata[KEY])
            columns = tuple(map(_column, fields["columns"]))
            target, classes = fields["target"], fields["classes"]
            left_out = {str(name): str(why) for name, why in fields["left_out"].items()}
            if not columns or not isinstance(target, (str, type(None))):
                raise ValueError
            return cls(columns, target, None if classes is None else _texts(classes), left_out)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise DataError(
                f"{source}: the description of its table is damaged; train the model again"
            ) from None


def _column(fields: dict[str, Any]) -> NumberColumn | TextColumn:
    name = str(fields["name"])
    if fields["kind"] == "number":
        fill, scale = fields["fill"], float(fields["scale"])
        if not scale > 0.0:
            raise ValueError
        return NumberColumn(
            name, None if fill is None else float(fill), float(fields["mean"]), scale
        )
    return TextColumn(name, _texts(fields["categories"]), bool(fields["has_missing"]))


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError
    return tuple(map(str, values))
