"""A person's own layer or loss, from `package.module:name` on the command line."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

from bp_arrays.errors import InputError
from bp_arrays.layers import Layer
from bp_arrays.losses import Loss


def component(spec: str) -> Layer | Loss:
    """The layer or loss of that name; a class is called without arguments.

    Modules are found as `python -m` finds them: in the current folder, then where installed.

    Raises
    ------
    InputError
        If there is no such module or name, or it is not a layer or loss.
    """
    module_name, colon, name = spec.partition(":")
    if not (module_name and colon and name):
        raise InputError(f"{spec!r}: expected MODULE:NAME, such as mypackage.layers:MyLayer")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise InputError(
            f"{spec}: there is no module {error.name!r} in {here} or installed"
        ) from None
    except (Exception, SystemExit) as error:  # a script may leave when it is imported
        raise InputError(f"{spec}: importing {module_name} raised {error!r}") from error
    if not hasattr(module, name):
        its = ", ".join(_own(module)) or "no layer or loss of its own"
        raise InputError(f"{spec}: {module_name} has no {name!r}, it has {its}")
    found = getattr(module, name)
    if isinstance(found, type) and issubclass(found, (Layer, Loss)):
        found = _made(spec, found)
    if not isinstance(found, (Layer, Loss)):
        raise InputError(f"{spec}: expected a layer or a loss, got {found!r}")
    return found


def _own(module: ModuleType) -> list[str]:
    """The names of the layers and losses, and of their classes, that a module defines."""
    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, (Layer, Loss))
        or (
            isinstance(value, type)
            and issubclass(value, (Layer, Loss))
            and value.__module__ == module.__name__
        )
    ]


def _made(spec: str, kind: type[Layer] | type[Loss]) -> Layer | Loss:
    name = kind.__name__
    if kind in (Layer, Loss):
        raise InputError(f"{spec}: {name} is the base of them all; name a class made from it")
    try:
        return kind()
    except TypeError as error:
        raise InputError(
            f"{spec}: {name} needs arguments ({error}); name a layer made with them instead, "
            f"a line such as `checked = {name}(...)` in {kind.__module__}"
        ) from None
    except Exception as error:
        raise InputError(f"{spec}: {name}() raised {error!r}") from error


def shape(text: str) -> tuple[int, ...]:
    """The shape written as "4" or "3,8,8".

    Raises
    ------
    InputError
        For anything else.
    """
    try:
        return tuple(int(size) for size in text.split(","))
    except ValueError:
        raise InputError(
            f"--input-shape: expected numbers such as 4 or 3,8,8, got {text!r}"
        ) from None
