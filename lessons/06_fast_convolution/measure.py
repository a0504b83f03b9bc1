"""Measure the steps to a fast convolution, what comes after them, and the roofs of one core above them.

    python measure.py                     a table of all steps on this machine; --device cuda for a GPU
    MINISRGAN_THREADS=1 OMP_NUM_THREADS=1 python measure.py --out ../../benchmarks/results/roofline-my-machine.json
                                          the same on one core, with its roofs: the lesson's roofline

STEPS, ON_A_GPU and AFTER have a function (x, w, stride, padding) -> y for each row of the table: convolutions of
contiguous arrays, as Conv2d's, with (rows, columns) for stride and padding. Those of ON_A_GPU take float32, and
channels that are multiples of 4. They are measured on a GPU only: on a CPU tensor cores are emulated.

On one core the times are processor time, not wall-clock time. So other programs on the machine do not add to them,
except through the caches and the memory that all programs share.
"""

import argparse
import json
import os
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

from minisrgan.arrays import array_module, on_gpu, to_device
from minisrgan.device import blas, choose_device, use_device
from minisrgan.device.conv import MOST_BLOCKS, Winograd, geometry, launch_direct
from minisrgan.device.cuts import GPU_BLOCKS, elementwise_grid
from minisrgan.device.elementwise import sum_parts
from minisrgan.device.launch import launch
from minisrgan.errors import DeviceError, MinisrganError
from minisrgan.ops.conv import output_size
from minisrgan.studies.bench import PAPER, QUICK, convolution_shapes, synchronizer
from minisrgan.studies.machine import describe_machine

HERE = Path(__file__).resolve().parent
ROOFS = HERE / "roofs.cu"
SIZES = {"L1": 16 << 10, "L2": 256 << 10, "memory": 512 << 20}  # bytes: sizes that fit this cache, or no cache


# ---- The steps -----------------------------------------------------------------------------------------


def output_of(x, w, stride, padding):
    size = [output_size(*axis) for axis in zip(x.shape[1:3], w.shape[:2], stride, padding)]
    return array_module(x).empty((len(x), *size, w.shape[3]), x.dtype)


