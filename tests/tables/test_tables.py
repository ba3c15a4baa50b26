"""Covers: bp.data.read, Table, TableSpec in the metadata of a model, frames in predict."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest

import bp_arrays as bp
from bp_arrays.tables import NumberColumn, TableSpec, TextColumn


def penguins(rows: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "island": rng.choice(["Biscoe", "Dream"], rows),
            "mass": rng.normal(4000, 500, rows),
            "ringed": rng.random(rows) > 0.5,
            "seen": pd.date_range("2020-01-01", periods=rows),
            "name": [f"penguin {k}" for k in range(rows)],
            "species": rng.choice(["Adelie", "Gentoo"], rows),
        }
    )
    frame.loc[2, "island"] = None
    frame.loc[[3, 5], "mass"] = np.nan
    return frame


@pytest.fixture
def files(tmp_path):
    """The same table as a CSV and a Parquet file, and as frames of pandas and polars."""
    frame = penguins()
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    return [tmp_path / "t.csv", str(tmp_path / "t.parquet"), frame, pl.from_pandas(frame)]


def test_files_and_frames_are_the_same_table(files):
    tables = [bp.data.read(source, target="species") for source in files]
    for table in tables:
        assert table.feature_names == (
            "island=Biscoe", "island=Dream", "island=(missing)", "mass", "ringed",
        )  # fmt: skip
        assert table.classes == ("Adelie", "Gentoo") and set(table.spec.left_out) == {
            "seen",
            "name",
        }
        np.testing.assert_allclose(table.x[:], tables[0].x[:], atol=1e-12)
        np.testing.assert_array_equal(table.t, tables[0].t)


def test_inputs_are_scikit_learns():
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    frame = penguins()
    frame["island"] = frame["island"].fillna("(missing)")
    for missing in ("median", "mean"):
        x = bp.data.read(frame, target="species", columns=["island", "mass"], missing=missing).x[:]
        columns = make_column_transformer(
            (OneHotEncoder(sparse_output=False), ["island"]),
            (make_pipeline(SimpleImputer(strategy=missing), StandardScaler()), ["mass"]),
        )
        order = bp.data.read(frame, target="species", columns=["island", "mass"]).feature_names
        assert order == ("island=(missing)", "island=Biscoe", "island=Dream", "mass")
        np.testing.assert_allclose(x, columns.fit_transform(frame), atol=1e-12)


def test_what_is_learned_is_learned_from_the_training_rows():
    frame = pd.DataFrame({"a": [1.0, 3.0, 100.0, None], "b": list("xyzx"), "t": [1.5, 2, 3, 4]})
    frame = pd.concat([frame, frame.iloc[:1]], ignore_index=True)
    table = bp.data.read(frame, target="t", standardize=False, columns=["a"])
    assert table.spec.columns == (NumberColumn("a", 2.0),)
    part = table.learned_from(np.array([0, 1]))
    assert part.spec.columns == (NumberColumn("a", 2.0),) and part.rows == 5
    train, test = bp.data.read(penguins(), target="species").split(test=0.25, seed=1)
    assert (train.rows, test.rows) == (30, 10)
    assert train.spec is test.spec
    np.testing.assert_allclose(train.x[:][:, -2].mean(), 0.0, atol=1e-12)


def test_a_model_keeps_the_table_and_predicts_frames(tmp_path, files):
    train, test = bp.data.read(files[0], target="species").split()
    model = bp.Model(bp.Linear(2), train.features, device="cpu", seed=0)
    bp.fit(model, train, validation=test, loss=bp.CrossEntropy(), optimizer=bp.Adam(0.01))
    model.save(tmp_path / "m.safetensors")
    model = bp.load(tmp_path / "m.safetensors", device="cpu")
    frame = penguins()
    y = model.predict(frame)
    again = bp.data.read(frame[frame.columns[::-1]], like=model)
    np.testing.assert_array_equal(y, model.predict(again.x))
    np.testing.assert_array_equal(y, model.predict(pl.from_pandas(frame)))
    assert bp.evaluate(model, again, loss=bp.CrossEntropy())["loss"] > 0
    frame["island"] = "Elba"  # unseen: no category, not even that of a missing one
    table = bp.data.read(frame, like=model)
    assert not table.x[:][:, :3].any() and "40 cells" in table.notes[0]
    assert "(Elba)" in table.notes[0]


def test_numbers_for_categories_and_categories_for_numbers(tmp_path):
    train = pd.DataFrame({"floor": ["1", "2", "3+"] * 4, "area": range(12), "t": range(12)})
    table = bp.data.read(train, target="t", standardize=False, task="regression")
    new = pd.DataFrame({"floor": [1.0, 2.0, 9.0], "area": ["4", " 5.5", ""], "more": 1})
    rows = bp.data.read(new, like=table)
    assert rows.x[:].tolist() == [[1, 0, 0, 4], [0, 1, 0, 5.5], [0, 0, 0, 5.5]]
    with pytest.raises(bp.DataError, match="row 1: expected a number, got the text 'large'"):
        bp.data.read(pd.DataFrame({"floor": ["1"] * 2, "area": ["1", "large"]}), like=table)
    with pytest.raises(bp.InputError, match=r"read\(like=\): expected no other target"):
        bp.data.read(new, like=table, target="more")
    with pytest.raises(bp.InputError, match="got a Table; pass its x"):
        bp.Model(bp.Linear(1), table.features, device="cpu").predict(table)
    with pytest.raises(bp.DataError, match="no column 'floor': did you mean 'floors'"):
        bp.data.read(pd.DataFrame({"floors": ["1"], "area": [1]}), like=table)


@pytest.mark.parametrize(
    ("missing", "rows", "fill"), [("median", 5, 2.0), ("mean", 5, 4.0), ("drop", 3, 2.0)]
)
def test_missing_numbers(missing, rows, fill):
    frame = pd.DataFrame({"a": [1.0, None, 9.0, 2.0, None], "t": [1.5, 2.5, 3.5, 4.5, 5.5]})
    table = bp.data.read(frame, target="t", missing=missing, standardize=False)
    assert table.rows == rows and table.spec.columns == (NumberColumn("a", fill),)
    assert len(table.notes) == 1 and table.notes[0].startswith("missing")


def test_missing_as_an_error(tmp_path):
    (tmp_path / "t.csv").write_text("a,t\n1,0\n,1\n2,0\n3,1\n")
    with pytest.raises(bp.DataError, match="line 3, column 'a': expected a value, got a missing"):
        bp.data.read(tmp_path / "t.csv", target="t", missing="error")


def test_rows_without_a_target_are_left_out():
    frame = pd.DataFrame({"a": range(6), "t": ["x", None, "y", "x", "y", None]})
    table = bp.data.read(frame, target="t")
    assert table.rows == 4 and table.t.tolist() == [0, 1, 0, 1]
    assert table.notes == ("targets   2 of 6 rows have none and are left out",)


@pytest.mark.parametrize("later", ["b", "3+"])
def test_a_text_below_the_first_piece_is_found(tmp_path, later):
    rows = [f"{k % 3},{k % 2}" for k in range(10_000)] + [f"{later},1"] * 600
    (tmp_path / "t.csv").write_text("a,t\n" + "\n".join(rows) + "\n")
    table = bp.data.read(tmp_path / "t.csv", target="t")
    assert table.spec.columns == (TextColumn("a", tuple(sorted(["0", "1", "2", later])), False),)
    assert table.x[[0, 1, 10_050]].argmax(axis=1).tolist() == [0, 1, 3]


BAD = {
    "a,t\n" + "".join(f"{k}.5,{k % 2}\n" for k in range(60)) + "oops,1\n": (
        "line 62, column 'a': expected a number, got the text 'oops'; correct it, drop the row, "
        "or leave the column out with --drop a"
    ),
    "a,t\n1,0\n-inf,1\n": "line 3, column 'a': expected a finite number, got -inf",
    'a;t\n"1,5";0\n"2,5";1\n': "expected numbers, got '1,5'; write decimals with a point",
    "a,t\n9007199254740993,0\n2,1\n": "9007199254740993, a number beyond 2.53 that it rounds",
    "a,t\nu,0\nv,1\nw,0\n": "got none .'a': texts that hardly recur",
    "a,t\n,0\nNA,1\n": "expected a column to learn from, got none .'a': no values",
    "a,t\n1,\n2,NA\n": "column 't': expected targets, all are missing",
    "t\n1\n2\n": "expected a column besides the target, got none",
    "a,t\n": "expected rows below the header, got none",
    "a,b,t\n1,2,3\n1,2\n": "line 3: expected 3 cells as in the header, got 2",
}


@pytest.mark.parametrize("content", BAD, ids=list(map(str, range(len(BAD)))))
def test_bad_tables(tmp_path, content):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(bp.DataError, match=BAD[content]) as raised:
        bp.data.read(tmp_path / "t.csv", target="t")
    assert "\n" not in str(raised.value)


def test_columns_that_are_passed_over(tmp_path):
    frame = pd.DataFrame({"id": range(1, 41), "a": [1.0, 2.5] * 20, "site": "here", "t": range(40)})
    frame["id2"] = [f"{k:05}x" for k in range(40)]
    frame.to_csv(tmp_path / "t.csv")
    table = bp.data.read(tmp_path / "t.csv", target="t")
    assert table.feature_names == ("a",)
    assert table.spec.left_out == {
        "id": "it only counts the rows",
        "site": "one text only",
        "id2": "texts that hardly recur, 40 different ones in 40 rows",
    }
    assert "column 1: it has no name in the header" in table.notes[0]
    with pytest.raises(bp.DataError, match="column 'id2': expected numbers, or texts that recur"):
        bp.data.read(tmp_path / "t.csv", target="t", columns=["a", "id2"])
    kept = bp.data.read(tmp_path / "t.csv", target="t", columns=["id", "a"])
    assert kept.feature_names == ("id", "a")
    dropped = bp.data.read(tmp_path / "t.csv", target="t", drop=["site", "id2"])
    assert set(dropped.spec.left_out) == {"id"}


@pytest.mark.parametrize("damage", ["{", "[]", '{"columns": []}', '{"columns": [{"name": 1}]}'])
def test_a_damaged_specification(damage):
    with pytest.raises(bp.DataError, match="description of its table is damaged"):
        TableSpec.from_metadata({"table": damage}, "m.safetensors")


def test_the_page_of_a_training(tmp_path):
    train, test = bp.data.read(penguins(), target="species").split()
    model = bp.Model(bp.Linear(2), train.features, device="cpu", seed=0)
    history = bp.fit(model, train, validation=test, loss=bp.CrossEntropy(), optimizer=bp.Adam(0.1))
    page = history.to_html(tmp_path / "r.html", model=model, test=test, title="<Penguins>")
    assert (tmp_path / "r.html").read_text() == page
    for text in ("&lt;Penguins&gt;", "Gentoo", "Confusion matrix", "recall", "F1", "Linear"):
        assert text in page
    assert "http" not in page and "<script" not in page
    values = history.to_html(model=model, test=(test.x, np.ones((test.rows, 2))))
    assert "RMSE" in values and "MAE" in values and 'class="point"' in values
    with pytest.raises(bp.InputError, match="expected model= too"):
        history.to_html(test=test)


def test_the_classes_of_another_table_have_the_numbers_of_the_training_table():
    train = pd.DataFrame({"a": np.arange(20.0), "y": ["no", "yes"] * 10})
    table = bp.data.read(train, target="y")
    model = bp.Model(bp.Linear(2), table.features, device="cpu", seed=0)
    bp.fit(model, table, loss=bp.CrossEntropy(), optimizer=bp.Adam(0.01), epochs=1)
    new = train[train.y == "yes"].assign(y=["yes", "maybe", *["yes"] * 8])
    again = bp.data.read(new, like=model)  # "no" is missing, "maybe" is new
    assert again.classes == ("no", "yes", "maybe")
    assert again.t.tolist() == [1, 2, *[1] * 8]
    known = again.take(again.t < 2)
    scores = bp.evaluate(model, known, loss=bp.CrossEntropy(), metrics=[bp.Accuracy()])
    assert scores["accuracy"] == (model.predict(known.x).argmax(axis=1) == 1).mean()
    with pytest.raises(bp.InputError, match="got maybe too in table; drop such rows"):
        bp.evaluate(model, again, loss=bp.CrossEntropy())
    gaps = bp.data.read(train.assign(y=[None, "yes"] * 10), like=model)
    with pytest.raises(bp.InputError, match=r"got 10 rows without one .*take\(table.has_target\)"):
        bp.evaluate(model, gaps, loss=bp.CrossEntropy())
    assert bp.evaluate(model, gaps.take(gaps.has_target), loss=bp.CrossEntropy())["loss"] > 0


def test_a_table_that_was_read_by_itself_is_not_compared_with_the_model():
    frame = pd.DataFrame({"a": np.arange(20.0), "c": ["u", "v"] * 10, "y": ["no", "yes"] * 10})
    table, other = (bp.data.read(part, target="y") for part in (frame, frame.iloc[:12]))
    classes = bp.data.read(frame.replace("no", "zero"), target="y")
    model = bp.Model(bp.Linear(2), table.features, device="cpu", seed=0)
    options = {"loss": bp.CrossEntropy(), "optimizer": bp.Adam(0.01), "epochs": 1}
    with pytest.raises(bp.InputError, match=r"fit\(validation=\): .* other columns, categories"):
        bp.fit(model, table, validation=other, **options)
    history = bp.fit(model, table, validation=bp.data.read(frame, like=table), **options)
    with pytest.raises(bp.InputError, match="evaluate: expected a table read as the training"):
        bp.evaluate(model, other, loss=bp.CrossEntropy())
    with pytest.raises(bp.InputError, match="got yes, zero in table"):
        bp.evaluate(model, classes, loss=bp.CrossEntropy())
    with pytest.raises(bp.InputError, match=r"to_html\(test=\): expected a table read as"):
        history.to_html(model=model, test=other)


def test_a_text_among_many_different_numbers_is_an_error_wherever_it_stands(tmp_path):
    path = tmp_path / "t.csv"
    for position in (0, 150):
        cells = [f"{k}.5" for k in range(200)]
        cells[position] = "n.d."
        path.write_text("a,b,y\n" + "\n".join(f"{c},{k},{k}.5" for k, c in enumerate(cells)))
        with pytest.raises(bp.DataError, match=f"line {position + 2}, .* got the text 'n.d.'"):
            bp.data.read(path, target="y")
    tickets = [f"PC {k}" if k % 5 == 0 else f"{k}.5" for k in range(200)]
    path.write_text("a,b,y\n" + "\n".join(f"{c},{k},{k}.5" for k, c in enumerate(tickets)))
    assert bp.data.read(path, target="y").spec.left_out == {"a": "more than 100 different texts"}


def test_names_that_are_numbers_one_name_for_a_list_and_dates_as_targets():
    frame = pd.DataFrame({0: np.arange(6.0), 1: np.arange(6.0) ** 2, 2: np.arange(6.0) / 3})
    frame["when"] = pd.date_range("2026-01-01", periods=6)
    table = bp.data.read(frame, target=2, drop=[0])
    assert table.feature_names == ("1",) and table.target_names == ("2",)
    assert bp.data.read(frame, target=2, columns=[1]).feature_names == ("1",)
    with pytest.raises(bp.DataError, match="no target column '7'"):
        bp.data.read(frame, target=7)
    with pytest.raises(bp.InputError, match=r"columns=\): expected a list .* write \['when'\]"):
        bp.data.read(frame, target=2, columns="when")
    with pytest.raises(bp.DataError, match="column 'when': expected numbers or classes as targets"):
        bp.data.read(frame, target="when")


def test_rows_of_a_table_are_indexed_like_those_of_an_array():
    frame = pd.DataFrame({"a": [1.0, 2.0, None, 4.0] * 3, "c": ["u", "v", "v", "u"] * 3})
    x = bp.data.read(frame).x
    whole = np.asarray(x)
    for index in (3, -1, np.int64(2), slice(1, 4), [5, 0], (slice(None), 0), (2, 1), (2, ...)):
        np.testing.assert_array_equal(x[index], whole[index])
    with pytest.raises(IndexError):
        x[12]


def test_a_task_that_is_none_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("a,y\n1,2\n3,4\n")
    for read in (bp.data.read, bp.data.open_dataset):
        with pytest.raises(bp.InputError, match="did you mean 'regression'"):
            read(str(tmp_path / "t.csv"), target="y", task="regresion")


def test_true_and_false_are_the_classes_of_a_file(tmp_path):
    frame = penguins()
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=16)
    assert bp.data.read(tmp_path / "t.parquet", target="ringed").classes == ("False", "True")
    frame["ringed"] = frame["ringed"].astype("boolean")
    frame.loc[20, "ringed"] = pd.NA
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=16)
    table = bp.data.read(tmp_path / "t.parquet", target="ringed")
    assert table.classes == ("False", "True")
    np.testing.assert_array_equal(table.t, frame["ringed"].dropna().astype(int))
    features = bp.data.read(tmp_path / "t.parquet", target="species")
    assert isinstance(features.spec.columns[-1], NumberColumn)


def test_true_and_false_are_the_classes_of_a_frame():
    frame = penguins()
    gaps = frame["ringed"].astype(object)
    gaps[4] = None
    nullable = frame["ringed"].astype("boolean")
    nullable[4] = pd.NA
    for column in (frame["ringed"], gaps, nullable):
        table = bp.data.read(frame.assign(ringed=column), target="ringed")
        assert table.classes == ("False", "True")
        expected = frame["ringed"][column.notna()].astype(int)
        np.testing.assert_array_equal(table.t, expected)
        features = bp.data.read(frame.assign(ringed=column), target="species")
        number = features.x[:][:, features.feature_names.index("ringed")]
        assert len(np.unique(number[~np.isclose(number, number[4])])) <= 2
        assert features.spec.columns[-1] == NumberColumn(
            "ringed", *(getattr(features.spec.columns[-1], k) for k in ("fill", "mean", "scale"))
        )
    assert bp.data.read(pl.from_pandas(frame), target="ringed").classes == ("False", "True")


def test_a_few_texts_among_numbers_are_said(tmp_path):
    rng = np.random.default_rng(0)
    doors = rng.integers(2, 6, 100).astype(str)
    doors[[7, 30, 50, 80, 90, 95]] = ["5+", "many", "5+", "many", "5+", "many"]
    pd.DataFrame({"doors": doors, "y": rng.normal(size=100)}).to_csv(tmp_path / "t.csv")
    notes = bp.data.read(tmp_path / "t.csv", target="y").notes
    [note] = [note for note in notes if note.startswith("mixed")]
    assert note.startswith("mixed     'doors': 6 of 100 cells are texts, such as '5+'")
    assert "6 categories" in note and "--missing" in note and "--drop doors" in note
    doors[:] = rng.choice(["a", "b", "3"], 100)
    pd.DataFrame({"doors": doors, "y": rng.normal(size=100)}).to_csv(tmp_path / "t.csv")
    notes = bp.data.read(tmp_path / "t.csv", target="y").notes
    assert not any(note.startswith("mixed") for note in notes)


def test_a_fit_that_is_refused_leaves_the_model_as_it_is():
    table = bp.data.read(penguins(), target="species")
    model = bp.Model(bp.Linear(2), table.features, device="cpu")
    optimizer = bp.SGD(0.1)
    bp.fit(model, table.x[:], table.t, loss=bp.CrossEntropy(), optimizer=optimizer, epochs=1)
    state = model.training_state
    options = {"loss": bp.CrossEntropy(), "optimizer": bp.Adam(0.1), "epochs": 1}
    for change in ({"loss": bp.MeanSquaredError()}, {"validation": (np.ones((2, 9)), [0, 1])}):
        with pytest.raises(bp.InputError):
            bp.fit(model, table, **options | change)
        assert model.metadata == {} and model.training_state is state
    bp.fit(model, table, **options)
    assert model.metadata == table.metadata
