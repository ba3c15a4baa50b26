"""Covers: the one format of argument errors, and what constructors take for a number."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.checks import argument_error, array_error, as_integer, as_number


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bp.SGD(momentum=1.5), "SGD(momentum=1.5): expected 0 <= momentum < 1"),
        (
            lambda: bp.SGD(nesterov=True),
            "SGD(momentum=0.0): expected momentum > 0 with nesterov=True",
        ),
        (lambda: bp.SGD(0.1, 0.9, 1), "SGD(nesterov=1): expected True or False"),
        (lambda: bp.AdamW(epsilon=0), "AdamW(epsilon=0): expected epsilon > 0"),
        (
            lambda: bp.Adam("fast"),
            "Adam(learning_rate='fast'): expected a finite number, learning_rate > 0",
        ),
        (lambda: bp.Chain(bp.Adam), "Chain(link=Adam): expected an optimizer as the last link"),
        (lambda: bp.Warmup(3, then=-1), "Warmup(then=-1): expected then > 0"),
        (lambda: bp.Cosine(0.1, 2.5), "Cosine(steps=2.5): expected a whole number, steps >= 1"),
        (lambda: bp.Dropout(True), "Dropout(rate=True): expected a finite number, 0 <= rate < 1"),
        (lambda: bp.Dropout(np.float32(1)), "Dropout(rate=1.0): expected 0 <= rate < 1"),
        (lambda: bp.Linear(0), "Linear(out_features=0): expected out_features >= 1"),
        (
            lambda: bp.Linear(True),
            "Linear(out_features=True): expected a whole number, out_features >= 1",
        ),
        (lambda: bp.Linear(2, bias=None), "Linear(bias=None): expected True or False"),
        (
            lambda: bp.Linear(2, weight_init=bp.HeNormal),
            "Linear(weight_init=HeNormal): expected an initializer such as HeNormal(); "
            "write HeNormal()",
        ),
        (lambda: bp.ELU(float("inf")), "ELU(alpha=inf): expected a finite number, alpha > 0"),
        (lambda: bp.ELU("1"), "ELU(alpha='1'): expected a finite number, alpha > 0"),
        (lambda: bp.LeakyReLU(None), "LeakyReLU(negative_slope=None): expected a finite number"),
        (lambda: bp.GELU(exact="no"), "GELU(exact='no'): expected True or False"),
        (lambda: bp.Huber(-1), "Huber(threshold=-1): expected threshold > 0"),
        (
            lambda: bp.L2Loss(reduction="none"),
            'L2Loss(reduction=\'none\'): expected "mean" or "sum"',
        ),
        (
            lambda: bp.CrossEntropy(label_smoothing=1),
            "CrossEntropy(label_smoothing=1): expected 0 <= label_smoothing < 1",
        ),
        (
            lambda: bp.CrossEntropy(class_weights=(0.0, 0.0)),
            "CrossEntropy(class_weights=(0.0, 0.0)): "
            "expected finite numbers >= 0, one of them above",
        ),
        (
            lambda: bp.CrossEntropy(class_weights=2.0),
            "CrossEntropy(class_weights=2.0): expected finite numbers >= 0, one of them above",
        ),
        (
            lambda: bp.CrossEntropy(ignore_index=0.5),
            "CrossEntropy(ignore_index=0.5): expected a whole number",
        ),
        (
            lambda: bp.Accuracy(ignore_index=True),
            "Accuracy(ignore_index=True): expected a whole number",
        ),
        (
            lambda: bp.BinaryAccuracy("half"),
            "BinaryAccuracy(threshold='half'): expected a finite number",
        ),
        (lambda: bp.Orthogonal(0), "Orthogonal(gain=0): expected gain > 0"),
        (lambda: bp.L2Penalty(-1), "L2Penalty(strength=-1): expected strength >= 0"),
    ],
)
def test_a_refused_argument_is_shown_as_it_was_written(make, message):
    with pytest.raises(bp.InputError) as raised:
        make()
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("layer", "same"),
    [
        (lambda: bp.Linear(np.int64(5), bias=np.bool_(False)), bp.Linear(5, bias=False)),
        (lambda: bp.Dropout(np.float32(0.5)), bp.Dropout(0.5)),
        (lambda: bp.ELU(np.int8(2)), bp.ELU(2.0)),
        (lambda: bp.GELU(np.bool_(True)), bp.GELU(exact=True)),
        (lambda: bp.Huber(np.float16(2)), bp.Huber(2.0)),
        (
            lambda: bp.CrossEntropy(np.float32(0.5), np.ones(2, np.float32), np.int32(-1)),
            bp.CrossEntropy(0.5, (1.0, 1.0), -1),
        ),
        (lambda: bp.SGD(np.float64(0.5), nesterov=np.bool_(False)), bp.SGD(0.5)),
        (lambda: bp.Cosine(np.float32(1), np.uint8(5)), bp.Cosine(1.0, 5)),
        (lambda: bp.Warmup(np.int16(3), np.float32(0.5)), bp.Warmup(3, 0.5)),
        (lambda: bp.Orthogonal(np.int64(2)), bp.Orthogonal(2.0)),
        (lambda: bp.L2Penalty(np.float32(2)), bp.L2Penalty(2.0)),
        (lambda: bp.BinaryAccuracy(np.float32(0.5)), bp.BinaryAccuracy(0.5)),
    ],
)
def test_numbers_of_numpy_become_pythons(layer, same):
    assert layer() == same
    numbers = [value for value in vars(layer()).values() if isinstance(value, np.generic)]
    assert numbers == []


def test_a_long_value_is_shown_in_one_short_line():
    message = str(argument_error("f", "x", np.zeros((9, 9)), "a number", "pass one"))
    assert "\n" not in message and len(message) < 120 and message.endswith("; pass one")


def test_an_array_is_described_and_not_shown():
    message = str(array_error("fit", "t", "shape (50,)", (49,), "pass one target per row"))
    assert message == "fit(t=): expected shape (50,), got (49,); pass one target per row"


def test_arguments_of_functions_are_checked_like_fields():
    assert as_number("f", "x", np.float32(2), above=0) == 2.0
    assert as_integer("f", "n", np.uint8(2)) == 2
    with pytest.raises(bp.InputError, match=r"f\(x=3\): expected 0 < x <= 2"):
        as_number("f", "x", 3, above=0, at_most=2)
    with pytest.raises(bp.InputError, match=r"f\(n=-1\): expected n >= 0"):
        as_integer("f", "n", -1, at_least=0)
