#!/usr/bin/env bash
# What a GPU is asked on a machine that is at hand for a quarter of an hour. README.md beside this tells how to use it.
#
#     benchmarks/gpu.sh 1    is it right, and how fast? tests, gradients, speed
#     benchmarks/gpu.sh 2    a training by the clock, what it reaches, and its pictures
#     benchmarks/gpu.sh 3    if time is left: beside torch.compile, profiles, compute-sanitizer, the steps of lesson 6
#     benchmarks/gpu.sh      all of it, in this order
#
# Nothing is installed, and nothing needs a network. Each step has a time limit; one that fails stops no other. A table
# at the end has the exit code of each. It needs CuPy, pytest and what minisrgan needs, and shows speed beside PyTorch's
# and profiles only where PyTorch, ncu and compute-sanitizer are installed.
#
# PYTHON   the Python to use (python3)
# OUT      the folder for the results (benchmarks/results); in it they get a folder with the card's name and the date
# DATA     a folder of photos to learn from (data/train; if that is not there, photos that come with scikit-image)
# TEST     a folder of photos to measure on (data/test; if that is not there, two more of scikit-image)
# VGG      a file of VGG19's weights for the content loss (data/vgg19.safetensors; without it, the package's small VGG)
# MINUTES  of the two stages of the training ("2.5 0.8")
# QUICK    if it is set: toy sizes, to see that all steps run
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
PYTHON=${PYTHON:-python3}
QUICK=${QUICK:-}
MINUTES=${MINUTES:-${QUICK:+0.002 0.002}}
MINUTES=${MINUTES:-2.5 0.8}
case ${1:-all} in
    1 | 2 | 3 | all) ;;
    *) echo "benchmarks/gpu.sh takes 1, 2 or 3, or nothing for all of it" >&2; exit 2 ;;
esac
for each in DATA:data/train TEST:data/test VGG:data/vgg19.safetensors; do
    name=${each%%:*}
    [ -n "${!name:-}" ] || { [ -e "${each#*:}" ] && declare "$name=${each#*:}" || declare "$name="; }
done
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} MINISRGAN_DEVICE=cuda PYTHONUNBUFFERED=1
here() { command -v "$1" >/dev/null; }

