"""A device named after its module: an array library by the standard alone.

Covers: `bp.device("mylib")`, numbers of devices, `fit`, `check`, what is refused.
"""

from __future__ import annotations

import pickle
import sys
import types
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.command_line import main
from bp_arrays.devices import device_of

SOURCE = (Path(__file__).parent / "thin_library" / "__init__.py").read_text(encoding="utf-8")


@pytest.fixture
def forgetting():
    """Afterwards no module is a device."""
    yield
    for name in ("thin_library", "array_api_strict", "mylib", "mylib.array_api"):
        with suppress(bp.InputError):
            bp.devices.unregister(name)


@pytest.fixture
def mylib(forgetting, monkeypatch):
    """The thin library as the module mylib.array_api, in which a fault can be planted."""
    package, module = types.ModuleType("mylib"), types.ModuleType("mylib.array_api")
    package.__path__ = []
    monkeypatch.setitem(sys.modules, "mylib", package)
    monkeypatch.setitem(sys.modules, "mylib.array_api", module)
    exec(SOURCE, vars(module))
    return module


def trained(device):
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(20, 3)).astype("float32"), rng.integers(0, 2, size=20)
    model = bp.Model(bp.Linear(2), input_shape=3, device=device, seed=0)
    bp.fit(model, x, t, loss=bp.CrossEntropy(), optimizer=bp.SGD(0.1), epochs=2, seed=1)
    return model, x


def test_a_module_is_a_device_and_trains_as_numpy_does(mylib):
    device = bp.device("mylib.array_api")
    assert (device.name, device.xp) == ("mylib.array_api", mylib)
    assert pickle.loads(pickle.dumps(device)) == device == bp.device("mylib.array_api:0")
    assert device.name in [status.device.name for status in bp.devices()]
    model, x = trained(device)
    assert isinstance(model.vector, mylib.Array) and device_of(model.vector) == device
    expected, _ = trained("cpu")
    np.testing.assert_allclose(model.predict(x), expected.predict(x), rtol=1e-6)


def test_a_number_is_one_of_the_devices_that_the_standard_lists(forgetting):
    strict = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
    first, second = bp.device("array_api_strict"), bp.device("array_api_strict:1")
    assert (first.name, second.name) == ("array_api_strict", "array_api_strict:1")
    array = second.asarray([1.0, 2.0], "float32")
    assert array.device == strict.__array_namespace_info__().devices()[1]
    assert second.owns(array) and not first.owns(array)
    assert bp.device("strict:device1").owns(array)  # the same array, by its built-in name
    model, x = trained(second)
    assert device_of(model.predict(second.asarray(x))) is not None
    with pytest.raises(bp.DeviceUnavailableError, match=r"numbered from 0.* use 'array_"):
        bp.device("array_api_strict:99").require()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("json", "the module json lacks asarray, empty, float32; `bp-arrays check --functions`"),
        ("no_such_module", "unknown device 'no_such_module'.*is named by its module"),
        ("json.no_such_module", "unknown device"),
        ("torch", "unknown device 'torch'"),
        ("mylib.array_api:x", "unknown device"),
        ("../mylib", "unknown device"),
    ],
)
def test_what_is_no_array_namespace_is_refused_in_one_line(mylib, name, message):
    with pytest.raises(bp.InputError, match=message) as error:
        bp.device(name)
    assert "\n" not in str(error.value)


def test_a_module_whose_import_fails_says_so_when_it_is_used(forgetting, tmp_path, monkeypatch):
    (tmp_path / "mylib.py").write_text("raise OSError('libgpu.so: no such file')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(bp.DeviceUnavailableError, match=r"mylib is installed but broken: OSError"):
        bp.device("mylib").require()


def test_a_device_object_is_checked_as_it_is(mylib):
    class Named(bp.Device):
        """A device that no name finds."""

    device = Named("mylib.array_api", "device")
    report = bp.testing.check(bp.Tanh(), input_shape=3, devices=[device], dtypes=["float32"])
    assert report.ok and report.ran[0].name == "mylib.array_api"


def test_the_command_checks_it_and_lists_what_it_lacks(mylib, capsys):
    assert main(["check", "--functions"]) == 0
    printed = capsys.readouterr().out
    assert "expm1" in printed and "dtypes: bool, int32" in printed
    words = ["check", "--functions", "--device", "mylib.array_api"]
    assert main(words) == 0
    assert "mylib.array_api: has all" in capsys.readouterr().out
    del mylib.expm1
    assert main(words) == 1
    assert "lacks 1 of" in capsys.readouterr().out
    only = ["--only", "xp.expm1", "--only", "selu", "--dtype", "float32"]
    assert main(["check", "--device", "mylib.array_api", *only]) == 1
    printed = capsys.readouterr().out
    assert "has no expm1; add it, as the standard defines it" in printed
    assert "xp.expm1 on mylib.array_api: " in printed and "disagree because of it: SELU" in printed


def test_rows_of_other_libraries_are_left_out_where_these_are_absent(mylib, monkeypatch):
    from bp_arrays.testing import _checking

    monkeypatch.setattr(_checking, "find_device", absent(_checking.find_device))
    report = bp.testing.check(bp.Tanh(), input_shape=3, devices=["mylib.array_api"])
    assert report.ok and not report.properties
    report = bp.testing.check(bp.Tanh(), input_shape=3, devices=["cpu"])
    assert report.properties["no hidden transfer to the host"] == "NOT RUN: needs PyTorch"


def absent(find):
    """`bp.device` where PyTorch is not installed."""

    def found(spec):
        return find("cuda:999") if spec == "torch:cpu" else find(spec)

    return found


def test_a_module_that_wraps_its_dtypes_is_reported_in_a_line(mylib, capsys):
    module = sys.modules["mylib.array_api"]
    float64 = module.float64
    module.float64 = lambda *arguments: float64(*arguments)
    code = main(["check", "--device", "mylib.array_api", "--only", "tanh", "--require",
                 "mylib.array_api"])  # fmt: skip
    printed = capsys.readouterr()
    assert code == 1 and "Traceback" not in printed.out + printed.err
    assert "mylib.array_api.float64 is <function" in printed.out
    assert "not a dtype" in printed.out
