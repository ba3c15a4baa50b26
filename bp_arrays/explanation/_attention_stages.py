"""Attention of one sequence as three stages: a product, the sums of values, and a product.

    a = x w_qkv + b          at each position t: query q_t, key k_t, value v_t of each head
    o_t = Σ_τ p_tτ v_τ,      p_t = softmax_τ(q_t·k_τ / √e)
    y = o w_out + b

The two products are `PositionStage`s. In between, with ∂p_tτ/∂s_tσ = p_tτ (1[τ = σ] − p_tσ),

    ∂o_t/∂v_τ  = p_tτ
    ∂o_tn/∂s_tτ = p_tτ (v_τn − o_tn)
    ∂o_tn/∂k_τm = p_tτ (v_τn − o_tn) q_tm / √e
    ∂o_tn/∂q_tm = Σ_τ p_tτ (v_τn − o_tn) k_τm / √e
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from bp_arrays.attention import MultiHeadAttention
from bp_arrays.explanation._expression import Difference, Number, Product, Sum, Symbol, Term
from bp_arrays.explanation._largest_terms import largest
from bp_arrays.explanation._naming import Name
from bp_arrays.explanation._shared_weight_stages import PositionStage
from bp_arrays.explanation._stages import Stage, Vector
from bp_arrays.layers import Linear


@dataclass
class AttendStage(Stage):
    """The sums of values o of all heads; x has the queries, keys and values of each position.

    The numbers h of heads of queries and g of heads of keys and values are counted from 0.
    """

    abbreviated: ClassVar[bool] = True

    @property
    def attention(self) -> MultiHeadAttention:
        assert isinstance(self.layer, MultiHeadAttention)
        return self.layer

    @property
    def heads(self) -> int:
        return self.attention.heads

    @property
    def kv_heads(self) -> int:
        return self.attention.kv_heads or self.heads

    @cached_property
    def features(self) -> int:
        """The number e of a query's features."""
        return self.shape[-1] // (self.heads + 2 * self.kv_heads)

    @cached_property
    def _vectors(self) -> Any:
        """Return the vectors of each head (heads + 2 kv_heads, time, e): q, k, v."""
        time = self.shape[0]
        return np.swapaxes(self.x.reshape((time, -1, self.features)), 0, 1)

    def q(self, h: int) -> Any:
        """Return the queries (time, e) of a head."""
        return self._vectors[h]

    def k(self, g: int) -> Any:
        """Return the keys (time, e) of a head."""
        return self._vectors[self.heads + g]

    def v(self, g: int) -> Any:
        """Return the values (time, e) of a head."""
        return self._vectors[self.heads + self.kv_heads + g]

    @cached_property
    def p(self) -> Any:
        """Return the weights of the values (heads, time of the query, time of the key)."""
        time = self.shape[0]
        s = np.stack([self.q(h) @ self.k(self._served(h)).T for h in range(self.heads)])
        s /= math.sqrt(self.features)
        if self.attention.causal:
            s[:, ~np.tri(time, dtype=bool)] = -np.inf
        e = np.exp(s - np.max(s, axis=-1, keepdims=True))
        return e / np.sum(e, axis=-1, keepdims=True)

    def factors(self, j: int) -> list[tuple[int, Term]]:
        t, column = divmod(j, self.shape[-1])
        head, m = divmod(column, self.features)
        if head < self.heads:
            return self._by_query(head, t, m)
        head -= self.heads
        if head < self.kv_heads:
            return self._by_key(head, t, m)
        return self._by_value(head - self.kv_heads, t, m)

    def _by_value(self, g: int, at: int, m: int) -> list[tuple[int, Term]]:
        """Return ∂o_t/∂v at one position and feature, for every query that has a weight for it."""
        return [
            (self._place(t, h, m), self._p_symbol(h, t, at)) for h, t in self._queries_of(g, at)
        ]

    def _by_key(self, g: int, at: int, m: int) -> list[tuple[int, Term]]:
        return [
            (
                self._place(t, h, n),
                Product([self._slope(h, t, at, n), self._symbol("q", h, t, m), *self._scale]),
            )
            for h, t in self._queries_of(g, at)
            for n in range(self.features)
        ]

    def _by_query(self, h: int, t: int, m: int) -> list[tuple[int, Term]]:
        g = self._served(h)
        keys = [int(key) for key in np.flatnonzero(self.p[h, t])]
        factors: list[tuple[int, Term]] = []
        for n in range(self.features):
            every: list[tuple[int, Term]] = [
                (key, Product([self._slope(h, t, key, n), self._symbol("k", g, key, m)]))
                for key in keys
            ]
            shown, rest = largest(every, np.ones(self.shape[0]))
            terms = [term for _, term in shown] + ([] if rest is None else [rest])
            factors.append((self._place(t, h, n), Product([Sum(terms), *self._scale])))
        return factors

    def _slope(self, h: int, t: int, key: int, n: int) -> Term:
        """Write ∂o_tn/∂s_tτ = p_tτ (v_τn − o_tn)."""
        value = self._symbol("v", self._served(h), key, n)
        total = self.output(self._place(t, h, n))
        return Product([self._p_symbol(h, t, key), Difference(value, total)])

    def back(self, delta: Vector) -> Vector:
        """Return ∂L/∂(q, k, v) by the factors above, a head at a time."""
        time, e = self.shape[0], self.features
        errors = delta.reshape((time, self.heads, e))
        sums = self.y.reshape((time, self.heads, e))
        dx = np.zeros((self.heads + 2 * self.kv_heads, time, e))
        for h in range(self.heads):
            g, p, do = self._served(h), self.p[h], errors[:, h]
            ds = p * (do @ self.v(g).T - np.sum(do * sums[:, h], axis=-1, keepdims=True))
            ds /= math.sqrt(e)
            dx[h] = ds @ self.k(g)
            dx[self.heads + g] += ds.T @ self.q(h)
            dx[self.heads + self.kv_heads + g] += p.T @ do
        return np.swapaxes(dx, 0, 1).reshape(-1)

    @property
    def written(self) -> str:
        o, root = self.y_name.text(), math.isqrt(self.features)
        scale = str(root) if root**2 == self.features else f"√{self.features}"
        return f"{o} = softmax(q·k / {scale}) v with q, k, v in {self.x_name.text()}"

    @property
    def _scale(self) -> list[Term]:
        """Return 1/√e as a factor, unless it is 1."""
        e = self.features
        number = Number(1.0 / math.sqrt(e), f"1/√{e}", rf"\tfrac{{1}}{{\sqrt{{{e}}}}}")
        return [] if e == 1 else [number]

    def _served(self, h: int) -> int:
        """Return the head of keys and values of a head of queries."""
        return h * self.kv_heads // self.heads

    def _queries_of(self, g: int, key: int) -> list[tuple[int, int]]:
        """Return (h, t) of every query that a key and its value have a weight for."""
        return [
            (h, int(t))
            for h in range(self.heads)
            if self._served(h) == g
            for t in np.flatnonzero(self.p[h, :, key])
        ]

    def _place(self, t: int, h: int, m: int) -> int:
        """Return the number of an output."""
        return (t * self.heads + h) * self.features + m

    def _p_symbol(self, h: int, t: int, key: int) -> Symbol:
        return Name("p", h + 1).symbol(float(self.p[h, t, key]), t + 1, key + 1)

    def _symbol(self, letter: str, head: int, t: int, m: int) -> Symbol:
        """Return the symbol of a number of a query, key or value; the superscript is its head."""
        vectors = {"q": self.q, "k": self.k, "v": self.v}[letter](head)
        return Name(letter, head + 1).symbol(float(vectors[t, m]), t + 1, m + 1)


