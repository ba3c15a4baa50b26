"""An array library of somebody else: registered, from an entry point, and with every fault.

Covers: `bp.devices.register`, `Backend` and its defaults, entry points, the way from a registered
name through `fit`, `bp-arrays check`, `bp-arrays devices` and the pytest plugin.
"""

from __future__ import annotations

import os
import pickle
import re
import shutil
import subprocess
import sys
import types
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.command_line import main
from bp_arrays.devices import Backend, device_of, device_of_or_none

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


@pytest.fixture
def unregistering():
    """Afterwards none of the libraries of these tests is registered."""
    yield
    for name in ("thin", "mine", "numbered", "faulty", "broken"):
        with suppress(bp.InputError):
            bp.devices.unregister(name)


@pytest.fixture
def thin(unregistering):
    from thin_library.backend import ThinBackend

    bp.devices.register(ThinBackend)
    return bp.device("thin:cpu")


def in_one_line(error):
    message = str(error.value)
    assert "\n" not in message
    return message


# -- registered by a call


def test_a_registered_library_has_devices_by_name(thin):
    assert thin.name == str(thin) == "thin:cpu"
    assert bp.device("thin") == thin
    assert pickle.loads(pickle.dumps(thin)) == thin
    assert thin.availability().usable
    assert thin.description == "thin 1.0"
    assert thin in [status.device for status in bp.devices()]
    assert (thin.runs_as, thin.is_host, thin.is_writable) == ("eager", False, False)


def test_its_arrays_are_found_and_move_both_ways(thin):
    import thin_library

    array = thin.asarray(np.arange(3.0))
    assert isinstance(array, thin_library.Array)
    assert device_of(array) == thin and thin.owns(array)
    assert not bp.device("cpu").owns(array)
    assert bp.device("cpu").asarray(array).tolist() == [0.0, 1.0, 2.0]
    assert thin.asarray(array) is not array
    with pytest.raises(TypeError, match="unasked"):
        np.asarray(array)


def test_it_trains_as_numpy_does_from_numpy_and_from_its_own_arrays(thin):
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(50, 3)).astype("float32"), rng.integers(0, 2, size=50)
    losses = []
    for device, samples, targets in (
        (bp.device("cpu"), x, t),
        (thin, x, t),
        (thin, thin.asarray(x), thin.asarray(t)),
    ):
        net = bp.Sequential(bp.Linear(5), bp.Tanh(), bp.Linear(2))
        model = bp.Model(net, input_shape=3, device=device, seed=0)
        history = bp.fit(
            model, samples, targets, loss=bp.CrossEntropy(), optimizer=bp.Adam(), epochs=3,
            batch_size=16, seed=1,
        )  # fmt: skip
        assert device_of(model.vector) == device
        assert device_of_or_none(model.predict(samples)) == device_of(samples)
        losses.append(history["loss"])
    assert losses[1] == losses[2]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-6)


def test_an_array_elsewhere_is_refused_with_both_names(thin):
    model = bp.Model(bp.Linear(2), input_shape=3, device="cpu", seed=0)
    with pytest.raises(
        bp.DeviceMismatchError, match=r"on 'cpu', the model's device, got one on 'thin:cpu'"
    ):
        model.predict(thin.asarray(np.zeros((1, 3), "float32")))


def test_a_model_is_saved_and_opened_there(thin, tmp_path):
    model = bp.Model(bp.Linear(2), input_shape=3, device=thin, seed=0)
    model.save(tmp_path / "model.safetensors")
    again = bp.load(tmp_path / "model.safetensors", device="thin:cpu")
    assert again.device == thin
    np.testing.assert_array_equal(thin.to_numpy(again.vector), thin.to_numpy(model.vector))


def test_a_function_that_is_wrong_by_a_thousandth_disagrees(thin, monkeypatch, capsys):
    import thin_library

    exp = thin_library.exp
    monkeypatch.setattr(thin_library, "exp", lambda x: exp(x) * 1.001)
    assert main(["check", "--device", "thin:cpu", "--only", "sigmoid"]) == 1
    assert re.search(
        r"DISAGREES  Sigmoid, ordinary on thin:cpu, float32: .* eps off", capsys.readouterr().out
    )


