"""Parsers of one column, piece by piece: numbers, texts that recur, texts that are known."""

from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal

import numpy as np

from bp_arrays.tables._cells import (
    MISSING_WORDS,
    TRUTH,
    exact_number,
    is_missing,
    is_number,
    number,
)
from bp_arrays.tables._rows import UNSEEN
from bp_arrays.typing import HostArray

CATEGORY_LIMIT = 100
"""Different texts up to which a column is learned from, each text as an input of its own."""

DATE = re.compile(r"\d{4}-\d\d?-\d\d?([T ]\d\d?:\d\d.*)?|\d\d?[./]\d\d?[./]\d{2,4}( \d\d?:\d\d.*)?")

SURELY_MISSING = MISSING_WORDS | {"?"}


def is_absent(cell: str) -> bool:
    """Return whether a cell of a feature is missing, by the words of pandas or a question mark.

    >>> [is_absent(cell) for cell in ("", " NaN", "NA", "?", "0", "Nauru")]
    [True, True, True, True, False, False]
    """
    return is_missing(cell) or cell.strip() in SURELY_MISSING


class NotNumberError(Exception):
    """A text where a number was expected, in this row of the piece."""

    def __init__(self, row: int, cell: str) -> None:
        super().__init__(cell)
        self.row, self.cell = row, cell


def parsed_numbers(cells: list[str]) -> HostArray:
    """Return numbers, NaN for a missing one; true and false are 1 and 0.

    Raises
    ------
    NotNumberError
        For the first cell with another text.
    """
    try:
        if "_" not in "".join(cells):
            return np.array(list(map(float, cells)))
    except ValueError:
        pass  # a missing value, true or false, or a text
    return np.array([_parsed(row, cell) for row, cell in enumerate(cells)])


def _parsed(row: int, cell: str) -> float:
    try:
        return number(cell)
    except ValueError:
        if is_absent(cell):
            return np.nan
        if (truth := TRUTH.get(cell.strip())) is not None:
            return truth
        raise NotNumberError(row, cell) from None


class TextParser:
    """The texts of a column, which get numbers as they appear.

    Parameters
    ----------
    limit : int
        Different texts beyond which the column is given up.
    """

    def __init__(self, limit: int = CATEGORY_LIMIT) -> None:
        self.limit = limit
        self.texts: list[str] = []
        self.counts = np.zeros(0, np.int64)
        self.is_given_up = False
        self._codes: dict[str, float] = {}

    def parse(self, cells: list[str]) -> HostArray:
        """Return the code of each cell, NaN for a missing one."""
        if self.is_given_up:
            return np.full(len(cells), np.nan)
        try:
            codes = list(map(self._codes.__getitem__, cells))
        except KeyError:
            known: dict[str, float] = {text: float(k) for k, text in enumerate(self.texts)}
            for row, cell in enumerate(cells):
                if cell not in self._codes:
                    self._add(cell, known)
                    if self.is_given_up:
                        self._count(np.array([self._codes[cell] for cell in cells[:row]]))
                        return np.full(len(cells), np.nan)
            codes = list(map(self._codes.__getitem__, cells))
        values = np.array(codes)
        self._count(values)
        return values

    def _count(self, codes: HostArray) -> None:
        present = codes[~np.isnan(codes)].astype(np.int64)
        counts = np.bincount(present, minlength=len(self.texts))
        counts[: len(self.counts)] += self.counts
        self.counts = counts

    def _add(self, cell: str, known: dict[str, float]) -> None:
        text = cell.strip()
        if is_absent(text):
            self._codes[cell] = np.nan
            return
        if text not in known:
            if len(self.texts) == self.limit:
                self.is_given_up = True
                return
            known[text] = float(len(self.texts))
            self.texts.append(text)
        self._codes[cell] = known[text]

    @property
    def present(self) -> int:
        """The number of cells that are not missing, up to where the column was given up."""
        return int(self.counts.sum())

    @property
    def numbers(self) -> int:
        """The number of cells that are numbers."""
        return sum(
            int(count)
            for text, count in zip(self.texts, self.counts, strict=False)
            if is_number(text)
        )

    @property
    def are_dates(self) -> bool:
        """Whether all texts look like dates."""
        return bool(self.texts) and all(map(DATE.fullmatch, self.texts))


class CategoryParser:
    """The texts of a column whose categories are known.

    Parameters
    ----------
    categories : tuple of str
    """

    def __init__(self, categories: tuple[str, ...]) -> None:
        self.unseen: Counter[str] = Counter()
        self._codes = {text: float(k) for k, text in enumerate(categories)}
        values = [_value(text) for text in categories]
        self._by_value = {
            value: float(k)
            for k, value in enumerate(values)
            if value is not None and values.count(value) == 1
        }

    def parse(self, cells: list[str] | HostArray) -> HostArray:
        """Return the code of each cell: NaN for a missing one, UNSEEN for an unknown text."""
        if isinstance(cells, np.ndarray):
            cells = list(map(_text_of, cells.tolist()))
        try:
            codes = list(map(self._codes.__getitem__, cells))
        except KeyError:
            codes = list(map(self._code, cells))
        return np.array(codes)

    def _code(self, cell: str) -> float:
        text = cell.strip()
        code = self._codes.get(cell, self._codes.get(text))
        if code is None:
            value = _value(text)
            code = np.nan if is_absent(text) else UNSEEN
            code = code if value is None else self._by_value.get(value, code)
        if code == UNSEEN:
            self.unseen[text] += 1
        return code


def _value(text: str) -> Decimal | None:
    """Return the number that a text is; a table may have 1.0 or True where another has 1."""
    return Decimal(int(TRUTH[text])) if text in TRUTH else exact_number(text)


def _text_of(value: float) -> str:
    if value != value:
        return ""
    return str(int(value)) if value == int(value) else str(value)
