"""Numbers and missing values in the cells of a table."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal, DecimalException


def number(cell: str) -> float:
    """Parse the number in a cell; ValueError if it is not one.

    As `float`, but without underscores, which are not part of a number in a table.

    >>> number(" 1.5e3 ")
    1500.0
    """
    if "_" in cell:
        raise ValueError(cell)
    return float(cell)


def is_number(cell: str) -> bool:
    """Return whether a cell contains a number."""
    try:
        number(cell)
    except ValueError:
        return False
    return True


def has_comma(cell: str) -> bool:
    """Return whether a cell contains a number with a comma for the point, or before thousands.

    >>> has_comma("-1,5"), has_comma("1,000,000.5"), has_comma("1,"), has_comma("1.5")
    (True, True, False, False)
    """
    parts = cell.split(",")
    between_digits = all(part[:1].isdigit() for part in parts[1:]) and all(
        part[-1:].isdigit() for part in parts[:-1]
    )
    return len(parts) > 1 and between_digits and is_number("".join(parts))


TRUTH = {"True": 1.0, "TRUE": 1.0, "true": 1.0, "False": 0.0, "FALSE": 0.0, "false": 0.0}
"""The words for true and false that pandas reads."""


def truth(cell: str) -> float:
    """Return 1.0 for true and 0.0 for false; ValueError for anything else.

    >>> truth(" True "), truth("false")
    (1.0, 0.0)
    """
    try:
        return TRUTH[cell.strip()]
    except KeyError:
        raise ValueError(cell) from None


def exact_number(cell: str) -> Decimal | None:
    """Return the number in a cell without rounding; None for text, NaN and infinity.

    As floats, identifiers of 17 digits and more would be equal that are not.

    >>> exact_number("9007199254740993"), exact_number("1.0") == 1, exact_number("one")
    (Decimal('9007199254740993'), True, None)
    """
    if not is_number(cell):
        return None
    try:
        value = Decimal(cell.strip())
    except DecimalException:  # an exponent of more than 18 digits
        return None
    return value if value.is_finite() else None


def is_missing(cell: str) -> bool:
    """Return whether a cell is empty, "nan" or "-nan", in any case."""
    return cell.strip().lower() in ("", "nan", "-nan")


MISSING_WORDS = frozenset(
    {
        *("NA", "N/A", "n/a", "#N/A", "#NA", "#N/A N/A", "<NA>", "NULL", "null", "None"),
        *("1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
    }
)
"""Words that pandas reads as missing values, besides those of `is_missing`."""


def missing_labels(labels: Collection[str], known_classes: Collection[str] = ()) -> set[str]:
    """Return those of the distinct labels in a column that are missing values.

    "NA" beside numbers, or True and False, is a missing value. Beside other text it may be the name
    of a class, such as North America or the sodium ion; if the classes are known, it is one if it
    is among them.

    >>> sorted(missing_labels(["1", "2", "NA", ""])), missing_labels(["EU", "NA", ""])
    (['', 'NA'], {''})
    """
    missing = set(filter(is_missing, labels))
    words = MISSING_WORDS.intersection(labels).difference(known_classes)
    are_missing = bool(known_classes) or all(
        label in TRUTH or is_number(label) for label in labels if label not in missing | words
    )
    return missing | words if are_missing else missing
