"""Long and large, in short: memory that stays, peaks as stated, the same bits in parallel.

Covers: `benchmarks.soak`.
"""

from __future__ import annotations

import sys

import pytest

from benchmarks.soak import MIB, Soak, in_parallel, measure_large, without_compiler

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory as Linux counts it")


def test_rounds_of_training_saving_and_loading_keep_their_memory():
    assert without_compiler("soak(minutes=0.02).growth") < 2 * MIB


def test_a_growing_process_is_seen():
    at = [float(k) for k in range(100)]
    leaking = Soak(at, [1e8 + 1e5 * k for k in at], [1e-4 * (1 + k / 1e3) for k in at])
    assert leaking.growth > 3 * MIB and leaking.bytes_per_hour > 3e8
    assert leaking.slowdown_per_hour > 3 and "MiB per hour" in str(leaking)


def test_a_stream_takes_the_memory_of_a_batch():
    measured = without_compiler("stream(200_000)")
    assert measured["samples"] == 200_000 and measured["growth_mib"] < 4


def test_a_large_net_takes_its_vectors_and_activations():
    large = measure_large(2_000_000)
    assert large.parameters > 1_800_000 and large.peak < 1.25 * large.needed, large


@pytest.mark.filterwarnings("ignore:os.fork")  # of JAX, which another test may have imported
def test_threads_forks_and_spawned_processes_train_alike():
    digests = in_parallel(2)
    assert len(set(digests["alone"])) == 2
    assert all(found == digests["alone"] for found in digests.values())
