"""Derivatives of the activations and losses as written formulas.

Each follows the formula, not the code of the layer: the result is compared with the layer's
backward.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bp_arrays import activations, losses
from bp_arrays.explanation._expression import (
    Difference,
    Expression,
    Number,
    Product,
    Square,
    Sum,
    Symbol,
    Term,
)
from bp_arrays.explanation._naming import Name
from bp_arrays.layers import Layer
from bp_arrays.losses import Loss

Derivative = Callable[[Layer, Symbol, Symbol], Term]
"""Function of an activation, its input a and its output h, as symbols, that returns h'(a)."""

HostVector = np.ndarray[Any, Any]
ONE = Number(1.0, "1", "1")


def _function(letter: str, latex: str, a: Symbol, value: float) -> Symbol:
    return Symbol(f"{letter}({a.text})", f"{latex}({a.latex})", value)


def _indicator(condition: bool, a: Symbol) -> Symbol:
    return Symbol(f"[{a.text} > 0]", rf"\mathbb{{1}}[{a.latex} > 0]", float(condition))


def logistic(a: float) -> float:
    """Compute σ(a) = 1 / (1 + e⁻ᵃ)."""
    return 1.0 / (1.0 + math.exp(-a)) if a >= 0.0 else math.exp(a) / (1.0 + math.exp(a))


def _identity(layer: Layer, a: Symbol, h: Symbol) -> Term:
    return ONE


def _sigmoid(layer: Layer, a: Symbol, h: Symbol) -> Term:
    return Product([h, Difference(ONE, h)])


def _tanh(layer: Layer, a: Symbol, h: Symbol) -> Term:
    return Difference(ONE, Square(h))


def _relu(layer: Layer, a: Symbol, h: Symbol) -> Term:
    return _indicator(a.value > 0.0, a)


def _leaky(layer: activations.LeakyReLU, a: Symbol, h: Symbol) -> Term:
    slope = Symbol("s", "s", layer.negative_slope)
    if a.value > 0.0:
        return _indicator(True, a)
    return Product([slope, Symbol(f"[{a.text} ≤ 0]", rf"\mathbb{{1}}[{a.latex} \le 0]", 1.0)])


def _exponential(scale: float, alpha: float, a: Symbol) -> Term:
    factors: list[Term] = []
    if scale != 1.0:
        factors.append(Symbol("λ", r"\lambda", scale))
    if a.value > 0.0:
        return Product([*factors, _indicator(True, a)])
    exponential = Symbol(f"exp({a.text})", rf"\exp({a.latex})", math.exp(a.value))
    return Product([*factors, Symbol("α", r"\alpha", alpha), exponential])


def _elu(layer: activations.ELU, a: Symbol, h: Symbol) -> Term:
    return _exponential(1.0, layer.alpha, a)


def _selu(layer: Layer, a: Symbol, h: Symbol) -> Term:
    return _exponential(1.0507009873554805, 1.6732632423543772, a)


def _softplus(layer: Layer, a: Symbol, h: Symbol) -> Term:
    return _function("σ", r"\sigma", a, logistic(a.value))


def _silu(layer: Layer, a: Symbol, h: Symbol) -> Term:
    s = _function("σ", r"\sigma", a, logistic(a.value))
    return Sum([s, Product([a, s, Difference(ONE, s)])])


def _gelu(layer: activations.GELU, a: Symbol, h: Symbol) -> Term:
    z = a.value
    if layer.exact:
        cdf = _function("Φ", r"\Phi", a, 0.5 * math.erfc(-z / math.sqrt(2.0)))
        density = math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
        return Sum([cdf, Product([a, _function("φ", r"\varphi", a, density)])])
    c = 2.0 * math.sqrt(2.0 / math.pi)
    clipped = min(max(z, -40.0), 40.0)
    s = logistic(c * (clipped + 0.044715 * clipped**3))
    gate = Symbol(f"σ(2z({a.text}))", rf"\sigma(2z({a.latex}))", s)
    derivative = c * (1.0 + 3.0 * 0.044715 * clipped**2)
    slope = Symbol(f"2z′({a.text})", rf"2z'({a.latex})", derivative)
    return Sum([gate, Product([a, gate, Difference(ONE, gate), slope])])


