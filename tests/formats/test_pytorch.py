"""PyTorch's modules and our layers: the same outputs, the same gradients, both ways."""

from __future__ import annotations

import copy
import sys

import numpy as np
import pytest
from formats.nets import ACTIVATIONS, NETS

import bp_arrays as bp

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn = torch.nn

# modules that end in probabilities, which from_torch warns of
pytestmark = pytest.mark.filterwarnings("ignore::bp_arrays.BpArraysWarning")

X = np.random.default_rng(0).normal(size=(40, 8)) * 4.0
DELTA = np.random.default_rng(1).normal(size=(40, 8))

COMMON = {
    name: net for name, net in NETS.items() if name.split("(")[0] not in ("Residual", "Standardize")
}
DEEP = {
    "deep": bp.Sequential(
        *(part for a in ACTIVATIONS.values() for part in (bp.Linear(8), a)), bp.Linear(3)
    )
}

MODULES = {
    "Linear": lambda: nn.Linear(8, 5),
    "Linear(no bias)": lambda: nn.Sequential(nn.Linear(8, 5, bias=False)),
    "Dropout": lambda: nn.Dropout(0.3),
    "Flatten": lambda: nn.Sequential(nn.Flatten(), nn.Linear(8, 2)),
    "Flatten(to 1)": lambda: nn.Flatten(1, 1),
    "Identity": lambda: nn.Identity(),
    "Sigmoid": lambda: nn.Sigmoid(),
    "Tanh": lambda: nn.Tanh(),
    "ReLU": lambda: nn.ReLU(),
    "LeakyReLU": lambda: nn.LeakyReLU(0.3),
    "ELU": lambda: nn.ELU(0.7),
    "SELU": lambda: nn.SELU(),
    "SiLU": lambda: nn.SiLU(),
    "GELU": lambda: nn.GELU(),
    "GELU(tanh)": lambda: nn.GELU(approximate="tanh"),
    "Softplus": lambda: nn.Softplus(threshold=50),
    "Softmax": lambda: nn.Softmax(dim=-1),
    "Softmax(1)": lambda: nn.Softmax(dim=1),
    "LogSoftmax": lambda: nn.LogSoftmax(dim=1),
    "Sequential": lambda: nn.Sequential(
        nn.Linear(8, 6),
        nn.Sequential(nn.Tanh(), nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Dropout(0.2))),
        nn.Linear(4, 3),
        nn.LogSoftmax(-1),
    ),
    "one activation twice": lambda: (
        lambda tanh: nn.Sequential(nn.Linear(8, 8), tanh, nn.Linear(8, 8), tanh)
    )(nn.Tanh()),
    "named": lambda: nn.Sequential(dict_of(first=nn.Linear(8, 3), act=nn.ReLU())),
}


def dict_of(**modules):
    from collections import OrderedDict

    return OrderedDict(modules)


def with_numbers(model):
    rng = np.random.default_rng(2)
    model.set_parameters(
        {name: rng.normal(size=p.shape) / 2 for name, p in model.host_parameters().items()}
    )
    return model


def named_weights(module):
    """A module's parameters by the names they have here, laid out as here."""
    found, path = {}, []

    def walk(part):
        if isinstance(part, nn.Sequential):
            for k, child in enumerate(part):
                path.append(str(k))
                walk(child)
                path.pop()
        else:
            for name, parameter in part.named_parameters(recurse=False):
                found[".".join([*path, name])] = parameter

    walk(module)
    return found


