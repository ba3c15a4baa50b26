"""Covers: the warning of activations that the loss applies itself, and where there is none."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.losses import doubled_activations

LINEAR = bp.Linear(3)


def ends(*layers):
    return bp.Sequential(LINEAR, *layers)


@pytest.mark.parametrize(
    ("net", "loss", "words"),
    [
        (ends(bp.Softmax()), bp.CrossEntropy(), "Softmax (layer 1), but CrossEntropy applies a s"),
        (ends(bp.LogSoftmax()), bp.CrossEntropy(), "the second changes nothing"),
        (ends(bp.Sigmoid()), bp.CrossEntropy(), "expects logits of any size"),
        (ends(bp.Softmax()), bp.KLDivergence(), "KLDivergence applies a softmax itself"),
        (ends(bp.Softmax()), bp.CTC(), "CTC applies a softmax itself"),
        (ends(bp.Sigmoid()), bp.BinaryCrossEntropy(), "between 0.5 and 0.73"),
        (ends(bp.Softmax()), bp.BinaryCrossEntropy(), "or use CrossEntropy"),
        (ends(bp.Sigmoid()), bp.Hinge(), "expects scores around 0"),
        (bp.Softmax(), bp.CrossEntropy(), "the net ends in Softmax, but"),
        (ends(ends(ends(bp.Softmax()))), bp.CrossEntropy(), "Softmax (layer 1.1.1)"),
        (ends(bp.Softmax(), bp.Dropout(0.1), bp.Identity()), bp.CrossEntropy(), "(layer 1)"),
        (ends(bp.Parallel(a=ends(bp.Softmax()), b=LINEAR), bp.Select("a")), bp.CrossEntropy(),
         "(layer 1.a.1)"),
    ],
)  # fmt: skip
def test_doubled_activations_are_found(net, loss, words):
    [line] = doubled_activations(net, loss)
    assert words in line and "remove the " in line and "\n" not in line


@pytest.mark.parametrize(
    ("net", "loss"),
    [
        (ends(), bp.CrossEntropy()),
        (ends(bp.Tanh()), bp.CrossEntropy()),
        (ends(bp.Softmax(), LINEAR), bp.CrossEntropy()),
        (ends(bp.Softmax()), bp.L2Loss()),
        (ends(bp.Sigmoid()), bp.MeanSquaredError()),
        (bp.Sequential(bp.Parallel(ends(bp.Softmax()), LINEAR), bp.Concatenate()),
         bp.CrossEntropy()),
        (bp.Residual(LINEAR, bp.Softmax()), bp.CrossEntropy()),
        (bp.Sequential(), bp.CrossEntropy()),
    ],
)  # fmt: skip
def test_nets_that_fit_their_loss_are_left_in_peace(net, loss):
    assert doubled_activations(net, loss) == []


def test_each_of_several_outputs_is_looked_at():
    heads = {"kind": ends(bp.Softmax()), "size": ends(), "yes": ends(bp.Sigmoid())}
    losses = {"kind": bp.CrossEntropy(), "size": bp.L2Loss(), "yes": bp.BinaryCrossEntropy()}
    lines = doubled_activations(ends(bp.Parallel(**heads)), bp.CombinedLoss(losses))
    assert [line[:20] for line in lines] == ["output 'kind' of the", "output 'yes' of the "]
    assert "Softmax (layer 1.kind.1)" in lines[0] and "Sigmoid (layer 1.yes.1)" in lines[1]
    pair = bp.Parallel(LINEAR, ends(bp.Softmax()))
    [line] = doubled_activations(pair, bp.CombinedLoss((bp.CrossEntropy(), bp.CrossEntropy())))
    assert line.startswith("output 1 of the net ends in Softmax (layer 1.1)")
    passed = bp.Sequential(bp.Parallel(a=ends(bp.Softmax()), b=LINEAR), bp.Parallel(b=LINEAR))
    [line] = doubled_activations(passed, bp.CombinedLoss({"a": bp.CrossEntropy()}))
    assert "(layer 0.a.1)" in line


def test_fit_explain_and_a_trainer_warn_at_the_line_of_the_user():
    net, loss = ends(bp.Softmax()), bp.CrossEntropy()
    model = bp.Model(net, 2, device="cpu")
    for call in (
        lambda: bp.fit(model, np.ones((4, 2)), [0, 1, 2, 0], loss=loss, optimizer=bp.SGD(0.1)),
        lambda: bp.Trainer(model, loss=loss, optimizer=bp.SGD(0.1)),
        lambda: bp.explain(model, [1.0, 2.0], 1, loss),
    ):
        with pytest.warns(bp.BpArraysWarning, match="the net ends in Softmax") as caught:
            call()
        assert [Path(each.filename).name for each in caught] == ["test_doubled.py"]


def test_a_converted_module_that_ends_in_probabilities_says_so():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LogSoftmax(dim=1))
    with pytest.warns(bp.BpArraysWarning, match="from_torch: the module ends in LogSoftmax"):
        bp.from_torch(module, 2, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bp.from_torch(module[:1], 2, device="cpu")
