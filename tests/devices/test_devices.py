"""Devices: values, copies both ways, and exactly why one cannot be used."""

from __future__ import annotations

import contextlib
import importlib
import logging
import pickle
import sys
import types

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.devices import _backend as backend, device_of


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("cpu", "cpu"),
        ("cuda", "cuda:0"),
        ("cuda:1", "cuda:1"),
        ("torch:cpu", "torch:cpu"),
        ("torch:cuda", "torch:cuda:0"),
        ("torch:mps", "torch:mps"),
        ("jax:cpu", "jax:cpu"),
        ("jax:cuda:2", "jax:cuda:2"),
        ("strict", "strict"),
        ("strict:device1", "strict:device1"),
    ],
)
def test_names_are_normalised_values(spec, name):
    found = bp.device(spec)
    assert found.name == str(found) == name
    assert found == bp.device(name)
    assert hash(found) == hash(bp.device(name))
    assert bp.device(found) is found
    assert pickle.loads(pickle.dumps(found)) == found
    assert repr(found) == f"device({name!r})"
    with pytest.raises(AttributeError):
        found.index = 5


@pytest.mark.parametrize(
    ("spec", "hint"),
    [("gpu", "'cuda'"), ("cud", "'cuda'"), ("torch:gpu", "torch"), ("strict:device7", "device1"),
     ("cpu:0", "cpu"), (3, "Known"), ("CUDA", "cuda")],
)  # fmt: skip
def test_unknown_names_get_a_suggestion(spec, hint):
    with pytest.raises(bp.InputError, match=f"unknown device.*{hint}"):
        bp.device(spec)


def test_arrays_go_there_and_back_as_copies(device, dtype):
    host = np.arange(12, dtype=dtype).reshape(3, 4)
    for view in (host, host.T, host[::-1, ::2], host[:0]):
        there = device.asarray(view)
        assert device.owns(there)
        assert there.dtype == device.dtype(dtype)
        np.testing.assert_array_equal(device.to_numpy(there), view)
    there = device.asarray(host)
    host[...] = -1
    back = device.to_numpy(there)
    assert back[0, 1] == 1
    back[...] = 7
    assert device.to_numpy(there)[0, 1] == 1
    assert device_of(there) == device


def test_read_only_lists_scalars_and_integers(device):
    host = np.ones(3, dtype="float32")
    host.flags.writeable = False
    assert device.to_numpy(device.asarray(host)).tolist() == [1, 1, 1]
    assert device.to_numpy(device.asarray([1.5, 2.5], "float32")).tolist() == [1.5, 2.5]
    assert device.to_numpy(device.asarray(2.0)).shape == ()
    assert device.to_numpy(device.asarray(np.array([1, 2], dtype="int32"))).dtype == np.int32
    with pytest.raises(bp.InputError, match="numbers"):
        device.asarray(["a"])
    with pytest.raises(bp.InputError, match="float32"):
        device.dtype("float31")
    with device.activate():
        device.synchronize()


def test_arrays_move_between_any_two_devices(device, dtype):
    host = np.linspace(0, 1, 7).astype(dtype)
    for status in bp.devices():
        if status.usable:
            there = status.device.asarray(device.asarray(host))
            assert status.device.owns(there)
            assert device_of(there) == status.device
            np.testing.assert_array_equal(status.device.to_numpy(there), host)


def test_a_tensor_that_records_gradients_is_detached():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    tensor = torch.ones(2, requires_grad=True)
    assert bp.device("cpu").asarray(tensor).tolist() == [1.0, 1.0]
    assert not bp.device("torch:cpu").asarray(tensor).requires_grad


NO_NUMBERS = [
    np.ones(2, "M8[s]"),
    np.ones(2, "m8[s]"),
    np.array(["1"]),
    np.array([b"1"]),
    np.array([None]),
    np.ones(2, [("a", float)]),
]


@pytest.mark.parametrize("values", NO_NUMBERS)
def test_what_is_no_number_is_refused_in_one_line(device, values):
    for dtype in (None, "float32"):
        with pytest.raises(bp.InputError, match=r"expected numbers, got an array of dtype"):
            device.asarray(values, dtype)


@pytest.mark.parametrize("kind", [np.complex64, np.complex128, np.clongdouble])
def test_complex_numbers_do_not_lose_their_imaginary_part(device, kind):
    with pytest.raises(bp.InputError, match="expected real numbers for float32"):
        device.asarray(np.ones(2, kind), "float32")


def test_long_doubles_and_bfloat16_of_ml_dtypes_are_rounded(device):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for values in (np.full(2, 1.5, np.longdouble), np.full(2, 1.5, ml_dtypes.bfloat16)):
        assert device.to_numpy(device.asarray(values, "float32")).tolist() == [1.5, 1.5]
        model = bp.Model(bp.Identity(), 2, device=device, dtype="float32")
        if values.dtype.kind == "f":
            assert model.predict(values[None]).tolist() == [[1.5, 1.5]]


def test_bfloat16_where_the_library_has_it():
    for name in ("torch:cpu", "jax:cpu"):
        device = bp.device(name)
        if device.availability().usable:
            there = device.asarray([1.0, 3.0], "bfloat16")
            assert device.to_numpy(there).tolist() == [1.0, 3.0]
    with pytest.raises(bp.InputError, match="has no dtype 'bfloat16'"):
        bp.device("cpu").dtype("bfloat16")


def test_the_list_says_why_and_what_to_do():
    for status in bp.devices():
        assert status.usable or (status.reason and status.advice)
    assert {"cpu", "cuda:0", "torch:cpu", "jax:cpu", "strict"} <= {
        status.device.name for status in bp.devices()
    }


