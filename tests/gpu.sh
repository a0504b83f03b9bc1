#!/usr/bin/env bash
# What a GPU is to be asked first, on a machine that has one, with CuPy: tests, gradients, speed, compute-sanitizer.
#
# Nothing is installed, and nothing needs a network. Each step has a time limit; one that fails stops no other. What
# each said lies in $OUT (runs/gpu), and the table at the end has its exit code. $PYTHON is the Python to use.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.."
OUT=${OUT:-runs/gpu}
PYTHON=${PYTHON:-python3}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} MINISRGAN_DEVICE=cuda
mkdir -p "$OUT"
failed=0

step() { # name, seconds, command...
    local name=$1 seconds=$2 began=$SECONDS code=0
    shift 2
    timeout "$seconds" "$@" >"$OUT/$name.txt" 2>&1 || code=$?
    printf '%-12s exit %3d  %4d s  %s\n' "$name" "$code" "$((SECONDS - began))" "$OUT/$name.txt" | tee -a "$OUT/steps.txt"
    [ "$code" -eq 0 ] || failed=1
}

tests=$("$PYTHON" -c 'import xdist' 2>/dev/null && echo "-n 4")
pytest="$PYTHON -m pytest -q -p no:cacheprovider"
: >"$OUT/steps.txt"
command -v nvidia-smi >/dev/null && step nvidia-smi 20 nvidia-smi
step doctor 60 "$PYTHON" -m minisrgan doctor
step kernels 180 $pytest $tests tests/device/test_kernels*.py tests/device/test_launch.py tests/lessons/test_lesson_6_steps.py tests/test_optim.py
step gradcheck 120 "$PYTHON" -m minisrgan gradcheck --device cuda
step bench 180 "$PYTHON" -m minisrgan bench --device cuda --out "$OUT/bench.json"
if command -v compute-sanitizer >/dev/null; then
    # CuPy's pool hands out parts of large pieces, beyond which compute-sanitizer sees nothing: each array its own
    MINISRGAN_GPU_POOL=off step sanitizer 180 compute-sanitizer --error-exitcode 1 \
        $pytest -x tests/device/test_kernels_conv.py -k "written or empty"
fi
exit "$failed"
