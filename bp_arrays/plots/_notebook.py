"""Whether somebody looks on in a notebook."""

from __future__ import annotations

import sys


def in_notebook() -> bool:
    """Whether this runs in the kernel of a notebook, which shows pictures and widgets.

    An IPython in a terminal is none.
    """
    ipython = sys.modules.get("IPython")  # nobody's notebook runs without having imported it
    shell = None if ipython is None else ipython.get_ipython()
    return hasattr(shell, "kernel")
