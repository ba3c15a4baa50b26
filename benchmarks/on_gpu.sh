#!/usr/bin/env bash
# Everything that needs a GPU, in one call: bash benchmarks/on_gpu.sh DIRECTORY
# Needs an environment with the package, its test extra and a CuPy for the driver.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:?usage: on_gpu.sh DIRECTORY}
mkdir -p "$out"
status=0

{
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv
    git rev-parse HEAD
    python3 -m pip list 2>/dev/null | grep -iE "^(numpy|cupy|array|torch|jax|bp)"
    python3 -m bp_arrays devices
} >"$out/machine.txt" 2>&1

# the evidence: check-<gpu>-<date>.json, to be committed
if timeout 300 python3 -m bp_arrays check --require cuda --json "$out" --html "$out/check.html" \
    >"$out/check.txt" 2>&1; then
    cp "$out"/check-*.json benchmarks/results/
else
    status=1
fi
tail -n 5 "$out/check.txt"

timeout 400 python3 -m pytest --device cuda --require cuda -q >"$out/tests.txt" 2>&1 || status=1
tail -n 15 "$out/tests.txt"

for device in cuda cpu; do
    timeout 60 python3 -m bp_arrays train digits --device "$device" --seed 0 \
        --report "$out/digits-$device.json" || status=1
done
exit "$status"
