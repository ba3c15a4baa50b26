"""Covers: tuples and dicts of arrays, and indices, through every door of a model."""

from __future__ import annotations

import numpy as np
import pytest
from several_inputs import AGES, IDS, INPUTS, T, X, make, moved

import bp_arrays as bp

LOSS = bp.CrossEntropy()


def changed(name, place, value):
    """The samples with one value replaced."""
    part = X[name].astype(np.float64)
    part[place] = value
    return X | {name: part}


def test_gradients_of_several_inputs_are_those_of_the_formula(device):
    model = make(device)
    value, gradients = model.gradients(X, T, LOSS)
    p = {name: array.astype(np.float64) for name, array in model.host_parameters().items()}
    h = np.concatenate([p["0.table"][IDS], AGES], axis=1)
    a = np.tanh(h)
    y = a @ p["2.weight"] + p["2.bias"]
    softmax = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
    delta = (softmax - np.eye(2)[T]) / len(T)
    below = delta @ p["2.weight"].T * (1 - a**2)
    table = np.zeros((5, 2))
    np.add.at(table, IDS, below[:, :2])
    assert float(value) == pytest.approx(-np.log(softmax[np.arange(20), T]).mean(), rel=1e-5)
    np.testing.assert_allclose(device.to_numpy(gradients["0.table"]), table, atol=1e-6)
    np.testing.assert_allclose(model.predict(X), y, atol=1e-5)


def test_a_dict_in_any_order_a_tuple_and_arrays_of_the_device_give_the_same(device):
    model = make(device)
    pair = make(device, inputs=(INPUTS["ids"], 3))
    expected = model.predict(X)
    assert isinstance(expected, np.ndarray)
    np.testing.assert_array_equal(model.predict({"age": AGES, "ids": IDS}), expected)
    np.testing.assert_array_equal(pair.predict((IDS, AGES)), expected)
    np.testing.assert_array_equal(pair.predict([IDS, AGES]), expected)
    np.testing.assert_array_equal(model.predict(X, batch_size=20), expected)
    np.testing.assert_allclose(model.predict(X, batch_size=7), expected, rtol=1e-5)
    there = model.predict(moved(X, device))
    assert device.owns(there)
    np.testing.assert_array_equal(device.to_numpy(there), expected)
    y, backward = model.forward(X)
    np.testing.assert_array_equal(device.to_numpy(y), expected)
    dx, gradients = backward(device.xp.ones_like(y))
    assert dx["ids"] is None and dx["age"].shape == (20, 3)
    assert gradients.keys() == {"0.table", "2.weight", "2.bias"}
    assert model.predict({"ids": IDS[:0], "age": AGES[:0]}).shape == (0, 2)


@pytest.mark.parametrize("kind", ["float64", "int8", "uint64", "bool", "list", "other order"])
def test_whole_numbers_of_any_dtype_are_indices(device, kind):
    model = make(device)
    ids = IDS % 2
    given = {
        "list": ids.tolist(),
        "other order": ids.astype(">i4"),
    }.get(kind)
    given = ids.astype(kind) if given is None else given
    expected = model.predict({"ids": ids, "age": AGES})
    np.testing.assert_array_equal(model.predict({"ids": given, "age": AGES}), expected)


def test_every_kind_of_host_data_may_be_one_of_several_inputs(device, tmp_path):
    pandas, sparse = pytest.importorskip("pandas"), pytest.importorskip("scipy.sparse")
    np.save(tmp_path / "age.npy", AGES)
    frame = pandas.DataFrame({"id": IDS.astype(float)})
    model = make(device)
    expected, value = model.predict(X), float(model.gradients(X, T, LOSS)[0])
    for ids, age in (
        (frame["id"], pandas.DataFrame(AGES)),
        (IDS.tolist(), AGES.tolist()),
        (IDS, sparse.csr_array(AGES)),
        (IDS, np.load(tmp_path / "age.npy", mmap_mode="r")),
        (IDS, device.asarray(AGES, "float32")),
    ):
        x = {"ids": ids, "age": age}
        y = model.predict(x)
        assert isinstance(y, np.ndarray) or device.owns(age)  # to the host if all came from it
        np.testing.assert_array_equal(device.to_numpy(device.asarray(y, "float32")), expected)
        assert float(model.gradients(x, T, LOSS)[0]) == value
        assert bp.evaluate(model, x, T, loss=LOSS)["loss"] == pytest.approx(value, rel=1e-6)


