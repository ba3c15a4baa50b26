"""PyTorch modules for what `torch.nn.Sequential` needs besides the modules of `torch.nn`.

This file imports PyTorch: import it inside functions only. It is a module of its own so that
`torch.save` can name the classes.
"""

from __future__ import annotations

from typing import Any

import torch


class Permute(torch.nn.Module):  # type: ignore[misc]  # PyTorch may be missing
    """The axes in another order: channels from the second axis to the last one, or back.

    Parameters
    ----------
    *dims : int
        The axes of the input, in the order of the output's.
    """

    def __init__(self, *dims: int) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Any) -> Any:
        return x.permute(self.dims)

    def extra_repr(self) -> str:
        return ", ".join(map(str, self.dims))


def channels_last(axes: int) -> Permute:
    """Return the module that moves the channels of (batch, channels, ...) to the last axis."""
    return Permute(0, *range(2, axes), 1)


def channels_first(axes: int) -> Permute:
    """Return the module that moves the channels of (batch, ..., channels) to the second axis."""
    return Permute(0, axes - 1, *range(1, axes - 1))


class Output(torch.nn.Module):  # type: ignore[misc]
    """A recurrent module, of whose results only the output is passed on.

    Parameters
    ----------
    layer : torch.nn.RNN, LSTM or GRU
        With batch_first=True.
    last : bool, default False
        Whether only the final state of the last layer is passed on, that of both directions side
        by side.
    """

    def __init__(self, layer: torch.nn.Module, last: bool = False) -> None:
        super().__init__()
        self.layer = layer
        self.last = last

    def forward(self, x: Any) -> Any:
        y, state = self.layer(x)
        if not self.last:
            return y
        h = state[0] if isinstance(state, tuple) else state
        directions = 2 if self.layer.bidirectional else 1
        return torch.cat(list(h[-directions:]), dim=1)

    def extra_repr(self) -> str:
        return f"last={self.last}" if self.last else ""


def later_positions(x: Any) -> Any:
    """Return which keys each query may not attend to, (time, time): those after it."""
    time = x.shape[1]
    ones = torch.ones(time, time, dtype=torch.bool, device=x.device)
    return torch.triu(ones, diagonal=1)


class SelfAttention(torch.nn.Module):  # type: ignore[misc]
    """Attention of a sequence to itself.

    Parameters
    ----------
    attention : torch.nn.MultiheadAttention
        With batch_first=True.
    causal : bool, default False
        Whether a position attends only to itself and those before it.
    """

    def __init__(self, attention: torch.nn.Module, causal: bool = False) -> None:
        super().__init__()
        self.attention = attention
        self.causal = causal

    def forward(self, x: Any) -> Any:
        mask = later_positions(x) if self.causal else None
        return self.attention(x, x, x, need_weights=False, attn_mask=mask)[0]

    def extra_repr(self) -> str:
        return f"causal={self.causal}" if self.causal else ""


class CausalBlock(torch.nn.Module):  # type: ignore[misc]
    """A block of a transformer in which a position attends to itself and those before it.

    Parameters
    ----------
    block : torch.nn.TransformerEncoderLayer
        With batch_first=True.
    """

    def __init__(self, block: torch.nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Any) -> Any:
        return self.block(x, src_mask=later_positions(x))


class TanhGELU(torch.nn.Module):  # type: ignore[misc]
    """GELU by its approximation with tanh, as the activation of a `TransformerEncoderLayer`.

    For any `torch.nn.GELU` the fast path of that module, which it takes in evaluation mode without
    gradients, computes the exact function.
    """

    def forward(self, x: Any) -> Any:
        return torch.nn.functional.gelu(x, approximate="tanh")


class Positions(torch.nn.Module):  # type: ignore[misc]
    """A learned vector for each position, added to the sequence.

    Parameters
    ----------
    length, features : int
    device, dtype : optional
    """

    def __init__(self, length: int, features: int, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        empty = torch.empty(length, features, device=device, dtype=dtype)
        self.weight = torch.nn.Parameter(empty)

    def forward(self, x: Any) -> Any:
        return x + self.weight[: x.shape[1]]

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}"