def launch_step(file, kernel, threads, x, w, stride, padding):
    """The convolution by a kernel of steps/. `threads`: of a block on a CPU and on a GPU; None: any number is right."""
    y = output_of(x, w, stride, padding)
    if threads is None:
        (grid, block), macros = elementwise_grid(y.size, y), {}
    else:
        grid, block, macros = min(-(-y.size // 4096), MOST_BLOCKS), None, {"THREADS": threads[on_gpu(x)]}
    sizes = geometry(x, w.shape, y.shape[1:3], stride, padding)
    launch(HERE / "steps" / file, kernel, grid, block, x, w, y, sizes, **macros)
    return y


STEPS = {
    "1 direct": partial(launch_step, "1_direct.cu", "conv_direct", None),
    "2 tiled": partial(launch_step, "2_tiled.cu", "conv_tiled", (256, 256)),
    "3 blocked": partial(launch_step, "3_blocked.cu", "conv_blocked", (64, 64)),
    "4 vectors": partial(launch_step, "4_vectors.cu", "conv_vectors", (32, 128)),
}


def launch_on_a_gpu(file, kernel, x, w, stride, padding, parts=None):
    """The convolution by a kernel of on_a_gpu/. `parts`: into how many the depth is cut, if the kernel can do that."""
    y = output_of(x, w, stride, padding)
    sizes, tiles = geometry(x, w.shape, y.shape[1:3], stride, padding), gpu_tiles(y)
    sums = y if parts is None else array_module(x).empty((parts, *y.shape), x.dtype)
    launch(HERE / "on_a_gpu" / file, kernel, min(tiles * (parts or 1), MOST_BLOCKS), None, x, w, sums, sizes,
           *(() if parts is None else (parts,)), THREADS=128)  # fmt: skip
    return y if parts is None else sum_parts(sums)


def gpu_tiles(y):
    return -(-y.size // y.shape[3] // 128) * -(-y.shape[3] // 64)


def split(x, w, stride, padding):
    """Step 9, cut into so many parts that about two blocks run on each multiprocessor of an H100."""
    slabs = w.shape[0] * w.shape[1] * -(-w.shape[2] // 16)
    parts = max(min(GPU_BLOCKS // max(gpu_tiles(output_of(x, w, stride, padding)), 1), slabs // 8), 1)
    return launch_on_a_gpu("9_split.cu", "conv_split", x, w, stride, padding, parts)


ON_A_GPU = {
    "5 banks": partial(launch_on_a_gpu, "5_banks.cu", "conv_banks"),
    "6 pipelined": partial(launch_on_a_gpu, "6_pipelined.cu", "conv_pipelined"),
    "7 tensor cores": partial(launch_on_a_gpu, "7_tensor_cores.cu", "conv_tensor_cores"),
    "8 ldmatrix": partial(launch_on_a_gpu, "8_ldmatrix.cu", "conv_ldmatrix"),
    "9 split": split,
}


# ---- Beside them: what training uses, and NumPy's BLAS ------------------------------------------------


def direct(x, w, stride, padding):
    y = output_of(x, w, stride, padding)
    launch_direct(x, w, y, stride, padding, y.shape[1:3])
    return y


def winograd(x, w, stride, padding):
    y = output_of(x, w, stride, padding)
    Winograd(x, w.shape[3], y.shape[1:3], padding).convolve(w, y)
    return y


AFTER = {"5 conv.cu": direct, "  winograd.cu": winograd, "  definition": blas.conv2d}  # in blocks, as on NumPy


# ---- Measuring -----------------------------------------------------------------------------------------


def one_core(device):
    return device == "cpu" and os.environ.get("MINISRGAN_THREADS") == os.environ.get("OMP_NUM_THREADS") == "1"


def best(work, device="cpu", rounds=7, burst=0.1):
    """The least time of a call, over `rounds` rounds of about `burst` seconds each."""
    clock, wait = time.process_time if one_core(device) else time.perf_counter, synchronizer(device)

    def seconds(calls):
        wait()
        begin = clock()
        for _ in range(calls):
            work()
        wait()
        return (clock() - begin) / calls

    work()  # compiles it
    calls = max(1, int(burst / (seconds(1) + 1e-9)))
    return min(seconds(calls) for _ in range(rounds))


def rows(device, shape):
    """What is measured on a device, for a convolution of that shape: {name: function}."""
    on_a_gpu = ON_A_GPU if device == "cuda" and shape.cin % 4 == 0 == shape.cout % 4 else {}
    return STEPS | on_a_gpu | AFTER


def measure_steps(device, quick=False, say=print):
    """Measure all rows on the trunk of the paper's G, print a table through `say`, and return {name: GFLOP/s}.

    GFLOP/s counts the operations of the definition, however many the algorithm really makes.
    """
    if device == "numpy":
        raise DeviceError("the steps are kernels, and device 'numpy' runs none: use cpu or cuda")
    sizes = QUICK if quick else PAPER
    shape = convolution_shapes(sizes)[1]
    x, w = (to_device(array, device) for array in (shape.image(), shape.weight()))
    at, padding = (shape.stride, shape.stride), (shape.padding, shape.padding)
    machine = describe_machine(device)
    say(f"{machine['processor']}, device {device}, {machine['threads']} CPU threads, float32")
    say(f"{shape}, batch {shape.n}: the best of {sizes.rounds} rounds")
    with use_device(device):
        works = {name: partial(step, x, w, at, padding) for name, step in rows(device, shape).items()}
        times = {name: best(work, device, sizes.rounds, sizes.burst) for name, work in works.items()}
    speeds = {name: shape.operations / seconds / 1e9 for name, seconds in times.items()}
    say(f"\n{'':16}{'ms':>10}{'GFLOP/s':>10}{'of the fastest':>16}")
    for name, speed in speeds.items():
        say(f"{name:16}{1e3 * times[name]:10.2f}{speed:10.1f}{speed / max(speeds.values()):15.1%}")
    return speeds


def measure_roofs():
    """The most that one core can do. roofs.cu has the kernels."""
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


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Measure the steps to a fast convolution.")
    parser.add_argument("--device", help="cpu or cuda; by default the best that works")
    parser.add_argument("--quick", action="store_true", help="small sizes, once: to see that it works")
    parser.add_argument("--out", metavar="FILE", help="measure the roofs of one core too, and write all to a JSON file")
    args = parser.parse_args(arguments)
    try:
        device, _ = choose_device(args.device)
        if args.out and not one_core(device):
            raise DeviceError(
                "the roofs are one core's: set MINISRGAN_THREADS=1 and OMP_NUM_THREADS=1 for --device cpu"
            )
        speeds = measure_steps(device, args.quick)
    except MinisrganError as error:
        print(error, file=sys.stderr)
        return 2
    if args.out:
        shape = convolution_shapes(QUICK if args.quick else PAPER)[1]
        result = {
            "machine": describe_machine(device),
            "how": f"one core, float32; the least processor time of several rounds; {shape}, batch {shape.n}",
            "roofs": measure_roofs(),
            "steps, GFLOP/s": {name.strip(): speed for name, speed in speeds.items()},
        }
        Path(args.out).write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
