"""Covers: Checkpoint, fit(checkpoint=, resume=), the states of callbacks, joined histories."""

from __future__ import annotations

import errno
import functools
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.data import ArrayBlocks, Batches
from bp_arrays.training._agreement import as_text
from bp_arrays.training._described import described
from bp_arrays.training.checkpoints import _folder
from bp_arrays.training.checkpoints._folder import CheckpointFolder

RNG = np.random.default_rng(4)
X = RNG.normal(size=(70, 4)).astype("float32")
T = (X @ RNG.normal(size=(4, 3))).argmax(axis=1)
STEPS = 5  # of an epoch, the last of them smaller


class Spy(bp.Callback):
    """Counts epochs, and keeps the count in checkpoints."""

    def on_start(self, run):
        self.seen = []

    def on_epoch_end(self, run):
        self.seen.append(float(np.asarray(run.history["loss"][-1])))

    def state(self):
        return {"seen": np.asarray(self.seen)}

    def restore(self, state):
        self.seen = state["seen"].tolist()


class InterruptedLoss(bp.Callback):
    """Presses Ctrl-C after a number of epochs."""

    def __init__(self, epochs):
        self.epochs = epochs

    def on_epoch_end(self, run):
        if run.history.epochs == self.epochs:
            signal.raise_signal(signal.SIGINT)


def make(device="cpu", dtype="float32"):
    net = bp.Sequential(bp.Linear(8), bp.BatchNorm(), bp.Tanh(), bp.Dropout(0.2), bp.Linear(3))
    return bp.Model(net, input_shape=4, device=device, dtype=dtype, seed=0)


def settings(**changed):
    optimizer = bp.Chain(bp.ClipByGlobalNorm(1.0), bp.Adam(bp.ReduceOnPlateau(0.02, patience=0)))
    usual = {
        "loss": bp.CrossEntropy(),
        "optimizer": optimizer,
        "epochs": 4,
        "batch_size": 16,
        "penalty": bp.L2Penalty(1e-3),
        "metrics": [bp.Accuracy()],
        "validation": (X[:20], T[:20]),
        "callbacks": [bp.EarlyStopping(3), Spy()],
    }
    return usual | changed


def stopped_after(step, monkeypatch, model, *data, **arguments):
    """Train, and press Ctrl-C when this number of updates is reached."""
    from bp_arrays.training import _pauses

    is_due, pressed = _pauses.Pauses.is_due, []

    def pressing(self, count):
        if count >= step and not pressed:
            pressed.append(count)
            signal.raise_signal(signal.SIGINT)
        return is_due(self, count)

    with monkeypatch.context() as patch:
        patch.setattr(_pauses.Pauses, "is_due", pressing)
        history = bp.fit(model, *data, **arguments)
    assert history.stopped == "interrupted" and pressed
    return history


def assert_same(resumed, history, uninterrupted, expected, device="cpu"):
    exact = str(device).partition(":")[0] in ("cpu", "strict")
    tolerance = 0.0 if exact else 2e-5
    for name, value in uninterrupted.host_parameters().items():
        actual = resumed.host_parameters()[name]
        np.testing.assert_allclose(actual, value, rtol=tolerance, atol=tolerance)
    assert list(history) == list(expected)
    for name in set(expected) - {"seconds"}:
        np.testing.assert_allclose(history[name], expected[name], rtol=tolerance)
    assert history.kept_epoch == expected.kept_epoch


@pytest.mark.parametrize("step", [3, STEPS, 2 * STEPS + 4])
def test_resumed_training_is_the_uninterrupted_one(device, step, tmp_path, monkeypatch):
    uninterrupted, resumed = make(device), make(device)
    usual = settings()
    expected = bp.fit(uninterrupted, X, T, **usual)
    checkpoint = bp.Checkpoint(tmp_path, every="1 hour")
    stopped_after(step, monkeypatch, make(device), X, T, checkpoint=checkpoint, **settings())
    again = settings()
    history = bp.fit(resumed, X, T, resume=tmp_path, **again)
    assert_same(resumed, history, uninterrupted, expected, device)
    assert again["callbacks"][1].seen == pytest.approx(usual["callbacks"][1].seen, rel=1e-5)
    assert resumed.training_state.step == 4 * STEPS


