"""Covers: output of models and training in a real notebook, executed by a real kernel."""

from __future__ import annotations

import base64

import pytest

nbclient = pytest.importorskip("nbclient", reason="nbclient, which runs notebooks, is missing")
nbformat = pytest.importorskip("nbformat", reason="nbformat, which makes notebooks, is missing")
pytest.importorskip("ipykernel", reason="ipykernel, which runs a notebook's cells, is missing")
pytest.importorskip("matplotlib")

SET_UP = """
import sys
import numpy as np
import bp_arrays as bp
from bp_arrays.training.callbacks import _learning_curve as learning_curve
learning_curve.TIME_FRACTION = 1.0  # a new picture after every epoch
x, t = np.arange(64.0).reshape(32, 2) / 64, np.arange(32) % 2
model = bp.Model(bp.Linear(2), 2, device="cpu")
settings = dict(loss=bp.CrossEntropy(), optimizer=bp.SGD(0.1), validation=(x, t))
"""
NO_WIDGETS = "sys.modules['ipywidgets'] = None  # as where it is not installed"
TRAIN = "history = bp.fit(model, x, t, epochs=4, progress=True, **settings)"
WATCH = "bp.fit(model, x, t, epochs=4, callbacks=[bp.LearningCurve()], **settings);"
SEE = ["model.summary()", "model", "history.plot()", "'matplotlib.pyplot' in sys.modules"]


class Client(nbclient.NotebookClient):
    """Counts how often something shown is replaced."""

    updates = 0

    def process_message(self, message, cell, cell_index):
        self.updates += message["msg_type"] == "update_display_data"
        return super().process_message(message, cell, cell_index)


@pytest.fixture(scope="module")
def execute(tmp_path_factory):
    def execute(*sources):
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        folder = tmp_path_factory.mktemp("notebook")
        client = Client(
            nbformat.v4.new_notebook(cells=cells),
            timeout=120,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
        )
        client.execute()
        return [cell["outputs"] for cell in cells], client

    return execute


def text_of(outputs):
    return "".join(output["text"] for output in outputs if output["output_type"] == "stream")


@pytest.fixture(scope="module")
def with_widgets(execute):
    pytest.importorskip("ipywidgets", reason="ipywidgets is missing")
    return execute(SET_UP, TRAIN, WATCH, *SEE)


@pytest.fixture(scope="module")
def without_widgets(execute):
    return execute(SET_UP, NO_WIDGETS, TRAIN)


def test_the_bar_is_a_widget_where_there_are_widgets(with_widgets):
    (_, [bar], *_), client = with_widgets
    assert "application/vnd.jupyter.widget-view+json" in bar["data"]
    assert "0/4 " in bar["data"]["text/plain"]
    shown = [state.get("value") for state in client.widget_state.values()]
    assert 4.0 in shown and any("val_loss" in str(value) for value in shown)


def test_the_bar_is_text_where_there_are_none(without_widgets):
    (_, _, outputs), _ = without_widgets
    assert {output["name"] for output in outputs} == {"stdout"}  # no warning, nothing in red
    last = text_of(outputs).split("\r")[-1]
    assert "4/4" in last and "val_loss" in last and "100%" in last


def test_the_learning_curve_redraws_one_picture(with_widgets):
    (_, _, outputs, *_), client = with_widgets
    [picture] = outputs
    assert base64.b64decode(picture["data"]["image/png"]).startswith(b"\x89PNG")
    assert client.updates == 3  # four epochs: shown once, replaced three times


def test_summaries_are_tables_and_plots_are_pictures_without_pyplot(with_widgets):
    (*_, [summary], [model], [plot], [pyplot]), _ = with_widgets
    assert "<table" in summary["data"]["text/html"] and "layer" in summary["data"]["text/plain"]
    assert model["data"]["text/html"] == summary["data"]["text/html"]
    assert base64.b64decode(plot["data"]["image/png"]).startswith(b"\x89PNG")
    assert pyplot["data"]["text/plain"] == "False"
