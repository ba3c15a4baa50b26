"""`python -m bp_arrays` is `bp-arrays`."""

from __future__ import annotations

import sys

from bp_arrays.command_line import main

if __name__ == "__main__":
    sys.exit(main())
