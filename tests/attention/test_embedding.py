"""Covers: Embedding, the size of its table at the door of the model, add_rows."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.errors import InputError
from bp_arrays.kernels import add_rows
from bp_arrays.layers import IndexShape

WORDS = bp.InputSpec((4,), "index")
IDS = np.array([[1, 0, 9, 1], [2, 2, 1, 5]])


def test_rows_and_gradients_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    from attention.reference import check_gradients, float64_model, tensors

    model = float64_model(bp.Embedding(10, 3), WORDS)
    parameters = tensors(model)
    y = torch.nn.functional.embedding(torch.from_numpy(IDS), parameters["weight"])
    check_gradients(model, IDS, y, parameters)


def test_the_padding_index_is_that_of_pytorch():
    torch = pytest.importorskip("torch")
    from attention.reference import check_gradients, float64_model, tensors

    model = float64_model(bp.Embedding(10, 3, padding_index=1), WORDS)
    table = model.host_parameters()["weight"]
    table[1] = 0.0
    model.set_parameters({"weight": table})
    parameters = tensors(model)
    ids = torch.from_numpy(IDS)
    y = torch.nn.functional.embedding(ids, parameters["weight"], padding_idx=1)
    check_gradients(model, IDS, y, parameters)


def test_a_padding_row_that_is_not_zero_is_not_used():
    model = bp.Model(bp.Embedding(10, 3, padding_index=1), WORDS, device="cpu")
    assert np.any(model.parameters["weight"][1])
    y = model.predict(IDS)
    assert not y[IDS == 1].any() and y[IDS != 1].all()


@pytest.mark.parametrize("size", [7, 400])
def test_add_rows_in_every_form(size, device):
    generator = np.random.default_rng(size)
    ids = generator.integers(0, size // 2, 90)
    rows = generator.normal(size=(90, 5)).astype(np.float32)
    expected = np.zeros((size, 5))
    np.add.at(expected, ids, rows)
    arrays = device.asarray(ids, "int32"), device.asarray(rows)
    for form in (add_rows, add_rows.standard):
        table = form(*arrays, size, device=device.native, xp=device.xp)
        assert table.dtype == arrays[1].dtype
        np.testing.assert_allclose(device.to_numpy(table), expected, atol=2e-6)


def test_many_rows_in_float16_do_not_stop_at_2048():
    rows = np.ones((5000, 1), dtype=np.float16)
    ids = np.zeros(5000, dtype=np.int64)
    for form in (add_rows, add_rows.standard):
        for size in (1, 300):
            assert form(ids, rows, size, device=None, xp=np)[0, 0] == 5000


def test_the_model_takes_the_size_of_the_table(device):
    model = bp.Model(bp.Embedding(10, 3), WORDS, device=device)
    assert model.inputs == bp.InputSpec((4,), "index", size=10)
    with pytest.raises(InputError, match=r"x\[1, 2\]: .* from 0 to 9, got 10"):
        model.predict([[0, 1, 2, 3], [0, 0, 10, 0]])
    with pytest.raises(InputError, match=r"x\[0, 3\]: .* from 0 to 9, got -1"):
        model.forward(device.asarray(np.array([[0, 1, 2, -1]], dtype=np.int32)))
    with pytest.raises(InputError, match="from 0 to 9, got 12"):
        bp.fit(
            model,
            IDS + 3,
            np.zeros((2, 4, 3)),
            loss=bp.MeanSquaredError(),
            optimizer=bp.SGD(0.1),
            epochs=1,
        )


def test_of_several_tables_the_smallest_counts():
    net = bp.Sequential(bp.Identity(), bp.Residual(bp.Embedding(10, 3)))
    with pytest.raises(InputError, match="Residual"):
        bp.Model(net, WORDS, device="cpu")
    model = bp.Model(bp.Sequential(bp.Embedding(10, 3), bp.Linear(2)), WORDS, device="cpu")
    assert model.inputs.size == 10
    smaller = bp.InputSpec((4,), "index", size=6)
    assert bp.Model(bp.Embedding(10, 3), smaller, device="cpu").inputs == smaller


def test_what_does_not_fit_is_refused_when_the_model_is_built():
    table = bp.Embedding(10, 3)
    with pytest.raises(InputError, match="expected indices as its input, got numbers of shape"):
        bp.Model(table, (4,), device="cpu")
    with pytest.raises(InputError, match=r"Embedding\(10, 3\): expected indices as its input"):
        bp.Model(bp.Sequential(bp.Linear(2), table), (4,), device="cpu")
    with pytest.raises(InputError, match="indices below 10, got an input of size 11"):
        bp.Model(table, bp.InputSpec((4,), "index", size=11), device="cpu")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 3), r"Embedding\(size=0\): expected size >= 1"),
        ((3, 0), r"Embedding\(features=0\): expected features >= 1"),
        ((3.5, 1), r"Embedding\(size=3.5\): expected a whole number"),
        ((3, 2, 3), r"Embedding\(padding_index=3\): expected an index below the size, 3"),
        ((3, 2, -1), r"Embedding\(padding_index=-1\): expected padding_index >= 0"),
        ((3, 2, None, 0.02), r"Embedding\(weight_init=0.02\): expected an initializer"),
    ],
)
def test_fields_are_checked(arguments, message):
    with pytest.raises(InputError, match=message):
        bp.Embedding(*arguments)


def test_a_file_and_a_pickle_keep_the_model(tmp_path):
    model = bp.Model(bp.Embedding(10, 3, padding_index=0), WORDS, device="cpu", seed=4)
    model.save(tmp_path / "m.safetensors")
    for again in (
        bp.load(tmp_path / "m.safetensors", device="cpu"),
        pickle.loads(pickle.dumps(model)),
    ):
        assert again.net == model.net and again.inputs == model.inputs
        assert isinstance(again.input_shape, IndexShape)
        np.testing.assert_array_equal(again.predict(IDS), model.predict(IDS))


def test_words_are_learned(device):
    """The class of a text of four words is whether word 3 is in it."""
    generator = np.random.default_rng(0)
    x = generator.integers(0, 6, (200, 4))
    t = (x == 3).any(axis=1).astype(int)
    net = bp.Sequential(bp.Embedding(6, 4), bp.Flatten(), bp.Linear(2))
    model = bp.Model(net, WORDS, device=device, seed=0)
    history = bp.fit(
        model, x, t, loss=bp.CrossEntropy(), optimizer=bp.Adam(0.05), epochs=12, batch_size=20
    )
    assert history["loss"][-1] < 0.1 * history["loss"][0]


def test_a_row_that_is_not_finite_is_added_to_its_own_sum_only(device):
    xp, native = device.xp, device.native
    rows = np.ones((4, 2), np.float32)
    rows[1], rows[2] = np.inf, np.nan
    ids = xp.asarray(np.array([0, 1, 2, 0]), dtype=xp.int32, device=native)
    rows = xp.asarray(rows, dtype=xp.float32, device=native)
    for form in (add_rows, add_rows.standard):
        table = device.to_numpy(form(ids, rows, 4, device=native, xp=xp))
        np.testing.assert_array_equal(table[[0, 3]], [[2.0, 2.0], [0.0, 0.0]])
        assert not np.isfinite(table[1:3]).any()


def test_the_gradient_of_positions_in_float16_is_summed_in_float32():
    _, backward = bp.LearnedPositions(1).forward(
        {"weight": np.zeros((1, 1), np.float16)}, np.zeros((4100, 1, 1), np.float16), bp.Context(np)
    )
    _, gradients = backward(np.ones((4100, 1, 1), np.float16))
    assert gradients["weight"].tolist() == [[4100.0]]


@pytest.mark.parametrize("time", [1, 2, 5, 1000])
def test_sines_and_cosines_are_those_of_the_definition(time):
    x = np.zeros((1, time, 7), np.float32)
    y, _ = bp.SinusoidalPositions().forward({}, x, bp.Context(np))
    for i in range(7):
        angles = np.arange(time) * 10000.0 ** (-2.0 * (i // 2) / 7)
        expected = np.cos(angles) if i % 2 else np.sin(angles)
        np.testing.assert_allclose(y[0, :, i], expected, atol=2.5e-7)