def assert_same(model, module, dtype):
    """Outputs and all gradients, to some eps of the largest value."""
    eps = np.finfo(dtype).eps
    x = X.astype(dtype)
    y, backward = model.forward(x)
    delta = DELTA[:, : y.shape[1]].astype(dtype)
    dx, gradients = backward(delta)

    theirs_x = torch.tensor(x, requires_grad=True)
    theirs_y = module(theirs_x)
    theirs_y.backward(torch.tensor(delta))

    def close(ours, theirs, what):
        theirs = theirs.detach().numpy()
        scale = max(1.0, float(np.abs(theirs).max()))
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=40 * eps * scale, err_msg=what)

    close(y, theirs_y, "y")
    if "Hardsigmoid" in repr(model.net):  # PyTorch takes the 1/6 of its slope in float32
        eps = max(eps, np.finfo("float32").eps)
    close(dx, theirs_x.grad, "dx")
    weights = named_weights(module)
    assert set(gradients) == set(weights)
    for name, parameter in weights.items():
        grad = parameter.grad.T if parameter.ndim == 2 else parameter.grad
        close(gradients[name], grad, name)


@pytest.mark.parametrize("name", [*COMMON, *DEEP])
def test_to_torch_computes_the_same(name, dtype):
    model = with_numbers(bp.Model((COMMON | DEEP)[name], 8, device="cpu", dtype=dtype))
    module = model.to_torch()
    assert type(module) is nn.Sequential and not module.training
    assert_same(model, module if isinstance(model.net, bp.Sequential) else module[0], dtype)


@pytest.mark.parametrize("name", MODULES)
def test_from_torch_computes_the_same(name, dtype):
    module = MODULES[name]().to(getattr(torch, dtype)).eval()
    model = bp.from_torch(module, input_shape=8, device="cpu")
    if any(True for _ in module.parameters()):
        assert model.dtype == dtype
    else:  # nothing says which
        assert model.dtype == "float32"
        dtype = "float32"
    assert_same(model, module, dtype)


@pytest.mark.parametrize("name", COMMON)
def test_there_and_back_is_the_same_model(name, dtype):
    model = with_numbers(bp.Model(COMMON[name], 8, device="cpu", dtype=dtype))
    again = bp.from_torch(model.to_torch(), 8, device="cpu")
    assert again.net in (model.net, bp.Sequential(model.net))
    for ours, theirs in zip(again.parameters.values(), model.parameters.values(), strict=True):
        np.testing.assert_array_equal(ours, theirs, strict=True)


def test_softplus_does_not_become_a_line_too_soon():
    model = bp.Model(bp.Softplus(), 3, device="cpu", dtype="float64")
    a = np.array([[20.5, 25.0, 41.0]])
    np.testing.assert_allclose(model.to_torch()(torch.tensor(a)), model.predict(a), rtol=1e-15)


def test_dropout_acts_when_trained_and_only_then():
    x = torch.ones(4000, 1)
    module = bp.Model(bp.Dropout(0.25), 1, device="cpu").to_torch()
    assert torch.equal(module(x), x)
    kept = module.train()(x)
    assert set(kept.unique().tolist()) == {0.0, float(torch.tensor(1 / 0.75))}
    assert abs(float((kept > 0).float().mean()) - 0.75) < 0.05

    for mode in (True, False):  # the module's own mode is not part of what it describes
        model = bp.from_torch(nn.Dropout(0.25).train(mode), 1, device="cpu")
        ones = np.ones((4000, 1), dtype=np.float32)
        np.testing.assert_array_equal(model.predict(ones), ones)
        y, _ = model.forward(ones, training=True)
        assert abs((y > 0).mean() - 0.75) < 0.05


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_half_precision_keeps_every_bit(half):
    module = nn.Sequential(nn.Linear(8, 4), nn.ReLU()).to(getattr(torch, half))
    model = bp.from_torch(module, 8, device="torch:cpu")
    assert model.dtype == half
    assert torch.equal(model.parameters["0.weight"], module[0].weight.T)
    again = model.to_torch()
    assert again[0].weight.dtype == getattr(torch, half)
    assert torch.equal(again[0].weight, module[0].weight)
    if half == "bfloat16":
        with pytest.raises(bp.InputError, match="no dtype 'bfloat16'"):
            bp.from_torch(module, 8, device="cpu")


