"""RNN, LSTM and GRU: against PyTorch, with lengths, masks and states."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import bp_arrays as bp
from tests.recurrence.torch_weights import from_torch, gradients_from_torch, to_torch

B, T, F, N = 5, 7, 3, 4
LENGTHS = np.array([7, 3, 5, 1, 6])
KINDS = ("RNN", "LSTM", "GRU")
RELU = {"activation": "relu"}


def both(kind, layers=1, bidirectional=False, last=False, **options):
    """PyTorch's module in float64, our layer, and the module's weights."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.manual_seed(0)
    theirs = {"nonlinearity": options["activation"]} if options else {}
    module = getattr(torch.nn, kind)(
        F, N, layers, batch_first=True, bidirectional=bidirectional, dtype=torch.float64, **theirs
    )
    layer = getattr(bp, kind)(N, layers, bidirectional, last, **options)
    return module, layer, from_torch(module, layer)


def random(*shape):
    return np.random.default_rng([*shape, 3]).normal(size=shape)


def on(device, values):
    """Arrays on a device in float64, whole numbers and booleans as they are."""
    return device.asarray(values, dtype="float64" if values.dtype == np.float64 else None)


def run(layer, device, parameters, x, delta, training=True):
    """The output, the derivative by x and the gradients of a layer, as NumPy arrays."""
    from bp_arrays.trees import map_tree

    ctx = bp.Context(device.xp, device.native, training=training)
    move = lambda tree: map_tree(lambda values: on(device, values), tree)  # noqa: E731
    y, backward = layer.forward(move(parameters), move(x), ctx)
    dx, gradients = backward(move(delta))
    back = lambda tree: map_tree(device.to_numpy, tree)  # noqa: E731
    return back(y), back(dx), back(gradients)


def close(one, other):
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-13 * max(1.0, np.max(np.abs(other))))


SETTINGS = [
    ("RNN", 1, False, {}), ("RNN", 2, True, RELU),
    ("LSTM", 1, False, {}), ("LSTM", 2, True, {}),
    ("GRU", 1, False, {}), ("GRU", 2, True, {}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "layers", "bidirectional", "options"), SETTINGS)
def test_values_and_gradients_are_pytorchs(device, kind, layers, bidirectional, options):
    if device.backend == "jax":
        pytest.skip("the check does this on JAX")
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")

    module, layer, parameters = both(kind, layers, bidirectional, **options)
    x, delta = random(B, T, F), random(B, T, N * (1 + bidirectional))
    y, dx, gradients = run(layer, device, parameters, x, delta)
    tensor = torch.tensor(x, requires_grad=True)
    output, _ = module(tensor)
    output.backward(torch.tensor(delta))
    close(y, output.detach().numpy())
    close(dx, tensor.grad.numpy())
    expected = gradients_from_torch(module, layer)
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        close(gradient, expected[name])


@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (2, True)])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_lengths_are_pytorchs_packed_sequences(kind, layers, bidirectional):
    """Outputs, final states, and the derivatives through both."""
    module, layer, parameters = both(kind, layers, bidirectional)
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    count = layers * (1 + bidirectional)
    state_shape = (B, count, N) if count > 1 else (B, N)
    x = {"x": random(B, T, F), "lengths": LENGTHS}
    x |= {name: random(*state_shape) + k for k, name in enumerate(layer.states)}
    delta = {"x": random(B, T, N * (1 + bidirectional)), "lengths": None}
    delta |= {name: random(*state_shape) - k for k, name in enumerate(layer.states)}
    y, dx, gradients = run(layer, bp.device("cpu"), parameters, x, delta)

    def of_torch(states):  # (layers, batch, n)
        return torch.tensor(np.moveaxis(states.reshape(B, count, N), 1, 0).copy())

    tensor = torch.tensor(x["x"], requires_grad=True)
    initial = [of_torch(x[name]).requires_grad_() for name in layer.states]
    packed = pack_padded_sequence(
        tensor, torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False
    )
    output, final = module(packed, tuple(initial) if kind == "LSTM" else initial[0])
    output, _ = pad_packed_sequence(output, batch_first=True, total_length=T)
    final = final if kind == "LSTM" else (final,)
    loss = (output * torch.tensor(delta["x"])).sum()
    for state, name in zip(final, layer.states, strict=True):
        loss = loss + (state * of_torch(delta[name])).sum()
    loss.backward()

    close(y["x"], output.detach().numpy())
    close(dx["x"], tensor.grad.numpy())
    assert dx["lengths"] is None
    for name, state, start in zip(layer.states, final, initial, strict=True):
        close(y[name], np.moveaxis(state.detach().numpy(), 0, 1).reshape(state_shape))
        close(dx[name], np.moveaxis(start.grad.numpy(), 0, 1).reshape(state_shape))
    for name, gradient in gradients_from_torch(module, layer).items():
        close(gradients[name], gradient)


