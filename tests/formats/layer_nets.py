"""Nets of layers for images, sequences and text, by name, each with its input."""

from __future__ import annotations

import numpy as np

import bp_arrays as bp

IMAGE, SIGNAL, WORDS = (6, 5, 4), (7, 6), bp.InputSpec((7,), "index")

NETS = {
    "Conv2d": (bp.Conv2d(3, (2, 3), stride=2, groups=1, bias=False), IMAGE),
    "Conv2d(padding)": (bp.Conv2d(6, 3, padding=(1, 2), dilation=(2, 1), groups=2), IMAGE),
    "Conv2d(same)": (bp.Conv2d(2, (3, 2), padding="same"), IMAGE),
    "positions": (bp.LearnedPositions(9), SIGNAL),
    "block": (bp.TransformerBlock(2, 3, activation=bp.ReLU()), SIGNAL),
    "block(causal)": (bp.TransformerBlock(3, causal=True), SIGNAL),
    "block(exact)": (
        bp.TransformerBlock(
            2, 1, activation=bp.GELU(exact=True), bias=False, norm=bp.LayerNorm(1e-4, bias=False)
        ),
        SIGNAL,
    ),
    "GPT": (
        bp.Sequential(
            bp.Embedding(9, 4), bp.LearnedPositions(8), bp.TransformerBlock(2, causal=True),
            bp.LayerNorm(), bp.Linear(9),
        ), WORDS,
    ),
    "LSTM": (bp.LSTM(3), SIGNAL),
    "LSTM(last)": (bp.LSTM(3, last=True), SIGNAL),
    "LSTM(deep)": (bp.LSTM(3, layers=2, bidirectional=True), SIGNAL),
    "LSTM(both, last)": (
        bp.Sequential(bp.LSTM(3, bidirectional=True, last=True), bp.Linear(2)), SIGNAL,
    ),
    "GRU": (bp.GRU(3, layers=2), SIGNAL),
    "GRU(both)": (bp.GRU(3, bidirectional=True, last=True), SIGNAL),
    "RNN": (bp.RNN(3), SIGNAL),
    "RNN(relu)": (bp.RNN(3, activation="relu", bidirectional=True), SIGNAL),
    "signal to words": (
        bp.Sequential(bp.Conv1d(4, 3, padding="same"), bp.ReLU(), bp.LSTM(3), bp.Linear(2)), SIGNAL,
    ),
    "embedding to convolution": (
        bp.Sequential(bp.Embedding(9, 4), bp.Conv1d(3, 2), bp.GlobalMaxPool(), bp.Linear(2)), WORDS,
    ),
    "Mish": (bp.Sequential(bp.Linear(3), bp.Mish()), SIGNAL),
    "Hardswish": (bp.Sequential(bp.Linear(3), bp.Hardswish()), SIGNAL),
    "PReLU": (bp.Sequential(bp.Linear(3), bp.PReLU()), SIGNAL),
    "PReLU of images": (bp.Sequential(bp.Conv2d(3, 2), bp.PReLU(per_channel=True)), IMAGE),
    "PReLU of vectors": (bp.PReLU(per_channel=True), 6),
    "GLU": (bp.GLU(), SIGNAL),
    "GLU of images": (bp.Sequential(bp.Conv2d(6, 2), bp.GLU(), bp.Conv2d(2, 2)), IMAGE),
    "flat image to GLU": (
        bp.Sequential(bp.Conv2d(2, 2), bp.Flatten(), bp.GLU(), bp.Linear(2)), IMAGE,
    ),
    "Conv1d": (bp.Conv1d(3, 3, stride=2, padding=1), SIGNAL),
    "Conv1d(same)": (bp.Conv1d(4, 3, padding="same", dilation=2, groups=2), SIGNAL),
    "ConvTranspose2d": (bp.ConvTranspose2d(3, 3, stride=2, padding=1, output_padding=1), IMAGE),
    "ConvTranspose2d(groups)": (
        bp.ConvTranspose2d(6, (2, 3), dilation=(2, 1), groups=2, bias=False), IMAGE,
    ),
    "MaxPool2d": (bp.MaxPool2d(), IMAGE),
    "MaxPool2d(padding)": (bp.MaxPool2d(3, stride=(1, 2), padding=1), IMAGE),
    "MaxPool1d": (bp.MaxPool1d(3, dilation=2), SIGNAL),
    "AveragePool2d": (bp.AveragePool2d((2, 3)), IMAGE),
    "AveragePool2d(padding)": (bp.AveragePool2d(3, padding=1), IMAGE),
    "AveragePool2d(count)": (bp.AveragePool2d(3, padding=(1, 0), count_padding=True), IMAGE),
    "AveragePool1d": (bp.AveragePool1d(3, stride=2, padding=1), SIGNAL),
    "GlobalAveragePool": (bp.GlobalAveragePool(), IMAGE),
    "GlobalAveragePool of signals": (
        bp.Sequential(bp.Conv1d(3, 2), bp.GlobalAveragePool(), bp.Linear(2)), SIGNAL,
    ),
    "GlobalMaxPool": (bp.Sequential(bp.GlobalMaxPool(), bp.Linear(2)), IMAGE),
    "GlobalMaxPool of signals": (bp.GlobalMaxPool(), SIGNAL),
    "Upsample": (bp.Upsample((1, 2)), IMAGE),
    "Upsample(bilinear)": (bp.Upsample(3, "bilinear"), IMAGE),
    "BatchNorm": (bp.BatchNorm(0.3, 1e-3), 5),
    "BatchNorm of signals": (bp.BatchNorm(), SIGNAL),
    "BatchNorm of images": (bp.Sequential(bp.Conv2d(3, 2), bp.BatchNorm(), bp.ReLU()), IMAGE),
    "BatchNorm(scale)": (bp.BatchNorm(bias=False), IMAGE),
    "BatchNorm(bias)": (bp.BatchNorm(scale=False), IMAGE),
    "BatchNorm(neither)": (bp.BatchNorm(scale=False, bias=False), IMAGE),
    "flat image to BatchNorm": (
        bp.Sequential(bp.Conv2d(2, 2), bp.Flatten(), bp.BatchNorm(), bp.Linear(2)), IMAGE,
    ),
    "GroupNorm": (bp.GroupNorm(2), IMAGE),
    "GroupNorm of vectors": (bp.GroupNorm(2), 6),
    "LayerNorm": (bp.LayerNorm(1e-3), SIGNAL),
    "LayerNorm(bias)": (bp.LayerNorm(scale=False), SIGNAL),
    "LayerNorm(scale)": (bp.LayerNorm(bias=False), SIGNAL),
    "LayerNorm(neither)": (bp.LayerNorm(scale=False, bias=False), SIGNAL),
    "RMSNorm": (bp.RMSNorm(1e-3), SIGNAL),
    "RMSNorm(no scale)": (bp.RMSNorm(scale=False), SIGNAL),
    "Embedding": (bp.Embedding(9, 4), WORDS),
    "Embedding(padding)": (bp.Embedding(9, 4, padding_index=2), WORDS),
    "attention": (bp.MultiHeadAttention(2), SIGNAL),
    "attention(causal)": (bp.MultiHeadAttention(3, causal=True, bias=False), SIGNAL),
    "image to classes": (
        bp.Sequential(
            bp.Conv2d(3, 3, padding=1),
            bp.ReLU(),
            bp.Conv2d(2, 2),
            bp.Softmax(),
            bp.Flatten(),
            bp.Dropout(0.5),
            bp.Linear(4),
            bp.Tanh(),
            bp.Linear(2),
        ),
        IMAGE,
    ),
    "nested": (
        bp.Sequential(
            bp.Sequential(bp.Conv2d(3, 2), bp.ReLU()),
            bp.Sequential(bp.Flatten(), bp.Sequential(bp.Tanh(), bp.Linear(3))),
        ),
        IMAGE,
    ),
    "flat image": (bp.Sequential(bp.Conv2d(2, 2), bp.Flatten()), IMAGE),
    "flattened first": (
        bp.Sequential(bp.Flatten(), bp.Sigmoid(), bp.GroupNorm(4), bp.Linear(2)), IMAGE,
    ),
    "flat image to a norm": (
        bp.Sequential(bp.Conv2d(2, 2), bp.Flatten(), bp.LayerNorm(), bp.Linear(2)), IMAGE,
    ),
    "norm of pixels": (
        bp.Sequential(bp.Conv2d(2, 2), bp.LayerNorm(), bp.Conv2d(3, 2), bp.ReLU()), IMAGE,
    ),
    "pixels first": (bp.Sequential(bp.Linear(3), bp.Tanh(), bp.Conv2d(2, 2)), IMAGE),
    "words": (
        bp.Sequential(bp.Embedding(9, 4), bp.MultiHeadAttention(2), bp.LayerNorm(), bp.Linear(3)),
        WORDS,
    ),
}  # fmt: skip


def model_of(net, inputs, dtype):
    model = bp.Model(net, inputs, device="cpu", dtype=dtype)
    rng = np.random.default_rng(2)
    model.set_parameters(
        {
            name: rng.uniform(0.5, 2.0, size=p.shape)
            if name.endswith("variance")
            else rng.normal(size=p.shape) / 2
            for name, p in model.host_parameters().items()
        }
    )
    return model


def samples(inputs, dtype, rows=4):
    rng = np.random.default_rng(0)
    if isinstance(inputs, bp.InputSpec):
        return rng.integers(0, 9, (rows, *inputs.shape))
    shape = inputs if isinstance(inputs, tuple) else (inputs,)
    return rng.normal(size=(rows, *shape)).astype(dtype)
