"""Covers: updates, clipping and their state in float16 and bfloat16, against PyTorch in float32."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp

SIZE = 40
START = np.linspace(-2, 2, SIZE)
GRADIENTS = {
    "zero": np.zeros(SIZE),
    "tiny": 1e-6 * np.random.default_rng(0).normal(size=SIZE),
    "small": 1e-3 * np.random.default_rng(1).normal(size=SIZE),
    "ordinary": np.random.default_rng(2).normal(size=SIZE),
    "large": 3e4 * np.tanh(np.random.default_rng(3).normal(size=SIZE)),
}
STEPS = 5


def optimizers(torch):
    optim = torch.optim
    return {
        "SGD": (bp.SGD(1e-4, momentum=0.9), lambda p: optim.SGD(p, 1e-4, momentum=0.9)),
        "Adam": (bp.Adam(0.01), lambda p: optim.Adam(p, 0.01)),
        "AdamW": (bp.AdamW(0.01), lambda p: optim.AdamW(p, 0.01)),
        "RMSProp": (bp.RMSProp(0.01), lambda p: optim.RMSprop(p, 0.01)),
        "Adagrad": (bp.Adagrad(0.01), lambda p: optim.Adagrad(p, 0.01)),
        "Chain": (bp.Chain(bp.WeightDecay(0.1), bp.Adam(0.01)),
                  lambda p: optim.Adam(p, 0.01, weight_decay=0.1)),
    }  # fmt: skip


def _half_devices():
    for name in ("cpu", "torch:cpu", "jax:cpu"):
        device = bp.device(name)
        if device.availability().usable:
            for dtype in ("float16", "bfloat16"):
                try:
                    device.dtype(dtype)
                except bp.InputError:
                    continue
                yield name, dtype


HALF = list(_half_devices())
TRAINED = [("cpu", "float16", True), ("cpu", "float16", False)]
TRAINED += [
    (*each, True) for each in HALF if each in [("torch:cpu", "bfloat16"), ("jax:cpu", "float16")]
]


@pytest.mark.parametrize(("name", "precision"), HALF)
@pytest.mark.parametrize("size", GRADIENTS)
@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "RMSProp", "Adagrad", "Chain"])
def test_updates_are_those_of_float32_rounded_once(name, precision, size, kind):
    torch = pytest.importorskip("torch", reason="witness PyTorch is not installed")
    optimizer, make = optimizers(torch)[kind]
    device = bp.device(name)
    xp, half = device.xp, getattr(torch, precision)
    theta, g = (device.asarray(a, precision) for a in (START, GRADIENTS[size]))
    state = optimizer.init(theta, xp)
    parameter = torch.nn.Parameter(torch.tensor(device.to_numpy(theta).astype(np.float32)))
    witness = make([parameter])
    parameter.grad = torch.tensor(device.to_numpy(g).astype(np.float32))
    for step in range(STEPS):
        scalars = optimizer.scalars(step + 1, optimizer.rate(step))
        theta, state = optimizer.update(theta, g, state, scalars, xp)
        witness.step()
        with torch.no_grad():  # as if the parameters were stored in half precision
            parameter.copy_(parameter.to(half).float())
    assert theta.dtype == g.dtype
    moved = device.to_numpy(theta).astype(np.float64)
    ulp = {"float16": 2.0**-10, "bfloat16": 2.0**-7}[precision]
    expected = parameter.detach().numpy().astype(np.float64)
    assert np.abs(moved - expected).max() <= 1.01 * ulp * 2  # a tie may be rounded the other way


@pytest.mark.parametrize(("name", "precision"), HALF)
@pytest.mark.parametrize(("count", "value"), [(70_000, 0.01), (10_000, 1000.0), (3, 1e-7)])
def test_clipping_in_half_precision(name, precision, count, value):
    device = bp.device(name)
    g = device.asarray(np.full(count, value), precision)
    host = device.to_numpy(g).astype(np.float64)
    for bound in (1.0, 1e-4):
        clipped = bp.ClipByGlobalNorm(bound)(g, g, device.xp)
        assert clipped.dtype == g.dtype
        norm = np.linalg.norm(host)
        expected = host * min(1.0, bound / norm)
        rtol = {"float16": 2.0**-10, "bfloat16": 2.0**-7}[precision]
        found = device.to_numpy(clipped).astype(np.float64)
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=2.0**-25)


@pytest.mark.parametrize("optimizer", [bp.Adam(), bp.RMSProp(1e-3), bp.Adagrad(), bp.AdamW()])
@pytest.mark.parametrize(("name", "precision", "compiled"), TRAINED)
def test_a_feature_that_is_always_zero_does_not_stop_training(name, precision, compiled, optimizer):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4))
    t = (x[:, 0] > 0).astype(int)
    x[:, 3] = 0.0
    model = bp.Model(bp.Linear(2), 4, device=name, dtype=precision, seed=0)
    before = model.host_parameters()["weight"][3].astype(np.float32)
    loss = bp.CrossEntropy()
    history = bp.fit(model, x, t, loss=loss, optimizer=optimizer, epochs=3, compiled=compiled)
    assert history["loss"][-1] < history["loss"][0]
    if not isinstance(optimizer, bp.AdamW):
        np.testing.assert_array_equal(model.host_parameters()["weight"][3], before)


@pytest.mark.parametrize(("name", "precision"), [each for each in HALF if each[0] != "jax:cpu"])
def test_training_continues_from_a_file_with_its_state_in_float32(name, precision, tmp_path):
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(60, 4)), rng.integers(0, 2, 60)

    def trained(epochs, model, optimizer):
        bp.fit(model, x, t, loss=bp.CrossEntropy(), optimizer=optimizer, epochs=epochs)
        return model

    def new():
        return bp.Model(bp.Linear(2), 4, device=name, dtype=precision, seed=0)

    whole = trained(4, new(), bp.Adam())
    half = trained(2, new(), bp.Adam())
    half.save(tmp_path / "m.safetensors", training_state=True)
    loaded = bp.load(tmp_path / "m.safetensors", device=name)
    for vector, saved in zip(
        loaded.training_state.vectors, half.training_state.vectors, strict=True
    ):
        assert vector.dtype == saved.dtype
        np.testing.assert_array_equal(loaded.device.to_numpy(vector), loaded.device.to_numpy(saved))
    again = trained(2, loaded, loaded.training_state.optimizer)
    np.testing.assert_array_equal(
        again.device.to_numpy(again.vector), whole.device.to_numpy(whole.vector)
    )


@pytest.mark.parametrize("largest", [1e38, 3e38])
def test_clipping_near_the_largest_number_of_float32(device, largest):
    g = device.asarray(np.full(50, largest), "float32")
    clipped = device.to_numpy(bp.ClipByGlobalNorm(1.0)(g, g, device.xp))
    np.testing.assert_allclose(clipped, 50**-0.5, rtol=1e-6)
