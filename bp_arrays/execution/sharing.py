"""Whether an array's memory may be written over: Python's count of references says."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np


def is_unshared(array: np.ndarray[Any, Any], names: int) -> bool:
    """Whether nobody refers to an array's memory but so many names and the array itself.

    A view refers to the array it is a view of; if that is larger, somebody else owns it.

    >>> a = np.zeros(3)
    >>> is_unshared(a, names=1), is_unshared(a[1:], names=0)
    (True, False)
    """
    if sys.getrefcount(array) > names + 2:  # the parameter and the counter's own
        return False
    node = array
    while node.base is not None:
        node = node.base
        if not isinstance(node, np.ndarray) or node.size != array.size:
            return False
        if sys.getrefcount(node) > 3:  # the view's reference, the name here, the counter's own
            return False
    return bool(node.flags.owndata and node.flags.writeable)
