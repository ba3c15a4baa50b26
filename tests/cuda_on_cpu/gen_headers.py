"""Write the C headers of cuBLAS, cuFFT, ... that CuPy's extensions include.

NVIDIA's own headers come only in wheels of hundreds of megabytes. CuPy's Cython sources declare
every function they call, with types: the headers are generated from those declarations. `stubs.c`
defines each function that the emulator's C++ does not; such a function returns "not supported".

usage: gen_headers.py <unpacked CuPy sdist> <output folder> [<file of implemented names>]
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

LIBS = {
    "cublas": {
        "sources": ["cupy_backends/cuda/libs/cublas.pxd", "cupy_backends/cuda/libs/cublas.pyx"],
        "pattern": r"cublas[A-Z]\w*",
        "status": "cublasStatus_t",
        "headers": ["cublas_v2.h"],
        "unsupported": 15,
    },
    "curand": {
        "sources": ["cupy_backends/cuda/libs/curand.pxd", "cupy_backends/cuda/libs/curand.pyx"],
        "pattern": r"curand[A-Z]\w*",
        "status": "curandStatus_t",
        "headers": ["curand.h"],
        "unsupported": 204,
    },
    "cusparse": {
        "sources": ["cupy_backends/cuda/libs/cusparse.pxd", "cupy_backends/cuda/libs/cusparse.pyx"],
        "pattern": r"cusparse[A-Z]\w*",
        "status": "cusparseStatus_t",
        "headers": ["cusparse.h"],
        "unsupported": 10,
    },
    "cusolver": {
        "sources": ["cupy_backends/cuda/libs/cusolver.pxd", "cupy_backends/cuda/libs/cusolver.pyx"],
        "pattern": r"cusolver[A-Z]\w*",
        "status": "cusolverStatus_t",
        "headers": ["cusolverDn.h", "cusolverSp.h"],
        "unsupported": 9,
    },
    "cufft": {
        "sources": ["cupy/cuda/cufft.pxd", "cupy/cuda/cufft.pyx"],
        "pattern": r"cufft[A-Z]\w*",
        "status": "cufftResult_t",
        "headers": ["cufft.h", "cufftXt.h"],
        "unsupported": 16,
    },
}
KNOWN = {  # CUDA's own headers define these
    "cudaStream_t",
    "cudaDataType",
    "cuComplex",
    "cuDoubleComplex",
    "libraryPropertyType_t",
    "libraryPropertyType",
    "cuComplex*",
    "cuDoubleComplex*",
    "cusparseSpGEAMDescr_t",
    "cusparseSpGEAMAlg_t",  # cusparse.pyx itself
}

NOT_COMPILED = re.compile(
    "IF (CUPY_USE_CUDA_PYTHON|CUPY_CUDA_VERSION == 0|CUPY_CUFFT_STATIC|CUPY_HIP_VERSION > 0)"
)


def compiled_for_cuda(text: str) -> str:
    """The source without the IF branches for CUDA Python and HIP."""
    kept, skip = [], None
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        stripped = line.strip()
        if skip is not None and stripped and indent <= skip:
            skip = None
        if skip is None and NOT_COMPILED.match(stripped):
            skip = indent
            continue
        if skip is None:
            kept.append(re.sub(r"#.*", "", line))
    return "\n".join(kept)


def externs(text: str) -> str:
    """The bodies of all `cdef extern` blocks."""
    out, inside = [], None
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if inside is not None and line.strip() and indent <= inside:
            inside = None
        if inside is None and re.match(r"\s*cdef extern from", line):
            inside = indent
            continue
        if inside is not None:
            out.append(line)
    return "\n".join(out)


def header(name: str, spec: dict, root: Path) -> tuple[str, list[str]]:
    """The text of one library's header, and the names of the functions that it declares."""
    text = "\n".join(compiled_for_cuda((root / s).read_text()) for s in spec["sources"])
    body = externs(text)
    names: dict[str, str] = {}
    lines = []
    for base, cython, c in re.findall(
        r"ctypedef\s+(enum|int|void\*|struct|float|double)\s+(\w+)\s*(?:'([^']+)')?", body
    ):
        c = c or cython
        names[cython] = c
        if c in KNOWN or c.endswith("*") or base == "struct":
            continue
        if base == "enum" and name == "cufft":
            base = "int"
        if base in ("int", "void*", "float", "double", "enum"):
            lines.append(f"typedef {'int' if base == 'enum' else base} {c};")
    if f"typedef int {spec['status']};" not in lines:
        lines.insert(0, f"typedef int {spec['status']};")
    lines = list(dict.fromkeys(lines))
    functions, stubs = [], []
    flat = re.sub(r"\s+", " ", body)
    for result, function, arguments in re.findall(
        rf"(\w+|const char\*) ({spec['pattern']})\(([^()]*)\)", flat
    ):
        parts = []
        for argument in (a.strip() for a in arguments.split(",")):
            if not argument:
                continue
            argument = re.sub(r"\b(\w+)\b", lambda m: names.get(m[1], m[1]), argument)
            if name == "cusolver":
                argument = re.sub(r"^char\b", "signed char", argument)
            parts.append(argument)
        result = names.get(result, result)
        if result in ("int", "Result", "Status"):
            result = spec["status"]
        functions.append(f"{result} {function}({', '.join(parts)});")
        stubs.append(function)
    text = "\n".join(
        [
            "// generated by gen_headers.py from CuPy's Cython declarations",
            "#pragma once",
            "#include <cuda.h>",
            "#include <cuda_runtime_api.h>",
            "#include <library_types.h>",
            "#include <cuComplex.h>",
            "#include <stddef.h>",
            "#include <stdint.h>",
            EXTRA.get(name, ""),
            'extern "C" {',
            *lines,
            *functions,
            "}",
            AFTER.get(name, ""),
            "",
        ]
    )
    return text, stubs


