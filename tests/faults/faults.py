# ruff: noqa: B023  children run the functions at once, before a loop goes on
"""The faults: each function makes trials of one kind and counts what was lost or wrong."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import bp_arrays as bp
from tests.faults.training import (
    EPOCHS,
    FAILED,
    STEPS,
    equal,
    errors_in,
    result_in,
    result_of,
    start,
    train,
    wait,
)

NOBODY = 65534
"""A user that may not write where root may."""


@dataclass
class Outcome:
    """The trials of one fault.

    Parameters
    ----------
    fault : str
    trials : int
    lost : int
        Trials in which a checkpoint that was complete could not be resumed from, or a training
        run ended that should have continued.
    wrong : int
        Trials whose result differs from that of the run that was never disturbed.
    notes : list of str
        What was seen of the first ones, and how the fault was made.
    """

    fault: str
    trials: int = 0
    lost: int = 0
    wrong: int = 0
    notes: list[str] = field(default_factory=list)

    def count(self, *, lost: bool = False, wrong: bool = False, note: str = "") -> None:
        """Count one trial."""
        self.trials += 1
        self.lost += lost
        self.wrong += wrong and not lost
        if (lost or wrong) and len(self.notes) < 5:
            self.notes.append(" ".join(note.split())[-200:])


@dataclass(frozen=True)
class Bench:
    """What all faults need: a folder, random numbers, and the results without a fault."""

    folder: Path
    rng: np.random.Generator
    expected: dict[str, Any]
    expected_streamed: dict[str, Any]
    seconds: float

    @classmethod
    def made(cls, folder: Path, seed: int) -> Bench:
        """Train undisturbed, with data in memory and streamed, in child processes."""
        results = []
        train()  # what is compiled on first use is compiled here, and children inherit it
        for streamed in (False, True):
            assert wait(start(lambda s=streamed: result_of(*train(streamed=s)), folder)) == 0
            results.append(result_in(folder))
        run, began = folder / "timed", time.perf_counter()
        assert wait(start(lambda: saved(run), folder)) == 0
        seconds = time.perf_counter() - began
        assert equal(result_in(folder), results[0]), "checkpoints change the result"
        return cls(folder, np.random.default_rng(seed), *results, seconds)

    def fresh(self) -> Path:
        """Return the name of an empty folder for checkpoints."""
        path = Path(tempfile.mkdtemp(dir=self.folder))
        path.chmod(0o755)
        return path / "run"

    def finished(self, run: Path, outcome: Outcome, *, streamed: bool = False) -> None:
        """Resume to the end, and count the trial."""
        newest = newest_step(run)
        (self.folder / "result.npz").unlink(missing_ok=True)
        code = wait(start(lambda: saved(run, resume=True, streamed=streamed), self.folder))
        if newest is None:
            message = errors_in(self.folder)
            nothing = code == FAILED and ("empty folder" in message or "no such" in message)
            if nothing or "not written to its end" in message:
                code = wait(start(lambda: saved(run, streamed=streamed), self.folder))
        if code != 0:
            outcome.count(lost=True, note=f"code {code}: {errors_in(self.folder)}")
            return
        expected = self.expected_streamed if streamed else self.expected
        outcome.count(wrong=not equal(result_in(self.folder), expected), note=f"{run}")


def saved(
    run: Path, *, resume: bool = False, streamed: bool = False, every: str = "2 steps", **more: Any
) -> dict[str, Any] | None:
    """Train with checkpoints; None after Ctrl-C."""
    checkpoint = bp.Checkpoint(run, every=every, keep=2, best="val_loss")
    model, history = train(
        checkpoint=checkpoint, resume=run if resume else None, streamed=streamed, **more
    )
    return None if history.stopped == "interrupted" else result_of(model, history)


def steps_in(run: Path) -> list[int]:
    """Return the numbers of updates of the checkpoints in a folder."""
    names = (path.name for path in run.glob("step-*.safetensors"))
    return sorted(int(name.removeprefix("step-").removesuffix(".safetensors")) for name in names)


def newest_step(run: Path) -> int | None:
    """Return the number of updates of the newest checkpoint; None if there is none."""
    return max(steps_in(run), default=None) if run.is_dir() else None


# -- signals ---------------------------------------------------------------------------------------


def killed(bench: Bench, trials: int) -> Outcome:
    """SIGKILL at a random moment, up to three times, then resume to the end."""
    outcome = Outcome("SIGKILL at a random moment")
    while outcome.trials < trials:
        run, streamed = bench.fresh(), outcome.trials % 4 == 3
        for _ in range(bench.rng.integers(1, 4)):
            resumes = newest_step(run) is not None
            pid = start(lambda r=resumes: saved(run, resume=r, streamed=streamed), bench.folder)
            time.sleep(bench.rng.uniform(0.0, bench.seconds))
            os.kill(pid, signal.SIGKILL)
            if wait(pid) not in (0, -signal.SIGKILL):
                outcome.notes.append(errors_in(bench.folder)[-200:])
        bench.finished(run, outcome, streamed=streamed)
    return outcome


def at_the_moment(bench: Bench, trials: int) -> Outcome:
    """SIGKILL exactly before or after a flush, a rename, or a removal of an old checkpoint."""
    outcome = Outcome("SIGKILL at a flush, a rename, a removal")
    targets = ((os, "fsync"), (Path, "replace"), (Path, "unlink"))
    for trial in range(trials):
        owner, name = targets[trial % 3]
        nth, before = int(bench.rng.integers(1, 9)), bool(bench.rng.integers(2))
        run, calls = bench.fresh(), [0]
        original = getattr(owner, name)

        def deadly(*args: Any, **kwargs: Any) -> Any:
            calls[0] += 1
            if calls[0] == nth and before:
                os.kill(os.getpid(), signal.SIGKILL)
            result = original(*args, **kwargs)
            if calls[0] == nth:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        def hit() -> Any:
            with mock.patch.object(owner, name, deadly):
                return saved(run)

        if wait(start(hit, bench.folder)) != -signal.SIGKILL:
            outcome.notes.append(f"{name} was not called {nth} times")
        bench.finished(run, outcome)
    return outcome


class Announced(bp.Callback):
    """Says over a pipe that training has begun."""

    def __init__(self, pipe: int) -> None:
        self.pipe = pipe

    def on_start(self, run: bp.training.Run) -> None:
        os.write(self.pipe, b"x")


def asked_to_stop(bench: Bench, trials: int, number: int) -> Outcome:
    """SIGTERM or Ctrl-C: a checkpoint is saved, the exit code is that of the signal."""
    name, code = {signal.SIGTERM: ("SIGTERM", 143), signal.SIGINT: ("Ctrl-C", 130)}[number]
    outcome = Outcome(f"{name} during training")
    while outcome.trials < trials:
        run, (reading, writing) = bench.fresh(), os.pipe()

        def slow() -> Any:
            # no checkpoint is due but the one that the signal asks for
            return saved(run, every="1 hour", callbacks=[Announced(writing)])

        pid = start(slow, bench.folder)
        os.close(writing)
        os.read(reading, 1)
        os.close(reading)
        time.sleep(bench.rng.uniform(0.0, bench.seconds / 4))
        os.kill(pid, number)
        ended = wait(pid)
        if ended == 0:
            continue  # too late: it had finished
        if ended != code or newest_step(run) is None:
            outcome.count(lost=True, note=f"code {ended}: {errors_in(bench.folder)}")
            continue
        bench.finished(run, outcome)
    return outcome


# -- disks and folders -----------------------------------------------------------------------------


class AtEpoch(bp.Callback):
    """Does something at the end of an epoch."""

    def __init__(self, epoch: int, action: Callable[[], object]) -> None:
        self.epoch, self.action = epoch, action

    def on_epoch_end(self, run: bp.training.Run) -> None:
        if run.history.epochs == self.epoch:
            self.action()


@contextmanager
def small_disk(folder: Path, size: int | None) -> Iterator[bool]:
    """Mount a disk of so many bytes in memory; False if that is not allowed, or size is None."""
    folder.mkdir(parents=True)
    if size is None:
        yield False
        return
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def disk_full(bench: Bench, trials: int) -> Outcome:
    """A disk that becomes full: training ends right, and the checkpoints before can be resumed."""
    outcome = Outcome("disk full")
    for trial in range(trials):
        place = bench.fresh()
        with small_disk(place, None if trial % 2 else 64 * 1024) as mounted:
            run = place / "run"

            def fill() -> None:
                if not mounted:  # no file may grow beyond this from now on
                    resource.setrlimit(resource.RLIMIT_FSIZE, (1000 + 700 * trial, 2**20))
                    return
                with (place / "others").open("wb", buffering=0) as file:
                    try:
                        while file.write(bytes(512)):
                            pass
                    except OSError as error:
                        assert error.errno == errno.ENOSPC

            def filled() -> Any:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                result = saved(run, callbacks=[AtEpoch(1 + trial % (EPOCHS - 1), fill)])
                if not mounted:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
                return result

            code = wait(start(filled, bench.folder))
            said = "could not be written" in errors_in(bench.folder)
            right = code == 0 and equal(result_in(bench.folder), bench.expected)
            if code != 0 or not said or not steps_in(run):
                outcome.count(lost=True, note=f"code {code}: {errors_in(bench.folder)}")
            elif not right:
                outcome.count(wrong=True)
            else:
                (place / "others").unlink(missing_ok=True)
                bench.finished(run, outcome)
            if trial < 2:
                how = "a disk of 64 KiB that is filled" if mounted else "RLIMIT_FSIZE"
                outcome.notes.append(f"trial {trial}: {how}")
    return outcome


def read_only(bench: Bench, trials: int) -> Outcome:
    """A folder that cannot be written to: refused at the start; later, training continues."""
    outcome = Outcome("folder read-only, at the start or later")
    if os.getuid() != 0:
        outcome.notes.append("as this user")
    for trial in range(trials):
        run = bench.fresh()
        run.mkdir()
        later = trial % 2 == 1

        def as_nobody(action: Callable[[], Any]) -> Any:
            if os.getuid() == 0:  # root may write anywhere
                (bench.folder / "result.npz").unlink(missing_ok=True)
                for path in (bench.folder, run.parent, run):
                    os.chown(path, NOBODY, NOBODY)
                os.setgroups([])
                os.setuid(NOBODY)
            return action()

        def locked() -> Any:
            if not later:
                run.chmod(0o555)
            return saved(run, callbacks=[AtEpoch(3, lambda: run.chmod(0o555))] if later else ())

        code = wait(start(lambda: as_nobody(locked), bench.folder))
        message = errors_in(bench.folder)
        run.chmod(0o755)
        if not later:
            refused = code == FAILED and "expected a folder to write to" in message
            outcome.count(lost=not refused or message.count("\n") != 1, note=f"{code} {message}")
        elif code != 0 or "could not be written" not in message:
            outcome.count(lost=True, note=f"code {code}: {message}")
        else:
            bench.finished(run, outcome)
    return outcome


def deleted(bench: Bench, trials: int) -> Outcome:
    """The folder is deleted during training: it is created again."""
    outcome = Outcome("folder deleted meanwhile")
    for trial in range(trials):
        run = bench.fresh()
        delete = AtEpoch(1 + trial % (EPOCHS - 1), lambda: shutil.rmtree(run))
        code = wait(start(lambda: saved(run, callbacks=[delete]), bench.folder))
        if code != 0 or newest_step(run) is None:
            outcome.count(lost=True, note=f"code {code}: {errors_in(bench.folder)}")
            continue
        bench.finished(run, outcome)
    return outcome


# -- damage ----------------------------------------------------------------------------------------


def flipped(bench: Bench, trials: int) -> Outcome:
    """One bit flipped in the newest checkpoint: found, and the one before is used."""
    outcome = Outcome("one bit flipped in the newest checkpoint")
    origin = bench.fresh()
    assert wait(start(lambda: saved(origin), bench.folder)) == 0
    newest = origin / f"step-{max(steps_in(origin)):012d}.safetensors"
    content = newest.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    regions = {"length": (0, 8), "header": (8, header), "arrays": (header, len(content))}
    for trial in range(trials):
        region = list(regions)[trial % 3]
        position = int(bench.rng.integers(*regions[region]))
        bit = int(bench.rng.integers(8))
        damaged = bytearray(content)
        damaged[position] ^= 1 << bit
        run = bench.fresh()
        shutil.copytree(origin, run)
        (run / newest.name).write_bytes(damaged)

        # in a child, so that a crash of a reader counts as a loss too
        code = wait(start(lambda: saved(run, resume=True), bench.folder))
        message, where = errors_in(bench.folder), f"bit {bit} of byte {position}, in the {region}"
        if code != 0:
            outcome.count(lost=True, note=f"{where}: code {code}: {message}")
        elif "from the one before" not in message:
            outcome.count(wrong=True, note=f"{where}: not found")
        else:
            is_equal = equal(result_in(bench.folder), bench.expected)
            outcome.count(wrong=not is_equal, note=where)
        shutil.rmtree(run.parent)
    return outcome


def all_damaged(bench: Bench, trials: int) -> Outcome:
    """Every checkpoint damaged, cut off, empty or foreign: refused in one line."""
    outcome = Outcome("every checkpoint cut off or foreign")
    origin = bench.fresh()
    assert wait(start(lambda: saved(origin), bench.folder)) == 0
    for trial in range(trials):
        run = bench.fresh()
        shutil.copytree(origin, run)
        for path in run.glob("step-*"):
            content = path.read_bytes()
            cut = int(bench.rng.integers(len(content)))
            path.write_bytes((content[:cut], b"", bench.rng.bytes(cut))[trial % 3])
        code = wait(start(lambda: saved(run, resume=True), bench.folder))
        message = errors_in(bench.folder)
        refused = code == FAILED and "expected a checkpoint that is intact" in message
        outcome.count(wrong=not refused or message.count("\n") != 1, note=f"{code} {message}")
    return outcome


# -- two processes, and the clock ------------------------------------------------------------------


def two_processes(bench: Bench, trials: int) -> Outcome:
    """A second process on the folder is refused; after the first was killed, it may continue."""
    outcome = Outcome("two processes on one folder")
    for _ in range(trials):
        run, (reading, writing) = bench.fresh(), os.pipe()

        def held() -> Any:
            sleeping = AtEpoch(2, lambda: (os.write(writing, b"x"), time.sleep(60)))
            return saved(run, callbacks=[sleeping])

        first = start(held, bench.folder)
        os.close(writing)
        os.read(reading, 1)
        os.close(reading)
        before = steps_in(run)
        code = wait(start(lambda: saved(run, resume=True), bench.folder))
        message = errors_in(bench.folder)
        os.kill(first, signal.SIGKILL)
        wait(first)
        refused = code == FAILED and f"process {first}" in message and message.count("\n") == 1
        if not refused or steps_in(run) != before:
            outcome.count(lost=True, note=f"code {code}: {message}")
            continue
        bench.finished(run, outcome)
    return outcome


def clock_set_back(bench: Bench, trials: int) -> Outcome:
    """The clock runs backwards, and the files' times are shuffled: names decide, not times."""
    outcome = Outcome("clock set back")
    for trial in range(trials):
        run = bench.fresh()
        stop = 2 + trial % (EPOCHS - 2)
        clock = iter(np.linspace(2e9, 0.0, 100_000).tolist())

        def shuffled() -> None:
            for step in steps_in(run):
                past = 2e9 - 1e5 * step
                os.utime(run / f"step-{step:012d}.safetensors", (past, past))
            if newest_step(run) >= stop * STEPS:
                os.kill(os.getpid(), signal.SIGKILL)

        def backwards() -> Any:
            actions = [AtEpoch(epoch, shuffled) for epoch in range(1, EPOCHS)]
            with mock.patch.object(time, "time", lambda: next(clock)):
                return saved(run, callbacks=actions)

        code = wait(start(backwards, bench.folder))
        kept = steps_in(run)
        right = code == -signal.SIGKILL and len(kept) == 2 and kept[-1] == stop * STEPS
        if not right:
            outcome.count(lost=True, note=f"code {code}, kept {kept}: {errors_in(bench.folder)}")
            continue
        bench.finished(run, outcome)
    return outcome


FAULTS: dict[str, tuple[Callable[[Bench, int], Outcome], int, int]] = {
    "kill": (killed, 120, 3),
    "moment": (at_the_moment, 60, 3),
    "sigterm": (lambda bench, trials: asked_to_stop(bench, trials, signal.SIGTERM), 20, 1),
    "ctrl-c": (lambda bench, trials: asked_to_stop(bench, trials, signal.SIGINT), 20, 1),
    "full": (disk_full, 12, 2),
    "read-only": (read_only, 6, 2),
    "deleted": (deleted, 6, 1),
    "bits": (flipped, 300, 6),
    "damaged": (all_damaged, 12, 3),
    "two": (two_processes, 5, 1),
    "clock": (clock_set_back, 6, 1),
}
"""Each fault by the word that selects it: its function, its trials, and those of the short run."""
