"""Covers: frames, DLPack, memory maps, lists, other dtypes; and what is said of the rest."""

from __future__ import annotations

import datetime
from decimal import Decimal

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.inputs import _arrays as arrays

X = np.array([[0.5, 1.0], [2.0, -3.0], [0.0, 4.0]])
T = np.array([0, 1, 0])


class OnlyDlpack:
    """An array of a library that speaks DLPack and nothing else."""

    def __init__(self, array, device=None):
        self.array, self.device = array, device

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.device or self.array.__dlpack_device__()


def sources():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    columns = {"a": X[:, 0], "b": X[:, 1]}
    mapped = np.asfortranarray(X)
    return {
        "pandas": (pandas.DataFrame(columns), pandas.Series(T)),
        "pandas, nullable": (
            pandas.DataFrame(columns).astype("Float64"),
            pandas.Series(T, dtype="Int8"),
        ),
        "polars": (polars.DataFrame(columns), polars.Series(T)),
        "DLPack": (OnlyDlpack(X), OnlyDlpack(T)),
        "DLPack, negative strides": (OnlyDlpack(X[::-1].copy()[::-1]), OnlyDlpack(T)),
        "lists": (X.tolist(), T.tolist()),
        "the other order": (mapped, T),
        "the other byte order": (X.astype(">f8"), T.astype(">i2")),
        "objects": ([[Decimal(v) for v in row] for row in X.tolist()], T),
    }


@pytest.mark.parametrize("kind", sources())
def test_the_same_numbers_from_anywhere_train_alike(device, kind):
    x, t = sources()[kind]
    settings = {"loss": bp.CrossEntropy(), "optimizer": bp.SGD(0.1), "batch_size": 2}
    models = [bp.Model(bp.Linear(2), 2, device=device, seed=0) for _ in range(2)]
    bp.fit(models[0], X, T, **settings)
    bp.fit(models[1], x, t, validation=(x, t), **settings)
    np.testing.assert_array_equal(*(device.to_numpy(model.vector) for model in models))
    np.testing.assert_array_equal(models[1].predict(x), models[1].predict(X))
    value, gradients = models[1].gradients(x, t, bp.CrossEntropy())
    expected, expected_gradients = models[1].gradients(X, T, bp.CrossEntropy())
    assert float(value) == float(expected)
    np.testing.assert_array_equal(
        *(device.to_numpy(g["weight"]) for g in (gradients, expected_gradients))
    )


def test_only_numpy_lists_and_frames_are_host_data(device):
    assert arrays.is_host_data(device.asarray(X)) == (device.backend == "numpy")
    assert all(arrays.is_host_data(x) for x, _ in sources().values())


def test_rows_of_a_frame_lie_together():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": [1, 2], "b": [True, False], "c": [0.5, float("nan")]})
    array = arrays.as_numpy(frame, "x")
    assert array.flags.c_contiguous and array.dtype == np.float64
    np.testing.assert_array_equal(array, [[1, 1, 0.5], [2, 0, np.nan]])


DAY = datetime.date(2020, 1, 1)
BAD_COLUMNS = {
    "text": (["1", "two", "3"], "column 'b'.*: expected (numbers, got|a number, got '1')"),
    "mixed": ([1, "two", None], "column 'b', row (1|2)"),
    "missing": ([1, 2, None], "column 'b', row 2: expected a number, got no value; drop or fill"),
    "missing yes": ([True, None, False], "column 'b', row 1: expected a number, got no value"),
    "dates": ([DAY, DAY, DAY], "column 'b'.*(expected numbers, got dtype|expected a number)"),
    "lists": ([[1], [2], [3]], "column 'b'.*expected (a number|numbers), got"),
}


def column(library, kind, values):
    """A column of that kind, in the dtype that the library has for it."""
    if library.__name__ == "polars":
        mixed = {"dtype": library.Object} if kind == "mixed" else {}
        return library.Series("b", values, **mixed)
    dtype = {"missing": "Int64", "missing yes": "boolean"}.get(kind)
    return library.Series(values, name="b", dtype=dtype)


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("kind", BAD_COLUMNS)
def test_a_column_that_holds_no_numbers_is_named(library, kind):
    library = pytest.importorskip(library)
    values, message = BAD_COLUMNS[kind]
    frame = library.DataFrame({"a": [1.0, 2.0, 3.0], "b": column(library, kind, values)})
    model = bp.Model(bp.Linear(2), 2, device="cpu")
    for given in (frame, frame["b"]):
        with pytest.raises(bp.InputError, match=f"^x, {message}"):
            model.predict(given)