EXTRA = {
    "cusolver": "#include <cublas_v2.h>\n#include <cusparse.h>",
    "cusparse": "#define CUSPARSE_STATUS_SUCCESS 0\n#define CUSPARSE_STATUS_NOT_SUPPORTED 10\n"
    "#define CUSPARSE_VERSION 12603",
    "cublas": "#define CUBLAS_STATUS_SUCCESS 0\n#define CUBLAS_STATUS_NOT_SUPPORTED 15",
    "cufft": """
typedef cuComplex cufftComplex;
typedef cuDoubleComplex cufftDoubleComplex;
typedef int cufftXtSubFormat;
typedef int cufftXtCopyType;
typedef int cufftResult;
#define CUFFT_XT_FORMAT_INPUT 0
#define CUFFT_XT_FORMAT_OUTPUT 1
#define CUFFT_XT_FORMAT_INPLACE 2
#define CUFFT_XT_FORMAT_INPLACE_SHUFFLED 3
#define CUFFT_XT_FORMAT_1D_INPUT_SHUFFLED 4
#define CUFFT_COPY_HOST_TO_DEVICE 0
#define CUFFT_COPY_DEVICE_TO_HOST 1
#define CUFFT_COPY_DEVICE_TO_DEVICE 2
#define MAX_CUDA_DESCRIPTOR_GPUS 64
typedef struct {
    int version; int nGPUs; int GPUs[64]; void* data[64]; size_t size[64]; void* cudaXtState;
} cudaXtDesc;
typedef struct {
    int version; cudaXtDesc* descriptor; int library; int subFormat; void* libDescriptor;
} cudaLibXtDesc;
#define XtArrayDesc cudaXtDesc
#define XtArray cudaLibXtDesc
#define XtSubFormat int
#define XtCopyType int
#define Complex cufftComplex
#define DoubleComplex cufftDoubleComplex
""",
}
AFTER = {
    "cufft": "#undef XtArrayDesc\n#undef XtArray\n#undef XtSubFormat\n#undef XtCopyType\n"
    "#undef Complex\n#undef DoubleComplex",
}


def main() -> None:
    root, out = Path(sys.argv[1]), Path(sys.argv[2])
    done = set(Path(sys.argv[3]).read_text().split()) if len(sys.argv) > 3 else set()
    out.mkdir(parents=True, exist_ok=True)
    stubs = []
    for name, spec in LIBS.items():
        text, functions = header(name, spec, root)
        first, *others = spec["headers"]
        (out / first).write_text(text)
        for other in others:
            (out / other).write_text(f'#pragma once\n#include "{first}"\n')
        for function in dict.fromkeys(functions):
            if function not in done:
                stubs.append((function, spec["unsupported"]))
    (out / "curand_kernel.h").write_text(
        "#pragma once\n#include <curand.h>\n#include <sys/types.h>\n"
        "typedef struct { unsigned long long s[6]; } curandState;\n"
        "typedef struct { unsigned long long s[9]; } curandStateMRG32k3a;\n"
        "typedef struct { unsigned long long s[8]; } curandStatePhilox4_32_10_t;\n"
    )
    (out / "stubs.c").write_text(
        "extern int cuda_on_cpu_unsupported(const char *name, int status);\n"
        + "".join(
            f'int {name}(void) {{ return cuda_on_cpu_unsupported("{name}", {status}); }}\n'
            for name, status in stubs
        )
    )
    print(f"{len(stubs)} functions without an implementation")


main()