def _mish(layer: Layer, a: Symbol, h: Symbol) -> Term:
    softplus = max(a.value, 0.0) + math.log1p(math.exp(-abs(a.value)))
    gate = _function("τ", r"\tau", a, math.tanh(softplus))
    s = _function("σ", r"\sigma", a, logistic(a.value))
    return Sum([gate, Product([a, Difference(ONE, Square(gate)), s])])


def _hardsigmoid(layer: Layer, a: Symbol, h: Symbol) -> Term:
    inside = float(abs(a.value) < 3.0)
    sixth = Number(1.0 / 6.0, "1/6", r"\tfrac{1}{6}")
    return Product(
        [sixth, Symbol(f"[|{a.text}| < 3]", rf"\mathbb{{1}}[\left|{a.latex}\right| < 3]", inside)]
    )


def _hardswish(layer: Layer, a: Symbol, h: Symbol) -> Term:
    if a.value >= 3.0:
        return Symbol(f"[{a.text} ≥ 3]", rf"\mathbb{{1}}[{a.latex} \ge 3]", 1.0)
    if a.value <= -3.0:
        return Symbol(f"[{a.text} > −3]", rf"\mathbb{{1}}[{a.latex} > -3]", 0.0)
    third = Number(1.0 / 3.0, "1/3", r"\tfrac{1}{3}")
    return Sum([Product([third, a]), Number(0.5, "1/2", r"\tfrac{1}{2}")])


ELEMENTWISE: dict[type[Layer], Derivative] = {
    activations.Identity: _identity,
    activations.Sigmoid: _sigmoid,
    activations.Tanh: _tanh,
    activations.ReLU: _relu,
    activations.LeakyReLU: _leaky,  # type: ignore[dict-item]
    activations.ELU: _elu,  # type: ignore[dict-item]
    activations.SELU: _selu,
    activations.GELU: _gelu,  # type: ignore[dict-item]
    activations.SiLU: _silu,
    activations.Softplus: _softplus,
    activations.Mish: _mish,
    activations.Hardsigmoid: _hardsigmoid,
    activations.Hardswish: _hardswish,
}
"""h'(a) of the element-wise activations."""


def softmax(a: HostVector) -> HostVector:
    """Compute p_k = eᵃᵏ / Σ eᵃ."""
    e = np.exp(a - np.max(a))
    p: HostVector = e / np.sum(e)
    return p


LOSSES: dict[type[Loss], tuple[str, str]] = {
    losses.L2Loss: ("½ Σ (y − t)²", r"\tfrac{1}{2} \sum_k (y_k - t_k)^2"),
    losses.MeanSquaredError: ("1/n Σ (y − t)²", r"\tfrac{1}{n} \sum_k (y_k - t_k)^2"),
    losses.MeanAbsoluteError: ("1/n Σ |y − t|", r"\tfrac{1}{n} \sum_k |y_k - t_k|"),
    losses.Huber: (
        "1/n Σ (½(y − t)² where |y − t| ≤ d, else d(|y − t| − ½d))",
        r"\tfrac{1}{n} \sum_k \operatorname{Huber}_d(y_k - t_k)",
    ),
    losses.BinaryCrossEntropy: (
        "−1/n Σ (t log σ(y) + (1 − t) log(1 − σ(y)))",
        r"-\tfrac{1}{n} \sum_k (t_k \log \sigma(y_k) + (1 - t_k) \log(1 - \sigma(y_k)))",
    ),
    losses.CrossEntropy: (
        "−Σ t log p, p = softmax(y)",
        r"-\sum_k t_k \log p_k, \quad p = \operatorname{softmax}(y)",
    ),
    losses.KLDivergence: (
        "Σ t (log t − log p), p = softmax(y)",
        r"\sum_k t_k (\log t_k - \log p_k), \quad p = \operatorname{softmax}(y)",
    ),
    losses.Hinge: (
        "1/n Σ max(0, 1 − s y), s = 1 for t = 1, else −1",
        r"\tfrac{1}{n} \sum_k \max(0, 1 - s_k y_k)",
    ),
    losses.SquaredHinge: (
        "1/n Σ max(0, 1 − s y)², s = 1 for t = 1, else −1",
        r"\tfrac{1}{n} \sum_k \max(0, 1 - s_k y_k)^2",
    ),
    losses.PoissonNLL: (
        "1/n Σ (exp(y) − t y)",
        r"\tfrac{1}{n} \sum_k (e^{y_k} - t_k y_k)",
    ),
}
"""Formula of each loss, as text and as LaTeX, without weights and smoothing."""

