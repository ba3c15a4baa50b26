"""Loss scaling in float16. Covers: skipped steps, the scale, its state in files and in parts."""

from __future__ import annotations

import copy
import shutil
from dataclasses import replace

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays import InputError, NonFiniteLossError
from bp_arrays.optimizers import SMALLEST_SCALE, scaled_update

RNG = np.random.default_rng(1)
X = RNG.normal(size=(48, 5))
T = X[:, :2] * 30.0 + 100.0
"""Targets whose first gradients are about 100: with the first scale, 65536, they overflow."""

NET = bp.Sequential(bp.Linear(8), bp.Tanh(), bp.BatchNorm(), bp.Linear(2))


@pytest.fixture(autouse=True)
def has_float16(device):
    try:
        device.dtype("float16")
    except InputError:
        pytest.skip(f"{device} has no float16")


@pytest.fixture
def not_compiled(device):
    if device.runs_as == "jit":
        pytest.skip("compiled, it is the same code: other tests here run it")


def new_model(device, compute_dtype="float16"):
    return bp.Model(NET, 5, device=device, seed=0, compute_dtype=compute_dtype)


def fitted(model, t=T, **options):
    settings = {
        "loss": bp.MeanSquaredError(), "optimizer": bp.Adam(1e-2), "epochs": 2, "batch_size": 4,
    }  # fmt: skip
    return bp.fit(model, X, t, **settings | options)


def scaling(model):
    return model.device.to_numpy(model.training_state.loss_scaling).tolist()


