#!/bin/sh
# Builds the emulator's libraries. usage: build_libraries.sh <work folder> <unpacked CuPy sdist> <CUDA root> [<python>]
# Leaves them in <work folder>/lib, the headers of kernels in include, the headers for CuPy's build in inc.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$1; sdist=$2; cuda=$3; python=${4:-python3}
mkdir -p "$work/obj" "$work/lib" "$work/include" "$work/inc"
cp -r "$here"/src/device/* "$work/include/"
cp "$here"/src/headers/nvrtc.h "$work/inc/"
cxx="g++ -std=c++20 -O2 -fPIC -fvisibility=hidden -w -I$here/src/headers -I$cuda/include"
pids=""
for f in emulator cublas curand cufft nvrtc; do
    if [ ! -e "$work/obj/$f.o" ] || [ -n "$(find "$here/src" -maxdepth 1 -newer "$work/obj/$f.o" \( -name "$f.cpp" -o -name '*.h' \))" ]; then
        $cxx -c "$here/src/$f.cpp" -o "$work/obj/$f.o" & pids="$pids $!"
    fi
done
for p in $pids; do wait "$p"; done
objects="$work/obj/emulator.o $work/obj/cublas.o $work/obj/curand.o $work/obj/cufft.o"
nm --defined-only $objects | awk '$2 == "T" {print $3}' > "$work/done.txt"
"$python" "$here/gen_headers.py" "$sdist" "$work/inc" "$work/done.txt"
gcc -O1 -fPIC -w -c "$work/inc/stubs.c" -o "$work/obj/stubs.o"
g++ -shared -o "$work/lib/libcuda_on_cpu.so" -Wl,-soname,libcuda_on_cpu.so -Wl,-s $objects "$work/obj/stubs.o" -ldl -lpthread
for name in libcuda.so.1 libcudart.so.13 libcublas.so.13 libcublasLt.so.13 libnvJitLink.so.13 libcufft.so.12 libcurand.so.10 libcusparse.so.12 libcusolver.so.12; do
    gcc -shared -nostdlib -o "$work/lib/$name" -Wl,-soname,$name -Wl,--no-as-needed -L"$work/lib" -lcuda_on_cpu -Wl,-rpath,'$ORIGIN' -x c /dev/null
done
g++ -shared -o "$work/lib/libnvrtc.so.13" -Wl,-soname,libnvrtc.so.13 -Wl,-s "$work/obj/nvrtc.o" -ldl
ls -l "$work/lib"