BAD = {
    "a missing one": ({"ids": IDS}, "x: expected a dict of ids, age, but 'age' is missing"),
    "an unknown one": (
        {"ids": IDS, "agee": AGES},
        "x: unknown input 'agee': did you mean 'age'. Known: age, ids",
    ),
    "one too many": (X | {"t": T}, "x: unknown input 't'"),
    "an array": (AGES, "x: expected a dict of ids, age, got one array"),
    "a tuple": ((IDS, AGES), "x: expected a dict of ids, age, got a tuple of 2"),
    "rows": (X | {"ids": IDS[:15]}, r"x\['age'\]: expected 15 rows, as x\['ids'\] has, got 20"),
    "a shape": (
        X | {"age": AGES[:, :2]},
        r"x\['age'\]: expected shape \(batch, 3\), got \(20, 2\)",
    ),
    "text": (X | {"age": "age.csv"}, r"x\['age'\]: expected an array, got the text 'age.csv'"),
    "a dict in it": (X | {"age": {"a": 1}}, r"x\['age'\]: expected an array, got a dict of a"),
    "objects": (X | {"ids": [None] * 20}, r"x\['ids'\]\[0\]: expected an index, .*got nan"),
    "complex": (
        X | {"age": AGES * 1j},
        r"x\['age'\]: expected real numbers, got dtype complex128",
    ),
    "a half": (
        changed("ids", 17, 3.5),
        r"x\['ids'\]\[17\]: expected an index, a whole number from 0 to 4, got 3\.5",
    ),
    "a negative": (
        changed("ids", 3, -1),
        r"x\['ids'\]\[3\]: expected an index, a whole number from 0 to 4, got -1\.0",
    ),
    "too large": (
        changed("ids", 4, 5).copy() | {"ids": np.where(np.arange(20) == 4, 5, IDS)},
        r"x\['ids'\]\[4\]: expected an index, a whole number from 0 to 4, got 5",
    ),
    "no index": (changed("ids", 2, np.nan), r"x\['ids'\]\[2\]: expected an index, .*got nan"),
    "infinite": (changed("ids", 2, np.inf), r"x\['ids'\]\[2\]: expected an index, .*got inf"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_wrong_with_an_input_is_said_with_its_name(device, kind):
    x, message = BAD[kind]
    model = make(device)
    for use in (
        lambda: model.predict(x),
        lambda: model.forward(x),
        lambda: model.gradients(x, T, LOSS),
        lambda: bp.evaluate(model, x, T, loss=LOSS),
        lambda: bp.fit(model, x, T, loss=LOSS, optimizer=bp.SGD(0.1)),
    ):
        with pytest.raises(bp.InputError, match=f"^{message}") as caught:
            use()
        assert "\n" not in str(caught.value)


def test_a_number_that_is_not_finite_is_named_before_training(device):
    model = make(device)
    bad = changed("age", (17, 2), np.nan)
    for x in (bad, moved(bad, device)):
        for use in (
            lambda x=x: bp.fit(model, x, T, loss=LOSS, optimizer=bp.SGD(0.1)),
            lambda x=x: bp.evaluate(model, x, T, loss=LOSS),
        ):
            with pytest.raises(
                bp.InputError, match=r"^x\['age'\]\[17, 2\]: expected a finite number, got nan"
            ):
                use()
    with pytest.raises(
        bp.InputError, match=r"^validation x\['age'\]\[17, 2\]: expected a finite number, got nan"
    ):
        validation = (changed("age", (17, 2), np.nan), T)
        bp.fit(model, X, T, loss=LOSS, optimizer=bp.SGD(0.1), validation=validation)
    with pytest.raises(bp.InputError, match=r"^x\['ids'\]: expected at least one row"):
        bp.evaluate(model, {"ids": IDS[:0], "age": AGES[:0]}, T[:0], loss=LOSS)


def test_indices_on_the_device_are_checked_too(device):
    model, x = make(device), moved(X, device)
    for ids, got in (
        (np.where(np.arange(20) == 6, 5, IDS).astype(np.int32), "5"),
        (np.where(np.arange(20) == 6, -1, IDS).astype(np.int32), "-1"),
        (np.where(np.arange(20) == 6, 0.5, IDS).astype(np.float32), r"0\.5"),
    ):
        with pytest.raises(bp.InputError, match=rf"^x\['ids'\]\[6\]: expected .*got {got}"):
            model.predict(x | {"ids": device.asarray(ids)})
    floats = x | {"ids": device.asarray(IDS.astype(np.float32))}
    np.testing.assert_array_equal(
        device.to_numpy(model.predict(floats)), device.to_numpy(model.predict(x))
    )


def test_without_a_size_an_index_must_fit_the_devices_integers(device):
    model = bp.Model(bp.Identity(), bp.InputSpec((), "index"), device=device)
    assert model.input_shape == ()
    with pytest.raises(
        bp.InputError, match=r"^x\[1\]: expected an index, a whole number >= 0, got -2"
    ):
        model.predict([1, -2])
    with pytest.raises(
        bp.InputError, match=r"^x\[0\]: expected an index, a whole number >= 0, got 0\.5"
    ):
        model.predict([0.5])
    with pytest.raises(bp.InputError, match=r"^x\[1\]: expected .* up to \d+, .*got 1844\d+"):
        model.predict(np.array([1, 2**64 - 1], np.uint64))


def test_an_input_of_another_device_is_named():
    strict = pytest.importorskip("array_api_strict")
    with pytest.raises(
        bp.DeviceMismatchError, match=r"^x\['age'\]: expected an array on .*got one on 'strict'"
    ):
        make().predict(X | {"age": strict.asarray(AGES)})


def test_a_tuple_of_arrays_is_not_taken_for_the_rows_of_one_input():
    model = bp.Model(bp.Linear(2), 3, device="cpu")
    with pytest.raises(bp.InputError, match="the model's only input, got a tuple of 2"):
        model.gradients((AGES, AGES), T, LOSS)
    rows = ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    np.testing.assert_array_equal(model.predict(rows), model.predict(np.array(rows)))


def test_a_tuple_of_another_length_is_refused():
    model = make(inputs=(INPUTS["ids"], 3))
    for x, got in (
        ((IDS,), "a tuple of 1"),
        ((IDS, AGES, AGES), "a tuple of 3"),
        (AGES, "one array"),
        (X, "a dict of ids, age"),
        ([[1], [2]], "a list"),
    ):
        with pytest.raises(bp.InputError, match=f"^x: expected a tuple of 2 inputs, got {got}"):
            model.predict(x)
    with pytest.raises(bp.InputError, match=r"^x\[1\]: expected shape \(batch, 3\), got \(20, 1\)"):
        model.predict((IDS, AGES[:, :1]))


def test_weights_and_targets_are_counted_against_the_rows_of_all_inputs(device):
    model = make(device)
    with pytest.raises(bp.InputError, match="t: expected targets for the 20 rows"):
        model.gradients(X, T[:19], LOSS)
    with pytest.raises(bp.InputError, match=r"sample_weight: expected shape \(20,\), got \(3,\)"):
        model.gradients(X, T, LOSS, sample_weight=np.ones(3))


def test_nan_in_a_mask_is_refused_by_predict_too():
    """Elsewhere NaN passes through; in a mask it would count as a real position."""
    net = bp.Sequential(bp.LSTM(2), bp.Select("x"))
    model = bp.Model(net, {"x": (3, 2), "mask": (3,)}, device="cpu")
    mask = np.ones((2, 3))
    mask[1, 2] = np.nan
    x = {"x": np.zeros((2, 3, 2)), "mask": mask}
    for call in (model.predict, model.forward, lambda x: model.predict(iter([x]))):
        with pytest.raises(bp.InputError, match=r"x\['mask'\].*expected a finite number, got nan"):
            call(x)
