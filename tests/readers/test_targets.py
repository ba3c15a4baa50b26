"""Covers: the rule that makes targets classes or values, with and without a task."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest

from bp_arrays.errors import DataError
from bp_arrays.readers._targets import (
    CLASS_LIMIT,
    convert_targets,
    targets_from_numbers,
    targets_from_text,
)


def place(row: int) -> str:
    return f"row {row}"


@pytest.mark.parametrize(
    ("cells", "task", "classes"),
    [
        (["0", "1", "0", "1"], None, ("0", "1")),
        (["1.0", "0.0", "1.0", "0.0"], None, ("0.0", "1.0")),
        (["007", "7", "8", "7"], "classification", ("007", "7", "8")),
        (["10", "9", "10", "9"], None, ("9", "10")),  # by number, not by letter
        (["b", "a", "b", "a"], None, ("a", "b")),
        (["0.5", "1", "0.5", "1"], None, None),
        (["1", "2", "3", "4"], None, None),  # every one different
        (["1", "2", "3", "4"], "classification", ("1", "2", "3", "4")),
        (["0.5", "1", "0.5", "1"], "classification", ("0.5", "1")),
        (["0", "1", "0", "1"], "regression", None),
    ],
)
def test_the_rule(cells, task, classes):
    t, found = targets_from_text(cells, task, place)
    assert found == classes
    if classes is None:
        assert t.shape == (len(cells), 1) and t[:, 0].tolist() == list(map(float, cells))
    else:
        assert [found[k] for k in t] == cells


def test_classes_that_are_one_float_stay_apart():
    """pandas, asked for text, and Python's integers are the witness: float64 merges two of them."""
    cells = [f"900719925474099{2 + k % 4}" for k in range(40)]
    t, names = targets_from_text(cells, None, place)
    assert list(names) == sorted(set(cells)) and [names[k] for k in t] == cells
    assert len({float(cell) for cell in cells}) == 3
    many = [str(9007199254740992 + k % (CLASS_LIMIT + 1)) for k in range(200)]
    with pytest.raises(DataError, match=r"^row 1: .* got 9007199254740993, a number beyond 2\^53"):
        targets_from_text(many, None, place)  # values, although 11 floats
    cells = ["0.1234567890123456789012345678901", "0.12345678901234567890123456789"] * 2
    assert len(targets_from_text(cells, "classification", place)[1]) == 2


@pytest.mark.parametrize(
    "cells",
    [
        ["1", "0", "1.0", "0"],
        ["1", "0", "01", "0"],
        ["0", "1", "-0", "1"],
        ["1", "none", "1e0", "none"],
    ],
)
def test_one_number_in_two_spellings_is_refused_unless_the_task_is_told(cells):
    message = f"row 2: expected one spelling of each class, got {cells[2]!r} and "
    with pytest.raises(DataError, match=message) as error:
        targets_from_text(cells, None, place)
    assert "--task classification" in str(error.value)
    t, names = targets_from_text(cells, "classification", place)
    assert len(names) == 3 and [names[k] for k in t] == cells
    if "none" not in cells:
        assert targets_from_text(cells, "regression", place)[0][:, 0].tolist() == [
            float(cell) for cell in cells
        ]


def test_values_may_be_spelled_in_any_way():
    assert targets_from_text(["1", "1.0", "2.5", "2.50"], None, place)[1] is None


def test_many_whole_numbers_are_values():
    at_the_limit = np.arange(CLASS_LIMIT).repeat(2)
    assert targets_from_numbers(at_the_limit, None, place)[1] is not None
    assert targets_from_numbers(np.arange(CLASS_LIMIT + 1).repeat(2), None, place)[1] is None


def test_text_among_numbers_is_a_mistake_not_a_class():
    cells = [str(k / 7) for k in range(50)]
    cells[31] = "x"
    with pytest.raises(DataError, match="row 31: expected a number, got the text 'x'"):
        targets_from_text(cells, None, place)


@pytest.mark.parametrize("task", [None, "classification", "regression"])
def test_missing_values_of_pandas_beside_numbers_are_missing(task):
    parsers = pytest.importorskip("pandas._libs.parsers")
    for word in parsers.STR_NA_VALUES:
        for numbers in (["0", "1", "0", "1"] * 5, [str(k / 7) for k in range(50)]):
            numbers[7] = f" {word} "
            message = f"row 7: expected a target, got {re.escape(word or 'an empty cell')}"
            with pytest.raises(DataError, match=message):
                targets_from_text(numbers, task, place)
    with pytest.raises(DataError, match="row 0: expected a target, got None, a missing value"):
        targets_from_text(["None", "null"], task, place)


@pytest.mark.parametrize("words", [("True", "False"), ("TRUE", "false"), ("true", "0")])
def test_missing_values_of_pandas_beside_true_and_false_are_missing(words):
    pandas = pytest.importorskip("pandas", reason="witness pandas is missing")
    cells = [*words, "NA", "null"] * 3
    missing = pandas.read_csv(io.StringIO("\n".join(["t", *cells])))["t"].isna().to_numpy()
    assert missing.sum() == 6
    with pytest.raises(DataError, match="row 2: expected a target, got NA, a missing value"):
        targets_from_text(cells, None, place)
    t, classes = convert_targets(cells, None, place, required=False)
    assert classes == tuple(sorted(words)) and np.array_equal(t == -1, missing)
    assert convert_targets(np.array(cells), None, place, required=False)[1] == classes
    assert targets_from_text([*cells, "maybe"], None, place)[1] == tuple(
        sorted({*words, "NA", "null", "maybe"})
    )