def test_what_is_no_array_is_told_what_to_do():
    polars = pytest.importorskip("polars")
    model = bp.Model(bp.Linear(2), 2, device="cpu")
    for given, message in {
        "table.csv": "x: expected an array, got the text 'table.csv'; if it names a file",
        OnlyDlpack(X, device=(2, 0)): "OnlyDlpack elsewhere; move it",
        OnlyDlpack(X, device=(99, 0)): "expected an array in the host's memory",
    }.items():
        with pytest.raises(bp.InputError, match=message):
            model.predict(given)
    with pytest.raises(bp.InputError, match="got a dict of a, b; choose one of them"):
        bp.fit(model, {"a": X, "b": X}, T, loss=bp.CrossEntropy(), optimizer=bp.SGD(0.1))
    with pytest.raises(bp.InputError, match=r"LazyFrame; call collect\(\) first"):
        model.predict(polars.LazyFrame({"a": [1]}))


def test_an_array_of_an_unknown_library_is_no_device_of_ours():
    class Foreign:
        def __array_namespace__(self, api_version=None):
            raise NotImplementedError

    model = bp.Model(bp.Linear(2), 2, device="cpu")
    with pytest.raises(
        bp.InputError, match=r"x: expected an array of a known device, got a .*Foreign"
    ):
        model.predict(Foreign())


def test_what_is_masked_is_no_number():
    model = bp.Model(bp.Linear(2), 2, device="cpu")
    whole = np.ma.masked_array(X, mask=False)
    np.testing.assert_array_equal(model.predict(whole), model.predict(X))
    with pytest.raises(
        bp.InputError, match="x: expected no masked values; drop such rows, or fill them"
    ):
        model.predict(np.ma.masked_less(X, 0.0))


def test_an_archive_of_arrays_is_not_one(tmp_path):
    np.savez(tmp_path / "d.npz", x=X, t=T)
    with (
        np.load(tmp_path / "d.npz") as archive,
        pytest.raises(bp.InputError, match="got a NpzFile of x, t; choose one of them"),
    ):
        bp.Model(bp.Linear(2), 2, device="cpu").predict(archive)


def test_pieces_are_read_one_by_one(monkeypatch):
    monkeypatch.setattr(arrays, "PIECE", 10)
    x = np.arange(28.0).reshape(7, 4)
    found = list(arrays.pieces(x))
    assert [start for start, _ in found] == [0, 2, 4, 6]
    np.testing.assert_array_equal(np.concatenate([part for _, part in found]), x)
    assert arrays.first_not_finite(x) is None
    x[5, 2] = np.inf
    assert arrays.first_not_finite(x) == (5, 2)


# -- dtypes of other libraries -----------------------------------------------------------------


def test_long_double_comes_in_as_any_other_float(device):
    model = bp.Model(bp.Linear(2), 2, device=device)
    long = X.astype(np.longdouble)
    np.testing.assert_array_equal(model.predict(long), model.predict(X))
    settings = {"loss": bp.L2Loss(), "optimizer": bp.SGD(0.1), "shuffle": False}
    histories = [
        bp.fit(bp.Model(bp.Linear(2), 2, device=device), x, x, sample_weight=weight, **settings)
        for x, weight in ((X, np.ones(3)), (long, np.ones(3, np.longdouble)))
    ]
    assert histories[0]["loss"] == histories[1]["loss"]
    model.set_parameters({"bias": np.ones(2, np.longdouble)})
    assert model.host_parameters()["bias"].tolist() == [1.0, 1.0]


