"""Import of custom layers and losses named `package.module:name` on the command line."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

from bp_arrays.errors import InputError
from bp_arrays.layers import Layer
from bp_arrays.losses import Loss


def component(spec: str) -> Layer | Loss:
    """Import a layer or loss by name; a class is called without arguments.

    Modules are searched as by `python -m`: in the current folder, then among those installed.

    Raises
    ------
    InputError
        If the module or name does not exist, or is not a layer or loss.
    """
    module_name, colon, name = spec.partition(":")
    if not (module_name and colon and name):
        raise InputError(f"{spec!r}: expected MODULE:NAME, such as mypackage.layers:MyLayer")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise InputError(
            f"{spec}: no module {error.name!r} in {folder} or among those installed"
        ) from None
    except (Exception, SystemExit) as error:  # a script may exit when it is imported
        raise InputError(f"{spec}: importing {module_name} raised {error!r}") from error
    if not hasattr(module, name):
        defined = ", ".join(_defined_names(module)) or "no layer or loss"
        raise InputError(f"{spec}: {module_name} has no {name!r}; it defines {defined}")
    component = getattr(module, name)
    if isinstance(component, type) and issubclass(component, (Layer, Loss)):
        component = _instantiate(spec, component)
    if not isinstance(component, (Layer, Loss)):
        raise InputError(f"{spec}: expected a layer or a loss, got {component!r}")
    return component


def _defined_names(module: ModuleType) -> list[str]:
    """List the layers, the losses and their classes that a module defines."""
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


def _instantiate(spec: str, kind: type[Layer] | type[Loss]) -> Layer | Loss:
    name = kind.__name__
    if kind in (Layer, Loss):
        raise InputError(f"{spec}: {name} is the abstract base class; name a subclass of it")
    try:
        return kind()
    except TypeError as error:
        raise InputError(
            f"{spec}: {name} requires arguments ({error}); name an instance instead, from "
            f"a line such as `checked = {name}(...)` in {kind.__module__}"
        ) from None
    except Exception as error:
        raise InputError(f"{spec}: {name}() raised {error!r}") from error


def shape(text: str) -> tuple[int, ...]:
    """Parse a shape written as "4" or "3,8,8".

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
