"""Covers: InputSpec, what `Model(net, input_shape)` accepts, and what it says of the rest."""

from __future__ import annotations

import numpy as np
import pytest
from several_inputs import INPUTS, Lookup, make

import bp_arrays as bp
from bp_arrays.inputs import as_inputs, only_shape, shapes_of


def test_a_shape_is_one_input_of_numbers():
    for shape in (4, (4,), [4], np.int64(4), bp.InputSpec(4)):
        model = bp.Model(bp.Linear(2), shape, device="cpu")
        assert model.inputs == bp.InputSpec((4,), "number")
        assert model.input_shape == (4,)
    assert bp.Model(bp.Flatten(), (2, 3), device="cpu").input_shape == (2, 3)
    assert bp.Model(bp.Identity(), (), device="cpu").predict([1.0, 2.0]).tolist() == [1.0, 2.0]


def test_a_dict_or_a_tuple_with_more_than_integers_is_several_inputs():
    model = make()
    assert model.inputs == {"ids": bp.InputSpec((), "index", 5), "age": bp.InputSpec((3,))}
    assert model.input_shape == {"ids": (), "age": (3,)}
    assert as_inputs(((2, 3), 4)) == (bp.InputSpec((2, 3)), bp.InputSpec((4,)))
    assert as_inputs((2, 3)) == bp.InputSpec((2, 3))
    assert shapes_of(as_inputs((bp.InputSpec(2, "index"), 3))) == ((2,), (3,))


def test_the_repr_of_a_model_shows_what_made_it():
    assert "input_shape=(4,)," in repr(bp.Model(bp.Linear(2), 4, device="cpu"))
    shown = "input_shape={'ids': InputSpec(shape=(), kind='index', size=5), 'age': InputSpec("
    assert shown in repr(make())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((0,),), r"InputSpec\(shape\): expected positive integers, got \(0,\)"),
        (("4",), "expected positive integers, got '4'"),
        ((4, "text"), r"InputSpec\(kind\): expected 'number' or 'index', got 'text'"),
        ((4, "number", 3), r"InputSpec\(size=3\): expected kind='index' with a size"),
        ((4, "index", 0), r"InputSpec\(size\): expected a positive integer, got 0"),
        ((4, "index", 2.5), "expected a positive integer, got 2.5"),
        ((4, "index", True), "expected a positive integer, got True"),
    ],
)
def test_a_specification_that_is_none_is_refused(arguments, message):
    with pytest.raises(bp.InputError, match=message):
        bp.InputSpec(*arguments)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (0, "input_shape: expected positive integers, got 0"),
        ((3, -1), r"input_shape: expected positive integers, got \(3, -1\)"),
        (2.5, "input_shape: expected positive integers, got 2.5"),
        ((3, 2.5), r"input_shape: expected positive integers, got \(3, 2.5\)"),
        ("4", "input_shape: expected positive integers, got '4'"),
        (None, "input_shape: expected positive integers, got None"),
        ({}, r"input_shape: expected names for the inputs, got \[\]"),
        ({1: 2}, r"input_shape: expected names for the inputs, got \[1\]"),
        ({"a": 0}, r"input_shape\['a'\]: expected positive integers, got 0"),
        ({"a": {"b": 2}}, r"input_shape\['a'\]: expected positive integers"),
        (((2,), (0,)), r"input_shape\[1\]: expected positive integers, got \(0,\)"),
    ],
)
def test_inputs_that_are_none_are_refused(inputs, message):
    with pytest.raises(bp.InputError, match=message):
        bp.Model(bp.Linear(2), inputs, device="cpu")


def test_a_net_that_takes_one_input_is_refused_for_several():
    for net in (bp.Linear(2), bp.Sequential(bp.Flatten()), bp.Residual(bp.Linear(3))):
        for inputs in ({"a": 3, "b": 2}, ((3,), (2,))):
            with pytest.raises(bp.InputError) as caught:
                bp.Model(net, inputs, device="cpu")
            assert "\n" not in str(caught.value)
    message = "expected one array, got a dict of a, b; put Concatenate"
    with pytest.raises(bp.InputError, match=message):
        bp.Model(bp.Linear(2), {"a": 3, "b": 2}, device="cpu")


def test_what_takes_one_input_of_numbers_refuses_others_in_one_line(tmp_path):
    message = "expected a model with one input(| of numbers), got one that takes a dict of ids, age"
    model, sample = make(), {"ids": 1, "age": [0.0, 0.0, 0.0]}
    for name, function in {
        "to_torch": model.to_torch,
        "explain": lambda: bp.explain(model, sample, 0, bp.CrossEntropy()),
    }.items():
        with pytest.raises(bp.InputError, match=f"^{name}: {message}") as caught:
            function()
        assert "\n" not in str(caught.value)
    with pytest.raises(bp.InputError, match="got one that takes an array of indices"):
        only_shape(bp.InputSpec(3, "index"), "to_onnx")
    with pytest.raises(bp.InputError, match="got one that takes a tuple of 2"):
        only_shape(as_inputs(((2,), 3)), "to_onnx")
    assert only_shape(bp.InputSpec(3), "to_onnx") == (3,)


def test_layers_are_initialized_with_the_shapes_of_all_inputs():
    assert Lookup().init(shapes_of(as_inputs(INPUTS)))[1] == (5,)
    assert [row.output_shape for row in make().summary().rows] == [(5,), (5,), (2,)]