def test_complex_numbers_are_refused_in_one_line(device):
    model = bp.Model(bp.Linear(2), 2, device=device)
    there = device.asarray((X * 1j).astype(np.complex64))
    weight = np.ones(3) * 1j
    for name, use in {
        "x": lambda z: model.predict(z),
        "x ": lambda z: model.gradients(z, T, bp.CrossEntropy()),
        "t": lambda z: model.gradients(X, z, bp.L2Loss()),
        "weight": lambda z: model.set_parameters({"weight": z[:2, ...]}),
    }.items():
        for z in (X * 1j, there):
            message = f"^{name.strip()}: expected real numbers, got dtype .*complex"
            with pytest.raises(bp.InputError, match=message) as caught:
                use(z)
            assert "\n" not in str(caught.value)
    with pytest.raises(bp.InputError, match=r"^sample_weight: expected real numbers"):
        model.gradients(X, T, bp.CrossEntropy(), sample_weight=weight)


def test_autograd_of_pytorch_records_nothing():
    torch = pytest.importorskip("torch")
    x, t, weight = (
        torch.tensor(a, dtype=torch.float32, requires_grad=True) for a in (X, X, np.ones(3))
    )
    model = bp.Model(bp.Linear(2), 2, device="torch:cpu")
    settings = {"loss": bp.L2Loss(), "optimizer": bp.SGD(0.1), "sample_weight": weight}
    bp.fit(model, x, t, batch_size=2, **settings)
    bp.fit(model, [(x, t, weight)], loss=bp.L2Loss(), optimizer=bp.SGD(0.1))
    value, gradients = model.gradients(x, t, bp.L2Loss(), sample_weight=weight)
    y, backward = model.forward(x)
    dx, _ = backward(y.clone().requires_grad_())
    batches = bp.data.Batches(x, t, device="torch:cpu")
    seen = [model.vector, value, *gradients.values(), y, dx, model.predict(x), *next(iter(batches))]
    assert [array.requires_grad for array in seen] == [False] * len(seen)
    assert x.requires_grad and x.grad is None
    model.vector = model.vector.clone().requires_grad_()
    assert not model.vector.requires_grad
    assert np.asarray(model.predict(x)).shape == (3, 2)


@pytest.mark.parametrize("precision", ["float16", "float32"])
def test_finite_numbers_beyond_the_dtype_are_refused_at_every_door(precision):
    model = bp.Model(bp.Linear(2), 3, device="cpu", dtype=precision, seed=0)
    x, t = np.ones((4, 3)), np.ones((4, 2))
    x[2, 1] = -1e300
    train = {"loss": bp.MeanSquaredError(), "optimizer": bp.SGD(0.1)}
    message = r"x\[2, 1\]: expected a number up to .*, the largest of float.*, got -1e\+300"
    for door in (
        lambda: model.predict(x),
        lambda: model.predict(iter([x])),
        lambda: model.predict(bp.data.Batches(x)),
        lambda: model.forward(x),
        lambda: model.gradients(x, t, bp.MeanSquaredError()),
        lambda: bp.evaluate(model, x, t, loss=bp.MeanSquaredError()),
        lambda: bp.evaluate(model, [(x, t)], loss=bp.MeanSquaredError()),
        lambda: bp.fit(model, x, t, **train),
        lambda: bp.fit(model, [(x, t)], **train),
        lambda: bp.Trainer(model, **train).step(x, t),
    ):
        with pytest.raises(bp.InputError, match=message):
            door()
    with pytest.raises(bp.InputError, match=r"t\[0, 0\]: expected a number up to"):
        bp.evaluate(model, np.ones((4, 3)), t * 1e300, loss=bp.MeanSquaredError())
    x[2, 1] = np.inf  # which predict takes, as NaN
    with np.errstate(invalid="ignore"):
        assert not np.isfinite(model.predict(x)[2]).any()


def test_blocks_with_a_number_beyond_the_dtype_are_refused():
    class Large(bp.data.Blocks):
        sample_shape, dtype, block_rows = (3,), np.dtype("float64"), (2,)

        def read(self, block):
            return np.full((2, 3), 1e300), np.ones((2, 2))

    model = bp.Model(bp.Linear(2), 3, device="cpu", seed=0)
    with pytest.raises(bp.InputError, match=r"block 0: x\[0, 0\]: expected a number up to"):
        bp.evaluate(model, Large(), loss=bp.MeanSquaredError())
