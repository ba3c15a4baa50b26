"""JAX as it comes, without 64 bits: in a process of its own, for the tests turn them on."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
import sys, numpy as np, bp_arrays as bp
net = bp.Sequential(bp.Linear(4), bp.ReLU(), bp.Dropout(0.2), bp.Linear(3))
model = bp.Model(net, input_shape=(5,), device="jax:cpu", seed=0)
x, t = np.random.default_rng(0).normal(size=(40, 5)), np.arange(40) % 3
history = bp.fit(model, x, t, loss=bp.CrossEntropy(), optimizer=bp.Adam(0.01), epochs=2,
                 metrics=[bp.Accuracy()], validation=(x, t))
print(np.isfinite(history["val_loss"]).all(), model.predict(x).dtype)
t = (10_000 + np.random.default_rng(1).normal(size=(500, 1))).astype(np.float32)
y = t + np.random.default_rng(2).normal(size=(500, 1)).astype(np.float32)
r2 = bp.evaluate(bp.Model(bp.Identity(), 1, device="jax:cpu"), y, t, loss=bp.L2Loss(),
                 metrics=[bp.R2()], batch_size=7)["r2"]
a, b = t.astype(float), y.astype(float)
print(abs(r2 - (1 - ((a - b) ** 2).sum() / ((a - a.mean()) ** 2).sum())) < 1e-6)
big = np.r_[2.0**25, np.ones(999)]
loss = bp.evaluate(bp.Model(bp.Identity(), 1, device="jax:cpu"), np.ones((1000, 1)),
                   np.r_[1.0, np.zeros(999)][:, None], loss=bp.MeanSquaredError(reduction="mean"),
                   sample_weight=big, batch_size=1)["loss"]
print(abs(loss / (999 / (2.0**25 + 999)) - 1) < 1e-6)
whole, path = bp.Model(net, 5, device="cpu", dtype="float64"), sys.argv[1] + "/m.safetensors"
bp.fit(whole, x, np.arange(40) % 3, loss=bp.CrossEntropy(), optimizer=bp.Adam(), epochs=1)
whole.save(path, training_state=True)
again = bp.load(path, device="jax:cpu", dtype="float32")
for vector, saved in zip(again.training_state.vectors, whole.training_state.vectors, strict=True):
    print(vector.dtype, np.allclose(vector, saved, rtol=1e-6, atol=0.0))
"""


def test_training_on_jax_as_it_comes(tmp_path):
    pytest.importorskip("jax", reason="JAX is not installed")
    environment = {k: v for k, v in os.environ.items() if k != "JAX_ENABLE_X64"}
    result = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["True", "float32", *["True"] * 2, *["float32", "True"] * 2]
