"""ONNX files: ONNX Runtime computes from them what `predict` does."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
import pytest
import several_inputs
from formats.nets import NETS

import bp_arrays as bp

X = np.random.default_rng(0).normal(size=(40, 8)) * 4.0
X[0] = [0.0, -0.0, 1e-9, -1e-9, 30.0, -30.0, 60.0, -60.0]


def model_of(net, dtype="float64", input_shape=8, device="cpu"):
    """With numbers everywhere: no bias is zero, no scale one."""
    model = bp.Model(net, input_shape, device=device, dtype=dtype, seed=1)
    rng = np.random.default_rng(2)
    model.set_parameters(
        {
            name: rng.uniform(0.5, 2.0, size=value.shape)
            if name.endswith("scale")
            else rng.normal(size=value.shape)
            for name, value in model.host_parameters().items()
        }
    )
    return model


def run(path, x):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    [y] = session.run(["output"], {"input": x})
    return y


def exported(model, path, **settings):
    model.to_onnx(path / "m.onnx", **settings)
    return str(path / "m.onnx")


@pytest.mark.parametrize("name", NETS)
def test_onnx_runtime_computes_the_same(name, dtype, tmp_path):
    model = model_of(NETS[name], dtype)
    x = X.astype(dtype)
    path = exported(model, tmp_path)
    for rows in (40, 1):  # the number of rows is open
        expected = model.predict(x[:rows])
        found = run(path, x[:rows])
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        if dtype == "float64":  # nothing in the file is of lower precision
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["ELU", "SELU", "Softplus", "GELU", "GELU(exact)", "SiLU"])
def test_no_tail_is_lost_in_float64(name, tmp_path):
    """Relative accuracy where eˣ − 1 and log(1 + x) would cancel."""
    model = model_of(NETS[name])
    a = np.array([[-1e-12, -1e-8, -1e-3, 1e-12, -5.0, -20.0, -35.0, 21.0]])
    np.testing.assert_allclose(run(exported(model, tmp_path), a), model.predict(a), rtol=1e-14)


@pytest.mark.parametrize("name", NETS)
def test_the_reference_evaluator_agrees(name, tmp_path):
    from onnx.reference import ReferenceEvaluator

    model = model_of(NETS[name])
    x = X[1:]
    [found] = ReferenceEvaluator(exported(model, tmp_path)).run(None, {"input": x})
    np.testing.assert_allclose(found, model.predict(x), rtol=1e-12, atol=1e-14)


def test_images_and_vectors_of_vectors(tmp_path, dtype):
    net = bp.Sequential(bp.Standardize(), bp.ELU(), bp.Softmax(), bp.Flatten(), bp.Linear(2))
    model = model_of(net, dtype, (3, 4))
    x = np.random.default_rng(3).normal(size=(5, 3, 4)).astype(dtype)
    np.testing.assert_allclose(
        run(exported(model, tmp_path), x), model.predict(x), rtol=1e-5, atol=1e-6
    )


def test_from_every_device_the_same_file(device, tmp_path):
    net = NETS["Residual"]
    model_of(net).to_onnx(tmp_path / "host.onnx")
    model_of(net, device=device).to_onnx(tmp_path / "there.onnx")
    assert (tmp_path / "there.onnx").read_bytes() == (tmp_path / "host.onnx").read_bytes()


def test_what_is_in_the_file(tmp_path):
    model = model_of(bp.Sequential(bp.Linear(6), bp.ReLU(), bp.Linear(3), bp.Softmax()), "float32")
    model.metadata = {"classes": json.dumps(["a", "b", "c"])}
    found = onnx.load(exported(model, tmp_path))
    onnx.checker.check_model(found, full_check=True)
    assert [node.op_type for node in found.graph.node] == ["Gemm", "Relu", "Gemm", "Softmax"]
    assert [node.name for node in found.graph.node] == ["0.Gemm", "1.Relu", "2.Gemm", "3.Softmax"]
    weights = {each.name: onnx.numpy_helper.to_array(each) for each in found.graph.initializer}
    assert list(weights) == list(model.parameters)
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(weights[name], value, strict=True)
    [given], [result] = found.graph.input, found.graph.output
    dims = [
        [d.dim_param or d.dim_value for d in each.type.tensor_type.shape.dim]
        for each in (given, result)
    ]
    assert (given.name, result.name, dims) == ("input", "output", [["batch", 8], ["batch", 3]])
    assert {p.key: p.value for p in found.metadata_props} == model.metadata
    assert (found.producer_name, found.producer_version) == ("bp_arrays", bp.__version__)


def test_metadata_that_is_no_text_is_kept_as_text_in_every_format(tmp_path):
    model = model_of(bp.Linear(2), "float32")
    model.metadata = {"epochs": 5, 7: None}
    expected = {"epochs": "5", "7": "None"}
    found = onnx.load(exported(model, tmp_path))
    assert {p.key: p.value for p in found.metadata_props} == expected
    model.save(tmp_path / "m")
    assert bp.load(tmp_path / "m", "cpu").metadata == expected


# -- layers of one's own ---------------------------------------------------------------------


@dataclass(frozen=True)
class Scaled(bp.Layer):
    """Uses much of what can be recorded."""

    def init(self, input_shape):
        return {
            "output": bp.Parameter(input_shape, bp.Ones()),
            "inner": {"input": bp.Parameter((*input_shape, 2), bp.GlorotNormal())},
        }, (2, 1)

    def forward(self, params, x, ctx):
        xp = ctx.xp
        length = xp.sqrt(1.0 + xp.sum(x**2, axis=-1, keepdims=True))
        h = xp.where((x > 0.0) == (x >= 0.5), x, -x) / length - xp.mean(x, axis=(1,), keepdims=True)
        h = xp.astype(h < 0.3, h.dtype) + xp.clip(h, min=-1.0, max=2.0) * params["output"]
        h = xp.expm1(h) + xp.log1p(xp.abs(h)) + 2.0**h + np.ones(8) * h - (+h)
        h = h @ params["inner"]["input"]
        return xp.reshape(h, (x.shape[0], -1, 1)), None


def test_a_layer_of_ones_own_is_recorded(dtype, tmp_path):
    net = bp.Sequential(bp.Linear(8), Scaled(), bp.Flatten(), bp.Tanh())
    model = model_of(net, dtype)
    x = X[1:].astype(dtype)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(
        run(exported(model, tmp_path), x), model.predict(x), rtol=0, atol=100 * eps
    )


class Shaped(bp.Layer):
    """Uses the functions that change shapes; x is (batch, 3, 8)."""

    def init(self, input_shape):
        return {"w": bp.Parameter((3, 8, 2), bp.GlorotNormal())}, (21,)

    def forward(self, params, x, ctx):
        xp, w = ctx.xp, params["w"]
        n, t, k = x.shape
        rows = xp.reshape(x, (n * t, k))  # the batch merged with another axis, and back
        heads = xp.permute_dims(xp.reshape(rows - 1.0, (n, t, 4, 2)), (0, 2, 1, 3))
        scores = heads @ xp.matrix_transpose(heads)  # (batch, 4, 3, 3)
        keep = xp.tril(xp.ones((t, t), dtype=xp.bool, device=ctx.device))
        scores = xp.where(keep, scores, -xp.inf)
        p = xp.exp(scores - xp.max(scores, axis=-1, keepdims=True))
        p = p / xp.sum(p, axis=-1, keepdims=True)
        h = xp.reshape(xp.permute_dims(p @ heads, (0, 2, 1, 3)), (n, -1, k))
        h = xp.concat([xp.zeros((n, 1, k), dtype=x.dtype, device=ctx.device), h], axis=1)
        h = h[:, 1:, ...] + xp.flip(h, axis=1)[:, 0::1, :][:, :-1] * h[:, -1, None, :]
        h = xp.stack([h[:, j, :] @ w[j, ...] for j in range(t)], axis=1)  # (batch, 3, 2)
        turned = xp.take(h, xp.asarray([2, 0], device=ctx.device), axis=1)
        places = xp.broadcast_to(xp.asarray([[[1, 0]]], device=ctx.device), (n, 1, 2))
        chosen = xp.take_along_axis(h, places, axis=1)
        order = xp.astype(xp.arange(t, dtype=xp.int64)[:, None] <= 1, x.dtype)
        y = [
            xp.moveaxis(h, 1, 2) * 2.0, turned, chosen, xp.roll(h, 1, axis=1) * order,
            xp.expand_dims(xp.var(h, axis=(1, 2), correction=1.0), axis=1),
            xp.squeeze(xp.mean(h, axis=1, keepdims=True), axis=1),
        ]  # fmt: skip
        return xp.concat([xp.reshape(part, (n, -1)) for part in y], axis=1), None


def test_functions_that_change_shapes_are_recorded(dtype, tmp_path):
    model = model_of(Shaped(), dtype, (3, 8))
    x = np.random.default_rng(0).normal(size=(5, 3, 8)).astype(dtype)
    path, eps = exported(model, tmp_path), np.finfo(dtype).eps
    for rows in (5, 1):
        expected = model.predict(x[:rows])
        np.testing.assert_allclose(run(path, x[:rows]), expected, rtol=0, atol=300 * eps)


def test_a_net_of_several_inputs_and_indices(dtype, tmp_path):
    model = several_inputs.make(dtype=dtype)
    session = onnxruntime.InferenceSession(exported(model, tmp_path))
    assert [each.name for each in session.get_inputs()] == ["ids", "age"]
    x = {"ids": several_inputs.IDS, "age": several_inputs.AGES.astype(dtype)}
    [y] = session.run(["output"], x)
    np.testing.assert_allclose(y, model.predict(several_inputs.X), rtol=1e-5, atol=1e-6)


def test_what_only_a_backward_pass_needs_is_left_out(tmp_path):
    class Square(bp.Layer):
        def forward(self, params, x, ctx):
            slope = ctx.xp.exp(2.0 * x)
            return x * x, lambda delta: (delta * slope, {})

    nodes = onnx.load(exported(model_of(Square()), tmp_path)).graph.node
    assert [node.op_type for node in nodes] == ["Mul"]


def test_names_that_the_file_needs_itself_may_be_taken(tmp_path):
    class Taken(bp.Layer):
        def init(self, input_shape):
            one = bp.Parameter(input_shape, bp.Ones())
            return {"input": one, "output": one, "Mul": one}, input_shape

        def forward(self, params, x, ctx):
            return x * params["input"] * params["output"] * params["Mul"], None

    model = model_of(Taken())
    session = onnxruntime.InferenceSession(exported(model, tmp_path))
    [y] = session.run(None, {session.get_inputs()[0].name: X})
    np.testing.assert_allclose(y, model.predict(X), rtol=1e-12)


FUNCTIONS = {
    "any": lambda xp, x: xp.astype(xp.any(x, axis=1, keepdims=True), x.dtype) * xp.ones_like(x),
    "all": lambda xp, x: xp.astype(xp.all(x, axis=1, keepdims=True), x.dtype) * xp.ones_like(x),
    "logaddexp": lambda xp, x: xp.logaddexp(x, xp.flip(x, axis=1)),
    "tile": lambda xp, x: xp.tile(x, (2, 1, 3))[1, :, 8:16] + xp.tile(x, (3,))[:, 16:],
}


class Function(bp.Layer):
    def __init__(self, function):
        self.function = function

    def forward(self, params, x, ctx):
        return self.function(ctx.xp, x), None


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_at_their_limits(name, tmp_path):
    """Numbers that are neither 0 nor 1 are true; equal infinities; more repetitions than axes."""
    model = model_of(Function(FUNCTIONS[name]))
    x = np.zeros((5, 8))
    x[0, 3], x[1, 3], x[2], x[3] = 0.5, -1.0, -0.25, -np.inf
    x[4, :3], x[4, -3:] = (np.inf, -np.inf, 2.0), (1.0, -np.inf, np.inf)
    expected = FUNCTIONS[name](np, x)
    np.testing.assert_allclose(run(exported(model, tmp_path), x), expected, rtol=1e-14)


class Sorted(bp.Layer):
    def forward(self, params, x, ctx):
        return ctx.xp.sort(x, axis=-1), None


class Branching(bp.Layer):
    def forward(self, params, x, ctx):
        return (x if x[0, 0] > 0 else -x), None


class Deciding(bp.Layer):
    def forward(self, params, x, ctx):
        return (x if ctx.xp.max(x) > 0 else -x), None


class Rows(bp.Layer):
    def forward(self, params, x, ctx):
        return x / x.shape[0], None


class ByNumPy(bp.Layer):
    def forward(self, params, x, ctx):
        return np.exp(x), None


class Mixed(bp.Layer):
    def forward(self, params, x, ctx):
        return ctx.xp.reshape(x, (4, -1)), None


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (Sorted(), "xp.sort has no counterpart"),
        (Branching(), "index into the rows of the batch"),
        (Deciding(), "cannot branch"),
        (Rows(), "neither an array nor a number"),
        (ByNumPy(), "ufunc"),
        (Mixed(), "expected a value of shape"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_cannot_be_recorded_is_said_with_the_way_out(layer, reason, tmp_path):
    with pytest.raises(bp.InputError, match=reason) as caught:
        exported(model_of(bp.Sequential(bp.Linear(8), layer)), tmp_path)
    name = type(layer).__name__
    assert str(caught.value).startswith(f"{name} cannot be written as ONNX")
    assert f"to_onnx(path, operators={{{name}: write}})" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


class Cumulative(bp.Layer):
    def forward(self, params, x, ctx):
        return ctx.xp.cumulative_sum(x, axis=-1), None


def test_the_way_out_works(tmp_path):
    def write(layer, params, x, graph):
        return graph.node("CumSum", x, graph.integers(1), shape=x.shape)

    model = model_of(bp.Sequential(bp.Linear(8), Cumulative()))
    path = exported(model, tmp_path, operators={Cumulative: write})
    np.testing.assert_allclose(run(path, X), model.predict(X), rtol=1e-12)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda layer, params, x, graph: None, "got None"),
        (
            lambda layer, params, x, graph: graph.node("Flatten", x, shape=(1,)),
            "expected a value of shape",
        ),
        (lambda layer, params, x, graph: graph.node("Nonsense", x), "valid ONNX"),
        (lambda layer, params, x, graph: graph.node("And", x, x), "valid ONNX"),
        (lambda layer, params, x, graph: x @ params["w"], "KeyError|'w'"),
    ],
)
def test_operators_that_are_wrong(write, message, tmp_path):
    with pytest.raises(bp.InputError, match=message) as caught:
        exported(model_of(Sorted()), tmp_path, operators={Sorted: write})
    assert len(str(caught.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


# -- refusals --------------------------------------------------------------------------------


def test_half_precision_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(bp.InputError, match=r'float16.*bp.load\(path, dtype="float32"\)'):
        exported(bp.Model(bp.Linear(2), 3, device="cpu", dtype="float16"), tmp_path)


def test_more_than_a_file_holds(tmp_path, monkeypatch):
    monkeypatch.setattr("bp_arrays.formats._onnx_model.SIZE_LIMIT", 100)
    with pytest.raises(bp.InputError, match="2 GiB"):
        exported(model_of(bp.Linear(20)), tmp_path)


def test_a_failing_export_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        model_of(bp.Linear(2)).to_onnx(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_without_onnx_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(bp.MissingExtraError, match=r"bp_arrays\[onnx\]"):
        model_of(bp.Linear(2)).to_onnx(tmp_path / "m.onnx")


def test_importing_the_library_does_not_import_onnx():
    code = "import sys, bp_arrays; print([m for m in sys.modules if m.split('.')[0] == 'onnx'])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
