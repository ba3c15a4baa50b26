"""Covers: what users of CuPy do with models on a CUDA device, against the same on NumPy.

Runs on a GPU, or on the emulated device of tests/cuda_on_cpu; with two devices (cuda:1) it shows
that nothing depends on which device is the current one.
"""

from __future__ import annotations

import pickle
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from several_inputs import IDS, T as LABELS, X as NAMED, make, moved

import bp_arrays as bp
from bp_arrays.devices import device_of_or_none
from bp_arrays.explanation import Recorder

ROWS, FEATURES, CLASSES = 43, 5, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, FEATURES))
T = RNG.integers(0, CLASSES, ROWS)
W = RNG.uniform(0.5, 2.0, ROWS)
NET = bp.Sequential(
    bp.Standardize(), bp.Linear(7), bp.Tanh(), bp.Dropout(0.2), bp.Linear(CLASSES)
)  # fmt: skip


def model_on(device, dtype="float64"):
    return bp.Model(NET, FEATURES, device=device, dtype=dtype, seed=1)


def fitted(device, x=X, t=T, **options):
    model = model_on(device)
    options = {"loss": bp.CrossEntropy(), "optimizer": bp.Adam(0.01)} | options
    history = bp.fit(model, x, t, epochs=2, batch_size=8, seed=2, **options)
    return model, history


def same(model, other, rtol=1e-10):
    for name, values in other.host_parameters().items():
        np.testing.assert_allclose(model.host_parameters()[name], values, rtol, 1e-12, name)


def strided(xp, x):
    return xp.asarray(np.repeat(x, 2, axis=1))[:, ::2]


def reversed_rows(xp, x):
    return xp.asarray(x[::-1].copy())[::-1]


def fortran(xp, x):
    import cupy

    return cupy.asfortranarray(xp.asarray(x))


def from_dlpack(xp, x):
    import cupy

    return cupy.from_dlpack(cupy.asarray(x))