def test_a_checkpoint_continues_on_another_device(device, tmp_path, monkeypatch):
    uninterrupted, resumed = make("cpu"), make(device)
    expected = bp.fit(uninterrupted, X, T, **settings())
    checkpoint = bp.Checkpoint(tmp_path, every="7 steps")
    stopped_after(12, monkeypatch, make("cpu"), X, T, checkpoint=checkpoint, **settings())
    history = bp.fit(resumed, X, T, resume=tmp_path, **settings())
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-4)
    np.testing.assert_allclose(
        resumed.host_parameters()["0.weight"],
        uninterrupted.host_parameters()["0.weight"],
        atol=1e-4,
    )


@pytest.mark.parametrize("kind", ["blocks", "blocks in order", "iterable", "own order"])
def test_streamed_data_continues_within_an_epoch(kind, tmp_path, monkeypatch):
    def data():
        if kind == "iterable":
            return [(X[k : k + 16], T[k : k + 16]) for k in range(0, 70, 16)]
        blocks = ArrayBlocks(X, T, block_rows=9)
        return Batches(blocks, batch_size=16, shuffle=kind == "blocks", seed=2, window=20)

    arguments = settings(batch_size=None, shuffle=None)
    arrays = (data(),)
    if kind == "own order":
        arrays = X, T
        shuffle = lambda epoch: np.roll(np.arange(70), epoch)  # noqa: E731
        arguments = settings(shuffle=shuffle)
    uninterrupted, resumed = make(), make()
    expected = bp.fit(uninterrupted, *arrays, **arguments)
    for step in (8, 10):
        folder = tmp_path / str(step)
        arguments["callbacks"] = [bp.EarlyStopping(3)]
        checkpoint = bp.Checkpoint(folder)
        stopped_after(step, monkeypatch, make(), *arrays, checkpoint=checkpoint, **arguments)
        resumed = make()
        history = bp.fit(resumed, *arrays, resume=folder, **arguments)
        assert_same(resumed, history, uninterrupted, expected)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_batches_that_cannot_be_repeated_are_refused(device, accumulate, tmp_path, monkeypatch):
    class Reader:
        def __init__(self):
            self.rng = np.random.default_rng(0)

        def __iter__(self):
            return ((X[rows], T[rows]) for rows in self.rng.permutation(70).reshape(7, 10))

    arguments = settings(batch_size=None, accumulate=accumulate)
    checkpoint = bp.Checkpoint(tmp_path, every="9 steps")
    stopped_after(9, monkeypatch, make(device), Reader(), checkpoint=checkpoint, **arguments)
    with pytest.raises(bp.InputError, match="expected an iterable that yields the same batches"):
        bp.fit(make(device), Reader(), resume=tmp_path, **arguments)


def test_an_order_that_cannot_be_repeated_is_refused(tmp_path, monkeypatch):
    rng, folder = np.random.default_rng(0), tmp_path / "order"
    arguments = settings(shuffle=lambda epoch: rng.permutation(70))
    checkpoint = bp.Checkpoint(folder)
    stopped_after(8, monkeypatch, make(), X, T, checkpoint=checkpoint, **arguments)
    with pytest.raises(bp.InputError, match="shuffle must be a function of the number"):
        bp.fit(make(), X, T, resume=folder, **arguments)


@pytest.mark.parametrize(
    ("every", "steps"),
    [
        ("1 epoch", [5, 10, 15, 20]),
        ("2 epochs", [10, 20]),
        ("3 epochs", [15, 20]),
        ("0.4 epochs", [2, 4, 6, 8, 10, 12, 14, 16, 18, 20]),
        ("8 steps", [8, 16, 20]),
        ("1 hour", [20]),
        ("1e-9 seconds", list(range(1, 21))),
    ],
)
def test_checkpoints_are_due_by_epochs_steps_or_time(every, steps, tmp_path):
    bp.fit(make(), X, T, checkpoint=bp.Checkpoint(tmp_path, every=every, keep=None), **settings())
    assert names(tmp_path) == [f"step-{step:012d}.safetensors" for step in steps]


def names(folder):
    return sorted(path.name for path in folder.glob("*.safetensors"))