def test_nothing_is_shared_and_nothing_else_moves(device):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2))
    before, state = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    model = bp.from_torch(module, 8, device=device)
    out = model.to_torch()
    assert torch.equal(torch.get_rng_state(), state)
    bp.fit(model, X, X[:, :2], loss=bp.L2Loss(), optimizer=bp.SGD(0.01))
    for name, value in before.items():
        assert torch.equal(module.state_dict()[name], value)
        assert torch.equal(out.state_dict()[name], value)
    with torch.no_grad():
        out[0].weight.zero_()
    assert float(abs(model.host_parameters()["0.weight"]).max()) > 0


def test_training_goes_on_there_as_here():
    model = with_numbers(bp.Model(COMMON["Sequential"], 8, device="cpu", dtype="float64"))
    module = model.to_torch().train()
    t = np.arange(40) % 3
    bp.fit(
        model, X, t, loss=bp.CrossEntropy(), optimizer=bp.SGD(0.05), epochs=5, batch_size=40,
        shuffle=False,
    )  # fmt: skip
    optimizer = torch.optim.SGD(module.parameters(), 0.05)
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(torch.tensor(X)), torch.tensor(t)).backward()
        optimizer.step()
    after = bp.from_torch(module, 8, device="cpu")
    for name, value in model.parameters.items():
        np.testing.assert_allclose(after.parameters[name], value, rtol=1e-12, atol=1e-14)


# -- refusals --------------------------------------------------------------------------------


class Own(nn.Module):
    def forward(self, x):
        return x


class OwnSequential(nn.Sequential):
    def forward(self, x):
        return super().forward(x) + 1


def tied():
    module = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    module[2].weight = module[0].weight
    return module


def tied_by_memory():
    module = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    module[1].bias = nn.Parameter(module[0].bias.data)
    return module


def same_twice():
    linear = nn.Linear(8, 8)
    return nn.Sequential(linear, nn.ReLU(), linear)


def hooked():
    module = nn.Sequential(nn.Linear(8, 8))
    module[0].register_forward_hook(lambda module, x, y: y * 2)
    return module


def own_forward(make):
    module = make()
    module.forward = lambda x: torch.zeros(len(x), 8)
    return nn.Sequential(module)


def weight_of(value):
    module = nn.Linear(8, 8)
    del module.weight
    module.weight = value
    return nn.Sequential(module)


def pruned():
    from torch.nn.utils import prune

    module = nn.Linear(8, 8)
    prune.l1_unstructured(module, "weight", 0.5)
    return module


def normed():
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)))


