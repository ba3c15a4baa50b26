#!/usr/bin/env python3
"""The nvcc of CuPy's build: g++ compiles a host version of CuPy's three .cu files.

cupy_thrust.cu, cupy_cub.cu and cupy_distributions.cu are replaced by host/<name>.cpp; everything
else that CuPy compiles with nvcc (its test of the compiler) is plain C++.
"""

import subprocess
import sys
from pathlib import Path

HOST = Path(__file__).parent / "host"


def main() -> int:
    kept, source, out, compile_only = [], None, "a.out", False
    arguments = iter(sys.argv[1:])
    for argument in arguments:
        if argument == "-o":
            out = next(arguments)
        elif argument == "-c":
            compile_only = True
        elif argument.startswith(("-I", "-D", "-U")):
            kept.append(argument)
        elif argument.endswith(".cu"):
            source = Path(argument)
        elif argument == "--version":
            print("nvcc on the CPU\nCuda compilation tools, release 13.0, V13.0.0")
            return 0
    if source is None:
        print("no file .cu", file=sys.stderr)
        return 1
    replacement = HOST / f"{source.stem}.cpp"
    if replacement.exists():
        kept.append(f"-I{source.parent.resolve()}")
        source = replacement
    command = ["g++", "-std=c++20", "-O2", "-w", "-fPIC", *kept, "-x", "c++", str(source)]
    command += ["-o", out, *(["-c"] if compile_only else [])]
    return subprocess.call(command)


sys.exit(main())
