"""Covers: TensorBoard's event files, read by TensorBoard's own reader."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

import bp_arrays as bp

accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator", reason="TensorBoard is missing"
)

X, T = np.arange(12.0).reshape(6, 2) / 12, np.arange(6) % 2


def make():
    return bp.Model(bp.Sequential(bp.Linear(3), bp.Tanh(), bp.Linear(2)), 2, device="cpu")


def fit(model, *callbacks, optimizer=None, **more):
    return bp.fit(model, X, T, loss=bp.CrossEntropy(), optimizer=optimizer or bp.SGD(0.1),
        metrics=[bp.Accuracy()], callbacks=callbacks, **{"epochs": 3} | more)  # fmt: skip


def read(folder):
    events = accumulator.EventAccumulator(str(folder), size_guidance={"histograms": 0})
    return events.Reload()


def scalars(folder):
    events = read(folder)
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_every_series_is_there_under_its_name_with_its_values(tmp_path):
    history = fit(make(), bp.TensorBoard(tmp_path), validation=(X, T))
    found = scalars(tmp_path / "training"), scalars(tmp_path / "validation")
    assert set(found[0]) == {"loss", "accuracy", "learning_rate", "seconds"}
    assert set(found[1]) == {"loss", "accuracy"}  # the same names: one chart, two lines
    for series, prefix in zip(found, ("", "val_"), strict=True):
        for tag, events in series.items():
            steps, values = zip(*events, strict=True)
            assert steps == (1, 2, 3)
            np.testing.assert_allclose(values, history[prefix + tag], rtol=1e-6)


def test_without_validation_there_is_no_such_run(tmp_path):
    fit(make(), bp.TensorBoard(tmp_path / "deep" / "down"))
    assert [path.name for path in (tmp_path / "deep" / "down").iterdir()] == ["training"]


def test_a_training_that_goes_on_goes_on_in_the_chart(tmp_path):
    model, optimizer, board = make(), bp.SGD(0.1), bp.TensorBoard(tmp_path)
    for _ in range(2):
        fit(model, board, optimizer=optimizer)
    assert [step for step, _ in scalars(tmp_path / "training")["loss"]] == [1, 2, 3, 4, 5, 6]


def test_histograms_of_the_parameters(tmp_path):
    model = make()
    fit(model, bp.TensorBoard(tmp_path, histograms=True))
    events = read(tmp_path / "training")
    assert set(events.Tags()["histograms"]) == set(model.parameters)
    for name, values in model.parameters.items():
        made = events.Histograms(name)
        assert [event.step for event in made] == [1, 2, 3]
        last = made[-1].histogram_value
        assert (last.num, last.min, last.max) == (
            values.size,
            pytest.approx(values.min()),
            pytest.approx(values.max()),
        )
        assert sum(last.bucket) == values.size
    fit(make(), bp.TensorBoard(tmp_path / "none"))
    assert read(tmp_path / "none" / "training").Tags()["histograms"] == []


def test_the_files_can_be_read_while_the_training_runs_and_after_it_failed(tmp_path):
    class Look(bp.Callback):
        seen = 0

        def on_epoch_end(self, run):
            assert len(scalars(tmp_path / "training")["loss"]) == run.history.epochs
            self.seen += 1
            if self.seen == 2:
                raise ZeroDivisionError

    look, board = Look(), bp.TensorBoard(tmp_path)
    with pytest.raises(ZeroDivisionError):
        fit(make(), board, look)
    assert look.seen == 2
    fit(make(), board)
    assert len(scalars(tmp_path / "training")["loss"]) == 5


def test_a_value_that_is_not_finite_is_kept(tmp_path):
    class Odd(bp.Callback):
        def on_epoch_end(self, run):
            run.history.record({"odd": math.inf})

    fit(make(), Odd(), bp.TensorBoard(tmp_path))
    assert [value for _, value in scalars(tmp_path / "training")["odd"]] == [math.inf] * 3


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    model = make()
    before = model.host_parameters()
    with pytest.raises(
        bp.InputError, match=r"TensorBoard\('.*file'\): expected a writable folder, got .*file"
    ):
        fit(model, bp.TensorBoard(tmp_path / "file"))
    assert all((before[name] == value).all() for name, value in model.host_parameters().items())


def test_without_the_writer(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(bp.MissingExtraError, match=r'pip install "bp_arrays\[tensorboard\]"'):
        bp.TensorBoard(tmp_path)