def two_dtypes():
    return nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8).double())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Sequential(nn.Linear(8, 4), nn.PairwiseDistance()), "'1'.*Pairw.*converts"),
        (lambda: nn.Sequential(nn.Sequential(nn.Conv3d(1, 1, 1))), r"'0\.0'.*Conv3d"),
        (lambda: nn.Sequential(dict_of(head=Own())), "'head'.*Own"),
        (lambda: OwnSequential(nn.ReLU()), "OwnSequential.*no counterpart"),
        (Own, "Own"),
        (lambda: nn.Dropout2d(), "Dropout2d"),
        (tied, "got one shared by '0.weight' and '2.weight'"),
        (tied_by_memory, "got one shared by '0.bias' and '1.bias'"),
        (same_twice, "got one shared by '0.weight' and '2.weight'"),
        (hooked, "'0'.*hooks"),
        (normed, "ParametrizedLinear"),
        (pruned, "expected no hooks"),
        (lambda: own_forward(lambda: nn.Linear(8, 8)), "'0', Linear: expected the forward of its"),
        (lambda: own_forward(nn.ReLU), "'0', ReLU: expected the forward of its class"),
        (lambda: own_forward(nn.Sequential), "'0', Sequential: expected the forward of its class"),
        (lambda: weight_of(torch.ones(8, 8)), r"'0'.*'weight' of shape \(8, 8\), got none"),
        (
            lambda: weight_of(nn.Parameter(torch.ones(8, 1))),
            r"'weight' of shape \(8, 8\), got \(8, 1\)",
        ),
        (two_dtypes, "one float dtype, got float32, float64"),
        (lambda: nn.Linear(8, 8, dtype=torch.complex64), "got complex64"),
        (lambda: nn.Linear(8, 8, device="meta"), "expected values for parameter 'weight'"),
        (lambda: nn.Sequential(nn.LazyLinear(4)), "expected values for parameter '0.weight'"),
        (lambda: nn.Sequential(nn.Linear(7, 4)), "expected 7 values on the last axis, got .8,."),
        (lambda: nn.Sequential(nn.Linear(8, 4), nn.Linear(8, 4)), r"'1'.*got .4,."),
        (lambda: nn.Softmax(dim=0), r"Softmax\(dim=0\): expected the last axis"),
        (lambda: nn.Softmax(), r"Softmax\(dim=None\)"),
        (lambda: nn.Flatten(0), r"Flatten\(start_dim=0\)"),
        (lambda: nn.Flatten(1, 2), r"Flatten\(end_dim=2\)"),
        (lambda: nn.Softplus(beta=2.0), r"Softplus\(beta=2.0\)"),
        (lambda: nn.Softplus(threshold=5), "20 or more"),
        (lambda: nn.Dropout(1.0), "0 <= rate < 1"),
        (lambda: [nn.ReLU()], "expected a torch.nn.Module"),
        (lambda: nn.ReLU, "expected a torch.nn.Module"),
    ],
)  # fmt: skip
def test_what_has_no_counterpart_is_named(make, message):
    with pytest.raises(bp.InputError, match=message) as caught:
        bp.from_torch(make(), 8, device="cpu")
    assert str(caught.value).startswith("from_torch: ")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "net", [NETS["Residual"], bp.Standardize()], ids=["Residual", "Standardize"]
)
def test_layers_that_pytorch_lacks_are_named(net):
    model = bp.Model(bp.Sequential(bp.Tanh(), net), 8, device="cpu")
    with pytest.raises(
        bp.InputError, match=rf"no module for {type(net).__name__}.*converts Sequential"
    ):
        model.to_torch()


def test_wrong_input_shapes():
    with pytest.raises(bp.InputError, match="positive integers"):
        bp.from_torch(nn.ReLU(), (0,), device="cpu")
    with pytest.raises(bp.InputError, match="expected 8 values on the last axis, got"):
        bp.from_torch(nn.Linear(8, 2), (8, 3), device="cpu")


def test_a_linear_layer_acts_on_the_last_axis_in_both_libraries():
    module = nn.Sequential(nn.Linear(8, 2), nn.Tanh())
    model = bp.from_torch(module, (3, 5, 8), device="cpu")
    x = np.random.default_rng(0).normal(size=(4, 3, 5, 8)).astype(np.float32)
    expected = module(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(model.predict(x), expected, rtol=1e-5, atol=1e-6)
    back = model.to_torch()(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(back, expected, rtol=1e-5, atol=1e-6)


def test_without_pytorch_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(bp.MissingExtraError, match="pip install torch"):
        bp.Model(bp.Linear(2), 3, device="cpu").to_torch()


def test_a_module_on_another_device(device):
    """Through the host, by `.cpu()`: on a CUDA device where there is one."""
    where = "cuda" if torch.cuda.is_available() else "cpu"
    module = nn.Linear(8, 4).to(where)
    model = bp.from_torch(module, 8, device=device)
    expected = module.weight.detach().cpu().numpy().T
    np.testing.assert_array_equal(model.host_parameters()["weight"], expected)


@pytest.mark.parametrize("kind", ["forward_hook", "forward_pre_hook", "full_backward_hook"])
def test_hooks_of_all_modules_are_refused(kind):
    register = getattr(nn.modules.module, f"register_module_{kind}")
    handle = register(lambda *arguments: None)
    try:
        with pytest.raises(bp.InputError, match="no hooks of all modules"):
            bp.from_torch(nn.Linear(8, 8), 8, device="cpu")
    finally:
        handle.remove()
