"""Conversion of a target column to classes or values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal

import numpy as np

from bp_arrays.errors import DataError
from bp_arrays.inputs import first_not_finite
from bp_arrays.readers._dataset import Task
from bp_arrays.readers._text_array import Locator, texts_of_array
from bp_arrays.tables import (
    MISSING_WORDS,
    TRUTH,
    exact_number,
    first_rounded,
    has_comma,
    is_number,
    is_rounded,
    missing_labels,
    number,
    rounded_error,
)
from bp_arrays.typing import HostArray

CLASS_LIMIT = 20
"""Distinct integers up to which a column counts as classes, if the task is not specified."""

Targets = tuple[HostArray, tuple[str, ...] | None]
"""Classes int64 (rows,) and their names, or values float64 (rows, outputs) and None."""

OptionalTargets = tuple[HostArray | None, tuple[str, ...] | None]
"""The same, where None stands for data without targets."""


def convert_targets(
    values: Sequence[str] | HostArray,
    task: Task | None,
    describe_location: Locator,
    *,
    required: bool = True,
    known_classes: Collection[str] = (),
    present: HostArray | None = None,
) -> OptionalTargets:
    """Convert the targets of a data set, all or some of which may be missing if not required.

    Parameters
    ----------
    values : sequence of str, or array (rows,) or (rows, outputs)
        Missing are empty texts, "NA" and the like where they are missing values, NaN, and rows of
        nothing but NaN.
    task, describe_location
        As for `targets_from_text`.
    required : bool, default True
        Whether a missing target is an error.
    known_classes : collection of str
        Used only with required=False: names that are classes even if they look like missing
        values, such as "NA".
    present : bool array (rows,), optional
        Used only with required=False: False for other rows without a target.

    Returns
    -------
    t : array, or None if there is no target
        Class −1, or NaN, for a row without a target.
    classes : tuple of str, or None

    Raises
    ------
    DataError
        As for `targets_from_text` and `targets_from_numbers`.

    Examples
    --------
    >>> convert_targets(["b", "", "a"], None, str, required=False)
    (array([ 1, -1,  0]), ('a', 'b'))
    """
    if required or (isinstance(values, np.ndarray) and values.ndim not in (1, 2)):
        if isinstance(values, np.ndarray):
            return targets_from_numbers(values, task, describe_location)
        return targets_from_text(values, task, describe_location)
    if isinstance(values, np.ndarray) and values.dtype.kind in "US":
        values = texts_of_array(values, describe_location)
    has_target = _has_target(values, known_classes)
    if present is not None:
        has_target = has_target & present
    rows = np.flatnonzero(has_target)
    if not len(rows):
        return None, None

    def describe_row(row: int) -> str:
        return describe_location(int(rows[row]))

    if isinstance(values, np.ndarray):
        t, classes = targets_from_numbers(values[rows], task, describe_row)
    else:
        t, classes = _targets_from_labels(
            [values[row].strip() for row in rows.tolist()], task, describe_row
        )
    filled = np.full((len(has_target), *t.shape[1:]), np.nan if classes is None else -1, t.dtype)
    filled[rows] = t
    return filled, classes


def _has_target(values: Sequence[str] | HostArray, known_classes: Collection[str]) -> HostArray:
    """Return which rows have a target: bool (rows,)."""
    if not isinstance(values, np.ndarray):
        labels = [cell.strip() for cell in values]
        missing = missing_labels(set(labels), known_classes)
        return np.array([label not in missing for label in labels], bool)
    if values.dtype.kind != "f":
        return np.ones(len(values), bool)
    present = ~np.isnan(values)
    return np.asarray(present if values.ndim == 1 else np.any(present, axis=1))


def targets_from_text(
    cells: Sequence[str], task: Task | None, describe_location: Locator
) -> Targets:
    """Convert the cells of a target column.

    Classes are named as they are written, apart from spaces around them: "007" is not "7". Text
    means classes, except in a column of mostly numbers with more than `CLASS_LIMIT` distinct
    values, where it is an error. Numbers mean classes or values as in `targets_from_numbers`.

    Parameters
    ----------
    cells : sequence of str, one per row
    task : "classification", "regression" or None
        None infers the task.
    describe_location : function of int to str
        Describes the location of a row in messages.

    Raises
    ------
    DataError
        For an empty cell, and for "NA" and the like beside numbers, or True and False; for text in
        a column of numbers; for values that are whole numbers beyond 2^53 and rounded in float64;
        for text that hardly ever repeats, which cannot be classes; without a task, for classes
        that differ only in the spelling of a number, such as 1 and 1.0, or of a truth value, such
        as TRUE, True and 1, and for numbers with commas, such as 0,5 and 1,000.

    Examples
    --------
    >>> t, classes = targets_from_text(["no", "yes", "no"], "classification", str)
    >>> t.tolist(), classes
    ([0, 1, 0], ('no', 'yes'))
    """
    labels = [cell.strip() for cell in cells]
    check_present(labels, missing_labels(set(labels)), describe_location)
    return _targets_from_labels(labels, task, describe_location)


def _targets_from_labels(
    labels: list[str], task: Task | None, describe_location: Locator
) -> Targets:
    distinct = set(labels)
    if all(map(is_number, distinct)):
        values = np.array(list(map(number, labels)))
        _check_finite(values, describe_location)
        if (task or _task_of_numbers(values, distinct)) == "regression":
            for row, (label, value) in enumerate(zip(labels, values.tolist(), strict=True)):
                if is_rounded(label, value):
                    raise rounded_error(describe_location(row), label)
            return values[:, None], None
    else:
        if task is None:
            _check_commas(labels, distinct, describe_location)
        if (task or _task_of_text(labels, distinct, describe_location)) == "regression":
            row = next(row for row, label in enumerate(labels) if not is_number(label))
            advice = "write decimals with a point" if has_comma(labels[row]) else "correct it"
            raise DataError(
                f"{describe_location(row)}: expected a number, got the text {labels[row]!r}; "
                f"{advice}"
            )
    if task is None:
        _check_spelling(labels, describe_location)
    names = _sorted_names(distinct)
    index = {name: k for k, name in enumerate(names)}
    return np.array([index[label] for label in labels], np.int64), names


def class_numbers(names: Sequence[str], known: Sequence[str]) -> list[int | None]:
    """Return the number of each class among the known ones; None for one that is none of them.

    A name that no class has stands for the class that is the same number, such as 1 for 1.0
    or for True, unless two names or two classes are that number.

    >>> class_numbers(["b", "2", "z"], ["2.0", "b"])
    [1, 0, None]
    """
    by_name = {name: k for k, name in enumerate(known)}
    values, known_values = ([_number_of(name) for name in labels] for labels in (names, known))
    uses, known_uses = Counter(values), Counter(known_values)
    by_value = {
        value: k
        for k, value in enumerate(known_values)
        if value is not None and known_uses[value] == uses[value] == 1
    }
    return [
        by_name.get(name, None if value is None else by_value.get(value))
        for name, value in zip(names, values, strict=True)
    ]


def _number_of(name: str) -> Decimal | None:
    """Return the number that the name of a class is, or its truth value as one."""
    return Decimal(TRUTH[name]) if name in TRUTH else exact_number(name)


def check_present(
    labels: Iterable[str], missing: Collection[str], describe_location: Locator
) -> None:
    """Raise DataError if a label is one of the missing values."""
    for row, label in enumerate(labels):
        if label in missing:
            word = label in MISSING_WORDS
            raise DataError(
                f"{describe_location(row)}: expected a target, got {label or 'an empty cell'}"
                f"{', a missing value' * word}; fill it or drop the row"
                f"{', or rename it if it is a class' * word}"
            )


def _task_of_numbers(values: HostArray, distinct: set[str]) -> Task:
    """Infer the task of a column of numbers; texts are compared as numbers without rounding."""
    if len(np.unique(values)) > CLASS_LIMIT:
        return "regression"
    numbers = {exact_number(label) for label in distinct}
    is_few = len(numbers) <= CLASS_LIMIT and 2 * len(numbers) <= len(values)
    are_whole = all(value is not None and value == value.to_integral_value() for value in numbers)
    return "classification" if is_few and are_whole else "regression"


def _task_of_text(labels: list[str], distinct: set[str], describe_location: Locator) -> Task:
    """Infer the task of a column with text in it; DataError if its texts hardly ever repeat."""
    texts = sum(not is_number(label) for label in labels)
    if len(distinct) > CLASS_LIMIT and 2 * texts < len(labels):
        return "regression"
    if 2 * len(distinct) > len(labels) and len(labels) > 2 * CLASS_LIMIT:
        raise DataError(
            f"{describe_location(0)}: expected classes, got {len(distinct)} different texts in "
            f"{len(labels)} rows; choose another target, or use --task classification"
        )
    return "classification"


def _check_commas(labels: list[str], distinct: set[str], describe_location: Locator) -> None:
    """Raise DataError for numbers with commas, such as 0,5 and 1,000: they are no classes."""
    if any(map(has_comma, distinct)) and all(has_comma(x) or is_number(x) for x in distinct):
        row = next(row for row, label in enumerate(labels) if has_comma(label))
        raise DataError(
            f"{describe_location(row)}: expected a number or a class, got {labels[row]!r}; write "
            "decimals with a point, and thousands without commas, or use --task classification "
            "if these are classes"
        )


def _check_spelling(labels: list[str], describe_location: Locator) -> None:
    """Raise DataError if two labels are one value: one class written in two ways, or two.

    True is TRUE, true and 1.
    """
    first_rows: dict[str, int] = {}
    for row, label in enumerate(labels):
        first_rows.setdefault(label, row)
    spelling: dict[Decimal, str] = {}
    for label, row in first_rows.items():
        value = _number_of(label)
        if value is not None and (other := spelling.setdefault(value, label)) != label:
            is_truth = not TRUTH.keys().isdisjoint((label, other))
            regression = "" if is_truth else ", --task regression if they are values"
            raise DataError(
                f"{describe_location(row)}: expected one spelling of each class, got {label!r} and "
                f"{other!r}, which are the same {'truth value' if is_truth else 'number'}; write "
                f"them alike, or use --task classification if they are two classes{regression}"
            )


def _sorted_names(distinct: set[str]) -> tuple[str, ...]:
    """Sort the names of classes: as numbers, if all are numbers, else as text."""
    if not all(map(is_number, distinct)):
        return tuple(sorted(distinct))
    return tuple(sorted(distinct, key=lambda name: (exact_number(name) or Decimal(0), name)))


def targets_from_numbers(
    values: HostArray, task: Task | None, describe_location: Locator
) -> Targets:
    """Convert an array of targets, numbers or text.

    Without a task, one integer per row means classes if there are at most `CLASS_LIMIT` distinct
    ones, each twice or more on average; one-hot rows mean classes; everything else is values.

    Parameters
    ----------
    values : array (rows,) or (rows, outputs)
    task : "classification", "regression" or None
        None infers the task.
    describe_location : function of int to str
        Describes the location of a row in messages.

    Raises
    ------
    DataError
        For NaN, infinity, complex numbers, objects; for a shape or values unfit for the task; for
        values that are whole numbers beyond 2^53 and rounded in float64.

    Examples
    --------
    >>> import numpy as np
    >>> targets_from_numbers(np.array([7, 3, 7, 3]), None, str)[1]
    ('3', '7')
    >>> targets_from_numbers(np.array([7.5, 3.0, 7.0, 3.0]), None, str)[0].shape
    (4, 1)
    """
    if values.dtype.kind in "US":
        return targets_from_text(texts_of_array(values, describe_location), task, describe_location)
    if values.dtype.kind not in "biuf":
        raise DataError(
            f"{describe_location(0)}: expected numbers or text, got dtype {values.dtype}"
        )
    if values.ndim not in (1, 2):
        raise DataError(
            f"{describe_location(0)}: expected targets of shape (rows,), or (rows, outputs) for "
            f"values or one-hot classes, got {values.shape}"
        )
    _check_finite(values, describe_location)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2:
        if task != "regression" and _is_one_hot(values):
            return np.argmax(values, axis=1), tuple(str(k) for k in range(values.shape[1]))
        if task == "classification":
            raise DataError(
                f"{describe_location(0)}: expected one class per row, or one-hot rows, "
                f"got shape {values.shape}"
            )
        return _as_values(values, describe_location), None
    if task is None:
        task = "classification" if _are_classes(values) else "regression"
    if task == "regression":
        return _as_values(values, describe_location)[:, None], None
    kinds, t = np.unique(values, return_inverse=True)
    if values.dtype.kind == "b":
        return t.astype(np.int64), tuple(str(bool(kind)) for kind in kinds)
    names = (str(int(kind)) if kind == int(kind) else repr(float(kind)) for kind in kinds)
    return t.astype(np.int64), tuple(names)


def _as_values(values: HostArray, describe_location: Locator) -> HostArray:
    rounded = first_rounded(values)
    if rounded is not None:
        raise rounded_error(describe_location(rounded[0]), values[rounded])
    return values.astype(np.float64)


def _check_finite(values: HostArray, describe_location: Locator) -> None:
    bad = first_not_finite(values)
    if bad is not None:
        raise DataError(
            f"{describe_location(bad[0])}: expected a finite target, got {values[bad]}; "
            "fill it or drop the row"
        )


def _are_classes(values: HostArray) -> bool:
    kinds = np.unique(values)
    is_few = len(kinds) <= CLASS_LIMIT and 2 * len(kinds) <= len(values)
    return bool(is_few and np.all(kinds == np.floor(kinds)))


def _is_one_hot(values: HostArray) -> bool:
    return bool(
        values.shape[1] > 1
        and np.all((values == 0) | (values == 1))
        and np.all(np.sum(values, axis=1, dtype=np.int64) == 1)
    )
