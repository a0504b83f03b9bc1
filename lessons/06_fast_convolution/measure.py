"""Measure the roofs of one core and the steps of kernels/conv_steps.cu below them, for the lesson's roofline.

    MINISRGAN_THREADS=1 OMP_NUM_THREADS=1 python measure.py ../../benchmarks/results/roofline-my-machine.json

The times are processor time, not wall-clock time. So other programs on the machine do not add to them, except through
the caches and the memory that all programs share.
"""

import json
import os
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

from minisrgan.device import use_device
from minisrgan.device.launch import launch
from minisrgan.studies.bench import PAPER, convolution_shapes, describe_machine
from minisrgan.studies.conv_steps import AFTER, STEPS

ROUNDS = 7
ROOFS = Path(__file__).resolve().with_name("roofs.cu")
SIZES = {"L1": 16 << 10, "L2": 256 << 10, "memory": 512 << 20}  # bytes: sizes that fit this cache, or no cache


def best(work, seconds=0.1):
    """The least processor time of a call, over ROUNDS rounds of about this many seconds each."""
    work()
    begin = time.process_time()
    work()
    calls = max(1, int(seconds / (time.process_time() - begin + 1e-9)))
    rounds = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        for _ in range(calls):
            work()
        rounds.append((time.process_time() - begin) / calls)
    return min(rounds)


def measure_roofs():
    x, out, count = np.full(64, 1e-3, np.float32), np.zeros(64, np.float32), 1_000_000
    launch(ROOFS, "many_sums", 1, 1, x, out, 1)
    lanes = int(np.count_nonzero(out))
    roofs = {
        "one sum, GFLOP/s": 2 * count / best(lambda: launch(ROOFS, "one_sum", 1, 1, x, out, count)) / 1e9,
        "vectors, GFLOP/s": 48 * lanes * count / best(lambda: launch(ROOFS, "many_sums", 1, 1, x, out, count)) / 1e9,
    }
    for name, size in SIZES.items():
        array, again = np.ones(size // 4, np.float32), max(1, (64 << 20) // size)
        seconds = best(lambda: launch(ROOFS, "read_again", 1, 1, array, out, array.size, again))  # noqa: B023
        roofs[f"{name}, GB/s"] = size * again / seconds / 1e9
    return roofs


def measure_steps():
    """{name: GFLOP/s} on the trunk of the paper's G. It counts the operations of the definition for all of them."""
    shape = convolution_shapes(PAPER)[1]
    x, w, at = shape.image(), shape.weight(), (1, 1)
    with use_device("cpu"):
        works = {name: partial(step, x, w, at, at) for name, step in (STEPS | AFTER).items()}
        return {name.strip(): shape.operations / best(work) / 1e9 for name, work in works.items()}


def main(path):
    if os.environ.get("MINISRGAN_THREADS") != "1" or os.environ.get("OMP_NUM_THREADS") != "1":
        sys.exit("set MINISRGAN_THREADS=1 and OMP_NUM_THREADS=1: these are the roofs of one core")
    machine = describe_machine("cpu")
    result = {
        "machine": machine,
        "how": f"one core, float32; the least processor time of {ROUNDS} rounds; 16 of 24×24×64 → 64 at 3×3",
        "roofs": measure_roofs(),
        "steps, GFLOP/s": measure_steps(),
    }
    Path(path).write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main(sys.argv[1])
