"""Too little memory: the size of the batch and of the allocation are told, the model stays usable.

Covers: `OutOfMemoryError` from fit, Trainer.step, evaluate, gradients and predict, for the errors
of every library.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.devices import amount_asked_for, is_out_of_memory


class OutOfMemoryError(RuntimeError):
    """As in PyTorch; CuPy's is a MemoryError of this name."""


XLA = "RESOURCE_EXHAUSTED: Out of memory allocating 1,073,741,824 bytes."
ERRORS = [
    (MemoryError("Unable to allocate 559. GiB for an array with shape (5,)"), "559 GiB"),
    (OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0"), "20.00 GiB"),
    (MemoryError("Out of memory allocating 1,024 bytes (allocated so far: 0)"), "1,024 bytes"),
    (RuntimeError(XLA), "1,073,741,824 bytes"),
    (
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate "
            "400000 bytes. Error code 12 (Cannot allocate memory)"
        ),
        "400000 bytes",
    ),
    (MemoryError(), ""),
]


@pytest.mark.parametrize(("error", "amount"), ERRORS)
def test_the_error_of_each_library_is_known(error, amount):
    assert is_out_of_memory(error) and amount_asked_for(error) == amount


@pytest.mark.parametrize("error", [ValueError("out of memory"), RuntimeError("a shape")])
def test_other_errors_stay_what_they_are(error):
    assert not is_out_of_memory(error)


@dataclass(frozen=True)
class Full(bp.Layer):
    """A layer whose memory runs out while `error` is set."""

    error: ClassVar[Exception | None] = None

    def init(self, input_shape):
        return {}, input_shape

    def forward(self, params, a, ctx):
        if Full.error is not None:
            raise Full.error
        return a, lambda delta: (delta, {})


class FullInEvaluation(Full):
    def forward(self, params, a, ctx):
        if ctx.training:
            return a, lambda delta: (delta, {})
        return super().forward(params, a, ctx)


def test_validation_tells_how_to_make_its_own_batches_smaller(monkeypatch):
    model = bp.Model(bp.Sequential(bp.Linear(2), FullInEvaluation()), 3, device="cpu", seed=0)
    x, t = np.ones((8, 3), "float32"), np.zeros((8, 2), "float32")
    settings = {"loss": bp.L2Loss(), "optimizer": bp.Adam(0.1), "validation": (x, t)}
    monkeypatch.setattr(Full, "error", MemoryError())
    with pytest.raises(bp.OutOfMemoryError, match=r"with batches of 1024 rows.*validation=\[\("):
        bp.fit(model, x, t, batch_size=4, **settings)
    monkeypatch.setattr(Full, "error", None)
    assert bp.fit(model, x, t, **settings | {"validation": [(x, t)]}).epochs == 1


@pytest.mark.parametrize(("error", "amount"), ERRORS)
def test_fit_step_and_predict_tell_it_and_the_model_stays(monkeypatch, error, amount):
    model = bp.Model(bp.Sequential(bp.Linear(2), Full()), input_shape=3, device="cpu", seed=0)
    x, t = np.ones((8, 3), "float32"), np.zeros((8, 2), "float32")
    settings = {"loss": bp.L2Loss(), "optimizer": bp.Adam(0.1)}
    bp.fit(model, x, t, batch_size=4, compiled=False, **settings)
    before = np.array(model.vector)
    trainer = bp.Trainer(model, compiled=False, **settings)
    calls = {
        "fit: out of memory on 'cpu' with batches of 4 rows": lambda: bp.fit(
            model, x, t, batch_size=4, compiled=False, **settings
        ),
        "Trainer.step: out of memory on 'cpu'": lambda: trainer.step(x, t),
        "evaluate: out of memory on 'cpu' with batches of 1024 rows": lambda: bp.evaluate(
            model, x, t, loss=settings["loss"]
        ),
        "forward: out of memory on 'cpu'": lambda: model.forward(x),
        "gradients: out of memory on 'cpu'": lambda: model.gradients(x, t, settings["loss"]),
        "predict: out of memory on 'cpu'": lambda: model.predict(x),
        "jacobian: out of memory on 'cpu'": lambda: model.jacobian(x),
    }
    for message, call in calls.items():
        monkeypatch.setattr(Full, "error", error)
        with pytest.raises(bp.OutOfMemoryError, match="use a smaller batch") as raised:
            call()
        assert str(raised.value).startswith(message) and amount in str(raised.value)
        assert isinstance(raised.value, MemoryError) and "\n" not in str(raised.value)
        np.testing.assert_array_equal(model.vector, before)
    monkeypatch.setattr(Full, "error", None)
    assert np.isfinite(trainer.step(x, t))
    assert np.isfinite(bp.fit(model, x, t, batch_size=4, **settings)["loss"][-1])


LIMITED = """
import resource
import numpy as np, bp_arrays as bp
model = bp.Model(bp.Sequential(bp.Linear(4000), bp.Tanh(), bp.Linear(2)), 10, device="cpu", seed=0)
x, t = np.ones((60_000, 10), "float32"), np.zeros(60_000, int)
settings = {"loss": bp.CrossEntropy(), "optimizer": bp.Adam(), "seed": 0}
bp.fit(model, x[:64], t[:64], batch_size=64, **settings)
before = np.array(model.vector)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300 * 2**20,) * 2)
try:
    bp.fit(model, x, t, batch_size=60_000, **settings)
except bp.OutOfMemoryError as error:
    print(error)
assert np.array_equal(model.vector, before)
print(bp.fit(model, x[:640], t[:640], batch_size=64, **settings)["loss"][-1] < 1.0)
print(model.predict(x[:5]).shape)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS of Linux")
def test_a_process_of_little_memory_trains_on_with_smaller_batches():
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], capture_output=True, text=True, timeout=300
    )
    told, trained, shape = done.stdout.splitlines() or [done.stderr, "", ""]
    assert told.startswith("fit: out of memory on 'cpu' with batches of 60000 rows, "), told
    assert "were asked for: use a smaller batch_size" in told
    assert (trained, shape) == ("True", "(5, 2)")
