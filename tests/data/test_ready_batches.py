"""Batches that come ready-made: lists, generators, loaders of other libraries."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp

RNG = np.random.default_rng(3)
X = RNG.normal(size=(24, 4))
T = RNG.integers(0, 3, 24)
W = RNG.uniform(size=24)
SPANS = [slice(0, 8), slice(8, 16), slice(16, 24)]
PARTS = [(X[rows], T[rows]) for rows in SPANS]


class Loader:
    """Begins anew whenever it is iterated over, and expected a layer class known how long it is."""

    def __init__(self, parts):
        self.parts, self.epochs = parts, 0

    def __iter__(self):
        self.epochs += 1
        yield from self.parts


def make(device="cpu", dtype="float32"):
    net = bp.Sequential(bp.Linear(5), bp.Tanh(), bp.Linear(3))
    return bp.Model(net, 4, device=device, dtype=dtype, seed=0)


def train(model, x, t=None, **more):
    defaults = {"loss": bp.CrossEntropy(), "optimizer": bp.Adam(0.01), "epochs": 3}
    return bp.fit(model, x, t, **defaults | more)


@pytest.mark.parametrize("wrap", [list, Loader, lambda parts: bp.data.Batches(Loader(parts))])
@pytest.mark.parametrize("weighted", [False, True])
def test_batches_from_anywhere_train_as_the_arrays_they_were_cut_from(device, wrap, weighted):
    parts = [(X[rows], T[rows], W[rows]) for rows in SPANS] if weighted else PARTS
    whole, batches = make(device), make(device)
    weight = W if weighted else None
    one = train(whole, X, T, sample_weight=weight, batch_size=8, shuffle=False)
    two = train(batches, wrap(parts), validation=wrap(parts), progress=True)
    np.testing.assert_array_equal(device.to_numpy(whole.vector), device.to_numpy(batches.vector))
    assert one["loss"] == two["loss"]
    loss = {"loss": bp.CrossEntropy(), "metrics": [bp.Accuracy()]}
    expected = bp.evaluate(whole, X, T, sample_weight=weight, **loss)
    assert bp.evaluate(batches, wrap(parts), **loss) == pytest.approx(expected, rel=1e-6)
    assert two["val_loss"][-1] == pytest.approx(expected["loss"], rel=1e-6)
    if wrap is not list:  # a list is one array of rows to predict
        np.testing.assert_allclose(batches.predict(wrap(parts)), whole.predict(X), rtol=1e-6)


def test_batches_on_the_device_stay_there(device):
    parts = [tuple(map(device.asarray, (x.astype(np.float32), t))) for x, t in PARTS]
    there, host = make(device), make(device)
    train(there, parts)
    train(host, PARTS)
    np.testing.assert_array_equal(device.to_numpy(there.vector), device.to_numpy(host.vector))
    outputs = there.predict(x for x, _ in parts)
    assert device.owns(outputs) and outputs.shape == (24, 3)


def test_a_generator_serves_one_epoch_and_says_so_before_a_second():
    model = make()
    before = model.vector
    for name in ("x", "validation"):
        data = {"x": Loader(PARTS), "validation": Loader(PARTS)} | {name: iter(PARTS)}
        with pytest.raises(bp.InputError, match="iterated over only once, but epochs=2"):
            train(model, **data, epochs=2)
    np.testing.assert_array_equal(model.vector, before)
    assert train(model, iter(PARTS), epochs=1, validation=iter(PARTS)).epochs == 1


def test_an_iterable_that_runs_dry_is_told_so(device):
    class Once:
        def __init__(self):
            self.parts = iter(PARTS)

        def __iter__(self):
            return (part for part in self.parts)

    with pytest.raises(bp.InputError, match="got none in its second pass; a generator"):
        train(make(device), Once())
    with pytest.raises(bp.InputError, match="expected at least one batch"):
        train(make(device), [])
    with pytest.raises(bp.InputError, match="expected at least one batch"):
        make(device).predict(iter([]))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ((X[:8, :3], T[:8]), r"batch 2: x: expected shape \(batch, 4\), got \(8, 3\)"),
        ((X[:8], T[:7]), "batch 2: t: expected targets for the 8 rows"),
        ((X[:8], T[:8] + 3), r"batch 2: t\[\d\]: expected classes 0 to 2, .*got \d"),
        (
            (np.full((8, 4), np.nan), T[:8]),
            r"batch 2: x\[0, 0\]: expected a finite number, got nan",
        ),
        ((X[:8], T[:8], -W[:8]), r"batch 2: sample_weight\[0\]: expected a number >= 0, got -"),
        ((X[:0], T[:0]), "batch 2: x: expected at least one row"),
        ((X[:8], T[:8], W[:8], 1), "batch 2: expected .* got 4 parts"),
        (X[:8], "batch 2: t: expected targets"),
        (("a", "b"), "batch 2: x: expected an array, got the text"),
        ((None, None), r"batch 2: x: expected shape \(batch, 4\), got \(\)"),
    ],
)
def test_a_bad_batch_is_named_and_what_was_learned_before_is_kept(device, bad, message):
    model, good = make(device), make(device)
    with pytest.raises(bp.InputError, match=message):
        train(model, [PARTS[0], bad])
    train(good, PARTS[:1], epochs=1)
    np.testing.assert_array_equal(device.to_numpy(model.vector), device.to_numpy(good.vector))


def test_an_error_of_the_loader_itself_comes_through(device):
    def broken():
        yield PARTS[0]
        raise ZeroDivisionError("in the loader")

    with pytest.raises(ZeroDivisionError, match="in the loader"):
        train(make(device), broken(), epochs=1)


@pytest.mark.parametrize("at", [0, 1, 40])
def test_a_loss_that_is_not_finite_is_found_without_a_second_pass(device, at):
    """Also where the losses of many steps are looked at together, and samples are on the device."""
    parts = [(X[:8].astype(np.float32), T[:8])] * 50
    parts[at] = (np.full((8, 4), np.nan, np.float32), T[:8])
    there = Loader([tuple(map(device.asarray, part)) for part in parts])
    model = make(device)
    where = (
        "x\\[0, 0\\]: expected a finite number, got nan"
        if device.name == "cpu"
        else "the samples x of that batch"
    )
    with pytest.raises(bp.BpArraysError, match=rf"batch {at + 1}:.*{where}"):
        train(model, there)
    assert there.epochs == 1
    assert all(np.isfinite(value).all() for value in model.host_parameters().values())


def test_what_only_arrays_have_is_refused_beside_them():
    for given in ({"batch_size": 4}, {"shuffle": False}, {"t": T}, {"sample_weight": W}):
        [name] = given
        name = "weight" if name == "sample_weight" else name
        with pytest.raises(bp.InputError, match=f"{name}: do not pass it, the iterable yields"):
            train(make(), Loader(PARTS), **given)


def test_a_data_loader_of_pytorch():
    torch = pytest.importorskip("torch")
    device = bp.device("torch:cpu")
    tensors = torch.tensor(X, dtype=torch.float32), torch.tensor(T)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*tensors), batch_size=8)
    model, whole = make(device), make(device)
    train(model, loader)
    train(whole, X, T, batch_size=8, shuffle=False)
    np.testing.assert_array_equal(device.to_numpy(model.vector), device.to_numpy(whole.vector))
