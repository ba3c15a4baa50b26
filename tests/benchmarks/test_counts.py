"""Covers: benchmarks/counts.py, and what a step of training asks of CUDA, on the emulated device.

The counts in benchmarks/results/counts.json are upper bounds. A change that makes a step cheaper
writes them anew: python -m benchmarks counts --out benchmarks/results.
"""

from __future__ import annotations

import json

import pytest

import bp_arrays as bp
from benchmarks import counts
from benchmarks.__main__ import RESULTS
from benchmarks.counts import NARROW, WINDOW, Workload, counted, narrow, nullified

emulated = pytest.mark.skipif(bool(counts.missing()), reason=counts.missing() or "not skipped")
RECORDED = json.loads((RESULTS / "counts.json").read_text())["networks"]


def case_name(recorded):
    return f"{'-'.join(map(str, recorded['layers']))}, {recorded['way']}, {recorded['data']}"


@emulated
@pytest.mark.parametrize("recorded", RECORDED, ids=case_name)
def test_no_step_window_or_epoch_costs_more_than_recorded_on_cuda(recorded):
    workload = narrow(Workload(tuple(recorded["layers"]), NARROW["rows"], 0))
    for part, now in counted(workload, recorded["way"], recorded["data"]).items():
        for what, number in now.items():
            assert number <= recorded[part].get(what, 0), (part, what)


@emulated
@pytest.mark.parametrize("way", counts.WAYS)
def test_the_width_of_layers_and_the_batch_change_no_count_on_cuda(way):
    wide = Workload((784, 100, 10), 50, 2 * WINDOW)
    assert counted(wide, way, "on the device") == counted(narrow(wide), way, "on the device")


@pytest.mark.parametrize("recorded", RECORDED, ids=case_name)
def test_what_the_recorded_counts_promise(recorded):
    step, window, epoch = (recorded[part] for part in ("step", "window", "epoch"))
    on_host = recorded["data"] == "on the host"
    assert step.get("to_host", 0) == step.get("synchronizations", 0) == 0
    assert step.get("to_device", 0) == (1 if on_host else 0)  # a batch that comes from the host
    assert step.get("allocations", 0) == window.get("allocations", 0) == 0
    assert window["to_host"] == window["synchronizations"] == 1
    assert epoch["to_host"] <= 3 and epoch["synchronizations"] <= 4
    if recorded["way"] == "captured":
        assert step["graph_launches"] == 1
        assert step["calls"] == 1 or on_host


@emulated
def test_bias_and_activation_of_a_layer_are_two_kernels_forward_on_cuda():
    import cuda_on_cpu

    device = bp.device("cuda")
    for activation in (bp.ReLU(), bp.Tanh(), bp.Sigmoid()):
        net = bp.Sequential(bp.Linear(8), activation)
        model = bp.Model(net, 4, device=device, seed=0)
        x = device.xp.ones((5, 4), dtype=device.xp.float32)
        with device.activate():
            ctx = model.context(training=True, needs_input_gradient=False)
            params = model.tree()
            net.forward(params, x, ctx)
            with cuda_on_cpu.counted() as forward:
                net.forward(params, x, ctx)
        assert (forward.products, forward.kernels) == (1, 2), activation


def test_a_hidden_module_seems_not_to_be_installed():
    import importlib.util

    with nullified("json"):
        assert importlib.util.find_spec("json") is None
    assert importlib.util.find_spec("json") is not None