def test_the_last_checkpoints_are_kept_and_the_best(tmp_path):
    checkpoint = bp.Checkpoint(tmp_path, keep=2, best="val_loss")
    model = make()
    history = bp.fit(model, X, T, checkpoint=checkpoint, **settings(epochs=6))
    last = [f"step-{STEPS * n:012d}.safetensors" for n in (5, 6)]
    assert names(tmp_path) == ["best.safetensors", *last]
    best = bp.load(tmp_path / "best.safetensors", device="cpu")
    values = bp.evaluate(best, X[:20], T[:20], loss=bp.CrossEntropy())
    assert values["loss"] == pytest.approx(min(history["val_loss"]), rel=1e-6)
    with pytest.raises(bp.InputError, match="did you mean 'val_loss'"):
        bp.fit(make(), X, T, checkpoint=bp.Checkpoint(tmp_path, best="val_los"), **settings())


def test_training_continues_with_more_epochs_and_says_when_it_is_complete(tmp_path, caplog):
    bp.fit(make(), X, T, checkpoint=bp.Checkpoint(tmp_path), **settings(epochs=2))
    model = make()
    with caplog.at_level(logging.WARNING, "bp_arrays"):
        history = bp.fit(model, X, T, resume=tmp_path, **settings(epochs=2))
    assert history.epochs == 2 and "training is complete, with 2 epochs" in caplog.text
    expected, uninterrupted = None, make()
    expected = bp.fit(uninterrupted, X, T, **settings())
    resumed = make()
    checkpoint = bp.Checkpoint(tmp_path)
    history = bp.fit(resumed, X, T, resume=tmp_path, checkpoint=checkpoint, **settings())
    assert_same(resumed, history, uninterrupted, expected)
    longer = settings(epochs=5, optimizer=bp.Chain(bp.ClipByGlobalNorm(1.0), bp.Adam(0.5)))
    assert bp.fit(make(), X, T, resume=tmp_path, **longer).epochs == 5  # with another rate


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"loss": bp.MultiMargin()}, "expected the loss of the checkpoint"),
        ({"optimizer": bp.SGD(0.1)}, "expected the optimizer of the checkpoint"),
        ({"batch_size": 8}, "expected the batch size of the checkpoint .*, 16, got 8"),
        ({"seed": 5}, "expected the seed of the checkpoint .*, 0, got 5"),
        ({"penalty": None}, "expected the penalty"),
        ({"metrics": []}, "expected the metrics"),
        ({"shuffle": False}, "expected the shuffle"),
        ({"validation": None}, "expected the validation data"),
        ({"epochs": 1}, "expected at least the 2 epochs"),
        ({"sample_weight": np.ones(70)}, "expected the data of the checkpoint"),
    ],
)
def test_another_training_run_is_refused_in_one_line(changed, message, tmp_path):
    bp.fit(make(), X, T, checkpoint=bp.Checkpoint(tmp_path), **settings(epochs=2))
    model = make()
    before = model.host_parameters()["0.weight"].copy()
    with pytest.raises(bp.InputError, match=message) as error:
        bp.fit(model, X, T, resume=tmp_path, **settings(epochs=2) | changed)
    assert "\n" not in str(error.value)
    np.testing.assert_array_equal(model.host_parameters()["0.weight"], before)


def test_another_model_and_other_data_are_refused(tmp_path):
    bp.fit(make(), X, T, checkpoint=bp.Checkpoint(tmp_path), **settings(epochs=2))
    other = X.copy()
    other[33, 2] += 1e-3
    for model, x in ((make(dtype="float64"), X), (bp.Model(bp.Linear(3), 4, device="cpu"), X)):
        with pytest.raises(bp.InputError, match="expected the model of the checkpoint"):
            bp.fit(model, x, T, resume=tmp_path, **settings(epochs=2))
    with pytest.raises(bp.InputError, match=r"expected the data of the checkpoint.*differs"):
        bp.fit(make(), other, T, resume=tmp_path, **settings(epochs=2))
    with pytest.raises(bp.InputError, match="70 rows, got 69 rows"):
        bp.fit(make(), X[1:], T[1:], resume=tmp_path, **settings(epochs=2))