def test_missing_values_beside_text_are_classes_unless_they_are_empty_or_nan():
    cells = ["NA", "EU", "None", "N/A", "EU", "1"]
    t, names = targets_from_text(cells, None, place)
    assert [names[k] for k in t] == cells and len(names) == 5
    for word in ("", "nan", "NaN", "-nan"):
        with pytest.raises(DataError, match="row 6: expected a target"):
            targets_from_text([*cells, word], None, place)


def test_text_for_regression_is_named():
    with pytest.raises(DataError, match="row 2: expected a number, got the text 'c'"):
        targets_from_text(["1", "2", "c"], "regression", place)


def test_names_that_never_repeat_are_no_classes():
    cells = [f"name {k}" for k in range(60)]
    with pytest.raises(DataError, match="expected classes, got 60 different texts in 60 rows"):
        targets_from_text(cells, None, place)
    assert len(targets_from_text(cells, "classification", place)[1]) == 60


def test_one_hot_rows_are_classes_unless_told():
    rows = np.array([[0, 1, 0], [1, 0, 0], [0, 1, 0]])
    t, classes = targets_from_numbers(rows, None, place)
    assert t.tolist() == [1, 0, 1] and classes == ("0", "1", "2")
    t, classes = targets_from_numbers(rows, "regression", place)
    assert t.tolist() == rows.tolist() and classes is None
    assert targets_from_numbers(np.array([[1.0, 1.0], [0.0, 1.0]]), None, place)[1] is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([0.0, np.nan]), "row 1: expected a finite target, got nan"),
        (np.array([[0.0, 1.0], [0.5, np.inf]]), "row 1: expected a finite target, got inf"),
        (np.array([1j, 2j]), "got dtype complex128"),
        (np.zeros((2, 2, 2)), r"got \(2, 2, 2\)"),
        (np.array(3.0), r"got \(\)"),
    ],
)
def test_unfit_arrays(values, message):
    with pytest.raises(DataError, match=message):
        targets_from_numbers(values, None, place)


def test_rows_of_values_are_no_classes():
    with pytest.raises(DataError, match="expected one class per row"):
        targets_from_numbers(np.array([[0.5, 1.0], [0.0, 1.0]]), "classification", place)


def test_texts_in_bytes_are_utf_8():
    names = ["Zoë", "Åsa", "Zoë"]
    values = np.array([name.encode() for name in names])
    t, classes = targets_from_numbers(values, None, place)
    assert [classes[k] for k in t] == names
    t, classes = targets_from_numbers(values[:, None], None, place)
    assert [classes[k] for k in t] == names


@pytest.mark.parametrize(
    "odd",
    [
        np.array([b"a", "é".encode("latin-1")]),
        np.array([b"a", "é".encode()[:1]]),
        np.array(["a", "\ud800"]),
        np.frombuffer(b"a\0\0\0\xff\xff\xff\xff", "<U1"),
    ],
    ids=["Latin-1", "half a character", "half a pair", "no character"],
)
@pytest.mark.parametrize("required", [True, False])
def test_texts_that_are_none_are_refused_with_their_row(odd, required):
    with pytest.raises(DataError, match="row 1: expected text in UTF-8, got ") as error:
        convert_targets(odd, None, place, required=required)
    assert "\n" not in str(error.value)


def test_rows_of_texts_are_no_classes():
    with pytest.raises(DataError, match=r"expected texts of shape \(rows,\)"):
        targets_from_numbers(np.array([["a", "b"]] * 3), None, place)


def test_text_and_booleans_in_arrays():
    assert targets_from_numbers(np.array(["b", "a", "b"]), None, place)[1] == ("a", "b")
    assert targets_from_numbers(np.array([True, False] * 2), None, place)[1] == ("False", "True")


@pytest.mark.parametrize(
    ("cells", "row"),
    [
        (["TRUE", "FALSE"] * 20 + ["True", "1"], 40),
        (["TRUE", "FALSE"] * 20 + ["false"], 40),
        (["True", "False", "1", "0"] * 10, 2),
        (["0.0", "1.0"] * 10 + ["False"], 20),
        (["yes", "True", "no", "true"] * 10, 3),
    ],
)
def test_truth_values_in_several_spellings_are_refused(cells, row):
    with pytest.raises(DataError, match=f"^row {row}: expected one spelling .* same truth value; "):
        targets_from_text(cells, None, place)
    with pytest.raises(DataError, match="same truth value"):
        targets_from_numbers(np.array(cells), None, place)
    assert len(targets_from_text(cells, "classification", place)[1]) == len(set(cells))


def test_truth_values_in_one_spelling_are_two_classes():
    assert targets_from_text(["True", "False"] * 3, None, place)[1] == ("False", "True")


@pytest.mark.parametrize(
    ("cells", "row"),
    [
        (["0,5", "1,5"] * 10, 0),
        (["1", "0,5"] * 10, 1),
        (["-1,5e3", "2"] * 10, 0),
        (["12", "1,000", "1,234,567", "1,234.5"] * 10, 1),
        ([f"{k},{k}" for k in range(100)], 0),
    ],
)
@pytest.mark.parametrize("task", [None, "regression"])
def test_numbers_with_commas_are_no_classes(cells, row, task):
    with pytest.raises(DataError, match=f"^row {row}: .*{cells[row]}.*write decimals with a point"):
        targets_from_text(cells, task, place)
    assert len(targets_from_text(cells, "classification", place)[1]) == len(set(cells))


def test_text_with_commas_may_be_classes():
    for cells in (["a,b", "1,5"] * 10, ["1,", ",1"] * 10, ["red, 1", "red, 2"] * 10):
        assert len(targets_from_text(cells, None, place)[1]) == 2
