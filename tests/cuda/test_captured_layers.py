"""Steps of layers of every kind run as a CUDA graph: nothing in them is refused by CuPy.

A refused step is as right as a captured one, only slower, so no other test would notice.
"""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp

CLASSES, BATCH = 3, 4
IMAGE = (6, 6, 2)
SIGNAL = (8, 3)
INDEX = bp.InputSpec(8, "index")
NETS = {
    "Conv1d": (bp.Sequential(bp.Conv1d(4, 3, dilation=2), bp.MaxPool1d(2)), SIGNAL),
    "Conv2d": (bp.Sequential(bp.Conv2d(4, 3, groups=2), bp.AveragePool2d(2)), IMAGE),
    "depthwise": (bp.Conv2d(2, 3, groups=2, stride=2), IMAGE),
    "ConvTranspose2d": (bp.ConvTranspose2d(3, 3, stride=2), IMAGE),
    "Upsample": (bp.Sequential(bp.Upsample(2, "bilinear"), bp.GlobalMaxPool()), IMAGE),
    "BatchNorm": (bp.Sequential(bp.Linear(5), bp.BatchNorm(), bp.PReLU()), SIGNAL),
    "norms": (bp.Sequential(bp.LayerNorm(), bp.RMSNorm(), bp.GroupNorm(1)), SIGNAL),
    "small table": (bp.Embedding(20, 5), INDEX),
    "large table": (bp.Embedding(300, 5), INDEX),
    "RNN": (bp.RNN(5), SIGNAL),
    "LSTM": (bp.LSTM(5, bidirectional=True), SIGNAL),
    "GRU": (bp.GRU(5, layers=2), SIGNAL),
    "transformer": (
        bp.Sequential(
            bp.Embedding(20, 8), bp.SinusoidalPositions(), bp.TransformerBlock(2, causal=True)
        ),
        INDEX,
    ),
    "rotary": (bp.MultiHeadAttention(2, rotary=True), (8, 8)),
}


@pytest.mark.parametrize("name", NETS)
def test_a_step_is_captured(cuda, name):
    layer, inputs = NETS[name]
    net = bp.Sequential(layer, bp.Flatten(), bp.Dropout(0.1), bp.Linear(CLASSES))
    model = bp.Model(net, inputs, device=cuda, seed=0)
    rng = np.random.default_rng(0)
    if isinstance(inputs, bp.InputSpec):
        x = rng.integers(0, 20, (8 * BATCH, 8))
    else:
        x = rng.normal(size=(8 * BATCH, *inputs)).astype(np.float32)
    t = rng.integers(0, CLASSES, len(x))
    history = bp.fit(
        model, x, t, loss=bp.CrossEntropy(), optimizer=bp.Adam(), batch_size=BATCH, epochs=2
    )
    assert (history.compiled_by, history.not_compiled) == ("CUDA graph", "")


def test_steps_in_mixed_precision_are_captured_and_skipped_on_the_device(cuda):
    x = np.random.default_rng(0).normal(size=(48, 5))
    t = x[:, :2] * 30.0 + 100.0  # the first gradients overflow in float16
    net = bp.Sequential(bp.Linear(8), bp.BatchNorm(), bp.Tanh(), bp.Linear(2))
    results = []
    for compiled in (True, False):
        model = bp.Model(net, 5, device=cuda, seed=0, compute_dtype="float16")
        history = bp.fit(
            model, x, t, loss=bp.MeanSquaredError(), optimizer=bp.Adam(1e-2), epochs=3,
            batch_size=5, compiled=compiled,
        )  # fmt: skip
        assert history.not_compiled == "" and history.compiled_by == "CUDA graph" * compiled
        scaling = cuda.to_numpy(model.training_state.loss_scaling)
        arrays = [*model.host_parameters().values(), scaling]
        results.append((history["skipped_steps"], np.concatenate([a.ravel() for a in arrays])))
    (captured, ours), (eager, theirs) = results
    assert captured == eager and captured[0] > 1
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
