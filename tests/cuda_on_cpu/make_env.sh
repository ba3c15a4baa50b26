#!/bin/sh
# Make a Python environment in which CuPy computes on an emulated CUDA device.
#
#   sh tests/cuda_on_cpu/make_env.sh <folder of the environment>
#
# It holds bp_arrays (editable) with what the tests need, nvmath-python, CuPy and the emulated CUDA,
# but no PyTorch: one built for CUDA would take the emulated libraries for NVIDIA's. The wheels of
# CuPy and the emulated CUDA are built once, in 2 to 4 minutes, and cached by a hash of their inputs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ $# -eq 1 ] || { echo "usage: make_env.sh <folder of the environment>" >&2; exit 2; }
env=$1
python=${PYTHON:-python3}
sh "$here/requirements.sh" "$python"

inputs_hash() {
    {
        (
            cd "$here"
            find . -type f ! -path "./tests/*" ! -path "*/__pycache__/*" ! -path "*/.*_cache/*" \
                ! -name README.md ! -name make_env.sh ! -name pytest.ini -print0 |
                LC_ALL=C sort -z | xargs -0 sha256sum
        )
        "$python" -c 'import sys, sysconfig; print(sys.version, sysconfig.get_config_var("SOABI"))'
        g++ -dumpfullversion -dumpmachine
    } | sha256sum | cut -c1-16
}
install() { "$env/bin/pip" install --quiet --disable-pip-version-check "$@"; }

hash=$(inputs_hash)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/bp_arrays/cuda_on_cpu/$hash"
mkdir -p "$cache"
exec 9> "$cache/lock"
flock 9 # two calls at once: the second one waits for the build of the first
if [ ! -d "$cache/wheels" ]; then
    echo "building CuPy and the emulated CUDA, once, in $cache"
    rm -rf "$cache/work"
    PYTHON="$python" sh "$here/build.sh" "$cache/work"
    [ "$(inputs_hash)" = "$hash" ] || { echo "sources changed during the build; run it again" >&2; exit 1; }
    mv "$cache/work/wheels" "$cache/wheels"
    rm -rf "$cache/work"
fi
exec 9>&-

[ -x "$env/bin/python" ] || "$python" -m venv "$env"
if "$env/bin/python" -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("torch"))'; then
    echo "$env has PyTorch, which cannot share an environment with the emulated CUDA" >&2
    exit 1
fi
install --editable "$here/../..[test]" "nvmath-python>=1"
if [ "$(cat "$env/cuda_on_cpu.hash" 2>/dev/null)" != "$hash" ]; then
    install "$cache"/wheels/*.whl
    install --force-reinstall --no-deps "$cache"/wheels/*.whl # another build of the same version
    echo "$hash" > "$env/cuda_on_cpu.hash"
fi
"$env/bin/python" -c "
import cupy
name = cupy.cuda.runtime.getDeviceProperties(0)['name'].decode()
print(f'CuPy {cupy.__version__} on {name!r}: 0 + 1 + ... + 9 = {int(cupy.arange(10).sum())}')
"