def test_the_table_of_devices_has_it(thin, capsys):
    assert main(["devices"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^thin:cpu +yes +thin 1.0\n +training: plain", printed, re.MULTILINE)


# -- several devices, by the standard alone


class Numbered(Backend):
    """Any namespace whose devices the inspection functions of the standard number."""

    name = "numbered"
    module = "array_api_strict"
    kinds = ("dev",)
    numbered_kinds = frozenset({"dev"})


def test_the_devices_of_a_library_are_numbered_as_the_standard_lists_them(unregistering):
    strict = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
    bp.devices.register(Numbered())
    second = bp.device("numbered:dev:1")
    assert second.name == "numbered:dev:1"
    assert bp.device("numbered") == bp.device("numbered:dev") == bp.device("numbered:dev:0")
    array = second.asarray([1.0, 2.0], "float32")
    assert array.device == strict.__array_namespace_info__().devices()[1]
    assert second.owns(array) and not bp.device("numbered:dev:0").owns(array)
    assert second.to_numpy(array).tolist() == [1.0, 2.0]
    with pytest.raises(bp.DeviceUnavailableError, match="probe on numbered:dev:99 failed: Index"):
        bp.device("numbered:dev:99").require()


# -- what register refuses


def backend(**attributes):
    return type("Mine", (Backend,), {"name": "mine", "module": "thin_library", **attributes})


@pytest.mark.parametrize(
    ("offered", "message"),
    [
        (np, "expected a subclass of bp_arrays.devices.Backend or an instance of one"),
        (int, "expected a subclass of bp_arrays.devices.Backend or an instance of one"),
        (backend(name="torch"), r"Mine.name\): expected a free name, 'torch' is reserved"),
        (backend(name="cuda"), r"Mine.name\): expected a free name, 'cuda' is reserved"),
        (backend(name="my:lib"), r"Mine.name\): expected a letter, then letters, digits"),
        (backend(name=""), r"Mine.name\): expected a letter"),
        (backend(module=""), r"Mine.module\): expected the import path of the namespace"),
        (backend(kinds="cpu"), r"Mine.kinds\): expected names such as \('cpu', 'gpu'\), got 'cpu'"),
        (backend(kinds=()), r"Mine.kinds\): expected names"),
        (backend(numbered_kinds={"gpu"}), r"Mine.numbered_kinds\): expected some of \('cpu',\)"),
        (backend(kinds=("cpu", "gpu")), r"Mine.native\): expected an override that distinguishes"),
        (backend(kinds=5), r"Mine.kinds\): expected names"),
        (backend(numbered_kinds=None), r"Mine.numbered_kinds\): expected some of"),
        (
            backend(locate=lambda self, array: ("cpu", array.device)),
            r"Mine.locate\): expected None for None, but it raises AttributeError",
        ),
        (
            backend(locate=lambda self, array: ("cpu", 0)),
            r"Mine.locate\): expected None for None, got \('cpu', 0\)",
        ),
        (
            backend(__init__=lambda self, handle: None),
            r"register\(Mine\): calling it without arguments raises TypeError.*pass an instance",
        ),
        (backend(runs_as="jit"), r"Mine.runs_as\): expected the default; only built-in"),
    ],
)
def test_an_incomplete_backend_is_refused_by_its_attribute(unregistering, offered, message):
    with pytest.raises(bp.InputError, match=message) as error:
        bp.devices.register(offered)
    in_one_line(error)


def test_an_availability_that_raises_takes_no_other_device_with_it(unregistering):
    def availability(self, kind, index):
        raise OSError("no such driver")

    bp.devices.register(backend(availability=availability))
    statuses = {status.device.name: status for status in bp.devices()}
    assert statuses["cpu"].usable
    assert "raises OSError: no such driver" in statuses["mine:cpu"].reason


def test_a_name_is_given_once_but_the_same_class_may_register_again(unregistering):
    bp.devices.register(backend())
    bp.devices.register(backend())  # a cell of a notebook that runs again
    other = type("Other", (Backend,), {"name": "mine", "module": "thin_library"})
    with pytest.raises(
        bp.InputError, match=r"expected a free name, it is taken by .*Mine; choose another"
    ) as error:
        bp.devices.register(other)
    in_one_line(error)
    bp.devices.unregister("mine")
    bp.devices.register(other)
    with pytest.raises(bp.InputError, match="expected a registered library"):
        bp.devices.unregister("numpy")


def test_a_name_that_is_not_registered_says_how_to_register(unregistering):
    with pytest.raises(bp.InputError, match=r"unknown device 'thin:cpu'.*bp\.devices\.register"):
        bp.device("thin:cpu")


def test_a_device_whose_library_is_gone_keeps_its_name_and_says_so(thin):
    bp.devices.unregister("thin")
    assert repr(thin) == "device('thin:cpu')"
    with pytest.raises(bp.InputError, match="'thin' is not registered in this process") as error:
        thin.asarray([1.0])
    in_one_line(error)


# -- a library with a fault says which, in one line


@pytest.fixture
def faulty(unregistering, monkeypatch):
    """The source of the thin library under another name, to plant a fault in."""
    module = types.ModuleType("faulty")
    monkeypatch.setitem(sys.modules, "faulty", module)
    exec((HERE / "thin_library" / "__init__.py").read_text(), vars(module))
    bp.devices.register(type("Faulty", (Backend,), {"name": "faulty", "module": "faulty"}))
    return module


def refusal():
    with pytest.raises(bp.DeviceUnavailableError) as error:
        bp.device("faulty").require()
    return in_one_line(error)


def test_without_a_fault_it_is_usable(faulty):
    assert bp.device("faulty").require().availability().usable


def test_a_library_that_is_not_installed(faulty, monkeypatch):
    monkeypatch.setitem(sys.modules, "faulty", None)
    assert "faulty is not installed. To use it: install the package with the module" in refusal()


def test_a_library_whose_import_fails(unregistering, tmp_path, monkeypatch):
    (tmp_path / "failing.py").write_text("raise OSError('libgpu.so: no such file\\nor folder')\n")
    monkeypatch.syspath_prepend(tmp_path)
    bp.devices.register(type("Faulty", (Backend,), {"name": "faulty", "module": "failing"}))
    assert "failing is installed but broken: OSError: libgpu.so: no such file or fol" in refusal()


def test_an_asarray_that_returns_another_dtype(faulty):
    asarray = faulty.asarray
    faulty.asarray = lambda obj, dtype=None, **options: asarray(obj, dtype="float64", **options)
    message = refusal()
    assert "an array made on faulty:cpu with dtype=float32 has the dtype float64" in message
    assert "fix asarray of faulty, or override Faulty.from_host" in message


def test_arrays_without_a_device(faulty):
    del faulty.Array.device
    assert "arrays of faulty have no attribute 'device'" in refusal()


def test_arrays_of_another_namespace(faulty):
    faulty.Array.__array_namespace__ = lambda self, api_version=None: np
    assert "an array made on faulty:cpu is not located on it. To use it: fix" in refusal()


def test_arrays_that_numpy_cannot_read(faulty):
    del faulty.Array.__dlpack__
    message = refusal()
    assert "a probe on faulty:cpu failed: TypeError" in message and "unasked" in message


def test_a_sum_that_is_wrong(faulty):
    faulty.Array.__add__ = lambda self, other: self
    assert "a probe on faulty:cpu computed 1 + 2 = 1.0" in refusal()


def test_a_namespace_without_float32(faulty):
    del faulty.float32
    assert "faulty has no float32" in refusal()


# -- found by an entry point of an installed package


def install(target, package, *entry_points, group="bp_arrays.backends"):
    """An installed package as pip leaves it: a dist-info folder next to its modules."""
    info = target / f"{package.replace('-', '_')}-2.0.dist-info"
    info.mkdir(parents=True)
    info.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 2.0\n")
    text = "\n".join([f"[{group}]", *entry_points, ""])
    info.joinpath("entry_points.txt").write_text(text)


@pytest.fixture
def target(tmp_path):
    """A folder of installed packages; the large array libraries seem absent, to save time."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    for name in ("torch", "jax"):
        text = f"raise ModuleNotFoundError({name!r}, name={name!r})\n"
        folder.joinpath(f"{name}.py").write_text(text)
    return folder


@pytest.fixture
def thin_target(target):
    """A folder in which the thin library is installed, with its entry point."""
    shutil.copytree(HERE / "thin_library", target / "thin_library")
    install(target, "thin-arrays", "thin = thin_library.backend:ThinBackend")
    return target


def python(target, *words, **options):
    path = os.pathsep.join([str(target), str(ROOT)])
    done = subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": path},
        **options,
    )
    return done.returncode, done.stdout + done.stderr


def test_an_installed_library_needs_no_call_and_is_imported_only_when_used(thin_target):
    code = """
import sys, bp_arrays as bp
assert "thin_library" not in sys.modules
bp.device("cpu").asarray([1.0])
assert "thin_library" not in sys.modules
thin = bp.device("thin:cpu")
model = bp.Model(bp.Linear(1), input_shape=2, device=thin, seed=0)
history = bp.fit(model, [[1.0, 2.0]] * 4, [[1.0]] * 4, loss=bp.L2Loss(), optimizer=bp.SGD(),
                 epochs=2)
print(type(model.vector), len(history["loss"]))
"""
    assert python(thin_target, "-c", code) == (0, "<class 'thin_library.Array'> 2\n")


def test_arrays_of_an_installed_library_are_known_before_its_name_is_used(thin_target):
    code = """
import thin_library, bp_arrays as bp
print(bp.devices.__class__.__name__, bp.device("cpu").asarray(thin_library.asarray([1.0, 2.0])))
"""
    assert python(thin_target, "-c", code) == (0, "DeviceList [1. 2.]\n")


RECORD = """
import sys, types, thin_library
from bp_arrays.command_line import main

used = set()

def recording(name, function):
    def recorder(*args, **options):
        used.add(name)
        return function(*args, **options)
    return recorder

for name, function in list(vars(thin_library).items()):
    if isinstance(function, types.FunctionType) and not name.startswith("_"):
        setattr(thin_library, name, recording(name, function))
code = main(["check", "--device", "thin:cpu"])
print("used:", *sorted(used))
sys.exit(code)
"""


def test_every_case_agrees_and_calls_only_functions_that_the_page_lists(thin_target):
    code, printed = python(thin_target, "-c", RECORD)
    assert code == 0, printed
    assert re.search(r"\d{3} cases on thin:cpu: all agree; 0 devices NOT RUN", printed)
    page = (ROOT / "docs" / "own-array-library.md").read_text(encoding="utf-8")
    needs = page.partition("## What your namespace needs")[2].partition("##")[0]
    used = set(printed.partition("used: ")[2].partition("\n")[0].split())
    missing = used - set(re.findall(r"`(\w+)`", needs))
    assert used and not missing, "docs/own-array-library.md must list these functions"


SUITE = """
import bp_arrays as bp
from bp_arrays.testing.pytest_plugin import parametrize_with_checks

@parametrize_with_checks(bp.Linear(2), input_shape=3, dtypes=["float32"])
def test_layers(check):
    check()

def test_arrays(device):
    assert type(device.asarray([1.0])).__module__ == "thin_library"
"""
PYTEST = ("-m", "pytest", "-p", "bp_arrays.testing.pytest_plugin", "-q", "--device", "thin:cpu")


def test_the_pytest_plugin_runs_on_an_installed_library(thin_target, tmp_path):
    (tmp_path / "test_thin.py").write_text(SUITE)
    code, printed = python(thin_target, *PYTEST, "test_thin.py", cwd=tmp_path)
    assert code == 0, printed
    assert re.search(r"^thin:cpu +\d+ tests ran$", printed, re.MULTILINE), printed


def test_the_pytest_plugin_runs_on_a_library_that_conftest_registers(target, tmp_path):
    shutil.copytree(HERE / "thin_library", target / "thin_library")
    (tmp_path / "test_thin.py").write_text(SUITE)
    (tmp_path / "conftest.py").write_text(
        "import bp_arrays as bp\n"
        "from thin_library.backend import ThinBackend\n"
        "bp.devices.register(ThinBackend)\n"
    )
    code, printed = python(target, *PYTEST, "-k", "test_arrays", cwd=tmp_path)
    assert code == 0 and re.search(r"^thin:cpu +1 tests ran$", printed, re.MULTILINE), printed


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("raise RuntimeError('no licence\\nfound')", "RuntimeError: no licence found"),
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_f"),
        ("Backend = 5", r"expected a subclass of bp_arrays.devices.Backend .* got builtins.int"),
        ("", "AttributeError: module 'broken_plugin' has no attribute 'Backend'"),
        (
            "from bp_arrays.devices import Backend as Base\n"
            "class Backend(Base):\n    name, module = 'thick', 'thin_library'",
            "expected a Backend of the name 'broken', got 'thick'",
        ),
    ],
)
def test_an_entry_point_that_cannot_be_loaded_names_its_package_in_one_line(
    unregistering, target, monkeypatch, module, message
):
    (target / "broken_plugin.py").write_text(module)
    install(target, "broken-arrays", "broken = broken_plugin:Backend")
    monkeypatch.syspath_prepend(target)
    monkeypatch.delitem(sys.modules, "broken_plugin", raising=False)
    device = bp.device("broken:gpu:1")
    with pytest.raises(
        bp.DeviceUnavailableError, match=f"entry point in broken-arrays 2.0 cannot .*{message}"
    ) as error:
        device.asarray([1.0])
    assert str(device) == "broken:gpu:1"
    assert "fix or uninstall broken-arrays 2.0" in in_one_line(error)
    statuses = {status.device.name: status for status in bp.devices()}
    assert statuses["cpu"].usable and not statuses["broken"].usable
    assert "broken-arrays 2.0" in statuses["broken"].reason


def test_the_table_has_a_broken_entry_point_and_all_other_devices(thin_target):
    broken = "broken = nowhere_to_be_found:Backend"
    install(thin_target, "broken-arrays", broken, group="bp_arrays.devices")  # its former name
    code, printed = python(thin_target, "-m", "bp_arrays", "devices")
    assert code == 0 and "Traceback" not in printed
    assert re.search(r"^broken +no +its entry point in broken-arrays 2.0", printed, re.MULTILINE)
    assert re.search(r"^thin:cpu +yes", printed, re.MULTILINE)


def test_two_packages_with_one_name_are_both_refused(unregistering, thin_target, monkeypatch):
    install(thin_target, "thinner-arrays", "thin = thin_library.backend:ThinBackend")
    monkeypatch.syspath_prepend(thin_target)
    with pytest.raises(
        bp.DeviceUnavailableError, match=r"thin-arrays 2\.0 and thinner-arrays 2\.0 both offer"
    ) as error:
        bp.device("thin:cpu").require()
    in_one_line(error)


def test_an_entry_point_with_the_name_of_a_built_in_library_is_left_out(
    unregistering, thin_target, monkeypatch, caplog
):
    install(thin_target, "evil-arrays", "torch = thin_library.backend:ThinBackend")
    monkeypatch.syspath_prepend(thin_target)
    names = [status.device.name for status in bp.devices()]
    assert "thin:cpu" in names and names.count("torch:cpu") == 1
    assert "entry point 'torch' of evil-arrays 2.0 is not used" in caplog.text


def test_a_library_whose_locate_fails_disturbs_no_other_device(caplog):
    class Fails(Backend):
        name = "fails"
        module = "array_api_strict"

        def locate(self, array):
            if type(array).__name__ == "Odd":
                raise RuntimeError("odd")

    class Odd(list):
        """Data of a kind that the library does not expect."""

    bp.devices.register(Fails)
    try:
        model = bp.Model(bp.Identity(), 2, device="cpu")
        assert model.predict(Odd([[1.0, 2.0]])).tolist() == [[1.0, 2.0]]
    finally:
        bp.devices.unregister("fails")
    assert any("its locate() failed" in line for line in caplog.messages)
