"""`described`: objects as JSON values that are equal for equal objects, whatever the process.

A function is described by its code, without names of its own, lines and comments, and by the values
that the code uses: defaults, variables of enclosing functions, and global numbers, text and arrays.
So a lambda equals another one with the same code and values, wherever they are written. Global
functions, classes and modules are described by their names: their code is not compared. Neither is
code that another version of Python has compiled: see `same`.
"""

from __future__ import annotations

import dataclasses
import dis
import functools
import hashlib
import inspect
import json
import platform
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import date, time, timedelta
from pathlib import PurePath
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np

from bp_arrays.data import fingerprint

DEPTH = 30

CODE = "code of a function"
"""The key of the description of code: the version of Python that compiled it, and a hash."""


def described(value: Any, above: tuple[int, ...] = ()) -> Any:
    """Return JSON values that are equal for equal values, whatever the process.

    Dataclasses and other objects are described by their classes and public attributes, and by
    private ones that are functions.

    Parameters
    ----------
    value : any
    above : tuple of int, optional
        The identities of the objects that it is a part of.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> described(bp.SGD(0.5))
    ['SGD', {'learning_rate': 0.5, 'momentum': 0.0, 'nesterov': False}]
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    if len(above) == DEPTH or id(value) in above:
        return type(value).__qualname__

    def part(inner: Any) -> Any:
        return described(inner, (*above, id(value)))

    if isinstance(value, (bytes, complex, range, PurePath, date, time, timedelta)):
        return [type(value).__qualname__, repr(value)]
    if isinstance(value, np.ndarray):
        known = value.dtype.kind in "biuf"
        return ["array", fingerprint(value) if known else part(value.tolist())]
    if isinstance(value, Mapping):
        return {str(key): part(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [part(inner) for inner in value]
    if isinstance(value, (set, frozenset)):  # in an order that is the same in every process
        return sorted(map(part, value), key=json.dumps)
    if isinstance(value, functools.partial):
        return [part(inner) for inner in (value.func, value.args, value.keywords)]
    if isinstance(value, MethodType):
        return [part(value.__func__), part(value.__self__)]
    if isinstance(value, FunctionType):
        return {CODE: _code(value)} | {name: part(used) for name, used in _values_used(value)}
    if callable(value) and hasattr(value, "__wrapped__"):  # compiled by jax.jit, Numba, a cache
        return part(value.__wrapped__)
    attributes = getattr(value, "__dict__", None)
    if isinstance(value, type) or not (attributes or dataclasses.is_dataclass(value)):
        return _name(value)
    attributes = dict(attributes or {})
    if dataclasses.is_dataclass(value):
        attributes |= {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    compared = {
        name: inner
        for name, inner in sorted(attributes.items())
        if name[:1] != "_" or isinstance(inner, (FunctionType, MethodType))
    }
    return [_name(value), part(compared)]


def same(one: Any, other: Any) -> bool:
    """Return True if two descriptions are of equal values, as far as they can be compared.

    What different versions of Python compiled is equal if the values that it uses are.
    """
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if one.keys() != other.keys():
            return False
        comparable = CODE not in one or one[CODE][0] == other[CODE][0]
        return all(same(one[k], other[k]) for k in one if k != CODE or comparable)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def has_code(description: Any) -> bool:
    """Return True if code is a part of a description."""
    parts = description
    if isinstance(description, Mapping):
        if CODE in description:
            return True
        parts = list(description.values())
    return isinstance(parts, list) and any(map(has_code, parts))


def _name(value: Any) -> str:
    for name in (getattr(value, "__qualname__", None), getattr(value, "__name__", None)):
        if isinstance(name, str):
            return name
    return type(value).__qualname__


def _code(function: FunctionType) -> list[str]:
    """Return the version of Python and the hash of a function's code."""
    operations = repr(_operations(function.__code__, function.__doc__)).encode()
    version = ".".join(platform.python_version_tuple()[:2])
    return [version, hashlib.blake2b(operations, digest_size=16).hexdigest()]


def _operations(code: CodeType, documentation: str | None = None) -> Any:
    """Return what code does, without its name, its place, its docstring and names of variables."""
    constants = list(code.co_consts)
    if constants and constants[0] == documentation:
        constants[0] = None
    arguments = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount
    of_any_number = code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    return code.co_code, code.co_names, arguments, of_any_number, [*map(_constant, constants)]


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return _operations(value)
    if isinstance(value, frozenset):  # whose order is not the same in every process
        return sorted(map(repr, value))
    return repr(value)


def _values_used(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield the values that a function uses, by name."""
    if function.__defaults__ or function.__kwdefaults__:
        yield "default values", [function.__defaults__, function.__kwdefaults__]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # a variable without a value yet
            yield name, cell.cell_contents
    variables = function.__globals__
    for name in sorted(_globals_read(function.__code__)):
        if name in variables and _is_plain(variables[name]):
            yield f"global {name}", variables[name]


def _globals_read(code: CodeType) -> set[str]:
    read = {
        i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return read.union(*map(_globals_read, inner))


def _is_plain(value: Any) -> bool:
    """Return True for numbers, text and arrays, and tuples of them."""
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return isinstance(value, (bool, int, float, str, np.generic, np.ndarray))
