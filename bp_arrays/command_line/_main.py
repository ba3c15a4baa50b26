"""Entry point: run a command; an expected error is one line on stderr and exit code 2."""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import re
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

import bp_arrays
from bp_arrays.command_line._streams import discard_unwritten, standard_streams
from bp_arrays.errors import BpArraysError, InputError, unknown_name

COMMANDS = {
    "train": "train a network on digits, the notes' task, or your own file",
    "predict": "apply a trained model to data",
    "sample": "write text by a trained model of characters",
    "explain": "write out the backward pass of one sample, with every number",
    "check": "check that all devices give the same, correct gradients",
    "bench": "measure the training speed of a network on each device",
    "devices": "list the devices and their availability",
}
"""Each command is a module here with `add_arguments(parser)` and `run(args) -> exit code`."""

FAILED, INTERRUPTED, BROKEN_PIPE, TERMINATED = 2, 130, 141, 143
"""Exit codes of an error, of Ctrl-C, of a closed output and of SIGTERM (128 + signal)."""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises InputError instead of exiting."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")

    def print_help(self, file: Any = None) -> None:
        """Print the help; an output that cannot be written is an error, for argparse it is not."""
        print(self.format_help(), end="", file=file)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments after `bp-arrays`; by default those of the process.

    Returns
    -------
    int
        The exit code: 0; 2 after an error, which is one line on stderr; 130 after Ctrl-C;
        141 if the reader of the output has closed it.
    """
    with standard_streams():
        return _main(sys.argv[1:] if argv is None else list(argv))


def _main(argv: list[str]) -> int:
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:  # an overflow shows as a loss that is not finite
                warnings.simplefilter("ignore", RuntimeWarning)
            try:
                code = _run(argv)
            except SystemExit:  # of --help and --version
                sys.stdout.flush()
                raise
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of the output, such as `head`, has closed it
        discard_unwritten()
        return BROKEN_PIPE
    except BpArraysError as error:
        return _fail(str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}")
    except MemoryError as error:
        return _fail(f"out of memory; use less data or smaller layers ({error})")
    except KeyboardInterrupt:
        _print_error("bp-arrays: interrupted")
        return INTERRUPTED


def _run(argv: list[str]) -> int:
    if not argv or argv[0].startswith("-"):
        parser = _overview()
        parser.parse_args(argv)
        parser.error(f"expected a command: {', '.join(COMMANDS)}")
    name, *words = argv
    if name not in COMMANDS:
        raise unknown_name("command", name, COMMANDS)
    command = importlib.import_module(f"bp_arrays.command_line._{name}")
    parser = Parser(prog=f"bp-arrays {name}", description=command.__doc__, allow_abbrev=False)
    command.add_arguments(parser)
    args, unknown = parser.parse_known_args(words)
    if unknown:
        parser.error(f"unexpected {unknown[0]!r}{_nearest_option(parser, unknown[0])}")
    _find_own_libraries(args)
    code: int = command.run(args)
    return code


def _find_own_libraries(args: argparse.Namespace) -> None:
    """Let a module in the current folder be a device, as by `python -m`, if one is named.

    Installed modules go before it: a folder of downloads must not replace a library.
    """
    device = getattr(args, "device", None)
    if device == "auto":
        device = os.environ.get("BP_ARRAYS_DEVICE")
    if device and "" not in sys.path:
        sys.path.append("")


def _overview() -> Parser:
    commands = "\n".join(f"  {name:<10} {summary}" for name, summary in COMMANDS.items())
    parser = Parser(
        prog="bp-arrays",
        usage="bp-arrays [--version] [--help] COMMAND ...",
        description="Train neural networks on the arrays you already have.",
        epilog=f"commands:\n{commands}\n\nbp-arrays COMMAND --help describes each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"bp-arrays {bp_arrays.__version__}")
    return parser


def _nearest_option(parser: Parser, word: str) -> str:
    options = set(re.findall(r"--[a-z][a-z-]*", parser.format_help()))
    near = difflib.get_close_matches(word.partition("=")[0], options, n=1)
    return f": did you mean {near[0]}?" if near else ""


def _fail(message: str) -> int:
    _print_error(f"bp-arrays: error: {' '.join(message.split())}")
    return FAILED


def _print_error(line: str) -> None:
    with suppress(OSError):  # nobody can be told if standard error fails too
        print(line, file=sys.stderr)
    discard_unwritten()