def test_a_folder_without_a_checkpoint_is_refused_in_one_line(tmp_path):
    def refused(folder, message):
        with pytest.raises(bp.InputError, match=message) as error:
            bp.fit(make(), X, T, resume=folder, **settings(epochs=2))
        assert "\n" not in str(error.value)

    refused(tmp_path / "none", "got no such folder")
    refused(tmp_path, "got an empty folder")
    part = tmp_path / ".0123456789abcdef.part"
    part.touch()
    refused(tmp_path, "only one that was not written to its end")
    (tmp_path / "holiday.jpg").touch()
    refused(tmp_path, "other files, such as")
    refused(tmp_path / "holiday.jpg", "expected the path of a folder; this is a file")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "step-000000000005.safetensors").write_bytes(b"a")
    refused(foreign, "expected a checkpoint that is intact")
    refused(3, "expected the path of a folder")
    refused("a" * 300, "File name too long")
    refused("a\0b", "expected the path of a folder")


def test_a_name_that_is_too_long_for_a_folder_is_refused_in_one_line():
    with pytest.raises(bp.InputError, match="expected a folder to write to, got File") as error:
        bp.fit(make(), X, T, checkpoint="a" * 300, **settings())
    assert "\n" not in str(error.value)


FORK = """
import os, sys
from pathlib import Path
import bp_arrays as bp
from bp_arrays.training.checkpoints._folder import CheckpointFolder

path = Path(sys.argv[1])
folder = CheckpointFolder(path, keep=1)
(told, tell), (wait, go) = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    try:
        os.close(go)
        try:
            CheckpointFolder(path, keep=1)
        except bp.InputError as error:
            os.write(tell, str(error).encode())
        os.read(wait, 1)
        CheckpointFolder(path, keep=1).close()
        os.write(tell, b"written")
    finally:
        os._exit(0)
os.close(tell)
assert f"process {os.getpid()} on" in os.read(told, 1000).decode()
folder.close()
os.close(go)
assert os.read(told, 1000) == b"written"
os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_may_write_where_its_parent_has_written(tmp_path):
    """It is refused by the lock while the parent trains, not by what it has inherited."""
    command = [sys.executable, "-c", FORK, str(tmp_path)]  # other tests have started threads here
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    bp.fit(make(), X, T, checkpoint=bp.Checkpoint(folder, keep=2), **settings(epochs=2))
    return folder


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.ESTALE, errno.ENOENT])
def test_a_checkpoint_that_may_not_be_read_is_not_damaged(
    number, two_checkpoints, tmp_path, monkeypatch
):
    """Training must not go on silently from an older one: the newest may be intact."""
    run, readable = tmp_path / "run", Path.read_bytes
    shutil.copytree(two_checkpoints, run)
    newest = run / names(run)[-1]
    if number == errno.ENOENT:  # on a disk that is not mounted, not removed by another process
        newest.unlink()
        newest.symlink_to(tmp_path / "elsewhere")

    def refused(path):
        if path == newest and number != errno.ENOENT:
            raise OSError(number, os.strerror(number), str(path))
        return readable(path)

    reason = "a link to a file" if number == errno.ENOENT else os.strerror(number)
    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(bp.InputError, match=f"{newest.name} cannot be: .*{reason}") as error:
        bp.fit(make(), X, T, checkpoint=run, resume=run, **settings(epochs=3))
    assert not isinstance(error.value, bp.DataError) and "\n" not in str(error.value)
    assert names(run)[-1] == newest.name


def test_a_folder_that_may_not_be_read_is_refused_in_one_line(two_checkpoints, monkeypatch):
    def refused(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(bp.InputError, match="cannot be: Permission denied") as error:
        bp.fit(make(), X, T, resume=two_checkpoints, **settings(epochs=3))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("how", ["disk error", "folder"])
def test_a_checkpoint_whose_content_is_lost_is_reported_and_passed_over(
    how, two_checkpoints, tmp_path, monkeypatch, caplog
):
    run, readable = tmp_path / "run", Path.read_bytes
    shutil.copytree(two_checkpoints, run)
    before, newest = (run / name for name in names(run))

    def damaged(path):
        if path == newest:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return readable(path)

    if how == "folder":
        newest.unlink()
        newest.mkdir()
    else:
        monkeypatch.setattr(Path, "read_bytes", damaged)
    history = bp.fit(
        make(), X, T, checkpoint=bp.Checkpoint(run, keep=1), resume=run, **settings(epochs=3)
    )
    assert history.epochs == 3 and f"continues from the one before, {before.name}" in caplog.text
    assert "could not be written" not in caplog.text
    assert (run / f"{newest.name}.damaged").exists()


def test_an_older_folder_in_place_of_a_checkpoint_stays(two_checkpoints, tmp_path, caplog):
    run = tmp_path / "run"
    shutil.copytree(two_checkpoints, run)
    (run / "step-000000000001.safetensors").mkdir()
    checkpoint = bp.Checkpoint(run, keep=1)
    bp.fit(make(), X, T, checkpoint=checkpoint, resume=run, **settings(epochs=3))
    assert len(names(run)) == 2 and not caplog.records


def test_a_later_version_is_refused(tmp_path, monkeypatch):
    from bp_arrays.formats import _checkpoint_file

    with monkeypatch.context() as patch:
        patch.setattr(_checkpoint_file, "VERSION", 2)
        bp.fit(make(), X, T, checkpoint=bp.Checkpoint(tmp_path), **settings(epochs=2))
    with pytest.raises(bp.DataError, match="version 1 to 1, got 2; update bp_arrays"):
        bp.fit(make(), X, T, resume=tmp_path, **settings(epochs=2))


def test_a_folder_of_another_run_is_not_written_to(tmp_path):
    model, arguments = make(), settings(epochs=2)
    bp.fit(model, X, T, checkpoint=bp.Checkpoint(tmp_path), **arguments)
    with pytest.raises(bp.InputError, match="continue that run with resume="):
        bp.fit(make(), X, T, checkpoint=bp.Checkpoint(tmp_path), **settings(epochs=2))
    # the same run, continued in memory
    bp.fit(model, X, T, checkpoint=bp.Checkpoint(tmp_path), **arguments)
    assert names(tmp_path)[-1] == "step-000000000020.safetensors"


def test_a_file_system_without_locks_is_reported_and_used(tmp_path, monkeypatch, caplog):
    def without(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(_folder, "_lock", without)
    with caplog.at_level(logging.WARNING, "bp_arrays"):
        folder = CheckpointFolder(tmp_path, 1)
    assert "no locks (No locks available)" in caplog.text
    with pytest.raises(bp.InputError, match="another call of fit"):
        CheckpointFolder(tmp_path, 1)
    folder.close()


def test_a_folder_that_another_run_has_taken_over_is_not_written_to(tmp_path, monkeypatch):
    """Its lock was deleted: this run has to lock it again, and may be too late."""

    def locked(*_):
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    folder = CheckpointFolder(tmp_path / "run", 1)
    folder.write(1, b"")
    (tmp_path / "run" / _folder.LOCK).unlink()
    (tmp_path / "run" / _folder.LOCK).write_text("process 7 on node")
    with monkeypatch.context() as patched:
        patched.setattr(_folder, "_lock", locked)
        for _ in range(2):
            with pytest.raises(bp.InputError, match="process 7 on node does"):
                folder.write(2, b"")
    assert folder.write(3, b"").exists()
    folder.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every": "often"}, "expected a number and a unit"),
        ({"every": 3}, "expected a number and a unit"),
        ({"every": "1.2.3 epochs"}, "expected a number and a unit"),
        ({"every": "0 steps"}, "> 0"),
        ({"every": "2.5 steps"}, "a whole number of steps"),
        ({"keep": 0}, "keep >= 1"),
        ({"best": 1}, "the name of a series"),
        ({"folder": ""}, "the path of a folder"),
    ],
)
def test_settings_of_a_checkpoint_are_checked(arguments, message):
    with pytest.raises(bp.InputError, match=message):
        bp.Checkpoint(**{"folder": "run"} | arguments)


def test_settings_are_described_by_their_values_in_any_process():
    letters = [chr(97 + k) for k in range(20)]
    assert described(set(letters)) == letters
    orders = [functools.partial(np.roll, shift=k) for k in (1, 2, 1)]
    first, other, same = map(described, orders)
    assert first == same != other


SHIFT, TABLE = 1, np.arange(70)


def shifted(by):
    return lambda epoch: np.roll(np.arange(70), by * epoch)


def doubled(epoch):
    """Return another order."""
    return np.roll(np.arange(70), 2 * epoch)


class Shifts(bp.schedules.Schedule):
    """A schedule of the user, of a function that it keeps."""

    def __init__(self, function):
        self._function = function

    def __call__(self, step, monitored=()):
        return 0.1 + float(self._function(step)[0])

    def order(self, epoch):
        return self._function(epoch)


def recursive():
    def down(epoch):
        return down(epoch - 1) if epoch else TABLE

    return down


EQUAL = [
    (shifted(2), shifted(2)),
    (lambda epoch: np.roll(np.arange(70), 2 * epoch), doubled),
    (lambda step: TABLE[SHIFT:], lambda epoch: TABLE[SHIFT:]),
    (lambda epoch: epoch in {"a", "b", "c", "d"}, lambda epoch: epoch in {"d", "c", "b", "a"}),
    (Shifts(shifted(1)), Shifts(shifted(1))),
    (functools.lru_cache(doubled), functools.lru_cache(doubled)),
    (recursive(), recursive()),
]
DIFFERENT = [
    (shifted(2), shifted(3)),
    (lambda epoch: TABLE, lambda epoch: TABLE[::-1]),
    (lambda epoch: epoch + 1, lambda epoch: epoch + 2),
    (lambda epoch: np.sort(TABLE), lambda epoch: np.argsort(TABLE)),
    (lambda epoch: SHIFT, lambda epoch: STEPS),
    (lambda epoch, by=1: by, lambda epoch, by=2: by),
    (lambda epoch: [e + 1 for e in TABLE], lambda epoch: [e + 2 for e in TABLE]),
    (Shifts(shifted(1)), Shifts(shifted(2))),
    (Shifts(shifted(1)).order, Shifts(shifted(2)).order),
    (functools.lru_cache(doubled), functools.lru_cache(shifted(2))),
    (lambda epoch: "a", lambda epoch: "b"),
    (np.sin, np.cos),
    (np.asarray(["a"]), np.asarray(["b"])),
]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_functions_of_equal_code_and_values_are_the_same_setting(one, other):
    assert described(one) == described(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_functions_of_other_code_or_values_are_another_setting(one, other):
    assert described(one) != described(other)
    assert as_text(one) != as_text(other)


def test_a_global_number_that_a_function_reads_is_a_part_of_it(monkeypatch):
    before = described(function := lambda epoch: TABLE + SHIFT)
    monkeypatch.setitem(globals(), "SHIFT", 2)
    assert described(function) != before


def test_a_checkpoint_knows_the_function_of_its_order(tmp_path, monkeypatch, caplog):
    bp.fit(
        make(), X, T, checkpoint=bp.Checkpoint(tmp_path), **settings(epochs=2, shuffle=shifted(1))
    )
    history = bp.fit(make(), X, T, resume=tmp_path, **settings(epochs=3, shuffle=shifted(1)))
    assert history.epochs == 3 and not caplog.records
    with pytest.raises(bp.InputError, match="got one of other code or values") as error:
        bp.fit(make(), X, T, resume=tmp_path, **settings(epochs=3, shuffle=shifted(2)))
    assert "\n" not in str(error.value)
    with monkeypatch.context() as patch:  # as if compiled by another Python: only values compare
        patch.setattr("platform.python_version_tuple", lambda: ("3", "99", "0"))
        bp.fit(make(), X, T, resume=tmp_path, **settings(epochs=3, shuffle=shifted(1)))
        assert "the code of the shuffle cannot be compared" in caplog.text
        with pytest.raises(bp.InputError, match="got one of other code or values"):
            bp.fit(make(), X, T, resume=tmp_path, **settings(epochs=3, shuffle=shifted(2)))


def test_a_callback_may_not_keep_what_no_file_can(tmp_path):
    spy = Spy()
    spy.state = lambda: {"seen": object()}
    with pytest.raises(bp.InputError, match="expected numbers, text, NumPy arrays"):
        bp.fit(
            make(), X, T, checkpoint=bp.Checkpoint(tmp_path), **settings(callbacks=[spy], epochs=1)
        )


def test_sigterm_saves_a_checkpoint_and_ends_the_process(tmp_path):
    class Terminated(InterruptedLoss):
        def on_epoch_end(self, run):
            if run.history.epochs == self.epochs:
                signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    checkpoint = bp.Checkpoint(tmp_path, every="1 hour")
    with pytest.raises(SystemExit) as ended:
        bp.fit(make(), X, T, checkpoint=checkpoint, **settings(callbacks=[Terminated(2)]))
    assert ended.value.code == 128 + signal.SIGTERM
    assert names(tmp_path) == ["step-000000000010.safetensors"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_ctrl_c_during_validation_stops_before_its_end(tmp_path):
    class Validation:
        def __iter__(self):
            for k in range(4):
                if k == 1:
                    signal.raise_signal(signal.SIGINT)
                assert k < 2, "the rest of the validation data is not read"
                yield X[:5], T[:5]

    uninterrupted, resumed = make(), make()
    arguments = settings(validation=[(X[:5], T[:5])] * 4, epochs=2)
    expected = bp.fit(uninterrupted, X, T, **arguments)
    stopped = settings(validation=Validation(), epochs=2)
    assert bp.fit(make(), X, T, checkpoint=bp.Checkpoint(tmp_path), **stopped).epochs == 0
    history = bp.fit(resumed, X, T, resume=tmp_path, **arguments)
    assert_same(resumed, history, uninterrupted, expected)


# -- continuing without checkpoints --------------------------------------------------------------


def test_early_stopping_knows_the_best_of_the_run_before(device, tmp_path):
    arguments = settings(optimizer=bp.Adam(0.05), callbacks=[bp.EarlyStopping(3)], epochs=5)
    model = make(device)
    first = bp.fit(model, X, T, **arguments)
    best = min(first["val_loss"])
    model.save(tmp_path / "m.safetensors", training_state=True)
    later = bp.load(tmp_path / "m.safetensors", device=device)
    stopping = bp.EarlyStopping(3)
    worse = settings(
        optimizer=later.training_state.optimizer, loss=bp.MultiMargin(), callbacks=[stopping]
    )
    worse["callbacks"], worse["loss"] = [stopping], bp.CrossEntropy()
    worse["validation"] = (X[:20], (T[:20] + 1) % 3)  # no epoch is better than before
    second = bp.fit(later, X, T, **worse)
    assert stopping.best_epoch is None and second.kept_by == "val_loss"
    values = bp.evaluate(later, X[:20], T[:20], loss=bp.CrossEntropy())
    assert values["loss"] == pytest.approx(best, rel=1e-5)
    joined = first + second
    assert joined["loss"] == first["loss"] + second["loss"]
    assert joined.kept_epoch == first.kept_epoch == joined.best_epoch("val_loss")
    assert later.training_state.history["loss"] == joined["loss"]
    assert bp.History(later.training_state.history)["val_loss"] == joined["val_loss"]


def test_the_best_of_another_series_or_of_changed_weights_is_not_used():
    model, arguments = make(), settings(callbacks=[bp.EarlyStopping(3)], epochs=3)
    bp.fit(model, X, T, **arguments)
    stopping = bp.EarlyStopping(3, monitor="accuracy")
    bp.fit(model, X, T, **arguments | {"callbacks": [stopping]})
    assert stopping.best_epoch is not None
    bp.fit(model, X, T, **arguments | {"callbacks": [], "epochs": 1})
    stopping = bp.EarlyStopping(3)
    bp.fit(model, X, T, **arguments | {"callbacks": [stopping], "epochs": 1})
    assert stopping.best_epoch == 1  # the epoch without early stopping changed the weights


def test_histories_join_with_nan_where_one_lacks_a_series():
    first, second = bp.History({"loss": [3.0, 2.0]}), bp.History({"loss": [1.0], "r2": [0.5]})
    joined = first + second
    assert joined["loss"] == [3.0, 2.0, 1.0]
    np.testing.assert_array_equal(joined["r2"], [np.nan, np.nan, 0.5])
    assert ({"loss": [4.0]} + joined)["loss"] == [4.0, 3.0, 2.0, 1.0]


def test_a_checkpoint_is_a_model_file_with_json(tmp_path):
    model = make()
    model.metadata["source"] = "a test"
    bp.fit(model, X, T, checkpoint=bp.Checkpoint(tmp_path), **settings(callbacks=[], epochs=1))
    [path] = tmp_path.glob("step-*")
    again = bp.load(path, device="cpu")
    assert again.metadata == {"source": "a test"} and again.training_state is None
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    assert json.loads(header["bp_arrays_training"])["step"] == STEPS


def test_a_model_that_no_file_can_describe_is_resumed_all_the_same(tmp_path):
    class Doubled(bp.Layer):
        def __init__(self):
            self.factor = np.float32(2.0)

        def init(self, input_shape):
            return {}, input_shape

        def forward(self, params, x, ctx):
            return 2.0 * x, lambda delta: (2.0 * delta, {})

    def custom():
        return bp.Model(bp.Sequential(Doubled(), bp.Linear(3)), 4, device="cpu", seed=0)

    uninterrupted, resumed = custom(), custom()
    expected = bp.fit(uninterrupted, X, T, **settings())
    arguments = settings(callbacks=[InterruptedLoss(2)])
    bp.fit(custom(), X, T, checkpoint=bp.Checkpoint(tmp_path), **arguments)
    history = bp.fit(resumed, X, T, resume=tmp_path, **settings())
    assert history["loss"] == expected["loss"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_first_step_is_not_lost(number, tmp_path):
    class Early(bp.Callback):
        def on_start(self, run):
            signal.raise_signal(number)

    def train(**more):
        return bp.fit(make(), X, T, **settings(callbacks=[Early()]), **more)

    if number == signal.SIGTERM:
        with pytest.raises(SystemExit):
            train(checkpoint=bp.Checkpoint(tmp_path))
    else:
        assert train(checkpoint=bp.Checkpoint(tmp_path)).stopped == "interrupted"
        with pytest.raises(KeyboardInterrupt):  # without a checkpoint, at once
            train()
    assert names(tmp_path) == ["step-000000000001.safetensors"]


def test_a_checkpoint_that_is_refused_leaves_the_model_as_it_was(tmp_path):
    model, adam = make(), bp.Adam(0.01)
    bp.fit(model, X, T, loss=bp.CrossEntropy(), optimizer=adam, checkpoint=bp.Checkpoint(tmp_path))
    other, sgd = make(), bp.SGD(0.1)
    bp.fit(other, X, T, loss=bp.CrossEntropy(), optimizer=sgd)
    state, theta = other.training_state, np.array(other.vector)
    with pytest.raises(bp.InputError, match="expected the optimizer of the checkpoint"):
        bp.fit(other, X, T, loss=bp.CrossEntropy(), optimizer=bp.SGD(0.1), resume=tmp_path)
    assert other.training_state is state
    np.testing.assert_array_equal(other.vector, theta)


def test_an_average_may_have_another_decay_when_training_is_resumed(tmp_path):
    def run(epochs, decay, rate=0.01, **more):
        optimizer = bp.EMA(bp.RMSProp(rate, decay=0.9), decay=decay)
        options = {"loss": bp.CrossEntropy(), "epochs": epochs, "batch_size": 16}
        return bp.fit(make(), X, T, optimizer=optimizer, **options, **more)

    run(1, 0.5, checkpoint=bp.Checkpoint(tmp_path))
    assert run(2, 0.75, resume=tmp_path).epochs == 2
    with pytest.raises(bp.InputError, match="expected the optimizer of the checkpoint"):
        wrong = bp.EMA(bp.RMSProp(0.01, decay=0.8), decay=0.5)
        bp.fit(make(), X, T, loss=bp.CrossEntropy(), optimizer=wrong, epochs=2, batch_size=16,
               resume=tmp_path)  # fmt: skip


def test_paths_dates_and_bytes_are_settings_with_values():
    from datetime import date

    for one, other in ((Path("a"), Path("b")), (b"a", b"b"), (range(2), range(3)),
                       (date(2020, 1, 1), date(2020, 1, 2)), (1j, 2j)):  # fmt: skip
        assert described(one) == described(one) != described(other)
