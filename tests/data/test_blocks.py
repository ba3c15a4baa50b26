"""Data read block by block: every row once, shuffled by the rule, checked, memory bounded."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.random import host_generator

ROWS = [5, 3, 0, 7, 1, 4, 6]
X = np.arange(26.0)[:, None] * np.ones(2)
T = np.arange(26) % 3


class Stored(bp.data.Blocks):
    """Blocks in memory, which notes what is read."""

    sample_shape, dtype = (2,), np.dtype(float)

    def __init__(self, rows=ROWS, x=X, t=T, weight=None):
        self.block_rows, self.parts, self.reads = rows, (x, t, weight), []
        self.starts = np.cumsum([0, *rows])

    def read(self, block):
        self.reads.append(block)
        rows = slice(self.starts[block], self.starts[block + 1])
        return tuple(part[rows] for part in self.parts if part is not None)


def rows_of(batches, device):
    return [device.to_numpy(batch[0])[:, 0].astype(int).tolist() for batch in batches]


@pytest.mark.parametrize("batch_size", [1, 4, 5, 26, 100])
def test_in_order_the_rows_come_as_they_lie(device, batch_size):
    batches = bp.data.Batches(Stored(), batch_size=batch_size, shuffle=False, device=device)
    found = rows_of(batches, device)
    assert np.concatenate(found).tolist() == list(range(26))
    assert [len(rows) for rows in found[:-1]] == [batch_size] * (len(found) - 1)
    assert len(batches) == len(found)


@pytest.mark.parametrize("window", [1, 8, 1000])
@pytest.mark.parametrize("batch_size", [4, 9])
def test_the_order_is_that_of_the_rule(device, window, batch_size):
    """Blocks in random order, made windows, rows in random order: written out again here."""
    stored = Stored()
    batches = bp.data.Batches(stored, batch_size=batch_size, seed=5, window=window, device=device)
    for epoch in range(2):
        stored.reads.clear()
        found = rows_of(batches, device)
        generator = host_generator(5, "shuffle", epoch)
        expected, together, reads = [], [], []
        for block in generator.permutation([0, 1, 3, 4, 5, 6]).tolist():
            reads.append(block)
            together += range(stored.starts[block], stored.starts[block + 1])
            if len(together) >= window:
                expected += [together[k] for k in generator.permutation(len(together))]
                together = []
        expected += [together[k] for k in generator.permutation(len(together))]
        assert np.concatenate(found).tolist() == expected
        assert sorted(expected) == list(range(26)) and expected != list(range(26))
        assert stored.reads == reads
        assert [len(rows) for rows in found[:-1]] == [batch_size] * (len(found) - 1)


def test_targets_and_weights_stay_with_their_rows(device):
    weight = np.arange(26) + 1.0
    batches = bp.data.Batches(Stored(weight=weight), batch_size=4, window=9, device=device)
    for x, t, w in batches:
        rows = device.to_numpy(x)[:, 0].astype(int)
        np.testing.assert_array_equal(device.to_numpy(t), T[rows])
        np.testing.assert_array_equal(device.to_numpy(w), weight[rows])


def test_fit_and_its_like_take_blocks(device):
    def make():
        return bp.Model(bp.Linear(3), 2, device=device, seed=0)

    settings = {"loss": bp.CrossEntropy(), "optimizer": bp.SGD(0.01), "epochs": 2}
    blocks, arrays = make(), make()
    in_order = bp.data.Batches(Stored(), batch_size=4, shuffle=False)
    one = bp.fit(blocks, in_order, validation=Stored(), **settings)
    two = bp.fit(arrays, X, T, batch_size=4, shuffle=False, validation=(X, T), **settings)
    np.testing.assert_array_equal(device.to_numpy(blocks.vector), device.to_numpy(arrays.vector))
    np.testing.assert_allclose(one["val_loss"], two["val_loss"], rtol=1e-6)
    np.testing.assert_allclose(blocks.predict(in_order), arrays.predict(X), rtol=1e-6)
    shuffled, again = make(), make()
    for model in (shuffled, again):
        bp.fit(model, Stored(), batch_size=4, seed=3, **settings)
    np.testing.assert_array_equal(device.to_numpy(shuffled.vector), device.to_numpy(again.vector))


def test_no_more_than_the_window_in_use_and_the_next_are_in_memory():
    alive, most = set(), 0

    class Tracked(np.ndarray):
        def __del__(self):
            alive.discard(id(self))

    class Watched(Stored):
        def read(self, block):
            nonlocal most
            x = np.array(super().read(block)[0]).view(Tracked)
            alive.add(id(x))
            most = max(most, len(alive))
            return (x,)

    watched = Watched([10] * 20, np.zeros((200, 2)))
    for _ in bp.data.Batches(watched, batch_size=3, window=1, device="cpu"):
        pass
    assert len(watched.reads) == 20 and most <= 3


def test_a_loss_that_is_not_finite_is_found_in_shuffled_blocks(device):
    model = bp.Model(bp.Linear(1), 2, device=device)
    t = np.zeros((26, 1))
    with pytest.raises(bp.NonFiniteLossError, match="epoch 1, batch"):
        bp.fit(model, Stored(t=t), loss=bp.L2Loss(), optimizer=bp.SGD(1e30), batch_size=2)
    assert all(np.isfinite(value).all() for value in model.host_parameters().values())


def with_(array, index, value):
    changed = array.astype(float)
    changed[index] = value
    return changed


class Other(Stored):
    """Whose fourth block is made differently."""

    def __init__(self, make):
        super().__init__()
        self.make = make

    def read(self, block):
        x, t = super().read(block)
        return self.make(x, t) if block == 3 else (x, t)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        (
            Stored(x=with_(X, (9, 1), np.inf)),
            r"block 3, x\[1, 1\]: expected a finite number, got inf",
        ),
        (Stored(t=with_(T, 9, 7)), r"block 3: t\[1\]: expected classes 0 to 2, .*got 7\.0"),
        (Stored(t=None), "block 0: t: expected targets"),
        (
            Stored(weight=np.full(26, -1.0)),
            r"block 0: sample_weight\[0\]: expected a number >= 0, got -1",
        ),
        (Other(lambda x, t: (x[1:], t)), "block 3: x: expected 7 rows, got 6"),
        (Other(lambda x, t: (x, t[1:])), "block 3: t: expected targets for the 7 rows"),
        (Other(lambda x, t: (x, t, t)), "block 3: expected weight of no values"),
        (Other(lambda x, t: (x.astype("f4"), t)), "block 3: expected x of dtype float64"),
        (Stored([0, 0]), "x: expected at least one row"),
        (Stored([]), "x: expected at least one row"),
    ],
)
def test_what_is_wrong_with_a_block_is_said_with_its_name(device, blocks, message):
    model = bp.Model(bp.Linear(3), 2, device=device)
    batches = bp.data.Batches(blocks, shuffle=False)
    with pytest.raises(bp.InputError, match=message):
        bp.fit(model, batches, loss=bp.CrossEntropy(), optimizer=bp.SGD(0.01))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"t": T}, "t: do not pass it, the blocks have their own"),
        ({"weight": T}, "weight: do not pass it, the blocks have their own"),
        ({"window": 0}, "window=0: expected a whole number >= 1"),
        (
            {"shuffle": lambda epoch: range(26)},
            "shuffle: expected True or False for data that is read block by block",
        ),
    ],
)
def test_settings_that_blocks_do_not_take(settings, message):
    with pytest.raises(bp.InputError, match=message):
        iter(bp.data.Batches(Stored(), device="cpu", **settings))


def test_samples_of_another_shape_are_refused_before_anything_is_read():
    stored = Stored()
    with pytest.raises(bp.InputError, match=r"x: expected shape \(batch, 5\), got \(26, 2\)"):
        bp.fit(
            bp.Model(bp.Linear(3), 5, device="cpu"),
            stored,
            loss=bp.CrossEntropy(),
            optimizer=bp.SGD(0.01),
        )
    assert stored.reads == []
