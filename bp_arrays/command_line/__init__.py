"""The `bp-arrays` commands: parse, call, print. One file per command."""

from bp_arrays.command_line._main import COMMANDS, main

__all__ = ["COMMANDS", "main"]
