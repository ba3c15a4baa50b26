"""Detection of a Jupyter kernel."""

from __future__ import annotations

import sys


def in_notebook() -> bool:
    """Return True in the kernel of a notebook, which shows figures and widgets.

    IPython in a terminal does not count.
    """
    ipython = sys.modules.get("IPython")  # every notebook kernel has imported it
    shell = None if ipython is None else ipython.get_ipython()
    return hasattr(shell, "kernel")
