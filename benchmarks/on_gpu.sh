#!/usr/bin/env bash
# Everything that needs a GPU, in one call of at most ten minutes: bash benchmarks/on_gpu.sh FOLDER
# Needs an environment with the package, its test extra, a CuPy for the driver and nvmath-python.
# Each result is in FOLDER as soon as it is there, so that a time limit loses only the rest.
# ON_GPU=short runs a little of every part, to see that the parts run. It proves and records nothing.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:?usage: on_gpu.sh FOLDER}
mkdir -p "$out"
out=$(cd "$out" && pwd)
status=0
short=""
[ "${ON_GPU:-}" = short ] && short=yes && echo "SHORT RUN: proves and records nothing" | tee "$out/SHORT"
layers=784,512,512,10 rounds=5 largest=4096
[ "$short" ] && layers=64,32,10 rounds=1 largest=64-32
export XLA_PYTHON_CLIENT_PREALLOCATE=false # or JAX takes most of the card's memory

# part SECONDS NAME COMMAND...: run it within its time, its output to NAME.txt, the end of it here
part() {
    local seconds=$1 name=$2 began=$SECONDS code
    shift 2
    timeout --kill-after=10 "$seconds" "$@" >"$out/$name.txt" 2>&1
    code=$?
    [ $code -eq 0 ] || status=1
    echo "== $name: exit code $code after $((SECONDS - began)) s" | tee -a "$out/parts.txt"
    tail -n 6 "$out/$name.txt"
}

# 1. the machine, and whether a probe computes
{
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv
    git rev-parse HEAD
    python3 -m pip list 2>/dev/null | grep -iE "^(numpy|cupy|cuda|array|torch|jax|nvmath|nvidia|bp)"
} >"$out/machine.txt" 2>&1
part 60 devices python3 -m bp_arrays devices

# 2. the known answers of the random generator
part 40 random python3 -m pytest --device cuda --require cuda -q tests/random

# 3. the evidence, and the record made of it: commit bp_arrays/testing/record.json and README.md
part 120 check python3 -m bp_arrays check --device cuda --require cuda --json "$out" \
    --html "$out/check.html" ${short:+--only linear}
if [ "$short" ]; then
    echo "== record: NOT RUN, this is a short run" | tee -a "$out/parts.txt"
else
    part 20 record python3 -m benchmarks record "$out"/check-*.json
fi

# 4. can steps be captured, and do they train the same?
part 60 capture python3 -m benchmarks capture --out "$out" ${short:+--only "relu, Adam"}

# 5. the digits on CUDA and on the CPU: the same curve within rounding
for device in cuda cpu; do
    part 25 "digits-$device" python3 -m bp_arrays train digits --device "$device" --seed 0 \
        --report "$out/digits-$device.json" ${short:+--epochs 1}
done

# 6. a user's own command, then the peers
part 30 bench python3 -m bp_arrays bench --layers "$layers" \
    --device cuda --device cpu --json "$out/bench.json"
part 130 speed python3 -m benchmarks gpu --rounds "$rounds" --out "$out" \
    ${short:+--only 64-32 --steps 20}
part 40 speed-tf32 python3 -m benchmarks gpu --tf32 --rounds "$rounds" \
    --only "$largest" ${short:+--steps 20} --out "$out"

# 7. in the time that is left, the whole test suite
left=$((580 - SECONDS))
[ "$left" -gt 20 ] && part "$left" tests python3 -m pytest --device cuda --require cuda -q \
    ${short:+tests/training/test_cuda_runner.py -k captured_steps_train}
exit "$status"