def numbers(model):
    """Everything that a step changes, on the host."""
    arrays = [*model.current_vectors(), *model.training_state.vectors]
    return [model.device.to_numpy(array) for array in arrays]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_step_whose_gradients_overflow_changes_nothing_but_the_scale(device):
    model = new_model(device)
    trainer = bp.Trainer(model, loss=bp.MeanSquaredError(), optimizer=bp.Adam(1e-2))
    before, skipped = numbers(model), 0
    while trainer.state.skipped_steps == skipped:
        assert same(numbers(model), before) and scaling(model)[:3] == [
            2.0**16 / 2**skipped,
            0,
            skipped,
        ]
        assert np.isfinite(trainer.step(X[:8], T[:8]))
        skipped += 1
        assert skipped < 16
    skipped -= 1
    assert skipped > 1 and scaling(model)[:3] == [2.0**16 / 2**skipped, 1.0, skipped]
    assert trainer.state.step == skipped + 1  # a skipped step counts as one
    after = numbers(model)
    assert all(np.isfinite(array).all() for array in after)
    assert not any(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_skipped_steps_are_counted_per_epoch(device, not_compiled):
    model = new_model(device)
    history = fitted(model)
    first, second = history["skipped_steps"]
    assert first > 2.0 > second and first + second == scaling(model)[2]
    assert np.isfinite(history["loss"]).all()
    assert "skipped_steps" not in fitted(new_model(device, None), epochs=1)


def test_steps_that_are_not_skipped_are_those_of_float32(device):
    models = [new_model(device), new_model(device, None)]
    scaled, exact = (
        bp.Trainer(model, loss=bp.MeanSquaredError(), optimizer=bp.SGD(1e-3)) for model in models
    )
    starts = [numbers_of(model) for model in models]
    for k in range(0, 48, 4):
        skipped = scaled.state.skipped_steps
        scaled.step(X[k : k + 4], T[k : k + 4])
        if scaled.state.skipped_steps == skipped:
            exact.step(X[k : k + 4], T[k : k + 4])
    assert 2 < scaled.state.skipped_steps < 9
    ours, theirs = (numbers_of(model) - start for model, start in zip(models, starts, strict=True))
    assert np.linalg.norm(ours - theirs) < 0.01 * np.linalg.norm(theirs)


def test_gradients_too_small_for_float16_are_not_lost(device, not_compiled):
    t, weight, loss = np.zeros((8, 2)), np.full(8, 1e-8), bp.MeanSquaredError(reduction="sum")
    changes = []
    for compute_dtype in (None, "float16"):
        model = new_model(device, compute_dtype)
        before = numbers_of(model)
        trainer = bp.Trainer(model, loss=loss, optimizer=bp.SGD(1e6))
        trainer.step(X[:8], t, sample_weight=weight)
        _, gradients = model.gradients(X[:8], t, loss, sample_weight=weight)
        gradients = model.device.to_numpy(model.flatten(gradients))
        changes += [((before - numbers_of(model)) / 1e6, gradients)]
    for exact, scaled in zip(*changes, strict=True):
        assert np.abs(exact).max() < 6e-7  # ten times the smallest number of float16
        assert np.linalg.norm(scaled - exact) < 0.02 * np.linalg.norm(exact)


def numbers_of(model):
    return model.device.to_numpy(model.current_vectors()[0])


def test_an_overflow_that_no_scale_prevents_ends_training(device, not_compiled):
    model = new_model(device)
    before = numbers_of(model)
    loss = bp.MeanSquaredError(reduction="sum")
    with pytest.raises(NonFiniteLossError, match="the gradients overflow in float16") as error:
        fitted(model, T * 1e12, loss=loss, epochs=10, optimizer=bp.SGD(1e-9))
    assert "epoch 3, batch 7 with the smallest scale" in str(error.value)  # the 31st step
    assert "\n" not in str(error.value) and np.array_equal(numbers_of(model), before)


def test_an_overflow_in_the_forward_pass_names_the_layer(device, not_compiled):
    model = new_model(device)
    with pytest.raises(NonFiniteLossError, match=r"from layer 0 \(Linear\).*infinite in float16"):
        bp.fit(model, X * 1e6, T, loss=bp.L2Loss(), optimizer=bp.SGD(0.1), epochs=1)


def test_the_scale_grows_after_2000_good_steps_up_to_its_bound(device, not_compiled):
    model = new_model(device)
    model.set_parameters({"3.weight": np.zeros((8, 2))})
    trainer = bp.Trainer(model, loss=bp.MeanSquaredError(), optimizer=bp.SGD(1e-6))
    for start, expected in (
        ((2.0**10, 1998.0, 3.0, 0.0), [2.0**10, 1999.0, 3.0, 0.0]),
        ((2.0**10, 1999.0, 3.0, 0.0), [2.0**11, 0.0, 3.0, 0.0]),
        ((2.0**24, 1999.0, 3.0, 0.0), [2.0**24, 0.0, 3.0, 0.0]),
    ):
        state = replace(model.training_state, loss_scaling=device.asarray(start, "float32"))
        trainer.continue_from(state)
        trainer.step(X[:8], T[:8] * 1e-9)
        assert scaling(model) == expected


def test_an_update_is_taken_or_skipped_as_a_whole(device):
    xp = device.xp
    old, new = device.asarray([1.0, 2.0], "float32"), device.asarray([3.0, 4.0], "float32")
    first = device.asarray([SMALLEST_SCALE, 5.0, 1.0, 1.0], "float32")
    with device.activate():
        for g, expected in (([1.0, 2.0], new), ([1.0, np.inf], old), ([np.nan, 1.0], old)):
            g = device.asarray(g, "float32")
            arrays, after, loss = scaled_update(g, (old,), (new,), first, xp.sum(old), xp)
            assert np.array_equal(device.to_numpy(arrays[0]), device.to_numpy(expected))
            assert np.isnan(float(loss)) == (expected is old)
            skipped = float(expected is old)
            numbers = [SMALLEST_SCALE, 0.0 if skipped else 6.0, 1.0 + skipped, 1.0]
            assert device.to_numpy(after).tolist() == numbers


def test_parts_of_a_batch_are_skipped_together(device, not_compiled):
    t = T.copy()
    t[8:] *= 1e-3  # of the first update the first part overflows, the second not
    model = new_model(device)
    history = fitted(model, t, accumulate=2, batch_size=4, epochs=1, shuffle=False)
    state = model.training_state
    assert 0.0 < history["skipped_steps"][0] < state.step == 6
    assert np.isfinite(numbers_of(model)).all() and np.isfinite(history["loss"]).all()


def test_the_scale_is_saved_moved_and_resumed(device, tmp_path, not_compiled):
    first = new_model(device)
    whole, half, resumed = copy.copy(first), copy.copy(first), copy.copy(first)
    expected = fitted(whole, checkpoint=bp.Checkpoint(tmp_path / "all", every="2 steps", keep=None))
    (tmp_path / "run").mkdir()
    name = "step-000000000006.safetensors"  # in the first epoch, behind skipped steps
    shutil.copy(tmp_path / "all" / name, tmp_path / "run" / name)
    history = fitted(resumed, resume=tmp_path / "run")
    assert {k: v for k, v in history.items() if k != "seconds"} == {
        k: v for k, v in expected.items() if k != "seconds"
    }
    assert same(numbers(resumed), numbers(whole)) and scaling(resumed) == scaling(whole)

    fitted(half, epochs=1)
    half.save(tmp_path / "m.safetensors", training_state=True)
    loaded = bp.load(tmp_path / "m.safetensors", device)
    for each in (loaded, copy.copy(half).to(device)):
        assert scaling(each) == scaling(half)
    plain = bp.load(tmp_path / "m.safetensors", "cpu", compute_dtype=None)
    assert plain.training_state.loss_scaling is None


def test_a_loop_by_hand_keeps_the_state_for_the_next_fit(device, not_compiled):
    model, optimizer = new_model(device), bp.SGD(1e-4)
    _, gradients = model.gradients(X, T, bp.MeanSquaredError())
    exact = new_model(device, None)
    _, expected = exact.gradients(X, T, bp.MeanSquaredError())
    for name, gradient in gradients.items():  # right without a scale, large as they are
        a, b = (model.device.to_numpy(g) for g in (gradient, expected[name]))
        assert np.linalg.norm(a - b) < 0.02 * np.linalg.norm(b)
    model.update(optimizer, gradients)
    assert scaling(model) == [2.0**16, 0.0, 0.0, 0.0]
    assert fitted(model, optimizer=optimizer)["skipped_steps"][0] > 0.0


def test_a_refused_recording_says_why(device):
    if device.runs_as == "replay":
        history = fitted(new_model(device), epochs=1)
        assert "skipped if its gradients overflow" in history.not_compiled
        assert (
            history.compiled_by == "" and not fitted(new_model(device), compiled=False).not_compiled
        )
