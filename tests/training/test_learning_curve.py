"""Covers: `LearningCurve` outside a notebook; for notebooks see tests/plots."""

from __future__ import annotations

import logging

import pytest

import bp_arrays as bp

pytest.importorskip("matplotlib")


def fit(*callbacks):
    model = bp.Model(bp.Linear(1), 1, device="cpu")
    return bp.fit(model, [[0.0], [1.0]], [[1.0], [3.0]], loss=bp.L2Loss(), optimizer=bp.SGD(0.1),
        epochs=3, callbacks=callbacks)  # fmt: skip


def test_in_a_terminal_nothing_is_drawn_and_the_log_says_so(capsys, caplog):
    with caplog.at_level(logging.INFO, "bp_arrays"):
        assert fit(bp.LearningCurve()).epochs == 3
    assert capsys.readouterr() == ("", "")
    assert "LearningCurve draws in notebooks only" in caplog.text


@pytest.mark.parametrize(
    ("curve", "message"),
    [
        (lambda: bp.LearningCurve("los"), "unknown series 'los': did you mean 'loss'"),
        (lambda: bp.LearningCurve(monitor="val_loss"), "unknown series to monitor 'val_loss'"),
    ],
)
def test_a_series_that_is_not_recorded_is_told_after_the_first_epoch(curve, message):
    with pytest.raises(bp.InputError, match=message):
        fit(curve())
