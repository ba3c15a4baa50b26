"""The table of the layers, as text and as HTML."""

from __future__ import annotations

from html.parser import HTMLParser

import bp_arrays as bp


class OwnLayer(bp.Identity):
    """A layer of one's own."""


def model():
    net = bp.Sequential(bp.Standardize(), bp.Linear(5), bp.Sequential(OwnLayer(), bp.Linear(3)))
    return bp.Model(net, 4, device="cpu")


class Cells(HTMLParser):
    """The text of every row of a table."""

    def __init__(self):
        super().__init__()
        self.rows, self.inside = [], False

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.inside = True

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data


TABLE = """\
layer               output      parameters
------------------------------------------
0      Standardize  (batch, 4)           8
1      Linear       (batch, 5)          25
2.0    OwnLayer     (batch, 5)           0
2.1    Linear       (batch, 3)          18
------------------------------------------
43 trainable parameters, 8 fixed, float32, on cpu"""


def test_what_is_printed():
    summary = model().summary()
    assert str(summary) == repr(summary) == TABLE


def test_the_html_says_the_same():
    parser = Cells()
    parser.feed(model().summary()._repr_html_())
    assert parser.rows == [
        ["layer", "", "output", "parameters"],
        ["0", "Standardize", "(batch, 4)", "8"],
        ["1", "Linear", "(batch, 5)", "25"],
        ["2.0", "OwnLayer", "(batch, 5)", "0"],
        ["2.1", "Linear", "(batch, 3)", "18"],
        ["43 trainable parameters, 8 fixed, float32, on cpu"],
    ]


def test_a_notebook_shows_a_model_by_its_summary():
    made = model()
    assert made._repr_html_() == made.summary()._repr_html_()


def test_names_cannot_be_markup():
    evil = type("<b>x", (bp.Identity,), {})
    html = bp.Model(evil(), 4, device="cpu").summary()._repr_html_()
    assert "<b>x" not in html and "&lt;b&gt;x" in html
