"""`Kernel`: a function that the array API standard lacks, with native forms for some libraries.

    @Kernel
    def erfc(x, *, xp):             # the standard form: array API functions, on every library
        ...

    @erfc.native("torch")           # the name of a library, as in the names of its devices
    def _(x, *, xp):
        import torch

        return torch.special.erfc(x)

Layers call `erfc(x, xp=xp)` and know no libraries: the namespace selects the form. Namespaces that
record, trace or write a graph use the standard form. A native form may be faster or more accurate
but must not compute anything else: the checks compare both forms with the same reference, and
random bits must be equal. It returns NotImplemented to leave a call to the standard form.

A native form may have an equivalent that Numba can compile, with the same bits. Recorded steps use
it once it is compiled:

    @add_rows.loop("numpy")
    def add_rows_loop(table, ids, rows):  # the result first, then the arrays among the operands
        ...
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from bp_arrays.devices import library_of
from bp_arrays.typing import Namespace

Form = Callable[..., Any]

_loops: dict[Form, Form] = {}
"""The loops of native forms."""

_standard_only: ContextVar[bool] = ContextVar("standard_only", default=False)


class Kernel:
    """A function of arrays in standard form, with native forms for the libraries that have one.

    Parameters
    ----------
    standard : function
        Takes the namespace as the keyword `xp`, and uses the array API standard only.
    """

    def __init__(self, standard: Form) -> None:
        self.standard = standard
        self._natives: dict[str, Form] = {}
        functools.update_wrapper(self, standard)

    def native(self, library: str) -> Callable[[Form], Form]:
        """Register the decorated function as the form for arrays of a library.

        Parameters
        ----------
        library : str
            Its name, as in the names of its devices; registered libraries included.
        """

        def register(form: Form) -> Form:
            self._natives[library] = form
            return form

        return register

    def loop(self, library: str) -> Callable[[Form], Form]:
        """Register the decorated function as a form of the same bits that Numba can compile.

        It is called with the result, all of whose numbers it writes, and the arrays among the
        operands of the native form, all contiguous and in one dtype except for integers. It is
        compiled alone: it must be found in its module by its name, and use no other name of it.

        Parameters
        ----------
        library : str
            The name of the native form, which must be registered before.
        """

        def register(loop: Form) -> Form:
            _loops[self._natives[library]] = loop
            return loop

        return register

    def form(self, xp: Namespace) -> Form:
        """Return the form for a namespace."""
        if not self._natives or _standard_only.get():
            return self.standard
        return self._natives.get(library_of(xp) or "", self.standard)

    def __call__(self, *arguments: Any, xp: Namespace, **options: Any) -> Any:
        run_native = getattr(xp, "run_native", None)
        if run_native is not None:  # a namespace that wraps a library's, as in a captured step
            form = self.form(xp.plain)
            if form is self.standard:
                return form(*arguments, xp=xp, **options)
            result = run_native(form, *arguments, **options)
        else:
            result = self.form(xp)(*arguments, xp=xp, **options)
        if result is NotImplemented:
            return self.standard(*arguments, xp=xp, **options)
        return result


def loop_of(form: Form) -> Form | None:
    """Return the function that Numba can compile in place of a native form, if there is one."""
    return _loops.get(form)


@contextmanager
def standard_forms() -> Iterator[None]:
    """Use the standard form of every kernel inside this block, whatever the library.

    >>> from bp_arrays.devices import device
    >>> from bp_arrays.kernels import erfc
    >>> with standard_forms():
    ...     erfc.form(device("torch:cpu")) is erfc.standard
    True
    """
    token = _standard_only.set(True)
    try:
        yield
    finally:
        _standard_only.reset(token)