LAYERS = [bp.RNN(N, 2, True), bp.LSTM(N, 2, True), bp.GRU(N, 2, True), bp.LSTM(N, last=True)]
AS_TEXT = str


def drawn(layer, shapes):
    specification, _ = layer.init(shapes)
    return {name: 0.5 * random(*p.shape) for name, p in specification.items()}


@pytest.mark.parametrize("layer", LAYERS, ids=AS_TEXT)
def test_padding_changes_nothing(layer, device):
    """A sequence alone gives what it gives padded, beside others; its padding gets no error."""
    if device.backend == "jax":
        pytest.skip("the check does this on JAX")
    x = random(B, T, F)
    parameters = drawn(layer, (T, F))
    delta = random(B, *(layer.init((T, F))[1]))
    inputs = {"x": x, "lengths": LENGTHS}
    y, dx, gradients = run(layer, device, parameters, inputs, {"x": delta, "lengths": None})
    sums = dict.fromkeys(gradients, 0.0)
    for k, length in enumerate(LENGTHS):
        part = delta[k : k + 1] if layer.last else delta[k : k + 1, :length]
        one, done, each = run(layer, device, parameters, x[k : k + 1, :length], part)
        sums = {name: sums[name] + gradient for name, gradient in each.items()}
        close(y["x"][k] if layer.last else y["x"][k, :length], one[0])
        close(dx["x"][k, :length], done[0])
        assert not np.any(dx["x"][k, length:])
        assert layer.last or not np.any(y["x"][k, length:])
    for name, gradient in gradients.items():
        close(gradient, sums[name])


@pytest.mark.parametrize("layer", LAYERS, ids=AS_TEXT)
def test_a_mask_is_what_lengths_are(layer):
    x, parameters = random(B, T, F), drawn(layer, (T, F))
    delta = random(B, *(layer.init((T, F))[1]))
    mask = np.arange(T) < LENGTHS[:, None]
    cpu = bp.device("cpu")
    expected = run(
        layer, cpu, parameters, {"x": x, "lengths": LENGTHS}, {"x": delta, "lengths": None}
    )
    for values in (mask, mask.astype(np.float64), mask.astype(np.int64)):
        inputs = {"x": x, "mask": values}
        y, dx, gradients = run(layer, cpu, parameters, inputs, {"x": delta, "mask": None})
        assert np.array_equal(y["x"], expected[0]["x"])
        assert np.array_equal(dx["x"], expected[1]["x"])
        assert all(np.array_equal(gradients[name], expected[2][name]) for name in gradients)


@pytest.mark.parametrize("layer", LAYERS, ids=AS_TEXT)
def test_a_sequence_without_a_real_position(layer):
    """It gives zeros, gets no error, and adds nothing to the gradients; never NaN."""
    x, parameters = random(2, T, F), drawn(layer, (T, F))
    x[0] = 1e300  # whatever its padding is
    delta = random(2, *(layer.init((T, F))[1]))
    inputs = {"x": x, "lengths": np.array([0, 2])}
    y, dx, _ = run(layer, bp.device("cpu"), parameters, inputs, {"x": delta, "lengths": None})
    assert not np.any(y["x"][0]) and not np.any(dx["x"][0])
    assert np.all(np.isfinite(y["x"]))


