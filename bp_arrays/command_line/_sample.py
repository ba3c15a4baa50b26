"""Write text by a model of characters, each drawn from its output for those before."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bp_arrays.command_line import _options as options
from bp_arrays.command_line._open_model import VOCABULARY, opened_model
from bp_arrays.command_line._streams import write_utf8
from bp_arrays.devices import ask_for_float64
from bp_arrays.errors import DataError
from bp_arrays.model import generate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bp-arrays sample`."""
    add = parser.add_argument
    add(
        "model",
        metavar="MODEL",
        type=Path,
        help="a model file (safetensors) that predicts the next character at each position, with "
        'the characters in its metadata, model.metadata["vocabulary"]',
    )
    add("--prompt", default="", metavar="TEXT", help="the text to continue (default: none)")
    add("--length", type=options.count, default=500, help="characters to write (default: 500)")
    add("--temperature", type=options.at_least_zero, default=1.0,
        help="below 1, likely characters become likelier; at 0, the likeliest is always taken "
        "(default: 1)")  # fmt: skip
    add("--top-k", type=options.count, metavar="K", help="draw from the K likeliest characters")
    add("--seed", type=options.seed, default=0, help="another seed, another text (default: 0)")
    add("--device", default="auto", help="auto, cpu, cuda, ...: see bp-arrays devices")


def run(args: argparse.Namespace) -> int:
    """Write the prompt and its continuation to standard output."""
    ask_for_float64()  # the model may be of it
    model = opened_model(args.model, args.device)
    vocabulary = _vocabulary(model.metadata, model.output_shape, args.model)
    number = {character: k for k, character in enumerate(vocabulary)}
    unknown = next((c for c in args.prompt if c not in number), None)
    if unknown is not None:
        raise DataError(
            f"--prompt: expected characters of the text that the model was trained on, got "
            f"{unknown!r}"
        )
    # without a prompt, as at the beginning of a line
    start = [number[c] for c in args.prompt] or [number.get("\n", 0)]
    indices = generate(
        model,
        start,
        length=args.length,
        temperature=args.temperature,
        top_k=args.top_k,
        seed=args.seed,
    )
    write_utf8(args.prompt + "".join(vocabulary[k] for k in indices) + "\n")
    return 0


def _vocabulary(metadata: Mapping[str, str], output_shape: tuple[int, ...], path: Any) -> str:
    """Return the characters of a model, one for each of its classes."""
    vocabulary = metadata.get(VOCABULARY, "")
    if not vocabulary:
        raise DataError(
            f'{path}: expected a model of characters, with model.metadata["{VOCABULARY}"], the '
            "characters in the order of their indices; it has none"
        )
    if output_shape[-1:] != (len(vocabulary),):
        raise DataError(
            f"{path}: expected an output for each of the {len(vocabulary)} characters of its "
            f"vocabulary, got outputs of shape {output_shape}"
        )
    return vocabulary
