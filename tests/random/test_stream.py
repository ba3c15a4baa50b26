"""The stream of a pass: the same bits everywhere, and bits that look random."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from bp_arrays.errors import InputError
from bp_arrays.kernels import threefry2x32
from bp_arrays.random import Stream


def host_bits(count, seed=0, step=0):
    return Stream(np, None, seed, step).bits(count).view(np.uint32)


def host_mask(shape, rate, seed=0, step=0):
    return Stream(np, None, seed, step).keep_mask(shape, rate)[0]


def test_bits_are_pinned(device):
    """A change here changes the dropout of every model trained before."""
    bits = Stream(device.xp, device.native, seed=12345, step=6).bits(5)
    words = device.to_numpy(bits).astype(np.int32).view(np.uint32)
    assert [hex(word) for word in words.tolist()] == PINNED


PINNED = ["0xd975c55c", "0x32e309b6", "0x74c8ac3f", "0xc53b11b7", "0xbf9f435f"]


def test_every_device_draws_the_same(device):
    stream = Stream(device.xp, device.native, seed=2**80, step=17)
    for shape, rate in [((7,), 0.5), ((3, 5), 0.1), ((128, 33), 0.9), ((0, 4), 0.5), ((), 0.5)]:
        reference = Stream(np, None, 2**80, 17)
        reference._draws = stream._draws
        expected, expected_keep = reference.keep_mask(shape, rate)
        mask, keep = stream.keep_mask(shape, rate)
        assert mask.dtype == device.xp.bool
        assert mask.shape == shape
        assert keep == expected_keep
        np.testing.assert_array_equal(device.to_numpy(mask), expected)


def test_step_as_an_array(device):
    xp = device.xp
    step = xp.asarray(123, dtype=xp.int32, device=device.native)
    mask, _ = Stream(xp, device.native, 5, step).keep_mask((50,), 0.5)
    np.testing.assert_array_equal(device.to_numpy(mask), host_mask((50,), 0.5, 5, 123))


@pytest.mark.parametrize("named", [False, True], ids=["no device named", "device named"])
def test_a_compiled_step_does_not_freeze_the_mask(named):
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    native = jax.devices()[0] if named else None
    traces = []

    @jax.jit
    def masks(step):
        traces.append(1)
        stream = Stream(jnp, native, 5, step)
        return stream.keep_mask((40, 3), 0.3)[0], stream.keep_mask((40, 3), 0.3)[0]

    for step in (0, 1, 2**31 - 1):
        first, second = masks(np.int32(step))
        reference = Stream(np, None, 5, step)
        np.testing.assert_array_equal(first, reference.keep_mask((40, 3), 0.3)[0])
        np.testing.assert_array_equal(second, reference.keep_mask((40, 3), 0.3)[0])
    assert len(traces) == 1


def test_steps_draws_and_seeds_differ():
    stream = Stream(np, None, 0, 0)
    masks = [stream.keep_mask((4096,), 0.5)[0] for _ in range(3)]
    masks += [host_mask((4096,), 0.5, step=step) for step in (1, 2)]
    masks += [host_mask((4096,), 0.5, seed=seed) for seed in (1, 2, 2**64)]
    for i, one in enumerate(masks):
        for other in masks[:i]:
            assert 0.45 < np.mean(one == other) < 0.55


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.999])
def test_the_share_kept_is_the_probability_returned(rate):
    count = 400_000
    mask, keep = Stream(np, None, 3).keep_mask((count,), rate)
    assert abs(keep - (1 - rate)) <= 2**-17
    assert keep * 2**16 == round(keep * 2**16)
    assert abs(mask.mean() - keep) <= 5 * (keep * (1 - keep) / count) ** 0.5
    for quarter in np.split(mask, 4):  # each quarter comes from other bits of the words
        assert abs(quarter.mean() - keep) <= 5 * (4 * keep * (1 - keep) / count) ** 0.5


def test_rates_at_the_edges():
    mask, keep = Stream(np, None, 0).keep_mask((100_000,), 0.0)
    assert keep == 1.0
    assert mask.all()
    mask, keep = Stream(np, None, 0).keep_mask((1_000_000,), 1 - 1e-12)
    assert keep == 2**-16  # never 0: the values kept are divided by it
    assert 0 < mask.sum() < 50
    mask, keep = Stream(np, None, 0).keep_mask((1000,), 1e-9)
    assert keep == 1.0
    assert mask.all()


def test_bits_are_balanced_and_uncorrelated():
    bits = host_bits(2**16)
    columns = (bits[:, None] >> np.arange(32, dtype=np.uint32)) & 1
    assert np.abs(columns.mean(axis=0) - 0.5).max() < 5 * 0.5 / 2**8
    u = bits / 2.0**32 - 0.5
    limit = 5 / 2**8
    for lag in (1, 2, 3, 4, 7, 64, 2**15):  # 2**15: the other word of the same block
        assert abs(np.corrcoef(u[:-lag], u[lag:])[0, 1]) < limit
    for other in (host_bits(2**16, step=1), host_bits(2**16, seed=1)):
        assert abs(np.corrcoef(u, other / 2.0**32)[0, 1]) < limit


def test_successive_steps_are_not_permutations_of_each_other():
    """What cheap hashes do: the words of the next step are those of this one, in another order."""
    shared = np.intersect1d(host_bits(2**16, step=0), host_bits(2**16, step=1))
    assert shared.size <= 10  # two random sets of 2**16 of 2**32 words share one on average


def test_chi_square_of_the_sixteen_bit_halves():
    halves = host_bits(2**18).view(np.uint16)
    counts = np.bincount(halves >> 8, minlength=256)
    expected = halves.size / 256
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert 255 - 5 * 22.6 < chi_square < 255 + 5 * 22.6  # standard deviation √(2·255)


def test_memory_of_a_mask():
    count = 1_000_000
    stream = Stream(np, None, 0)
    tracemalloc.start()
    mask, _ = stream.keep_mask((count,), 0.5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert mask.nbytes == count
    assert peak < 7 * count


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
def test_bad_rate(rate):
    with pytest.raises(InputError, match="rate"):
        Stream(np, None, 0).keep_mask((3,), rate)


@pytest.mark.parametrize("seed", [-1, 1.0, "1", None, True, np.int64(-3)])
def test_bad_seed(seed):
    with pytest.raises(InputError, match="seed"):
        Stream(np, None, seed)


def test_any_whole_number_is_a_seed():
    np.testing.assert_array_equal(host_bits(4, seed=np.uint64(7)), host_bits(4, seed=7))
    assert host_bits(4, seed=10**100).size == 4


@pytest.mark.parametrize("step", [-1, 2**31])
def test_bad_step(step):
    with pytest.raises(InputError, match="step"):
        Stream(np, None, 0, step)


def test_the_counter_has_a_limit():
    with pytest.raises(InputError, match=r"2\*\*31"):
        Stream(np, None, 0).keep_mask((2**16, 2**15), 0.5)
    with pytest.raises(InputError, match=r"2\*\*31"):
        Stream(np, None, 0).bits(2**31)


def test_the_step_is_a_word_of_the_counter():
    """Streams of two steps never share a block: the pair (index, step) differs."""
    index = np.arange(8, dtype=np.int32)
    ours = {
        (int(a), int(b))
        for step in range(50)
        for a, b in zip(*threefry2x32((1, 2), index, np.full(8, step, np.int32)), strict=True)
    }
    assert len(ours) == 400