def test_the_error_of_an_output_may_be_missing():
    """Only the final state is used: its error alone comes back."""
    layer, inputs = bp.GRU(N), {"x": random(B, T, F), "h": random(B, N)}
    parameters, dh = drawn(layer, (T, F)), random(B, N)
    alone = run(layer, bp.device("cpu"), parameters, inputs, {"x": None, "h": dh})
    zeros = {"x": np.zeros((B, T, N)), "h": dh}
    both = run(layer, bp.device("cpu"), parameters, inputs, zeros)
    close(alone[1]["x"], both[1]["x"])
    close(alone[1]["h"], both[1]["h"])


@pytest.mark.parametrize("kind", KINDS)
def test_weights_go_to_pytorch_and_back(kind):
    import torch

    module, layer, _ = both(kind, 2, True)
    parameters = drawn(layer, (T, F))
    to_torch(parameters, layer, module)
    x = random(B, T, F)
    y, _, _ = run(layer, bp.device("cpu"), parameters, x, random(B, T, 2 * N))
    with torch.no_grad():
        close(y, module(torch.tensor(x))[0].numpy())
    for name, values in from_torch(module, layer).items():
        close(values, parameters[name])


# -- models ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Take(bp.Layer):
    """The array of a dict by the name "x"."""

    def init(self, input_shape):
        return {}, input_shape["x"]

    def forward(self, params, x, ctx):
        others = dict.fromkeys(x)
        return x["x"], lambda delta: ({**others, "x": delta}, {})


SEQUENCES = {"x": (T, F), "lengths": bp.InputSpec((), "index", size=T + 1)}


