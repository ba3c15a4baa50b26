"""Covers: tuples and dicts of arrays as batches: from arrays, iterables, and blocks on disk."""

from __future__ import annotations

import numpy as np
import pytest
from several_inputs import AGES, IDS, INPUTS, T, X, make, moved

import bp_arrays as bp

LOSS = bp.CrossEntropy()
SPANS = [slice(0, 8), slice(8, 16), slice(16, 20)]
PARTS = [({"ids": IDS[s], "age": AGES[s]}, T[s]) for s in SPANS]
PAIRS = [((IDS[s], AGES[s]), T[s]) for s in SPANS]


def pair(device="cpu"):
    return make(device, inputs=(INPUTS["ids"], 3))


def loss_of(model, *data):
    return bp.evaluate(model, *data, loss=LOSS)["loss"]


def test_an_epoch_has_every_row_of_every_input_together(device):
    batches = bp.data.Batches(X, T, batch_size=6, seed=1, device=device, inputs=INPUTS)
    assert len(batches) == 4
    found = []
    for x, t in batches:
        assert list(x) == ["ids", "age"] and all(map(device.owns, x.values()))
        found.append([device.to_numpy(part) for part in (x["ids"], x["age"], t)])
    ids, age, t = map(np.concatenate, zip(*found, strict=True))
    assert ids.dtype.kind == "i" and age.dtype == np.float32
    rows = [int(np.argmin(np.abs(AGES[:, 0] - value))) for value in age[:, 0]]
    assert sorted(rows) == list(range(20)) and rows != list(range(20))
    np.testing.assert_array_equal(ids, IDS[rows])
    np.testing.assert_array_equal(t, T[rows])


def test_without_a_specification_every_input_is_numbers(device):
    for x, t in bp.data.Batches((IDS, AGES), T, shuffle=False, device=device):
        assert isinstance(x, tuple)
        assert [device.to_numpy(part).dtype for part in x] == [np.float32, np.float32]
        np.testing.assert_array_equal(device.to_numpy(t), T)
        y = make(device, inputs=(INPUTS["ids"], 3)).predict(x)  # whole numbers become indices
        assert device.owns(y)


class Stored(bp.data.Blocks):
    """Blocks of both inputs, in memory."""

    def __init__(self, x=X, rows=(8, 8, 4)):
        self.sample_shape = {"ids": (), "age": (3,)}
        self.dtype = {"ids": np.dtype(np.int64), "age": np.dtype(np.float64)}
        self.x, self.block_rows = x, rows

    def read(self, block):
        return {name: part[SPANS[block]] for name, part in self.x.items()}, T[SPANS[block]]


def sources(device):
    """The same twenty samples, and the model that takes them in this form."""
    age = moved(X, device)["age"]
    return {
        "a dict": (make, bp.data.Batches(X, T, batch_size=7)),
        "a dict, specified": (make, bp.data.Batches(X, T, batch_size=7, inputs=INPUTS)),
        "a dict on the device": (make, bp.data.Batches(moved(X, device), T, batch_size=7)),
        "a dict here and there": (make, bp.data.Batches(X | {"age": age}, T, batch_size=7)),
        "a tuple": (pair, bp.data.Batches((IDS, AGES), T, batch_size=7)),
        "blocks": (make, bp.data.Batches(Stored(), batch_size=7)),
        "batches of dicts": (make, PARTS),
        "batches of dicts on the device": (make, [(moved(x, device), t) for x, t in PARTS]),
        "batches of tuples": (pair, PAIRS),
        "a tuple of batches of tuples": (pair, tuple(PAIRS)),
        "lists, as PyTorch's loaders give them": (pair, iter([[[IDS, AGES], T]])),
    }


@pytest.mark.parametrize("kind", sources(bp.device("cpu")))
def test_a_model_is_evaluated_on_its_inputs_from_any_source(device, kind):
    make_model, data = sources(device)[kind]
    expected = loss_of(make(device), X, T)
    assert loss_of(make_model(device), data) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", sources(bp.device("cpu")))