WEIGHTED_BINARY = (
    "−1/n Σ (c t log σ(y) + (1 − t) log(1 − σ(y)))",
    r"-\tfrac{1}{n} \sum_k (%s t_k \log \sigma(y_k) + (1 - t_k) \log(1 - \sigma(y_k)))",
)
"""The formula of BinaryCrossEntropy with a weight of the positives, c or c_k of each output."""


FULL_POISSON = (
    "1/n Σ (exp(y) − t y + log t!)",
    r"\tfrac{1}{n} \sum_k (e^{y_k} - t_k y_k + \log t_k!)",
)


def loss_formula(loss: Loss, latex: bool = False) -> str:
    """Return the formula of L in the notes' symbols; for a custom loss, its name."""
    if isinstance(loss, losses.BinaryCrossEntropy) and loss.pos_weight != 1.0:
        text, formula = WEIGHTED_BINARY
        return formula % ("c_k" if isinstance(loss.pos_weight, tuple) else "c") if latex else text
    if isinstance(loss, losses.PoissonNLL) and loss.full:
        text, formula = FULL_POISSON
        return formula if latex else text
    name = type(loss).__name__
    default = (f"{name}(y, t)", rf"\text{{{name}}}(y, t)")
    return LOSSES.get(type(loss), default)[latex]


def loss_derivative(
    loss: Loss, y: list[Symbol], t: list[Symbol], classes: int
) -> list[Term] | None:
    """Return ∂L/∂y_k of one sample for each output; None for a custom loss.

    Parameters
    ----------
    loss : Loss
    y, t : lists of Symbol
        The outputs and the targets, those of each position one after the other.
    classes : int
        The number of outputs of one position.
    """
    n = len(y)
    if type(loss) is losses.L2Loss:
        return [Difference(a, b) for a, b in zip(y, t, strict=True)]
    if type(loss) is losses.MeanSquaredError:
        two = _over(2.0, n)
        return [_scaled(two, Difference(a, b)) for a, b in zip(y, t, strict=True)]
    if type(loss) is losses.MeanAbsoluteError:
        return [_scaled(_over(1.0, n), _sign(a, b)) for a, b in zip(y, t, strict=True)]
    if type(loss) is losses.Huber:
        d = loss.threshold
        return [_scaled(_over(1.0, n), _clipped(a, b, d)) for a, b in zip(y, t, strict=True)]
    if type(loss) is losses.BinaryCrossEntropy:
        return _binary_cross_entropy(loss, y, t)
    if type(loss) is losses.CrossEntropy:
        return _cross_entropies(loss, y, t, classes)
    if type(loss) is losses.KLDivergence:
        # the entropy of t has no derivative
        inner = losses.CrossEntropy(reduction=loss.reduction)
        return _cross_entropies(inner, y, t, classes)
    if type(loss) is losses.PoissonNLL:
        rates = [Symbol(f"exp({a.text})", rf"\exp({a.latex})", math.exp(a.value)) for a in y]
        pairs = zip(rates, t, strict=True)
        return [_scaled(_over(1.0, n), Difference(rate, b)) for rate, b in pairs]
    if type(loss) in (losses.Hinge, losses.SquaredHinge):
        return [_hinge(loss, a, b, n) for a, b in zip(y, t, strict=True)]
    return None


def _hinge(loss: Loss, y: Symbol, t: Symbol, n: int) -> Term:
    """Return −1/n s [s y < 1], or for the squared hinge −2/n s (1 − s y) where s y < 1."""
    s = _renamed(y, "s", 1.0 if t.value > 0.0 else -1.0)
    a = 2 if type(loss) is losses.SquaredHinge else 1
    factor = Number(-a / n, f"(−{a}/{n})", rf"(-\tfrac{{{a}}}{{{n}}})")
    inside = float(s.value * y.value < 1.0)
    step = Symbol(f"[{s.text}{y.text} < 1]", rf"\mathbb{{1}}[{s.latex} {y.latex} < 1]", inside)
    if a == 2 and inside:
        return Product([factor, s, Difference(ONE, Product([s, y]))])
    return Product([factor, s, step])