def counting(rows=60):
    """Sequences whose class is whether the sum of the first feature over the length is positive."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(rows, T, F)).astype(np.float32)
    lengths = rng.integers(1, T + 1, rows)
    real = np.arange(T) < lengths[:, None]
    return {"x": x, "lengths": lengths}, (np.sum(x[:, :, 0] * real, axis=1) > 0).astype(int)


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_from_sequences_of_different_lengths(kind, device):
    if device.backend == "jax" and kind != "LSTM":
        pytest.skip("one kind is compiled on JAX")
    layer = getattr(bp, kind)(8, last=True)
    net = bp.Sequential(layer, Take(), bp.Linear(2))
    model = bp.Model(net, SEQUENCES, device=device, seed=0)
    x, t = counting()
    options = {"optimizer": bp.Adam(0.02), "epochs": 15, "batch_size": 20, "seed": 0}
    history = bp.fit(model, x, t, loss=bp.CrossEntropy(), **options)
    assert history["loss"][-1] < 0.6 * history["loss"][0]
    accuracy = bp.evaluate(model, x, t, loss=bp.CrossEntropy(), metrics=[bp.Accuracy()])
    assert accuracy["accuracy"] > 0.8


def test_a_model_is_read_back_as_it_was(tmp_path):
    net = bp.Sequential(
        bp.LSTM(3, 2, True, forget_bias=0.5), bp.GRU(3), bp.RNN(2, last=True, activation="relu")
    )
    model = bp.Model(net, (T, F), device="cpu", seed=1)
    model.save(tmp_path / "model.safetensors")
    again = bp.load(tmp_path / "model.safetensors", device="cpu")
    assert again.net == net
    x = random(B, T, F)
    assert np.array_equal(model.predict(x), again.predict(x))


def test_the_forget_gate_starts_open():
    model = bp.Model(bp.LSTM(2), (T, F), device="cpu")
    assert model.parameters["bias"].tolist() == [0, 0, 1, 1, 0, 0, 0, 0]


def index(size):
    return bp.InputSpec((), "index", size=size)


STATES = {"x": (T, F), "h": N, "c": N}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bp.LSTM(0), "LSTM(features=0): expected features >= 1"),
        (lambda: bp.GRU(3, layers=0), "GRU(layers=0): expected layers >= 1"),
        (lambda: bp.GRU(3, last=1), "GRU(last=1): expected True or False"),
        (
            lambda: bp.RNN(3, activation="sigmoid"),
            "RNN(activation='sigmoid'): expected \"tanh\" or \"relu\"",
        ),
        (
            lambda: bp.Model(bp.LSTM(4), 3, device="cpu"),
            "LSTM(4)(input=): expected shape (time, features), got (3,)",
        ),
        (
            lambda: bp.Model(bp.LSTM(4), {"words": (T, F)}, device="cpu"),
            'LSTM(4)(input=): expected shape (time, features), got a dict of words; name the input '
            '"x"',
        ),
        (
            lambda: bp.Model(bp.LSTM(4), {"x": (T, F), "mask": (T, 1)}, device="cpu"),
            "LSTM(4)(mask=): expected shape (7,) for each sample, got (7, 1)",
        ),
        (
            lambda: bp.Model(bp.LSTM(4), {"x": (T, F), "lengths": 1}, device="cpu"),
            "LSTM(4)(lengths=): expected shape () for each sample, got (1,)",
        ),
        (
            lambda: bp.Model(bp.LSTM(4), STATES | {"c": 5}, device="cpu"),
            "LSTM(4)(c=): expected shape (4,) for each sample, got (5,)",
        ),
        (
            lambda: bp.Model(bp.LSTM(4, 2), STATES, device="cpu"),
            "LSTM(4)(h=): expected shape (2, 4) for each sample, got (4,)",
        ),
        (
            lambda: bp.Model(bp.LSTM(4), {"x": (T, F), "h": N}, device="cpu"),
            "LSTM(4): expected all of the initial state, h and c, or nothing of it; c is missing",
        ),
        (
            lambda: bp.Model(bp.LSTM(4), {"x": (T, F), "lengths": ()}, device="cpu"),
            'LSTM(4)(lengths=): expected InputSpec((), "index", size=8), got numbers',
        ),
        (
            lambda: bp.Model(bp.LSTM(4), {"x": (T, F), "lengths": index(None)}, device="cpu"),
            'LSTM(4)(lengths=): expected InputSpec((), "index", size=8), got indices without a '
            "size",
        ),
        (
            lambda: bp.Model(bp.LSTM(4), {"x": (T, F), "lengths": index(T + 2)}, device="cpu"),
            'LSTM(4)(lengths=): expected InputSpec((), "index", size=8), got size=9',
        ),
    ],
)  # fmt: skip
def test_bad_settings_and_shapes_are_one_line(make, message):
    with pytest.raises(bp.InputError) as error:
        make()
    assert str(error.value) == message


@pytest.mark.parametrize("lengths", [[T + 1, 2], [-1, 2], [1, 2, 3], [1.5, 2.0]])
def test_bad_lengths_are_refused_at_the_door(lengths):
    net = bp.Sequential(bp.LSTM(N, last=True), Take())
    model = bp.Model(net, SEQUENCES, device="cpu")
    with pytest.raises(bp.InputError) as error:
        model.predict({"x": random(2, T, F), "lengths": np.array(lengths)})
    print(error.value)
    assert "lengths" in str(error.value) and "\n" not in str(error.value)


def test_a_state_of_another_batch_is_refused_at_the_door():
    model = bp.Model(bp.Sequential(bp.LSTM(N, last=True), Take()), STATES, device="cpu")
    with pytest.raises(bp.InputError, match="h"):
        model.predict({"x": random(2, T, F), "h": random(3, N), "c": random(3, N)})