def test_a_model_predicts_its_inputs_from_any_source(device, kind):
    make_model, data = sources(device)[kind]
    if isinstance(data, (list, tuple)):
        data = iter(data)
    elif kind.startswith("lists"):
        data = iter([([IDS, AGES], T)])
    outputs = make_model(device).predict(data)
    there = kind == "batches of dicts on the device" and device.name != "cpu"
    assert isinstance(outputs, np.ndarray) != there
    np.testing.assert_allclose(
        device.to_numpy(outputs) if there else outputs,
        make(device).predict(X),
        rtol=1e-4,
        atol=1e-6,
    )


# -- what a tuple is: inputs, or a batch -------------------------------------------------------


def test_a_tuple_beside_targets_is_several_inputs():
    assert loss_of(pair(), (IDS, AGES), T) == pytest.approx(loss_of(make(), X, T))


def test_a_list_or_tuple_of_tuples_without_targets_is_batches():
    for batches in (PAIRS, tuple(PAIRS)):
        assert len(bp.data.Batches(batches)) == 3
        assert loss_of(pair(), batches) == pytest.approx(loss_of(make(), X, T))


def test_a_tuple_of_arrays_without_targets_is_several_inputs():
    [(ids, age)] = bp.data.Batches((IDS, AGES), shuffle=False, device="cpu")
    np.testing.assert_array_equal(ids, IDS)
    np.testing.assert_array_equal(age, AGES.astype(np.float32))
    np.testing.assert_array_equal(pair().predict(bp.data.Batches((IDS, AGES))), make().predict(X))


def test_a_list_beside_targets_is_rows_unless_the_model_takes_a_tuple():
    model = bp.Model(bp.Linear(2), 3, device="cpu")
    rows = [tuple(row) for row in AGES.tolist()]
    assert loss_of(model, rows, T) == loss_of(model, AGES, T)
    assert loss_of(pair(), [IDS, AGES], T) == loss_of(pair(), (IDS, AGES), T)


def test_a_batch_that_is_a_tuple_is_samples_and_targets():
    with pytest.raises(bp.InputError, match="batch 1: x: expected a tuple of 2 inputs, got one ar"):
        loss_of(pair(), [(IDS, AGES)])
    with pytest.raises(
        bp.InputError, match="batch 1: x: expected a tuple of 2 inputs, got one array"
    ):
        pair().predict(iter([(IDS, AGES)]))
    np.testing.assert_array_equal(
        pair().predict(iter([((IDS, AGES),)])), pair().predict((IDS, AGES))
    )


# -- what is wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([PARTS[0], ({"ids": IDS}, T)], "batch 2: x: expected a dict of ids, age, but 'age' is"),
        (
            [(X | {"age": AGES[:7]}, T)],
            r"batch 1: x\['age'\]: expected 20 rows, as x\['ids'\] has, got 7",
        ),
        (
            [(X | {"age": AGES * np.nan}, T)],
            r"batch 1: x\['age'\]\[0, 0\]: expected a finite number, got nan",
        ),
        ([(X | {"ids": IDS + 5}, T)], r"batch 1: x\['ids'\]\[0\]: expected an index"),
        (
            bp.data.Batches(Stored(X | {"age": AGES * np.nan})),
            r"block 0: x\['age'\]\[0, 0\]: expected a finite number, got n",
        ),
        (
            bp.data.Batches(Stored(X | {"ids": IDS + 5})),
            r"block 0: x\['ids'\]\[0\]: expected an index",
        ),
        (
            bp.data.Batches(Stored(X | {"ids": IDS[1:]})),
            r"block 2: x\['age'\]: expected 3 rows, as x\['ids'\] has, got 4",
        ),
        (bp.data.Batches(Stored({"ids": IDS})), "block 0: x: expected .*, but 'age' is missing"),
        (
            bp.data.Batches(X, T, inputs={"ids": 1, "age": 3}),
            "batches: expected inputs .*; do not pass inputs=",
        ),
        (bp.data.Batches(bp.data.ArrayBlocks(AGES, T)), "x: expected a dict of ids, age, got one"),
        (bp.data.Batches({}, T), "x: expected a dict of ids, age, but 'ids' is missing"),
    ],
)
def test_what_is_wrong_with_an_input_is_said_with_its_place(device, data, message):
    with pytest.raises(bp.InputError, match=f"^{message}"):
        loss_of(make(device), data)


def test_no_inputs_at_all_are_refused():
    for empty in ({}, ()):
        with pytest.raises(bp.InputError, match="x: expected at least one input, got an empty"):
            next(iter(bp.data.Batches(empty, T, device="cpu")))
