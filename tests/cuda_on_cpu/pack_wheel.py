"""Pack the emulator as a wheel.

usage: pack_wheel.py <working folder> <output folder> <version of CuPy>
"""

import base64
import hashlib
import sys
import zipfile
from pathlib import Path

NAME, VERSION = "cuda_on_cpu", "2.2"
METADATA = f"""Metadata-Version: 2.1
Name: {NAME}
Version: {VERSION}
Summary: CUDA 13.0 emulated on the CPU, to test what uses CuPy where there is no GPU
"""
WHEEL = """Wheel-Version: 1.0
Generator: pack_wheel
Root-Is-Purelib: false
Tag: py3-none-linux_x86_64
"""


def main() -> None:
    work, out, cupy = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    package = Path(__file__).parent / "package" / NAME
    files = {}
    for name in ("__init__.py", "_counts.py", "bin/nvcc"):
        files[f"{NAME}/{name}"] = (package / name).read_bytes()
    for path in sorted((work / "lib").glob("lib*.so*")):
        files[f"{NAME}/lib/{path.name}"] = path.read_bytes()
    for path in sorted((work / "include").rglob("*")):
        if path.is_file():
            files[f"{NAME}/{path.relative_to(work)}"] = path.read_bytes()
    files[f"{NAME}/build"] = build_name(files, cupy).encode()
    files["cuda_on_cpu.pth"] = b"import cuda_on_cpu\n"
    info = f"{NAME}-{VERSION}.dist-info"
    files[f"{info}/METADATA"] = METADATA.encode()
    files[f"{info}/WHEEL"] = WHEEL.encode()
    files[f"{info}/RECORD"] = record(files, f"{info}/RECORD").encode()
    out.mkdir(parents=True, exist_ok=True)
    wheel = out / f"{NAME}-{VERSION}-py3-none-linux_x86_64.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if "/bin/" in name else 0o100644) << 16
            archive.writestr(entry, data)
    print(wheel)


def build_name(files: dict[str, bytes], cupy: str) -> str:
    """A digest of all that compiled kernels depend on: the emulator and CuPy's headers."""
    digest = hashlib.sha256(cupy.encode())
    for name, data in files.items():
        digest.update(f"\n{name} {len(data)}\n".encode() + data)
    return digest.hexdigest()[:16]


def record(files: dict[str, bytes], own_name: str) -> str:
    """The list of the wheel's files with their digests."""
    lines = []
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(data)}")
    return "\n".join([*lines, f"{own_name},,"]) + "\n"


main()
