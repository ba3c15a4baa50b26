"""Covers: training curves: what is drawn and where; Matplotlib's global state is unchanged."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import pytest

import bp_arrays as bp

matplotlib = pytest.importorskip("matplotlib")


def history(epochs=30, validation=True, **more):
    made = bp.History()
    for k in range(1, epochs + 1):
        values = {"loss": 1.0 / k, "accuracy": 1.0 - 0.5 / k, "learning_rate": 0.1, "seconds": 1.0}
        if validation:  # best at epoch 7
            values |= {"val_loss": 0.5 + 0.01 * (k - 7) ** 2, "val_accuracy": 1.0 - 0.6 / k}
        made.record(values | {name: value(k) for name, value in more.items()})
    return made


def lines(ax):
    return {line.get_label().split(" at ")[-1]: line for line in ax.lines}


def test_losses_and_metrics_have_a_panel_each_with_validation_beside_training():
    made = history()
    axes = made.plot().axes
    assert [ax.get_ylabel() for ax in axes] == ["loss", "accuracy"]
    for ax, name in zip(axes, ("loss", "accuracy"), strict=True):
        drawn = lines(ax)
        assert list(drawn["training"].get_xdata()) == list(range(1, 31))
        assert list(drawn["training"].get_ydata()) == made[name]
        assert list(drawn["validation"].get_ydata()) == made[f"val_{name}"]
        assert drawn["training"].get_linestyle() != drawn["validation"].get_linestyle()
        assert ax.get_xlabel() == "epoch"


def test_the_best_epoch_is_marked_in_every_panel_and_its_value_told():
    made = history()
    assert made.best_epoch() == 7
    loss, accuracy = made.plot().axes
    for ax, name in ((loss, "val_loss"), (accuracy, "val_accuracy")):
        [mark] = [line for line in ax.lines if "best val_loss" in line.get_label()]
        assert list(mark.get_xydata()[0]) == [7, made[name][6]]
        told = [text.get_text() for text in ax.get_legend().get_texts()]
        assert f"{made[name][6]:.4g} at epoch 7 (best val_loss)" in told


def test_another_series_may_judge_and_larger_is_better_unless_it_is_a_loss():
    made = history()
    assert made.best_epoch("val_accuracy") == 30 and made.best_epoch("loss") == 30
    assert made.best_epoch("val_accuracy", maximize=False) == 1
    [ax] = made.plot("loss", monitor="val_accuracy").axes
    assert "epoch 30 (best val_accuracy)" in lines(ax)


def test_the_best_epoch_is_the_one_that_early_stopping_keeps():
    model = bp.Model(bp.Linear(1), 1, device="cpu")
    model.set_parameters({"weight": [[0.0]]})
    stopping = bp.EarlyStopping(3)
    made = bp.fit(model, [[1.0]], [[4.0]], loss=bp.L2Loss(), optimizer=bp.SGD(0.1), epochs=50,
        validation=([[1.0]], [[2.0]]), callbacks=[stopping])  # fmt: skip
    assert made.epochs < 50 and made.best_epoch() == stopping.best_epoch


def test_an_epoch_that_is_not_a_number_is_not_the_best():
    made = history(3, validation=False, val_loss=lambda k: (math.nan, 2.0, 1.0)[k - 1])
    assert made.best_epoch() == 3
    made.plot()


def test_without_validation_nothing_is_called_the_best():
    axes = history(validation=False).plot().axes
    assert all(len(ax.lines) == 1 and ax.get_legend() is None for ax in axes)


def test_one_epoch_is_a_visible_point():
    [ax] = history(1, validation=False).plot("loss").axes
    [line] = ax.lines
    assert line.get_marker() == "o" and list(ax.get_xlim()) == [0.5, 1.5]


def test_many_epochs_have_no_marks():
    [ax] = history(200).plot("loss").axes
    assert lines(ax)["training"].get_marker() == "None"


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        (lambda k: 10.0**-k, "log"),
        (lambda k: 1.0 / k, "linear"),
        (lambda k: 10.0**-k - 1e-6, "linear"),  # a negative value among them
        (lambda k: math.inf if k == 1 else 1.0, "linear"),
    ],
)
def test_the_scale_is_logarithmic_where_positive_values_span_much(values, scale):
    made = bp.History()
    for k in range(1, 8):
        made.record({"loss": values(k)})
    figure = made.plot()
    assert figure.axes[0].get_yscale() == scale
    figure.draw_without_rendering()


def test_ticks_of_a_log_scale_are_plain_numbers():
    made = history(validation=False, cost_loss=lambda k: 0.9**k)
    figure = made.plot("cost_loss")
    figure.draw_without_rendering()
    ax = figure.axes[0]
    low, high = ax.get_ylim()
    shown = [
        text.get_text()
        for text, at in zip(ax.get_yticklabels(which="both"), ax.get_yticks(), strict=False)
        if low <= at <= high
    ]
    assert {"0.5", "0.2", "0.1"} <= set(shown)


def test_named_series_are_drawn_in_that_order_each_once():
    axes = history().plot("learning_rate", "val_loss", "learning_rate").axes
    assert [ax.get_ylabel() for ax in axes] == ["learning rate", "val loss"]
    assert list(axes[1].lines[0].get_ydata()) == history()["val_loss"]


def test_names_are_taken_as_they_are_not_as_formulas():
    made = history(**{"$5\\frac$": lambda k: k})
    figure = made.plot("$5\\frac$", monitor="$5\\frac$")
    figure.draw_without_rendering()
    assert figure.axes[0].get_ylabel() == "$5\\frac$"


def test_into_axes_of_ones_own():
    from matplotlib.figure import Figure

    figure = Figure()
    ax = figure.subplots()
    assert history().plot("loss", ax=ax) is ax and ax.get_ylabel() == "loss"
    both = Figure().subplots(2, 1)
    assert history().plot(ax=both) is both and both[1].get_ylabel() == "accuracy"


def test_another_number_of_axes_than_panels_is_refused():
    from matplotlib.figure import Figure

    message = r"expected 2 axes, for loss, accuracy, got 1; name .* history.plot\('loss', ax=ax\)"
    with pytest.raises(bp.InputError, match=message):
        history().plot(ax=Figure().subplots())


def test_nothing_recorded_yet():
    with pytest.raises(bp.InputError, match="expected a completed epoch, got none"):
        bp.History().plot()
    with pytest.raises(bp.InputError, match="expected a completed epoch, got none"):
        bp.History().best_epoch()


def test_names_that_are_not_there():
    with pytest.raises(bp.InputError, match="unknown series 'acuracy': did you mean 'accuracy'"):
        history().plot("acuracy")
    with pytest.raises(bp.InputError, match="series to monitor 'val_los': did you mean 'val_loss'"):
        history().plot(monitor="val_los")


@pytest.mark.parametrize("kind", ["png", "pdf", "svg", "jpg", "webp", "PNG"])
def test_into_a_file(tmp_path, kind):
    starts = {
        "png": b"\x89PNG",
        "pdf": b"%PDF",
        "svg": b"<?xml",
        "jpg": b"\xff\xd8",
        "webp": b"RIFF",
    }
    path = tmp_path / f"curves.{kind}"
    history().plot(path=path)
    assert path.read_bytes().startswith(starts[kind.lower()])
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("curves.xyz", "expected an image format, got 'xyz'; use .png, .pdf or .svg"),
        ("curves", "expected an image format, got ''"),
        ("no/such/curves.png", "no folder .*no/such; create it first"),
        ("folder.png", "expected a file, got a folder; name a file in it"),
    ],
)
def test_a_path_that_cannot_be_a_picture(tmp_path, name, message):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(bp.InputError, match=message) as error:
        history().plot(path=tmp_path / name)
    assert "\n" not in str(error.value)
    assert [each.name for each in tmp_path.iterdir()] == ["folder.png"]


def test_a_write_that_fails_leaves_the_old_picture(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    path = tmp_path / "curves.png"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        history().plot(path=path)
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (history().plot, bp.LearningCurve):
        with pytest.raises(bp.MissingExtraError, match=r'pip install "bp_arrays\[plot\]"'):
            draw()


def test_nothing_global_is_changed_and_no_display_is_needed():
    code = (
        "import os, sys\n"
        "os.environ.pop('DISPLAY', None); os.environ['MPLBACKEND'] = 'tkagg'\n"
        "import matplotlib, bp_arrays as bp\n"
        "before = dict(matplotlib.rcParams)\n"
        "history = bp.History()\n"
        "[history.record({'loss': 10.0**-k}) for k in range(5)]\n"
        "history.plot()._repr_png_()\n"
        "assert dict(matplotlib.rcParams) == before\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("False\n", "")


def test_a_dark_style_is_followed():
    with matplotlib.rc_context({"text.color": "white"}):
        [ax] = history().plot("loss").axes
        [mark] = [line for line in ax.lines if "best" in line.get_label()]
    assert mark.get_markeredgecolor() == "white"


def test_a_notebook_is_given_a_sharp_picture_of_the_right_size():
    figure = history().plot()
    content, size = figure._repr_png_()
    assert content.startswith(b"\x89PNG")
    assert list(size.values()) == [round(inches * 100) for inches in figure.get_size_inches()]
    dots = int.from_bytes(content[16:20])
    assert dots == 2 * size["width"]


def test_no_epoch_is_the_best_of_a_series_without_a_finite_value():
    history = bp.History()
    for value in (math.nan, math.inf):
        history.record({"loss": 1.0, "val_loss": value})
    assert history.best_epoch() is None and history.best_epoch("loss") == 1
    axes = history.plot().axes  # and nothing is marked
    assert len(axes) == 1
