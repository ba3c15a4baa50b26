#!/bin/sh
# Build the two wheels: the emulated CUDA, and the real CuPy from its sdist against it.
#
#   sh build.sh <working folder> [<CUDA 13.0 toolkit>]
#
# Needs what `requirements.sh` checks. The headers of CUDA come from PyPI, unless a toolkit is passed.
# The last two lines printed are the paths of the wheels: install both. A second run in the same
# working folder reuses what is there.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 1 ] || { echo "usage: build.sh <working folder> [<CUDA 13.0 toolkit>]" >&2; exit 2; }
python=${PYTHON:-python3}
sh "$here/requirements.sh" "$python"
mkdir -p "$1"
work=$(cd "$1" && pwd)
version=14.2.0
pip="$work/build_env/bin/pip"


if [ ! -e "$work/build_env/complete" ]; then
    "$python" -m venv --clear "$work/build_env"
    "$pip" install -q --disable-pip-version-check \
        "setuptools>=77" wheel "Cython>=3.2,<3.3" "numpy>=2.0,<2.6" "cuda-pathfinder>=1.3.4,==1.*"
    touch "$work/build_env/complete"
fi
mkdir -p "$work/downloads" "$work/wheels"

# Of NVIDIA only headers, taken out of wheels; their libraries are left in them.
if [ $# -ge 2 ]; then
    cuda=$2
else
    cuda="$work/cuda"
    if [ ! -e "$cuda/complete" ]; then
        "$pip" download -q --disable-pip-version-check --no-deps -d "$work/downloads/headers" \
            nvidia-cuda-runtime==13.0.96 nvidia-cuda-crt==13.0.88 \
            nvidia-cuda-profiler-api==13.0.85 nvidia-nvtx==13.0.85
        "$python" - "$work/downloads/headers" "$cuda" <<'END'
import sys, zipfile
from pathlib import Path

wheels, target = Path(sys.argv[1]), Path(sys.argv[2])
for wheel in wheels.glob("*.whl"):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith("nvidia/cu13/include/") and not name.endswith("/"):
                path = target / name.removeprefix("nvidia/cu13/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(name))
END
        touch "$cuda/complete"
    fi
fi
[ -e "$cuda/include/cuda_runtime.h" ] || { echo "no CUDA headers in $cuda/include" >&2; exit 2; }

if [ ! -e "$work/source/complete" ]; then
    CUPY_INSTALL_USE_STUB=1 "$pip" download -q --disable-pip-version-check --no-deps \
        --no-build-isolation --no-binary cupy -d "$work/downloads" "cupy==$version"
    mkdir -p "$work/source"
    tar -xzf "$work/downloads/cupy-$version.tar.gz" -C "$work/source" --strip-components 1
    touch "$work/source/complete"
fi
sh "$here/build_libraries.sh" "$work" "$work/source" "$cuda" "$python" > "$work/libraries.log" 2>&1 ||
    { cat "$work/libraries.log" >&2; exit 1; }

# What looks to CuPy's build like a CUDA toolkit.
root="$work/toolkit"
mkdir -p "$root/include" "$root/lib64" "$root/bin"
for f in "$cuda"/include/*; do ln -sfn "$f" "$root/include/$(basename "$f")"; done
for f in "$work"/inc/*.h; do
    rm -f "$root/include/$(basename "$f")"
    cp "$f" "$root/include/"
done
for f in "$work"/lib/lib*.so.*; do
    ln -sfn "$f" "$root/lib64/$(basename "$f")"
    ln -sfn "$f" "$root/lib64/$(basename "$f" | sed 's/\.so\..*/.so/')"
done
echo 'INPUT(-lcudart)' > "$root/lib64/libcudart_static.a"
printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$work/build_env/bin/python" "$here/nvcc_on_cpu.py" > "$root/bin/nvcc"
chmod +x "$root/bin/nvcc"

cd "$work/source"
unset LD_LIBRARY_PATH || true
flags="-O1 -g0 -w -fpermissive"
CUDA_PATH="$root" NVCC="$root/bin/nvcc" PATH="$root/bin:$PATH" CUPY_INSTALL_NO_RPATH=1 \
    CUPY_NUM_BUILD_JOBS=${CUPY_NUM_BUILD_JOBS:-$(nproc)} CFLAGS="$flags" CXXFLAGS="$flags" \
    LDFLAGS="-Wl,--no-as-needed -Wl,-s -L$root/lib64 -L$work/lib -Wl,-rpath-link,$work/lib -Wl,--allow-shlib-undefined" \
    "$work/build_env/bin/python" setup.py bdist_wheel -d "$work/wheels" > "$work/cupy_build.log" 2>&1 ||
    { tail -50 "$work/cupy_build.log" >&2; exit 1; }
rm -f "$work"/wheels/cuda_on_cpu-*.whl
"$python" "$here/pack_wheel.py" "$work" "$work/wheels" "$version"
ls "$work"/wheels/cupy-*.whl