def attention_stages(values: dict[str, Any], prime: str) -> list[Stage]:
    """Return the stages of a `MultiHeadAttention` without rotary positions.

    Parameters
    ----------
    values : dict
        The fields of a stage of the whole layer.
    prime : str
        Distinguishes the names of this layer's values from those of an earlier one.
    """
    layer, params, path = values["layer"], values["params"], values["path"]
    time, _ = values["shape"]
    a, o = Name(f"a{prime}", None), Name(f"o{prime}", None)
    product = params["qkv"]
    in_rows = values["x"].reshape((time, -1)) @ product["weight"] + product.get("bias", 0.0)
    prefix = f"{path}." if path else ""
    attend = AttendStage(
        layer, f"{prefix}attend", {}, in_rows.reshape(-1), np.zeros(0), a, o, in_rows.shape
    )
    heads = [attend.p[h] @ attend.v(attend._served(h)) for h in range(layer.heads)]
    attend.y = np.stack(heads, axis=1).reshape(-1)
    before = PositionStage(
        Linear(in_rows.shape[1]), f"{prefix}qkv", product, values["x"], attend.x,
        values["x_name"], a, values["shape"],
    )  # fmt: skip
    after = PositionStage(
        Linear(values["shape"][1]), f"{prefix}out", params["out"], attend.y, values["y"],
        o, values["y_name"], values["shape"],
    )  # fmt: skip
    return [before, attend, after]