card=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1)
[ -n "$card" ] || card=$("$PYTHON" -c 'import cupy; print(cupy.cuda.runtime.getDeviceProperties(0)["name"].decode())')
slug=$(printf %s "${card:-unknown}" | tr '[:upper:]' '[:lower:]' | tr -cs 'a-z0-9' '-' | cut -c -60)
slug=${slug#-}
results=${OUT:-benchmarks/results}/${slug%-}-$(date +%F)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$results" || exit
failed=0

# step NAME SECONDS COMMAND...: what it says goes into said.txt, its exit code and its last line into steps.txt
step() {
    local name=$1 limit=$2 began=$SECONDS code=0
    shift 2
    echo "$name: $*"
    timeout -k 10 "$limit" "$@" >"$work/said" 2>&1 </dev/null || code=$?
    local took=$((SECONDS - began)) last
    last=$(tr '\r' '\n' <"$work/said" | grep -E '^(mean |stage .* images a second)' | tail -n 1) # evaluate's mean; what a step of train costs
    [ -n "$last" ] || last=$(grep -v '^[[:space:]]*$' "$work/said" | tail -n 1 | tr -d '\r')
    {
        printf '\n======== %s: exit %d after %d s: %s\n' "$name" "$code" "$took" "$*"
        tail -c 1000000 "$work/said"
    } >>"$results/said.txt"
    printf '%-12s exit %3d %5d s of %4d   %s\n' "$name" "$code" "$took" "$limit" "${last::100}" >>"$results/steps.txt"
    [ "$code" -eq 0 ] || failed=1
}

skipped() { printf '%-12s skipped: %s\n' "$1" "$2" >>"$results/steps.txt"; }

minisrgan() { # NAME SECONDS ARGUMENTS...
    local name=$1 limit=$2
    shift 2
    step "$name" "$limit" "$PYTHON" -m minisrgan "$@"
}

# a warning of CuPy's about its surroundings is no failure here
pytest=("$PYTHON" -m pytest -q -p no:cacheprovider -W default)
quick=()
[ -z "$QUICK" ] || quick=(--quick)

is_it_right_and_how_fast() {
    local parallel=() files=()
    "$PYTHON" -c 'import xdist' 2>/dev/null && parallel=(-n 8)
    local tests=(tests/device/test_kernels*.py tests/device/test_{launch,mma,graph_on_a_gpu}.py)
    tests+=(tests/lessons/test_lesson_6_steps.py tests/test_optim.py)
    [ -z "$QUICK" ] || { parallel=() files=(adam.cu) tests=(tests/test_optim.py); }
    here nvidia-smi && step nvidia-smi 20 nvidia-smi
    minisrgan doctor 60 doctor
    step compile 120 "$PYTHON" -m minisrgan.studies.compiling "${files[@]}"
    step kernels 180 "${pytest[@]}" "${parallel[@]}" "${tests[@]}" -k "not compiles_for_every_gpu"
    minisrgan gradcheck 120 gradcheck --device cuda
    minisrgan bench 240 bench --device cuda "${quick[@]}" --out "$results/bench.json"
}

what_else() {
    minisrgan compiled 200 bench --device cuda --compiled "${quick[@]}" --out "$results/bench-compiled.json"
    if here ncu; then
        step ncu 90 ncu --set full --profile-from-start off "$PYTHON" benchmarks/three_kernels.py
    else
        skipped ncu "it is not installed"
    fi
    if here compute-sanitizer; then
        # CuPy's pool hands out parts of large pieces, beyond which compute-sanitizer sees nothing: each array its own
        export MINISRGAN_GPU_POOL=off
        step sanitizer 90 compute-sanitizer --error-exitcode 1 \
            "${pytest[@]}" -x tests/device/test_kernels_conv.py tests/device/test_kernels_conv_mma.py -k "written or empty"
        step races 60 compute-sanitizer --error-exitcode 1 --tool racecheck \
            "${pytest[@]}" -x tests/device/test_kernels_conv_mma.py -k "few_channels_by_rows and 16"
        unset MINISRGAN_GPU_POOL
    else
        skipped sanitizer "compute-sanitizer is not installed"
    fi
    step lesson-6 60 "$PYTHON" lessons/06_fast_convolution/measure.py --device cuda "${quick[@]}"
}

a_training() {
    local run=$work/training stages seconds photo settings=(--preset gpu)
    read -ra stages <<<"$MINUTES"
    seconds=$(awk '{ for (i = 1; i <= NF; ++i) sum += $i; print int(60 * sum) + 90 }' <<<"$MINUTES")
    [ -z "$QUICK" ] || settings=(--preset tiny --batch 2 --crop 32)
    [ -z "$VGG" ] || settings+=(--content vgg34 --vgg "$VGG")
    [ -z "$DATA" ] || settings+=(--data "$DATA")
    minisrgan train "$seconds" train --device cuda "${settings[@]}" --minutes "${stages[@]}" --out "$run"
    if [ -z "$TEST" ]; then
        TEST=$work/test
        mkdir "$TEST"
        "$PYTHON" -c 'from minisrgan.training.photos import HELD_OUT, packaged; print(*packaged(HELD_OUT), sep="\n")' |
            while read -r photo; do cp "$photo" "$TEST"; done
    fi
    minisrgan stage-1 60 evaluate "$TEST" --weights "$run/generator-pretrain.safetensors"
    minisrgan stage-2 60 evaluate "$TEST" --weights "$run/generator.safetensors"
    photo=$(find "$TEST" -maxdepth 1 -type f | sort | tail -n 1)
    minisrgan upscale 60 upscale "$photo" -o "$run/upscaled.png" --weights "$run/generator.safetensors"
    for each in generator generator-pretrain; do
        minisrgan "pack ${each#generator-}" 20 pack "$run/$each.safetensors" -o "$run/half/$each.safetensors" --note "${card:-unknown}, $MINUTES minutes"
    done
    step log 30 "$PYTHON" -c '
import sys
from minisrgan.training.report import write_csv
from minisrgan.training.run import COLUMNS, Run
write_csv(sys.argv[2], COLUMNS, ([row[name] for name in COLUMNS] for row in Run(sys.argv[1]).rows(2000)))' "$run" "$run/half/log.csv"
    mv "$run/half/generator.safetensors" "$results/" 2>/dev/null
    (cd "$run" 2>/dev/null && rm -f generator*.safetensors log.csv && mv half/* . &&
        tar -czf - config.json curves.png samples upscaled.png generator-pretrain.safetensors log.csv 2>/dev/null) >"$results/training.tgz"
}

before=$(wc -l 2>/dev/null <"$results/steps.txt" || echo 0)
printf '%s, %s, %s\n' "${card:-unknown}" "$(date '+%F %T')" "$(git describe --always --dirty 2>/dev/null || echo 'no git')" >>"$results/steps.txt"
case ${1:-all} in
    1) is_it_right_and_how_fast ;;
    2) a_training ;;
    3) what_else ;;
    all) is_it_right_and_how_fast; a_training; what_else ;;
esac
echo
tail -n "+$((before + 1))" "$results/steps.txt"
echo "$results"
exit "$failed"
