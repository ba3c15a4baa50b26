"""Covers: confusion matrices: counts against scikit-learn's, the text and the figure."""

from __future__ import annotations

import math

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.training import ConfusionMatrix


def random_matrix(classes, samples=500):
    rng = np.random.default_rng(0)
    t = rng.integers(0, classes, samples)
    predicted = np.where(rng.random(samples) < 0.8, t, rng.integers(0, classes, samples))
    return t, predicted, ConfusionMatrix.of(t, predicted, [f"c{k}" for k in range(classes)])


@pytest.mark.parametrize("classes", [2, 10, 40])
def test_it_is_the_matrix_of_scikit_learn(classes):
    metrics = pytest.importorskip("sklearn.metrics")
    t, predicted, matrix = random_matrix(classes)
    assert (matrix.counts == metrics.confusion_matrix(t, predicted)).all()
    precision, recall, *_ = metrics.precision_recall_fscore_support(t, predicted)
    np.testing.assert_allclose(matrix.precision, precision, rtol=1e-14)
    np.testing.assert_allclose(matrix.recall, recall, rtol=1e-14)


def test_a_class_without_samples_and_one_never_predicted():
    matrix = ConfusionMatrix.of([0, 0, 1], [0, 2, 0], ("a", "b", "c"))
    assert matrix.counts.tolist() == [[1, 0, 1], [1, 0, 0], [0, 0, 0]]
    np.testing.assert_equal(matrix.recall, [0.5, 0.0, math.nan])
    np.testing.assert_equal(matrix.precision, [0.5, math.nan, 0.0])
    assert str(matrix).splitlines()[4].split() == ["c", ".", ".", ".", "-"]


@pytest.mark.parametrize(
    ("t", "predicted", "message"),
    [
        ([0, 1], [0, 4], r"predicted=\): expected whole numbers from 0 to 2, got 4"),
        ([0, -1], [0, 1], r"t=\): expected whole numbers from 0 to 2, got -1"),
        ([0, 1.5], [0, 1], "got 1.5"),
        ([0, math.nan], [0, 1], "got nan"),
        ([0, 1], [0], r"expected shape \(2,\), got \(1,\)"),
        ([[0], [1]], [0, 1], r"t=\): expected shape \(samples,\), got \(2, 1\)"),
        ([0, 1], [[0, 1]], r"predicted=\): expected shape \(samples,\), got \(1, 2\)"),
        (0, 0, r"t=\): expected shape \(samples,\), got \(\)"),
    ],
)
def test_what_is_no_class_is_not_counted_as_another_one(t, predicted, message):
    with pytest.raises(bp.InputError, match=message):
        ConfusionMatrix.of(t, predicted, ("a", "b", "c"))


def test_the_text_lines_up_and_long_names_are_numbered():
    text = str(ConfusionMatrix.of([0, 1, 1], [0, 0, 1], ("Iris setosa", "Iris\nversicolor")))
    assert text.splitlines() == [
        "                  predicted",
        "true                 1    2  recall",
        "1 Iris setosa        1    .  100.0%",
        "2 Iris versicolor    1    1   50.0%",
        "precision          50% 100%",
        "F1                 67%  67%",
    ]


def test_of_many_classes_the_worst_pairs_are_told():
    counts = np.diag([10] * 30)
    counts[3, 5], counts[7, 1] = 4, 2
    text = str(ConfusionMatrix(counts, tuple(f"c{k}" for k in range(30))))
    assert text.splitlines() == [
        "30 classes; most frequent confusions:",
        "  c3 predicted as c5: 4 of 14",
        "  c7 predicted as c1: 2 of 12",
    ]
    perfect = ConfusionMatrix(np.diag([10] * 30), tuple(f"c{k}" for k in range(30)))
    assert str(perfect).endswith("confusions:\n  none")


def test_the_picture_has_the_counts_the_names_and_the_shares():
    pytest.importorskip("matplotlib")
    figure = ConfusionMatrix.of([0, 0, 1, 1], [0, 1, 1, 1], ("cat", "dog")).plot()
    figure.draw_without_rendering()
    [ax] = figure.axes
    written = {text.get_position(): text.get_text() for text in ax.texts}
    assert written == {(0, 0): "1", (1, 0): "1", (1, 1): "2"}  # (predicted, true)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["cat", "dog"]
    recall, precision = ax.child_axes
    assert [text.get_text() for text in recall.get_yticklabels()] == ["50", "100"]
    assert [text.get_text() for text in precision.get_xticklabels()] == ["100", "67"]


@pytest.mark.parametrize("classes", [1, 2, 10, 31, 100])
def test_any_number_of_classes_is_drawn(tmp_path, classes):
    pytest.importorskip("matplotlib")
    *_, matrix = random_matrix(classes)
    matrix.plot(path=tmp_path / "m.png")
    assert bool(matrix.plot().axes[0].texts) == (classes <= 30)


def test_names_are_taken_as_they_are_not_as_formulas():
    pytest.importorskip("matplotlib")
    matrix = ConfusionMatrix.of([0, 1], [0, 1], ("$5\\frac$", "x" * 80))
    figure = matrix.plot()
    figure.draw_without_rendering()
    assert [len(text.get_text()) for text in figure.axes[0].get_xticklabels()] == [8, 22]


def test_into_axes_of_ones_own_and_a_path_that_is_none(tmp_path):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    *_, matrix = random_matrix(3)
    ax = figure.subplots()
    assert matrix.plot(ax=ax, path=tmp_path / "m.svg") is ax and (tmp_path / "m.svg").exists()
    with pytest.raises(bp.InputError, match="expected an image format, got 'txt'"):
        matrix.plot(path=tmp_path / "m.txt")
