"""Covers: train, predict and explain on tables with texts and gaps; the page of --report."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

import bp_arrays as bp


@pytest.fixture
def penguins(tmp_path):
    rng = np.random.default_rng(0)
    lines = [",island,bill,when,species"]
    for k in range(60):
        island, kind = ["Biscoe", "Dream"][k % 2], ["Adelie", "Gentoo", "Chinstrap"][k % 3]
        bill = "" if k % 10 == 0 else f"{40 + 5 * (k % 3) + rng.normal():.2f}"
        lines.append(f"{k},{island},{bill},2026-01-{k % 28 + 1:02},{kind if k != 7 else ''}")
    path = tmp_path / "penguins.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


WORDS = ("train", "penguins.csv", "--target", "species", "--device", "cpu", "--epochs", 3)


def test_from_the_table_to_the_prediction(run, penguins, tmp_path):
    result = run(*WORDS, "--out", "m", "--report", "r.json")
    assert result.code == 0
    for line in (
        "data      penguins.csv: 3 features, classification, 3 classes",
        "columns   1 of numbers, 1 of texts as 2 categories",
        "passed    column 1: it has no name in the header",
        "targets   1 of 60 rows have none and are left out",
        "left out  'when': dates, such as 2026-01-01",
        "(the median, ",
    ):
        assert line in result.out
    assert json.loads((tmp_path / "r.json").read_text())["data"]["columns"] == ["island", "bill"]
    new = "species,bill,island,more\nGentoo,45.5,Elba,1\nAdelie,,Dream,2\n"
    (tmp_path / "new.csv").write_text(new)
    result = run("predict", "m", "new.csv", "--device", "cpu")
    assert result.code == 0 and len(result.out.splitlines()) == 3
    assert "new.csv: 'island': 1 cell with a text that the model does not know (Elba)" in result.err
    assert "new.csv: 'bill': 1 cell missing, filled with 4" in result.err
    result = run("explain", "m", "new.csv", "--sample", 2)
    assert result.code == 0 and "x = [0, 1, 4" in result.out


def test_columns_drop_and_missing(run, penguins):
    assert "columns   1 of numbers\n" in run(*WORDS, "--columns", "bill").out
    assert "columns   1 of texts as 2 cat" in run(*WORDS, "--drop", "bill,when").out
    assert "missing   6 rows with a missing value are left out" in run(*WORDS, "--missing=drop").out
    assert "(the mean, " in run(*WORDS, "--missing", "mean").out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*WORDS, "--drop", "iland"), "penguins.csv has no column 'iland': did you mean 'island'?"),
        (
            (*WORDS, "--columns", "when"),
            "column 'when': expected numbers, or texts that recur, got",
        ),
        ((*WORDS, "--missing", "error"), "line 9, column 'species': expected a target"),
        ((*WORDS, "--drop", "species"), "expected other columns than the target 'species'"),
        (("train", "digits", "--drop", "a"), "--drop: expected a .csv or .parquet file, got dig"),
        (("train", "penguins.csv"), "use --target with one of: island, bill, when, species"),
        (
            (*WORDS, "--optimizer", "sgd", "--weight-decay", 1),
            "expected --optimizer adamw, got sgd",
        ),
    ],
)
def test_errors(run, penguins, words, message):
    result = run(*words)
    assert result.code == 2 and message in result.err and result.err.count("\n") == 1


def test_a_new_table_that_lacks_a_column(run, penguins, tmp_path):
    run(*WORDS, "--out", "m")
    (tmp_path / "new.csv").write_text("bil,island\n45.5,Dream\n")
    result = run("predict", "m", "new.csv")
    assert result.code == 2 and "no column 'bill': did you mean 'bil'?" in result.err


def test_the_page(run, penguins, tmp_path):
    result = run(*WORDS, "--report", "r.html")
    page = (tmp_path / "r.html").read_text()
    assert result.code == 0 and "F1" in result.out
    for text in ("Confusion matrix", "Gentoo", "precision", "left out", "AdamW", "Linear(32)"):
        assert text in page
    assert "http" not in page and "<script" not in page
    run(
        "train",
        "notes",
        "--epochs",
        5,
        "--report",
        "values.html",
        "--device",
        "cpu",
        "--test",
        0.25,
    )
    page = (tmp_path / "values.html").read_text()
    for text in ("RMSE", "MAE", 'class="point"'):
        assert text in page


def test_few_separable_rows_are_learned_by_a_small_net(run, flowers):
    result = run("train", "flowers.csv", "--target", "kind", "--layers", 4, "--device", "cpu")
    assert "accuracy 100.00%" in result.out
    assert "480 epochs" in result.out


def test_a_column_without_a_name_does_not_matter_to_the_file_of_an_estimator(run, tmp_path):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [0.0, 1.0] * 10, "b": [1.0, 0.0] * 10})
    with warnings.catch_warnings():  # it has not converged
        warnings.simplefilter("ignore")
        bp.MLPRegressor(hidden_layer_sizes=(2,), max_iter=1).fit(frame[["b"]], frame["a"]).save("e")
    frame.assign(text="x").to_csv("t.csv")
    result = run("predict", "e", "t.csv", "--device", "cpu")
    assert result.code == 0 and "predicted 20 rows" in result.err


@pytest.mark.parametrize("layers", ["4", "none"])
def test_a_table_of_texts_alone_needs_no_standardization(run, tmp_path, layers):
    lines = [f"{'uv'[k % 2]},{'pqr'[k % 3]},{k % 2 + k % 3}.5" for k in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,y", *lines]))
    words = ("train", "t.csv", "--target", "y", "--device", "cpu", "--epochs", 2)
    result = run(*words, "--layers", layers, "--out", "m")
    assert result.code == 0 and "network   Linear(" in result.out
    result = run("predict", "m", "t.csv", "--device", "cpu", "--out", "p.csv")
    assert result.code == 0 and "predicted 60 rows: mean squared error" in result.out


@pytest.mark.parametrize("name", ["r.pdf", "r", "r.html.gz"])
def test_a_report_in_no_known_format_is_refused_at_the_door(run, penguins, tmp_path, name):
    result = run(*WORDS, "--report", name, "--out", "m")
    assert result.code == 2 and result.out == "" and not (tmp_path / "m").exists()
    assert f"--report {name}: expected a name that ends in .html or .json, got" in result.err
    run(*WORDS, "--out", "m", "--quiet")
    result = run("predict", "m", "penguins.csv", "--report", "r.html")
    assert result.code == 2 and "--report r.html: expected a name that ends in .json" in result.err
