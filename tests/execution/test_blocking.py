"""The update in pieces is the update whole, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.execution import block_update
from bp_arrays.execution.blocking import BLOCK
from bp_arrays.optimizers import OPTIMIZERS


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("size", [1, BLOCK, BLOCK + 1, 3 * BLOCK - 7])
def test_every_optimizer_in_pieces(name, size, dtype):
    optimizer = OPTIMIZERS[name](0.1)
    cpu = bp.device("cpu")
    blocked = block_update(optimizer.update, cpu, elementwise=optimizer.elementwise)
    rng = np.random.default_rng(0)
    theta = rng.normal(size=size).astype(dtype)
    whole = pieces = (theta, optimizer.init(theta, cpu.xp))
    before = theta.copy()
    for step in range(1, 4):
        g = rng.normal(size=size).astype(dtype)
        scalars = optimizer.scalars(step, 0.1)
        whole = optimizer.update(whole[0], g, whole[1], scalars, cpu.xp)
        pieces = blocked(pieces[0], g, pieces[1], scalars, cpu.xp)
    np.testing.assert_array_equal(pieces[0], whole[0])
    for one, other in zip(pieces[1], whole[1], strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(theta, before)


def test_what_is_not_elementwise_is_left_whole():
    chain = bp.Chain(bp.ClipByGlobalNorm(1.0), bp.SGD(0.1))
    update = chain.update
    assert block_update(update, bp.device("cpu"), elementwise=chain.elementwise) is update
    strict = bp.device("strict")
    assert block_update(bp.SGD(0.1).update, strict, elementwise=True) is not None
