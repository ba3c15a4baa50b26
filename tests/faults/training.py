"""The training run that the faults hit, in a child process, and how its result is compared."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import bp_arrays as bp
from bp_arrays.data import ArrayBlocks, Batches

ROWS, BATCH, EPOCHS = 120, 16, 7
STEPS = -(-ROWS // BATCH)
FAILED = 2
"""The exit code of a child that refused in one line."""

_rng = np.random.default_rng(11)
X = _rng.normal(size=(ROWS, 6)).astype("float32")
T = (X @ _rng.normal(size=(6, 4))).argmax(axis=1)


def train(
    *,
    checkpoint: bp.Checkpoint | None = None,
    resume: Path | None = None,
    streamed: bool = False,
    callbacks: Sequence[bp.Callback] = (),
    epochs: int = EPOCHS,
) -> tuple[bp.Model, bp.History]:
    """Train with everything that has a state: dropout, running statistics, a plateau, stopping."""
    net = bp.Sequential(bp.Linear(16), bp.BatchNorm(), bp.ReLU(), bp.Dropout(0.2), bp.Linear(4))
    model = bp.Model(net, input_shape=6, device="cpu", seed=1)
    data: Any = (X, T)
    settings: dict[str, Any] = {"batch_size": BATCH, "seed": 5}
    if streamed:
        blocks = ArrayBlocks(X, T, block_rows=9)
        data, settings = (Batches(blocks, batch_size=BATCH, seed=5, window=30),), {"seed": 5}
    history = bp.fit(
        model,
        *data,
        loss=bp.CrossEntropy(),
        optimizer=bp.Adam(bp.ReduceOnPlateau(0.02, patience=0)),
        epochs=epochs,
        penalty=bp.L2Penalty(1e-3),
        metrics=[bp.Accuracy()],
        validation=(X[:30], T[:30]),
        callbacks=[bp.EarlyStopping(5), *callbacks],
        checkpoint=checkpoint,
        resume=resume,
        **settings,
    )
    return model, history


def result_of(model: bp.Model, history: bp.History) -> dict[str, Any]:
    """Return every number of a training run but the seconds."""
    numbers = {f"parameter {name}": value for name, value in model.host_parameters().items()}
    vectors = enumerate(model.training_state.vectors)
    numbers |= {f"optimizer {k}": np.asarray(vector) for k, vector in vectors}
    series = {name: np.asarray(history[name]) for name in history if name != "seconds"}
    return numbers | series | {"kept epoch": np.asarray(history.kept_epoch or 0)}


def equal(result: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Return whether two results have the same bits."""
    same_names = result.keys() == expected.keys()
    return same_names and all(
        result[name].dtype == expected[name].dtype
        and result[name].tobytes() == expected[name].tobytes()
        for name in expected
    )


def start(function: Callable[[], dict[str, Any] | None], folder: Path) -> int:
    """Run a function in a child process: its result is saved in the folder, its errors too.

    Returns
    -------
    int
        The number of the process. It exits with 0, FAILED after an InputError, 130 after Ctrl-C.
    """
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        errors = os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(errors, 2)
        result = function()
        if result is not None:
            np.savez(folder / "result.npz", **result)
        code = 0 if result is not None else 130
    except bp.InputError as error:
        os.write(2, f"InputError: {error}\n".encode())
        code = FAILED
    except SystemExit as ended:
        code = int(str(ended.code))
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def wait(pid: int) -> int:
    """Return the exit code of a child, minus the signal if one killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def result_in(folder: Path) -> dict[str, Any]:
    """Return the result of the last child that finished."""
    with np.load(folder / "result.npz") as file:
        return dict(file)


def errors_in(folder: Path) -> str:
    """Return what the last child wrote on stderr."""
    return (folder / "stderr").read_text()
