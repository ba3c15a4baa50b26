"""`TextJob`: a text, and the network that learns to write it, a small GPT.

Karpathy's nanoGPT on a CPU: 4 blocks of 4 heads and 128 features that look back 64 characters,
2,000 updates of 12 windows each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bp_arrays.activations import activation_named
from bp_arrays.attention import Embedding, LearnedPositions, TiedEmbedding, TransformerBlock
from bp_arrays.command_line._recipe import averaged
from bp_arrays.data import fingerprint
from bp_arrays.errors import DataError, InputError
from bp_arrays.initializers import Normal
from bp_arrays.layers import Layer, Sequential
from bp_arrays.model import Model
from bp_arrays.normalization import LayerNorm
from bp_arrays.optimizers import AdamW, Chain, ClipByGlobalNorm, Optimizer
from bp_arrays.random import host_generator
from bp_arrays.schedules import Cosine, Warmup
from bp_arrays.typing import HostArray

BLOCKS, FEATURES, WINDOW, BATCH = 4, 128, 64, 12
EPOCHS, BATCHES_PER_EPOCH = 4, 500
"""The default number of epochs, and the batches of random windows in each."""

RATE, DECAY, WARMUP = 3e-3, 0.1, 100
HEAD = 32
"""Features of a head, where that divides them."""

VALIDATION = 0.1
"""The default part of the text, at its end, that is for validation."""


@dataclass(frozen=True, eq=False)
class Text:
    """The characters of a text as numbers.

    Parameters
    ----------
    name : str
    vocabulary : str
        Its different characters; a number is a position in it.
    train, validation : int array
        The numbers of the beginning of the text, and of its end.
    """

    name: str
    vocabulary: str
    train: HostArray
    validation: HostArray

    @classmethod
    def read(cls, name: str, validation: float, window: int) -> Text:
        """Read a text file in UTF-8.

        Raises
        ------
        DataError
            If it is not UTF-8, is too short for the window, or has a single character.
        """
        try:
            text = Path(name).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{name}: expected a text in UTF-8, got the byte {error.object[error.start]:#04x} "
                f"at position {error.start}; save it as UTF-8"
            ) from None
        characters, numbers = np.unique(
            np.frombuffer(text.encode("utf-32-le"), dtype="<u4"), return_inverse=True
        )
        if len(characters) < 2:
            raise DataError(
                f"{name}: expected a text of two characters or more, got "
                f"{'an empty file' if not len(characters) else f'only {chr(characters[0])!r}'}"
            )
        numbers = numbers.astype(np.min_scalar_type(len(characters)))
        stop = len(numbers) - int(len(numbers) * validation)
        parts = numbers[:stop], numbers[stop:]
        for part, what in zip(parts, ("training", "validation"), strict=True):
            if len(part) <= window and (what == "training" or validation > 0.0):
                raise DataError(
                    f"{name}: expected more than --window {window} characters for {what}, got "
                    f"{len(part)} of {len(numbers)}; choose a smaller --window"
                    f"{' or --validation' if what == 'training' else ', or --validation 0'}"
                )
        return cls(name, "".join(map(chr, characters)), *parts)

    def validation_windows(self, window: int) -> tuple[HostArray, HostArray] | None:
        """Return the windows of the validation text, one after the other, and their targets."""
        count = (len(self.validation) - 1) // window
        if count < 1:
            return None
        x, t = (self.validation[k : k + count * window] for k in (0, 1))
        return x.reshape(count, window), t.reshape(count, window)


class RandomWindows:
    """The batches of an epoch: random windows of a text, whose targets are one character further.

    They are drawn from the seed and the number of the epoch, so that a training run that is
    resumed sees the same ones.

    Parameters
    ----------
    tokens : int array (characters,)
    window, batch, seed : int
    model : Model
        The model that is trained; its training state has the number of the epoch.
    """

    def __init__(self, tokens: HostArray, window: int, batch: int, seed: int, model: Model) -> None:
        self.tokens, self.window, self.batch, self.seed = tokens, window, batch, seed
        self.model = model

    def fingerprint(self) -> str:
        """Return a text that is the same for the same batches."""
        return f"{fingerprint(self.tokens)} {self.window} {self.batch} {self.seed}"

    def __iter__(self) -> Iterator[tuple[HostArray, HostArray]]:
        state = self.model.training_state
        generator = host_generator(self.seed, "windows", 0 if state is None else state.epoch)
        offsets = np.arange(self.window + 1)
        for _ in range(BATCHES_PER_EPOCH):
            starts = generator.integers(0, len(self.tokens) - self.window, self.batch)
            windows = self.tokens[starts[:, None] + offsets]
            yield windows[:, :-1], windows[:, 1:]


@dataclass(frozen=True)
class TextRecipe:
    """The settings of a training run on a text.

    Parameters
    ----------
    layers : tuple of int
        The features of each block, all alike.
    activation : str
    dropout : float
    rate, weight_decay : float
    window, batch, epochs, accumulate : int
    average : float
        The number of epochs over which the weights are averaged; 0 for no average.
    """

    layers: tuple[int, ...]
    activation: str
    dropout: float
    rate: float
    weight_decay: float
    window: int
    batch: int
    epochs: int
    accumulate: int
    average: float

    def network(self, characters: int) -> Layer:
        """Return a GPT without biases, whose output layer is the table of its embedding.

        Raises
        ------
        InputError
            If there are no blocks, or they differ in width.
        """
        if not self.layers or len(set(self.layers)) > 1:
            raise InputError(
                "--layers: expected for a text the width of each block, all alike, such as "
                f"128,128,128,128, got {','.join(map(str, self.layers)) or 'none'}"
            )
        blocks, features = len(self.layers), self.layers[0]
        init, out_init = Normal(0.02), Normal(0.02 / math.sqrt(2 * blocks))  # as in GPT-2
        block = TransformerBlock(
            self.heads,
            causal=True,
            bias=False,
            activation=activation_named(self.activation)(),
            dropout=self.dropout,
            norm=LayerNorm(bias=False),
            weight_init=init,
            out_init=out_init,
        )
        body = Sequential(LearnedPositions(self.window), *[block] * blocks, LayerNorm(bias=False))
        return TiedEmbedding(Embedding(characters, features, weight_init=init), body)

    @property
    def heads(self) -> int:
        """The number of heads: of `HEAD` features each, or the next smaller number that divides."""
        features = self.layers[0]
        most = max(1, features // HEAD)
        return next(heads for heads in range(most, 0, -1) if features % heads == 0)

    def optimizer(self) -> Optimizer:
        """Return AdamW with clipped gradients, a linear warmup and a cosine."""
        updates = self.epochs * -(-BATCHES_PER_EPOCH // self.accumulate)
        warmup = min(WARMUP, updates // 10)
        cosine = Cosine(self.rate, steps=max(updates - warmup, 1), final=self.rate / 30)
        schedule = Warmup(warmup, then=cosine) if warmup else cosine
        adam = AdamW(schedule, beta2=0.99, weight_decay=self.weight_decay)
        return averaged(Chain(ClipByGlobalNorm(1.0), adam), self.average * updates / self.epochs)