def _over(a: float, n: int) -> Number | None:
    if a == n:
        return None
    return Number(a / n, f"{a:g}/{n}", rf"\tfrac{{{a:g}}}{{{n}}}")


def _scaled(factor: Number | Symbol | None, term: Expression | Symbol) -> Term:
    return term if factor is None else Product([factor, term])


def _sign(y: Symbol, t: Symbol) -> Symbol:
    return Symbol(
        f"sign({y.text} − {t.text})",
        rf"\operatorname{{sign}}({y.latex} - {t.latex})",
        float(np.sign(y.value - t.value)),
    )


def _clipped(y: Symbol, t: Symbol, d: float) -> Term:
    r = y.value - t.value
    if abs(r) <= d:
        return Difference(y, t)
    return Product([Symbol("d", "d", d), _sign(y, t)])


def _binary_cross_entropy(
    loss: losses.BinaryCrossEntropy, y: list[Symbol], t: list[Symbol]
) -> list[Term]:
    """Return (σ(y_k) − t_k)/n; with a weight c of t_k = 1, ((1 − t_k + c t_k) σ(y_k) − c t_k)/n.

    Weights of each output are c_k; w is the weight of a layer.
    """
    n, c = len(y), loss.pos_weight
    if isinstance(c, tuple):
        weights = [_renamed(yk, "c", ck) for yk, ck in zip(y, c, strict=True)]
    else:
        weights = [Symbol("c", "c", c)] * n
    terms: list[Term] = []
    for yk, tk, weight in zip(y, t, weights, strict=True):
        p: Term = _function("σ", r"\sigma", yk, logistic(yk.value))
        target: Term = tk
        if weight.value != 1.0:
            target = Product([weight, tk])
            p = Product([Sum([Difference(ONE, tk), target]), p])
        terms.append(_scaled(_over(1.0, n), Difference(p, target)))
    return terms


def _renamed(y: Symbol, letter: str, value: float) -> Symbol:
    """Return the symbol of another number of the same output: p₂ for y₂."""
    return Symbol(y.text.replace("y", letter), y.latex.replace("y", letter), value)


def _cross_entropies(
    loss: losses.CrossEntropy, y: list[Symbol], t: list[Symbol], classes: int
) -> list[Term]:
    """Return the derivatives of each position, times its part of the mean over positions."""
    weights = [_weight(loss, t[k : k + classes]) for k in range(0, len(y), classes)]
    divisor = math.fsum(weights) if loss.reduction == "mean" else 1.0
    terms: list[Term] = []
    for position, weight in enumerate(weights):
        part = slice(position * classes, (position + 1) * classes)
        factor = weight / divisor if divisor else 0.0
        is_equal = loss.reduction == "mean" and factor == 1.0 / len(weights) != 1.0
        at = [position + 1] if len(weights) > 1 else []
        c = _over(1.0, len(weights)) if is_equal else Name("c").symbol(factor, *at)
        for term in _cross_entropy(loss, y[part], t[part]):
            terms.append(term if factor == 1.0 else _scaled(c, term))
    return terms


def _cross_entropy(loss: losses.CrossEntropy, y: list[Symbol], t: list[Symbol]) -> list[Expression]:
    """Return p_k − q_k; p_k times Σq if the targets do not sum to 1."""
    s, n = loss.label_smoothing, len(y)
    p = softmax(np.asarray([a.value for a in y]))
    q = [(1.0 - s) * b.value + s / n if s else b.value for b in t]
    total = math.fsum(q)
    terms: list[Expression] = []
    for k in range(n):
        pk = _renamed(y[k], "p", float(p[k]))
        qk = t[k] if not s else Symbol(f"q{t[k].text[1:]}", f"q{t[k].latex[1:]}", q[k])
        left: Term = pk
        if abs(total - 1.0) > 1e-12:
            left = Product([pk, Symbol("Σq", r"\textstyle\sum q", total)])
        terms.append(Difference(left, qk))
    return terms


def _weight(loss: losses.CrossEntropy, t: list[Symbol]) -> float:
    """Return the weight of one position: that of its class; 0 if its target is ignored."""
    if loss.class_weights is None and loss.ignore_index is None:
        return 1.0
    weights = loss.class_weights or (1.0,) * len(t)
    return math.fsum(w * b.value for w, b in zip(weights, t, strict=True))