@pytest.mark.parametrize("layout", [strided, reversed_rows, fortran, from_dlpack])
def test_arrays_of_any_layout_train_as_on_numpy(cuda, layout):
    with cuda.activate():
        x = layout(cuda.xp, X)
    expected, expected_history = fitted("cpu")
    for t, weight in ((T, W), (cuda.asarray(T), cuda.asarray(W))):
        model, history = fitted(cuda, x, t)
        same(model, expected)
        assert history["loss"] == pytest.approx(expected_history["loss"], rel=1e-10)
        weighted, _ = fitted(cuda, x, t, sample_weight=weight)
        same(weighted, fitted("cpu", sample_weight=W)[0])
    np.testing.assert_allclose(
        cuda.to_numpy(model.predict(x)), expected.predict(X), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("name", ["float16", "float32", "int32", "int8", "uint8", "bool"])
def test_arrays_of_any_dtype_train_as_on_numpy(cuda, name):
    with np.errstate(invalid="ignore"):
        x = np.abs(X * 3).astype(name)
    same(fitted(cuda, cuda.asarray(x, name))[0], fitted("cpu", x)[0])


def test_host_in_is_host_out_and_device_in_is_device_out(cuda):
    model, _ = fitted(cuda)
    expected = fitted("cpu")[0].predict(X)
    on_host, on_device = model.predict(X), model.predict(cuda.asarray(X))
    assert type(on_host) is np.ndarray and device_of_or_none(on_device) == cuda
    np.testing.assert_allclose(on_host, expected, rtol=1e-9)
    np.testing.assert_array_equal(on_host, cuda.to_numpy(on_device))
    options = {"loss": bp.CrossEntropy(), "metrics": [bp.Accuracy()]}
    measured = [
        bp.evaluate(model, x, t, **options)
        for x in (X, cuda.asarray(X))
        for t in (T, cuda.asarray(T))
    ]
    assert measured == [measured[0]] * 4


@pytest.mark.parametrize("options", [{}, {"non_blocking": True}], ids=["blocking", "non-blocking"])
def test_arrays_just_made_on_a_stream_of_the_user_are_waited_for(cuda, options):
    import cupy

    expected, _ = fitted("cpu", X * 2 + 1)
    with cuda.activate(), cupy.cuda.Stream(**options):
        x = cupy.asarray(X) * 2 + 1
        model, _ = fitted(cuda, x)
        same(model, expected)
        outputs = model.predict(x) + 0.0
        np.testing.assert_allclose(cuda.to_numpy(outputs), expected.predict(X * 2 + 1), rtol=1e-9)


def test_the_current_device_may_be_another_one(cuda):
    import cupy

    count = cupy.cuda.runtime.getDeviceCount()
    if count == 1:
        pytest.skip("needs two CUDA devices")
    expected, _ = fitted("cpu", validation=(X, T))
    with cupy.cuda.Device((cuda.index + 1) % count):
        model, _ = fitted(cuda, cuda.asarray(X), validation=(cuda.asarray(X), T))
        same(model, expected)
        uses_of(model, cuda)
        foreign = cupy.asarray(X)
        with pytest.raises(
            bp.DeviceMismatchError, match=r"x: expected .* on 'cuda:\d', .* got one on 'cuda:\d'"
        ):
            model.predict(foreign)


def uses_of(model, cuda):
    """Everything else that computes with a model's arrays."""
    x = cuda.asarray(X)
    value, gradients = model.gradients(x, T, bp.CrossEntropy())
    expected, by_numpy = fitted_like(model).gradients(X, T, bp.CrossEntropy())
    assert float(cuda.to_numpy(value)) == pytest.approx(float(expected), rel=1e-10)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(cuda.to_numpy(gradient), by_numpy[name], 1e-8, 1e-12, name)
    model.set_parameters(model.parameters)
    model.vector = model.vector
    model.state_vector = model.state_vector
    explanation = bp.explain(model, x[0, :], int(T[0]), bp.CrossEntropy())
    assert explanation.largest_difference() < 1e-12
    trainer = bp.Trainer(model, loss=bp.CrossEntropy(), optimizer=bp.SGD(0.1))
    losses = [trainer.step(x, T) for _ in range(4)]
    assert losses[-1] < losses[0] and trainer.runner.compiled_by == "CUDA graph"
    assert next(iter(bp.data.Batches(X, T, batch_size=8, device=cuda)))[0].device.id == cuda.index


def fitted_like(model):
    """The same model on NumPy."""
    copy = model_on("cpu")
    copy.set_parameters(model.host_parameters())
    return copy


def test_gradients_explanations_and_single_steps_are_those_of_numpy(cuda):
    uses_of(fitted(cuda)[0], cuda)


def test_callbacks_may_use_the_model_between_captured_epochs(cuda):
    class Uses(bp.Callback):
        def on_epoch_end(self, run):
            uses_of_outputs.append(run.model.predict(X))
            bp.evaluate(run.model, cuda.asarray(X), T, loss=bp.CrossEntropy())
            run.model.gradients(X, T, bp.CrossEntropy())

    uses_of_outputs = []
    loss = bp.CrossEntropy()
    callbacks = [Uses(), bp.Diagnosis(X, T, loss), Recorder(), bp.LearningCurve()]
    model, history = fitted(cuda, cuda.asarray(X), callbacks=callbacks, validation=(X, T))
    assert history.compiled_by == "CUDA graph"
    same(model, fitted("cpu")[0])
    assert (uses_of_outputs[0] != uses_of_outputs[1]).any()


def test_a_saved_model_trains_on_elsewhere_with_the_same_numbers(cuda, tmp_path):
    optimizer = bp.Adam(0.01)
    model, _ = fitted(cuda, optimizer=optimizer)
    expected, _ = fitted("cpu")
    model.save(tmp_path / "model.safetensors", training_state=True)
    same(bp.load(tmp_path / "model.safetensors", device=cuda), model, rtol=0.0)
    again = bp.load(tmp_path / "model.safetensors", device="cpu")
    same(again, expected)
    state, original = again.training_state, model.training_state
    assert state.step == original.step
    for one, other in zip(state.vectors, original.vectors, strict=True):
        np.testing.assert_array_equal(one, cuda.to_numpy(other))
    same(again.to(cuda), model, rtol=0.0)


def test_a_pickled_model_comes_back_on_its_device(cuda):
    model, _ = fitted(cuda)
    again = pickle.loads(pickle.dumps(model))
    assert all(cuda.owns(array) for array in again.parameters.values())
    assert all(cuda.owns(vector) for vector in again.training_state.vectors)
    same(again, model, rtol=0.0)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


@pytest.mark.parametrize("kind", [dict, tuple])
def test_several_inputs_one_of_them_an_index(cuda, kind):
    def trained(device, x):
        if kind is tuple:
            specs = bp.InputSpec((), "index", size=5), bp.InputSpec(3)
            model = make(device, "float64", specs)
            x = x["ids"], x["age"]
        else:
            model = make(device, "float64")
        bp.fit(model, x, LABELS, loss=bp.CrossEntropy(), optimizer=bp.Adam(0.05), epochs=2,
               batch_size=4)  # fmt: skip
        return model, x

    expected, _ = trained("cpu", NAMED | {"age": NAMED["age"].astype(np.float32)})
    model, x = trained(cuda, moved(NAMED, cuda))
    same(model, expected)
    assert device_of_or_none(model.predict(x)) == cuda and IDS.dtype.kind == "i"


class ReadsTheHost(bp.Layer):
    """A custom layer that looks at a number: no CUDA graph can hold it."""

    def forward(self, params, x, ctx):
        scale = 2.0 if float(x[0, 0]) > 1e9 else 1.0
        return x * scale, lambda delta: (delta * scale, {})


def test_where_capture_is_refused_one_line_says_so_and_the_numbers_are_the_same(cuda, caplog):
    net = bp.Sequential(bp.Linear(7), ReadsTheHost(), bp.Linear(CLASSES))
    histories = []
    for device in (cuda, "cpu"):
        model = bp.Model(net, FEATURES, device=device, dtype="float64", seed=1)
        histories.append(
            bp.fit(model, X, T, loss=bp.CrossEntropy(), optimizer=bp.Adam(), batch_size=8)
        )
    assert histories[0]["loss"] == pytest.approx(histories[1]["loss"], rel=1e-10)
    said = histories[0].not_compiled
    assert said.startswith("a step cannot be captured as a CUDA graph and runs operation by") and (
        "\n" not in said
    )
    assert [record.message for record in caplog.records] == [f"{cuda}: {said}"]


@contextmanager
def memory_limit(device, size):
    """Inside, CuPy's memory pool may take so many bytes more."""
    import cupy

    pool = cupy.get_default_memory_pool()
    with device.activate():
        pool.free_all_blocks()
        pool.set_limit(size=pool.total_bytes() + size)
        try:
            yield
        finally:
            pool.set_limit(size=0)


def test_out_of_memory_is_told_with_cupys_error_and_the_model_keeps_what_it_learned(cuda):
    model, _ = fitted(cuda)
    before = model.host_parameters()
    error = pytest.raises(bp.OutOfMemoryError, match=rf"batches of {ROWS} rows.*limit set to")
    with memory_limit(cuda, 2048), error as raised:
        bp.fit(model, X, T, loss=bp.CrossEntropy(), optimizer=bp.Adam(), batch_size=ROWS)
    assert isinstance(raised.value, MemoryError) and "\n" not in str(raised.value)
    for name, values in model.host_parameters().items():
        np.testing.assert_array_equal(values, before[name])
    bp.fit(model, X, T, loss=bp.CrossEntropy(), optimizer=bp.Adam(), batch_size=8)


def test_the_memory_limit_holds_for_graphs_too(cuda):
    with memory_limit(cuda, 2**20):
        small, history = fitted(cuda, cuda.asarray(X))
    assert history.compiled_by == ""
    assert history.not_compiled.startswith(
        "steps run operation by operation, not as a CUDA graph: it needs 32 MiB more than the limit"
    )
    with memory_limit(cuda, 2**26):
        large, history = fitted(cuda, cuda.asarray(X))
    assert (history.compiled_by, history.not_compiled) == ("CUDA graph", "")
    for model in (small, large):
        same(model, fitted("cpu")[0])


class Borrowed:
    """A stream of another library."""

    def __init__(self, pointer):
        self.pointer = pointer

    def __cuda_stream__(self):
        return 0, self.pointer


def test_after_an_error_on_a_destroyed_stream_the_device_still_computes(cuda):
    pytest.importorskip("cuda_on_cpu", reason="CUDA leaves undefined what a destroyed stream does")
    import cupy

    from bp_arrays.devices._device import forget_probes

    with cuda.activate():
        stream = cupy.cuda.Stream(non_blocking=True)
        borrowed = cupy.cuda.Stream.from_external(Borrowed(stream.ptr))
        cupy.cuda.runtime.streamDestroy(stream.ptr)
        stream.ptr = 0  # it ends only once
        forget_probes()
        with borrowed, pytest.raises(Exception, match=r"(?i)invalid.?resource.?handle") as raised:
            fitted(cuda, X)
    assert "\n" not in str(raised.value)
    same(fitted(cuda, X)[0], fitted("cpu")[0])


def test_arrays_of_the_host_and_of_others_are_refused_in_one_line(cuda):
    model = model_on("cpu")
    with pytest.raises(
        bp.DeviceMismatchError, match=rf"x: expected .* on 'cpu', .* got one on '{cuda}'"
    ):
        model.predict(cuda.asarray(X))
    with pytest.raises(bp.InputError, match=r"x\[2, 1\]: expected a finite number, got nan"):
        fitted(cuda, cuda.asarray(np.where(X[2, 1] == X, np.nan, X)))


def test_models_predict_in_many_threads_at_once(cuda):
    model, x = fitted(cuda)[0], cuda.asarray(X)
    expected, outputs = cuda.to_numpy(model.predict(x)), []
    threads = [
        threading.Thread(target=lambda: outputs.append(cuda.to_numpy(model.predict(x))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for output in outputs:
        np.testing.assert_array_equal(output, expected)
