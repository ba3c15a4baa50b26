"""Every contestant does the same work: the same losses from the same weights and batches."""

from __future__ import annotations

import pytest

import bp_arrays as bp
from benchmarks.contestants import CPU, DEVICES, FLOOR, GPU, OURS, unavailable
from benchmarks.measuring import disagreement, measure
from benchmarks.workloads import Workload

SMALL = Workload((7, 12, 11, 4), 6, 20)
COMPILED = ("torch.compile",)  # its compiler takes half a minute; `python -m benchmarks` runs it


@pytest.mark.parametrize("name", [name for name in CPU if name not in (OURS, FLOOR, *COMPILED)])
def test_the_same_losses_as_ours(name):
    missing = unavailable(name, "cpu")
    if missing:
        pytest.skip(missing)
    contestants = {n: CPU[n](SMALL) for n in (OURS, FLOOR, name)}
    result = measure(SMALL, contestants, rounds=2, warm=1)
    assert disagreement(result, name, OURS) < 2e-5
    losses = result.losses[OURS]
    assert losses[0] > losses[-1], "nobody learned anything"
    assert result.ratio(OURS, name) > 0.0 and len(result.times[name]) == 2


def test_other_work_is_noticed():
    contestants = {OURS: CPU[OURS](SMALL), "other": CPU[OURS](Workload((7, 12, 11, 4), 5, 24))}
    result = measure(SMALL, contestants, rounds=1, warm=2)
    assert disagreement(result, "other", OURS) > 1e-3


def test_an_error_in_the_thread_of_fit_is_raised_here():
    epoch = CPU[OURS](SMALL)
    with pytest.raises(Exception, match="row numbers"):
        epoch([10**6] * (6 * 20))


def test_without_a_gpu_each_says_why():
    for name in GPU:
        needed = bp.device(DEVICES.get(name, "cuda")).availability()
        assert needed.usable or unavailable(name, "gpu")
