"""Count what each step to a fast convolution asks of a GPU. It needs no GPU.

    python lessons/06_fast_convolution/on_a_gpu/count.py

The counts are those of one tile's work, far from the edges of the image, by the real addresses of each access
(lessons/course/accesses.py). The registers are what NVRTC gives a thread, if it is installed.
"""

import functools
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2]))  # the folder of `lessons`, also where this is run by itself

from lessons.course.accesses import accesses  # noqa: E402
from minisrgan.device.convolution import Geometry  # noqa: E402
from minisrgan.errors import DeviceError  # noqa: E402
from minisrgan.studies.resources import Use, kernel_uses, load_nvrtc  # noqa: E402

CASE = Geometry(1, 8, 16, 32, 1, 1, 64, 8, 16, 1, 1, 0, 0)  # its outputs are one tile, of 128 pixels by 64 channels
X, W, Y = (1, 8, 16, 32), (1, 1, 32, 64), (1, 8, 16, 64)
UNIT = 1024  # multiply-adds: what tensor cores do in one instruction
HOPPER = 90

# Multiply-adds of a multiprocessor of an H100 in a cycle, by the units for float32, and by the tensor cores in TF32.
# (NVIDIA H100 Tensor Core GPU Architecture, 2022.) Its shared memory delivers one wavefront in a cycle.
FLOAT32, TENSOR_CORES = 128, 1024


class Step(NamedTuple):
    file: str
    kernel: str
    threads: int
    at_once: int  # multiply-adds of one instruction of a warp
    in_a_cycle: int  # and of a multiprocessor

    @property
    def path(self) -> Path:
        return (HERE / self.file).resolve()


STEPS = {
    "2 tiled": Step("../steps/2_tiled.cu", "conv_tiled", 256, 32, FLOAT32),
    "3 blocked": Step("../steps/3_blocked.cu", "conv_blocked", 64, 32, FLOAT32),
    "4 vectors": Step("../steps/4_vectors.cu", "conv_vectors", 128, 32, FLOAT32),
    "5 banks": Step("5_banks.cu", "conv_banks", 128, 32, FLOAT32),
    "6 pipelined": Step("6_pipelined.cu", "conv_pipelined", 128, 32, FLOAT32),
    "7 tensor cores": Step("7_tensor_cores.cu", "conv_tensor_cores", 128, 1024, TENSOR_CORES),
    "8 ldmatrix": Step("8_ldmatrix.cu", "conv_ldmatrix", 128, 1024, TENSOR_CORES),
    "9 split": Step("9_split.cu", "conv_split", 128, 1024, TENSOR_CORES),
}


class Counts(NamedTuple):
    """What a step does for UNIT multiply-adds."""

    read: float  # bytes of x and w, in whole sectors of 32
    loads: float  # instructions of a warp that load from shared memory
    wavefronts: float  # of shared memory, for its loads and stores: at most
    ways: int  # of the worst bank conflict: 1 for none
    multiplications: float  # instructions of a warp
    cycles: float  # of a multiprocessor, at least, for the multiplications alone


def count(step: Step) -> Counts:
    x, w, y = np.ones(X, np.float32), np.ones(W, np.float32), np.empty(Y, np.float32)
    parts = (1,) if step.kernel == "conv_split" else ()
    found = accesses(step.path, step.kernel, None, x, w, y, CASE, *parts, THREADS=step.threads)
    shared, units = found.shared(), y.size * w[..., 0].size / UNIT
    return Counts(
        sum(32 * site.pieces for argument in (0, 1) for site in found.of(argument)) / units,
        sum(site.accesses * (1 / 4 if is_ldmatrix(site) else 1) for site in shared if not site.write) / units,
        sum(site.pieces for site in shared) / units,
        max(site.ways for site in shared),
        UNIT / step.at_once,
        UNIT / step.in_a_cycle,
    )


def is_ldmatrix(site) -> bool:
    """Whether an access is one of the four that stand for an ldmatrix, where kernels/mma.cuh emulates it."""
    lines = (HERE.parents[2] / "kernels/mma.cuh").read_text(encoding="utf-8").splitlines()
    return any(site.lines.startswith(f"mma.cuh:{n} <") for n, line in enumerate(lines, 1) if "memcpy(&to[i]" in line)


@functools.cache
def use_of(step: Step) -> Use | None:
    """What a thread takes of an H100. None: NVRTC is not installed."""
    try:
        (use,) = kernel_uses(load_nvrtc(), str(step.path), HOPPER, "float", [("THREADS", step.threads)])
    except DeviceError:
        return None
    return use


def main(say=print):
    say(f"{'for 1024 multiply-adds':24}{'bytes read':>11}{'loads':>8}{'wavefronts':>12}{'ways':>6}{'multiply':>10}"
        f"{'cycles':>8}{'registers':>11}")  # fmt: skip
    for name, step in STEPS.items():
        of, use = count(step), use_of(step)
        say(f"{name:24}{of.read:11.1f}{of.loads:8.2f}{of.wavefronts:12.2f}{of.ways:6}{of.multiplications:10.0f}"
            f"{of.cycles:8.0f}{use.registers if use else '?':>11}")  # fmt: skip


if __name__ == "__main__":
    main()