@pytest.fixture
def fresh(monkeypatch):
    """Probes asked anew, before and after."""

    def clear():
        for cached in ("_availability", "_namespace", "_native"):
            getattr(device_module, cached).cache_clear()

    device_module = importlib.import_module("bp_arrays.devices._device")
    clear()
    yield monkeypatch
    monkeypatch.undo()
    clear()


def fake_cupy(monkeypatch, *, driver=12040, count=1, add=lambda: 3.0):
    """A module that answers the probe as CuPy would, in a chosen state."""

    class Device:
        current = 0

        def __init__(self, index):
            self.id = index

        __hash__ = None

        def __enter__(self):
            self.previous, Device.current = Device.current, self.id

        def __exit__(self, *_):
            Device.current = self.previous

        def synchronize(self):
            self.synchronized = True

    class ndarray:
        __module__ = "cupy"

        def __init__(self, host):
            self.host, self.device = np.array(host), Device(Device.current)

        def __add__(self, other):
            return ndarray([add()])

        def get(self):
            return self.host

        def __array__(self, *_, **__):
            raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def get_count():
        if isinstance(count, Exception):
            raise count
        return count

    cupy = types.ModuleType("cupy")
    cupy.__version__ = "14.0.0"
    cupy.ndarray = ndarray
    cupy.float32, cupy.float64 = np.float32, np.float64
    cupy.sign = np.sign
    cupy.array = lambda host, dtype=None: ndarray(np.array(host, dtype=dtype))
    cupy.ones = lambda n: ndarray(np.ones(n))
    cupy.full = lambda n, value: ndarray(np.full(n, value))
    cupy.cuda = types.SimpleNamespace(
        Device=Device,
        Stream=types.SimpleNamespace(null=contextlib.nullcontext()),
        runtime=types.SimpleNamespace(driverGetVersion=lambda: driver, getDeviceCount=get_count),
    )
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "array_api_compat.cupy", cupy)
    return cupy


def reason(name="cuda"):
    with pytest.raises(bp.DeviceUnavailableError) as error:
        bp.device(name).require()
    return str(error.value)


def test_cupy_not_installed(fresh):
    fresh.setitem(sys.modules, "cupy", None)
    assert "CuPy is not installed" in reason()
    assert "bp_arrays[cuda12]" in reason()


def test_cupy_broken_keeps_its_own_words(fresh):
    def refuse(name, *_):
        raise ImportError("libcublas.so.12: cannot open shared object file")

    fresh.setattr(backend.importlib, "import_module", refuse)
    assert "installed but broken: ImportError: libcublas.so.12" in reason()


def test_cupy_without_a_driver(fresh):
    fake_cupy(fresh, driver=0)
    assert "no NVIDIA driver" in reason()
    assert "Nothing was moved" in reason()


def test_cupy_with_a_driver_too_old(fresh):
    fake_cupy(fresh, driver=11020, count=RuntimeError("cudaErrorInsufficientDriver"))
    assert "CUDA 11.2" in reason()
    assert "update the driver" in reason()


def test_cupy_index_too_high(fresh):
    fake_cupy(fresh, count=2)
    assert bp.device("cuda:1").availability().usable
    assert "CuPy sees 2 CUDA device(s)" in reason("cuda:2")


def test_cupy_whose_probe_fails_or_lies(fresh):
    def fail():
        raise RuntimeError("no kernel image")

    fake_cupy(fresh, add=fail)
    assert "probe on cuda:0 failed: RuntimeError: no kernel image" in reason()


def test_cupy_whose_probe_computes_nonsense(fresh):
    fake_cupy(fresh, add=lambda: 4.0)
    assert "computed 1 + 2 = 4.0" in reason()


def test_arrays_land_on_the_device_asked_for(fresh):
    cupy = fake_cupy(fresh, count=2)
    second = bp.device("cuda:1")
    there = second.asarray([1.0, 2.0], "float32")
    assert there.device.id == 1
    assert cupy.cuda.Device.current == 0
    assert second.owns(there) and not bp.device("cuda:0").owns(there)
    assert second.to_numpy(there).tolist() == [1.0, 2.0]
    with second.activate():
        assert cupy.cuda.Device.current == 1


def test_auto_takes_cuda_only_if_it_computes_and_says_so(fresh, caplog):
    fresh.delenv("BP_ARRAYS_DEVICE", raising=False)
    with caplog.at_level(logging.INFO, logger="bp_arrays"):
        fake_cupy(fresh)
        assert bp.device("auto").name == "cuda:0"
        assert "'auto' is cuda:0" in caplog.text
        caplog.clear()
        importlib.import_module("bp_arrays.devices._device")._availability.cache_clear()
        fresh.setitem(sys.modules, "cupy", None)
        assert bp.device("auto").name == "cpu"
        assert "CuPy is not installed" in caplog.text
        fresh.setenv("BP_ARRAYS_DEVICE", "strict")
        assert bp.device("auto").name == "strict"


def test_cuda_never_falls_back(fresh):
    fake_cupy(fresh, driver=0)
    with pytest.raises(bp.DeviceUnavailableError):
        bp.Model(bp.Linear(2), input_shape=(2,), device="cuda")
    model = bp.Model(bp.Linear(2), input_shape=(2,), device="cpu")
    with pytest.raises(bp.DeviceUnavailableError):
        model.to("cuda")
    assert model.device.name == "cpu"


def test_jax_without_float64_says_how_to_get_it(fresh):
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(bp.InputError, match="jax_enable_x64"):
            bp.device("jax:cpu").dtype("float64")
        with pytest.raises(bp.InputError, match="no dtype 'float64'"):
            bp.device("jax:cpu").asarray(np.ones(2))
    finally:
        jax.config.update("jax_enable_x64", before)
