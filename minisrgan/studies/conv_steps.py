"""`minisrgan bench --steps`: how fast each step of kernels/conv_steps.cu is, and what comes after them.

STEPS has a function (x, w, stride, padding) -> y for each of the kernels: convolutions of contiguous arrays, as
Conv2d's, with (rows, columns) for stride and padding.
"""

from functools import partial

from ..arrays import array_module, on_gpu, to_device
from ..device import use_device
from ..device.conv import GRID, Winograd, launch_direct
from ..device.cuts import elementwise_grid
from ..device.geometry import macros
from ..device.launch import launch
from ..errors import DeviceError
from ..ops import Conv2d
from ..ops.conv import output_size
from .bench import PAPER, PRECISION, QUICK, convolution_shapes, describe_machine, synchronizer, take_turns


def output_of(x, w, stride, padding):
    size = [output_size(*axis) for axis in zip(x.shape[1:3], w.shape[:2], stride, padding)]
    return array_module(x).empty((len(x), *size, w.shape[3]), x.dtype)


def launch_step(name, x, w, stride, padding, side=None, element_wise=False):
    """The convolution by a kernel of conv_steps.cu, on blocks of THREADS, or of side × side: the name of that macro."""
    y, (kh, kw, _, cout) = output_of(x, w, stride, padding), w.shape
    block = macros("conv_steps.cu", on_gpu(x))[side] ** 2 if side else None
    grid, block = elementwise_grid(y.size, y) if element_wise else (min(-(-y.size // 4096), GRID), block)
    launch("conv_steps.cu", name, grid, block, x, w, y, *x.shape, kh, kw, cout, *y.shape[1:3], *stride, *padding)
    return y


def step1(x, w, stride, padding):
    return launch_step("conv_step1_direct", x, w, stride, padding, element_wise=True)


def step2(x, w, stride, padding):
    return launch_step("conv_step2_tiled", x, w, stride, padding, "TILE")


def step3(x, w, stride, padding):
    return launch_step("conv_step3_blocked", x, w, stride, padding, "SIDE")


def step4(x, w, stride, padding):
    return launch_step("conv_step4_vectors", x, w, stride, padding)


STEPS = {"1 direct": step1, "2 tiled": step2, "3 blocked": step3, "4 vectors": step4}


# ---- Beside them: what training uses, and the definition ------------------------------------------------


def direct(x, w, stride, padding):
    y = output_of(x, w, stride, padding)
    launch_direct(x, w, y, stride, padding, y.shape[1:3])
    return y


def winograd(x, w, stride, padding):
    y = output_of(x, w, stride, padding)
    Winograd(x, w.shape[3], y.shape[1:3], padding).convolve(w, y)
    return y


AFTER = {"5 conv.cu": direct, "  winograd.cu": winograd, "  definition": Conv2d.forward}


def bench_steps(device, quick=False, say=print):
    """Measure them on G's trunk, print a table through `say`, and return {name: GFLOP/s}."""
    if device == "numpy":
        raise DeviceError("the steps are kernels, and device 'numpy' runs none: use cpu or cuda")
    sizes = QUICK if quick else PAPER
    shape = convolution_shapes(sizes)[1]
    x, w = (to_device(array, device) for array in (shape.image(), shape.weight()))
    at, padding = (shape.stride, shape.stride), (shape.padding, shape.padding)
    with use_device(device):
        machine = describe_machine(device)
        say(f"{machine['processor']}, device {device}, {machine['threads']} CPU threads, {PRECISION}")
        say(f"{shape}, batch {shape.n}: the best of {sizes.rounds} rounds")
        works = {name: partial(step, x, w, at, padding) for name, step in (STEPS | AFTER).items()}
        times = take_turns(works, sizes, synchronizer(device))
    gflops = {name: shape.operations / min(each) / 1e9 for name, each in times.items()}
    say(f"\n{'':16}{'ms':>10}{'GFLOP/s':>10}{'of the fastest':>16}")
    for name, speed in gflops.items():
        say(f"{name:16}{1e3 * min(times[name]):10.2f}{speed:10.1f}{speed / max(gflops.values()):15.1%}")
    return gflops
