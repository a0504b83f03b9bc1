"""Kernels: what a launch refuses, what is compiled when, and where it is kept. The kernels themselves are toys."""

import ctypes
import errno
import functools
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

from minisrgan import files
from minisrgan.device import (
    PROBLEMS,
    choose_device,
    conv_mma,
    cpu,
    cuda,
    cuda_problem,
    cuts,
    geometry,
    matmul,
    pooling,
    source,
    use_device,
)
from minisrgan.device import conv as conv_kernels
from minisrgan.device import launch as launching
from minisrgan.device.convolution import PLAIN
from minisrgan.device.convolution import geometry as geometry_of
from minisrgan.device.precision import PRECISIONS
from minisrgan.device.register import kernel
from minisrgan.errors import DeviceError, KernelError
from minisrgan.studies import resources
from minisrgan.tensor import Op, Tensor

REAL_FOLDER = source.FOLDER
TOY = """\
// A comment, with extern "C" __global__ void not_a_kernel(int n) {
__device__ real plus(real x, real y) { return x + y; }

extern "C" __global__ void __launch_bounds__(64 * (2 + 2))
add(const real *__restrict__ x /*[n]*/, const real *z /*[n]*/,  // z may be null
    real *y /*[n]*/, int n) {
    FOR_EACH(i, n) y[i] = plus(x[i], z ? z[i] : 0);
}

#ifndef TIMES
#define TIMES 1
#endif
extern "C" __global__ void scale(const real *x /*[(n + 1) / 2 * 2]*/, real *y, int n, real factor, unsigned twice) {
    FOR_EACH(i, n) y[i] = TIMES * factor * x[i] * (twice ? 2 : 1);
}

struct Size {
    int rows, columns;
    int factor;
};
struct Other { int more; };
extern "C" __global__ void enlarge(const real *x /*[rows*columns]*/, real *y /*[rows*columns+n]*/, Size size, int n,
                                   const Other other) {
    FOR_EACH(i, size.rows * size.columns) y[i] = size.factor * x[i] + other.more;
}

extern "C" __global__ void pick(const int *which, const float *x, unsigned char *y, int n, double limit)
{
    FOR_EACH(i, n) y[i] = x[which[i]] > limit;
}
"""


class Size(NamedTuple):
    rows: int
    columns: int
    factor: int


class Turned(NamedTuple):
    columns: int
    rows: int
    factor: int


class Other(NamedTuple):
    more: int


needs_compiler = pytest.mark.skipif(cpu.find_compiler() is None, reason=cpu.NO_COMPILER)


def forget(monkeypatch, *names):
    """Let a test start, and end, without what these functions have cached."""
    for name in names:
        (module,) = [each for each in (cpu, cuda, files, launching) if name in vars(each)]
        monkeypatch.setattr(module, name, functools.cache(getattr(module, name).__wrapped__))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A kernel folder with toy.cu, and an empty cache."""
    folder = tmp_path / "kernels"
    shutil.copytree(REAL_FOLDER / "cpu", folder / "cpu")
    shutil.copy(REAL_FOLDER / "common.cuh", folder)
    (folder / "toy.cu").write_text(TOY)
    monkeypatch.setattr(source, "FOLDER", folder)
    monkeypatch.setenv("MINISRGAN_CACHE", str(tmp_path / "cache"))
    forget(monkeypatch, "find_kernel", "signatures", "cpu_library", "cuda_module", "private_folder", "warn_once")
    return folder


def ones(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


def launch(name, *args, grid=2, block=1, **options):
    launching.launch("toy.cu", name, grid, block, *args, **options)


# ---- Launching ---------------------------------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 63, 1000, 100_000])
def test_a_kernel_runs_in_its_arrays_type(folder, dtype, n):
    rng = np.random.default_rng(0)
    x, z = rng.standard_normal((2, n)).astype(dtype)
    y = np.full(n, np.nan, dtype)
    launch("add", cuts.contiguous(x), cuts.contiguous(z), y, n, grid=cuts.elementwise_grid(n, y)[0])
    np.testing.assert_array_equal(y, x + z)


@needs_compiler
def test_null_pointers_scalars_and_other_types(folder):
    x, y = np.arange(4, dtype=np.float32), ones(4)
    launch("add", x, None, y, 4)
    np.testing.assert_array_equal(y, x)
    launch("scale", x, y, np.int64(4), 0.5, True)
    np.testing.assert_array_equal(y, x)
    launch("scale", x, y, 4, np.float32(3), 2**32 - 1)
    np.testing.assert_array_equal(y, 6 * x)
    which, above = np.array([3, 0, 1], np.int32), np.empty(3, np.uint8)
    launch("pick", which, x, above, 3, 0.5)
    np.testing.assert_array_equal(above, [1, 0, 1])


@needs_compiler
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_struct_is_passed_by_value(folder, dtype):
    x, y = np.arange(6, dtype=dtype), np.zeros(7, dtype)
    launching.launch("toy.cu", "enlarge", 2, 1, x, y, Size(2, np.int64(3), 5), 1, Other(-4))
    np.testing.assert_array_equal(y, [*(5 * x - 4), 0])


@needs_compiler
def test_defines_are_macros_of_a_library_of_their_own(folder):
    x, y = ones(4), ones(4)
    for times in (3, 5, 3):
        launch("scale", x, y, 4, 1.0, 0, TIMES=times)
        assert y[0] == times
    launch("scale", x, y, 4, 1.0, 0)
    assert y[0] == 1


@pytest.mark.parametrize("grid", [0, (3, 0), 2])
def test_nothing_is_launched_for_an_empty_batch(folder, grid, monkeypatch):
    if grid == 2:
        grid, _ = cuts.elementwise_grid(0, ones(0))
    monkeypatch.setattr(launching, "bind_cpu", None)
    launch("add", ones(0, 3), None, ones(0, 3), 0, grid=grid)


@needs_compiler
def test_empty_arrays_in_a_grid_that_is_not(folder):
    launch("add", ones(0), ones(0), ones(0), 0)


BAD = {  # name: (kernel, arguments, what the message says)
    "too few arguments": ("add", (ones(4), None, ones(4)), r"add: takes 4 arguments \(x, z, y, n\), not 3"),
    "too many": ("add", (ones(4), None, ones(4), 4, 4), "not 5"),
    "half precision": ("add", (ones(4, dtype=np.float16), None, ones(4), 4), "argument x is float16"),
    "two reals": ("add", (ones(4, dtype=np.float64), None, ones(4), 4), "argument y is float32 where x is float64"),
    "integers": ("add", (ones(4, dtype=np.int32), None, ones(4), 4), "argument x is int32"),
    "wrong integers": ("pick", (ones(4, dtype=np.int64), ones(4), ones(4, dtype=np.uint8), 4, 1), "which is int64"),
    "float is no real": ("pick", (ones(4, dtype=np.int32), ones(4, dtype=np.float64), None, 4, 1), "x is float64"),
    "byte order": ("add", (ones(4).astype(">f4"), None, ones(4), 4), "argument x is >f4"),
    "transposed": ("add", (ones(4, 3).T, None, ones(3, 4), 12), r"x is not contiguous: shape \(3, 4\)"),
    "a stride": ("add", (ones(4), None, ones(8)[::2], 4), "argument y is not contiguous"),
    "misaligned": ("add", (ones(5)[1:], None, ones(4), 4), "argument x starts at an address"),
    "repeated": ("add", (ones(4), np.broadcast_to(ones(1), 4), ones(4), 4), "argument z is not contiguous"),
    "read-only": ("add", (ones(4), None, np.frombuffer(bytes(16), np.float32), 4), "argument y is read-only"),
    "not an array": ("add", ([1.0], None, ones(4), 4), "argument x is .* where the kernel takes an array"),
    "a number": ("add", (np.float32(1), None, ones(4), 4), "argument x is"),
    "a Tensor": ("add", (Tensor(ones(4)), None, ones(4), 4), "argument x is"),
    "a wrong size": ("add", (ones(4), None, ones(5), 4), r"argument y has 5 elements \(5,\) where the kernel needs 4"),
    "a wrong count": ("add", (ones(4), None, ones(4), 5), "argument x has 4 elements"),
    "a computed size": ("scale", (ones(5), ones(5), 5, 1.0, 0), "where the kernel needs 6"),
    "no array": ("add", (None, None, None, 4), "no array"),
    "int too large": ("add", (ones(4), None, ones(4), 2**31), "argument n is 2147483648, more than an int"),
    "int too small": ("add", (ones(4), None, ones(4), -(2**31) - 1), "argument n"),
    "unsigned below zero": ("scale", (ones(4), ones(4), 4, 1.0, -1), "argument twice is -1"),
    "float for int": ("add", (ones(4), None, ones(4), 4.0), "argument n is 4.0 where the kernel takes an int"),
    "None for int": ("add", (ones(4), None, ones(4), None), "argument n is None"),
    "a tuple for a struct": (
        "enlarge",
        (ones(6), ones(7), (2, 3, 5), 1, (0,)),
        r"size is .* a Size \(rows, columns, f",
    ),
    "another struct": ("enlarge", (ones(6), ones(7), Other(1), 1, Other(0)), "argument size is Other"),
    "members in another order": (
        "enlarge",
        (ones(6), ones(7), Turned(2, 3, 5), 1, Other(0)),
        "argument size is Turned",
    ),
    "a float in a struct": ("enlarge", (ones(6), ones(7), Size(2.0, 3, 5), 1, Other(0)), "argument size.rows is 2.0"),
    "too large in a struct": (
        "enlarge",
        (ones(6), ones(7), Size(2, 3, 2**31), 1, Other(0)),
        "size.factor is 2147483648",
    ),
    "None for a struct": ("enlarge", (ones(6), ones(7), Size(2, 3, 5), 1, None), "argument other is None"),
    "a size by a struct": ("enlarge", (ones(6), ones(7), Size(2, 4, 5), 1, Other(0)), "x has 6 elements .* needs 8"),
    "array for float": ("scale", (ones(4), ones(4), 4, ones(1), 0), "argument factor is"),
    "text for float": ("scale", (ones(4), ones(4), 4, "1", 0), "argument factor is '1'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_refused_before_anything_is_compiled(folder, case, monkeypatch):
    name, args, message = BAD[case]
    monkeypatch.setattr(launching, "bind_cpu", None)
    with pytest.raises(KernelError, match=message):
        launch(name, *args)


def test_an_array_of_two_to_the_31_elements_is_refused(folder):
    huge = np.lib.stride_tricks.as_strided(ones(1), (2**31,), (4,))
    with pytest.raises(KernelError, match="argument x has 2147483648 elements"):
        launch("add", huge, None, ones(4), 4)


def test_arrays_of_two_devices_are_refused(folder, gpu):
    with pytest.raises(KernelError, match="argument y is NumPy's where x is CuPy's"):
        launch("add", gpu.array(4), None, ones(4), 4)
    with pytest.raises(KernelError, match="argument z is CuPy's where x is NumPy's"):
        launch("add", ones(4), gpu.array(4), ones(4), 4)


@needs_compiler
@pytest.mark.parametrize("grid, block", [(2, 2000), (-1, 1), (1, 0), (2**32, 1), ((1, 70000), 1), ([2], 1)])
def test_a_grid_that_cuda_does_not_have_is_refused(folder, grid, block):
    with pytest.raises(KernelError, match="add"):
        launch("add", ones(4), None, ones(4), 4, grid=grid, block=block)


@needs_compiler
def test_a_number_too_large_for_a_float_is_refused(folder):
    with pytest.raises(KernelError, match="scale"):
        launch("scale", ones(4), ones(4), 4, 1e300, 0)
    y = ones(2, dtype=np.float64)
    launch("scale", ones(2, dtype=np.float64), y, 2, 1e300, 0)
    assert y[0] == 1e300


def test_an_unknown_file_or_kernel_is_named(folder):
    with pytest.raises(KernelError, match="no_such.cu"):
        launching.launch("no_such.cu", "add", 1, 1)
    with pytest.raises(KernelError, match="toy.cu has no kernel multiply, only: add, scale, enlarge, pick"):
        launch("multiply")


@pytest.mark.parametrize(
    "parameters, message",
    [
        ("half *x", "cannot read the parameter `half"),
        ("real *x /*[m]*/, int n", "a size names m, which is no integer"),
        ("real *x /*[n]*/, Size size, int n", "a size names n, which is two integers"),
        ("real *x, Unknown size", "cannot read the parameter `Unknown size`"),
        ("real *x, Mixed size", "cannot read the parameter `Mixed size`"),
        ("real *x, Size *size", r"cannot read the parameter `Size \*size`"),
    ],
)
def test_a_signature_that_cannot_be_read_says_so(folder, parameters, message):
    structs = "struct Size { int n; };\nstruct Mixed { int n; float x; };\n"
    (folder / "toy.cu").write_text(f'{structs}extern "C" __global__ void odd({parameters}) {{}}')
    with pytest.raises(KernelError, match=message):
        launch("odd", ones(4))


def test_contiguous_copies_only_what_kernels_cannot_read():
    for given in (ones(4, 3), ones(0), np.frombuffer(bytes(16), np.float32)):
        assert cuts.contiguous(given) is given
    for given in (ones(4, 3).T, ones(9)[1:], np.broadcast_to(ones(1), 4)):
        copy = cuts.contiguous(given)
        np.testing.assert_array_equal(copy, given)
        assert copy.flags.c_contiguous and launching.address(copy) % 16 == 0


@needs_compiler
def test_a_file_includes_headers_and_messages_name_their_lines(folder):
    (folder / "inner.cuh").write_text("#define TWICE 2\n")
    (folder / "outer.cuh").write_text('// all of it\n#include "inner.cuh"\n#define FACTOR (3 * TWICE)\n')
    text = '// one\n#include "outer.cuh"\n// three\nextern "C" __global__ void fill(real *y) { y[0] = FACTOR; }\n'
    (folder / "filled.cu").write_text(text)
    launching.launch("filled.cu", "fill", 1, 1, y := np.zeros(1))
    assert y[0] == 6
    for wrong, line in ((text + "nonsense;\n", "filled.cu:5"), (text.replace("y[0]", "y[z]"), "filled.cu:4")):
        (folder / "filled.cu").write_text(wrong)
        with pytest.raises(KernelError, match=line):
            cpu.cpu_library.__wrapped__("filled.cu", "float", ())
    (folder / "filled.cu").write_text(text)
    (folder / "outer.cuh").write_text('#include "inner.cuh"\n\n#define FACTOR TWICE TWICE\nnonsense;\n')
    with pytest.raises(KernelError, match="outer.cuh:4"):
        cpu.cpu_library.__wrapped__("filled.cu", "float", ())
    (folder / "inner.cuh").unlink()
    with pytest.raises(KernelError, match="no kernel file .*inner.cuh"):
        cpu.cpu_library.__wrapped__("filled.cu", "float", ())


# ---- On a GPU, as far as it can be seen without one -----------------------------------------------------


@pytest.fixture
def gpu(monkeypatch):
    """A CuPy of cardboard: it has arrays, and writes down what would be launched."""
    cupy = ModuleType("cupy")
    launches, modules, functions = [], [], []

    class FakeArray:
        def __init__(self, size, dtype=np.float32, at=4096):
            self.size, self.shape, self.strides, self.dtype = size, (size,), (4,), np.dtype(dtype)
            self.flags, self.data = SimpleNamespace(c_contiguous=True), SimpleNamespace(ptr=at)

    FakeArray.__module__ = "cupy"

    class RawModule:
        def __init__(self, code, options):
            modules.append((code, options))

        def get_function(self, name):
            functions.append(RawKernel(name))
            return functions[-1]

    class RawKernel:
        def __init__(self, name):
            self.name, self.asked, self.most_shared = name, 0, 48 * 1024
            self.kernel = SimpleNamespace(ptr=name)

        @property
        def max_dynamic_shared_size_bytes(self):
            self.asked += 1
            return self.most_shared

        @max_dynamic_shared_size_bytes.setter
        def max_dynamic_shared_size_bytes(self, size):
            self.most_shared = size

    def launch_kernel(name, *sizes_and_more):
        *sizes, shared, stream, table, extra = sizes_and_more
        assert (stream, extra) == (7, 0)
        slots = launching.signatures("toy.cu")[name].parameters
        addresses = (ctypes.c_void_p * len(slots)).from_address(table)
        assert len(set(addresses)) == len(slots)
        launches.append((name, sizes, shared, [ctypes.string_at(each, 12) for each in addresses]))

    cupy.RawModule = RawModule
    cupy.cuda = SimpleNamespace(
        compiler=SimpleNamespace(CompileException=ZeroDivisionError),
        driver=SimpleNamespace(CUDADriverError=ZeroDivisionError, launchKernel=launch_kernel),
        get_current_stream=lambda: SimpleNamespace(ptr=7),
    )
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    return SimpleNamespace(array=FakeArray, launches=launches, modules=modules, functions=functions)


def test_a_launch_on_the_gpu_has_values_of_the_kernels_types(folder, gpu):
    x, y = gpu.array(4, np.float64, at=512), gpu.array(4, np.float64)
    launch("scale", x, y, 4, 2, 1, grid=(3, 2), block=64, shared=100_000, TIMES=7)
    ((name, sizes, shared, args),) = gpu.launches
    assert (name, sizes, shared) == ("scale", [3, 2, 1, 64, 1, 1], 100_000)
    for content, form, value in zip(args, ("Q", "Q", "i", "d", "I"), (512, 4096, 4, 2.0, 1)):
        assert content.startswith(struct.pack(form, value))
    launch("add", gpu.array(4), None, gpu.array(4), 4)
    assert gpu.launches[1][3][1].startswith(bytes(8))
    launch("enlarge", gpu.array(6), gpu.array(7), Size(2, 3, 5), 1, Other(-4))
    _, _, of, n, other = gpu.launches[2][3]
    assert of == struct.pack("3i", 2, 3, 5) and n.startswith(struct.pack("i", 1))
    assert other.startswith(struct.pack("i", -4))
    (code, options), (_, others) = gpu.modules
    assert "FOR_EACH" in code and f'#line 1 "{folder / "toy.cu"}"' in code
    assert options == ("-std=c++17", "-Dreal=double", "-DTIMES=7") and "-Dreal=float" in others
    assert cuts.elementwise_grid(1000, x) == (4, 256)


def test_the_driver_is_asked_for_shared_memory_once(folder, gpu):
    for _ in range(3):
        launch("add", gpu.array(4), None, gpu.array(4), 4, shared=100_000)
    assert [(each.asked, each.most_shared) for each in gpu.functions] == [(1, 100_000)]


# ---- Launches like one before ------------------------------------------------------------------------------


@needs_compiler
def test_a_launch_like_one_before_is_not_checked_again_and_has_its_own_arrays_and_floats(folder, monkeypatch):
    checked = []
    check = launching.Kernel.check
    monkeypatch.setattr(launching.Kernel, "check", lambda *args: checked.append(args) or check(*args))
    for factor in (2.0, 3.0, np.float32(5)):
        x, y = np.arange(4, dtype=np.float32), ones(4)
        launch("scale", x, y, 4, factor, 0)
        np.testing.assert_array_equal(y, factor * x)
    assert len(checked) == 2  # float and np.float32
    launch("scale", x, y, 4, 2.0, 1)
    assert len(checked) == 3 and y[1] == 4
    launch("scale", x, y, 4, 2.0, 0, TIMES=3)
    assert len(checked) == 4 and y[1] == 6
    launch("add", x, x, y, 4)
    launch("add", x, None, y, 4)
    assert len(checked) == 6 and y[1] == 1


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_refused_after_good_ones_too(folder, case, monkeypatch):
    monkeypatch.setattr(launching, "bind_cpu", lambda *_: lambda *_: lambda moving: None)
    name, args, message = BAD[case]
    good = {
        "add": (ones(4), ones(4), ones(4), 4),
        "scale": (ones(4), ones(4), 4, 1.0, 0),
        "enlarge": (ones(6), ones(7), Size(2, 3, 5), 1, Other(0)),
        "pick": (ones(4, dtype=np.int32), ones(4), ones(4, dtype=np.uint8), 4, 1),
    }
    for _ in range(2):
        for each, arguments in good.items():
            launch(each, *arguments)
    launch("add", ones(4), None, ones(4), 4)
    if case in ("float for int", "a float in a struct"):
        return launch(name, *args)  # an equal number, of another type
    with pytest.raises(KernelError, match=message):
        launch(name, *args)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda x: setattr(x.data, "ptr", 520), "argument x starts at an address"),
        (lambda x: setattr(x.flags, "c_contiguous", False), "argument x is not contiguous"),
        (lambda x: setattr(x, "size", 5), "argument x has 5 elements"),
        (lambda x: setattr(x, "dtype", np.dtype("f8")), "argument y is float32 where x is float64"),
    ],
)
def test_an_array_that_has_changed_is_refused(folder, gpu, spoil, message):
    x, y = gpu.array(4), gpu.array(4)
    launch("add", x, None, y, 4)
    launch("add", x, None, y, 4)
    spoil(x)
    with pytest.raises(KernelError, match=message):
        launch("add", x, None, y, 4)
    assert len(gpu.launches) == 2


def test_arrays_of_two_devices_are_refused_after_good_ones(folder, gpu):
    launch("add", gpu.array(4), None, gpu.array(4), 4)
    with pytest.raises(KernelError, match="argument y is NumPy's where x is CuPy's"):
        launch("add", gpu.array(4), None, ones(4), 4)


@needs_compiler
def test_launches_of_ever_new_sizes_do_not_fill_the_memory(folder, monkeypatch):
    monkeypatch.setattr(launching, "MOST_READY", 3)
    for n in (1, 2, 3, 4, 5, 4, 1):
        launch("add", ones(n), None, y := np.zeros(n, np.float32), n)
        assert (y == 1).all()
    assert len(launching.find_kernel("toy.cu", "add").ready) == 3


@needs_compiler
def test_threads_do_not_mix_their_arguments(folder):
    def work(factor):
        x, y = ones(1000), ones(1000)
        for _ in range(200):
            launch("scale", x, y, 1000, factor, 0)
            assert (y == factor).all()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, [2.0, 3.0, 4.0, 5.0]))


@pytest.mark.skipif(cuda_problem() is not None, reason="needs an NVIDIA GPU and CuPy")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_kernel_runs_on_a_gpu(folder, dtype):
    import cupy

    x, y = cupy.arange(1000, dtype=dtype), cupy.empty(1000, dtype)
    grid, block = cuts.elementwise_grid(1000, x)
    launch("add", x, None, y, 1000, grid=grid, block=block)
    assert (y == x).all()
    launch("scale", x, y, 1000, 0.5, 1, grid=grid, block=block, shared=60_000, TIMES=3)
    assert (y == 3 * x).all()
    assert cuts.contiguous(x[::2]).flags.c_contiguous and cuts.contiguous(x) is x
    with pytest.raises(KernelError, match="argument y is not contiguous"):
        launch("add", x[:500], None, y[::2], 500)
    with pytest.raises(KernelError, match="add"):
        launch("add", x, None, y, 1000, block=2000)
    (folder / "broken.cu").write_text('extern "C" __global__ void broken(real *x) {\n    nonsense;\n}')
    with pytest.raises(KernelError, match=r"broken\.cu\(2\): error"):
        launching.launch("broken.cu", "broken", 1, 1, x)


# ---- Compiling and keeping -----------------------------------------------------------------------------

PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from minisrgan.device import launch as launching, source
source.FOLDER = Path(sys.argv[1])
y = np.ones(4, np.float32)
launching.launch("toy.cu", "scale", 1, 1, y, y, 4, 3.0, 0)
print(y[0])
"""


@pytest.fixture
def process(folder, tmp_path, monkeypatch):
    """A function that starts another process on the toy; `process.compiled()` is what was compiled until now."""
    log, compiler = tmp_path / "log", tmp_path / "cxx"
    words = " ".join(cpu.find_compiler().command[:1])
    compiler.write_text(f'#!/bin/sh\ncase "$*" in *" -o "*) echo "$*" >> {log};; esac\nexec {words} "$@"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))

    def start():
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder)], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def run(prints="3.0"):
        out, err = (child := start()).communicate(timeout=120)
        assert child.returncode == 0 and out.strip() == prints, err
        return err

    def compiled():
        lines = log.read_text().splitlines() if log.exists() else []
        return sorted(line.rsplit("/", 1)[1] for line in lines)

    return SimpleNamespace(run=run, start=start, compiled=compiled)


BOTH = ["runtime.so", "toy-float.so"]


@needs_compiler
def test_another_process_finds_what_was_compiled(process):
    process.run()
    assert process.compiled() == BOTH
    process.run()
    assert process.compiled() == BOTH


@needs_compiler
def test_an_edit_is_compiled(process, folder):
    process.run()
    header = folder / "common.cuh"
    header.write_text(header.read_text() + "#define TIMES 2\n")
    process.run(prints="6.0")
    assert process.compiled() == sorted([*BOTH, "toy-float.so"])
    with (folder / "cpu" / "cuda.h").open("a") as file:
        file.write("// a comment\n")
    process.run(prints="6.0")
    assert process.compiled() == sorted([*BOTH, "toy-float.so", *BOTH])


@needs_compiler
def test_processes_at_once_do_not_collide(process, tmp_path):
    for child in [process.start() for _ in range(3)]:
        out, err = child.communicate(timeout=120)
        assert (out.strip(), err) == ("3.0", "")
    assert sorted({path.name.rsplit("-", 2)[0] for path in (tmp_path / "cache").iterdir()}) == ["runtime", "toy-float"]
    assert all(path.suffix == ".so" for path in (tmp_path / "cache").iterdir())


@needs_compiler
@pytest.mark.parametrize("damage", [b"", b"not a library at all", "half"])
def test_a_damaged_library_is_compiled_anew(process, tmp_path, damage):
    process.run()
    for path in (tmp_path / "cache").iterdir():
        whole = path.read_bytes()
        path.unlink()
        path.write_bytes(whole[: len(whole) // 2] if damage == "half" else damage)
    process.run()
    assert process.compiled() == sorted(BOTH * 2)
    process.run()
    assert process.compiled() == sorted(BOTH * 2)


@needs_compiler
def test_the_cache_is_the_users_alone(process, tmp_path, monkeypatch):
    process.run()
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "cache").iterdir())
    monkeypatch.delenv("MINISRGAN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "minisrgan").mkdir()
    (tmp_path / "minisrgan").chmod(0o775)  # as an earlier version may have left it
    assert files.make_cache_folder().stat().st_mode & 0o777 == 0o700


@needs_compiler
@pytest.mark.parametrize("changed, to", [
    ("folder", 0o777), ("libraries", 0o770), ("folder", "another user's"), ("libraries", "another user's")
])  # fmt: skip
def test_what_another_user_could_have_written_is_not_loaded(process, tmp_path, monkeypatch, changed, to):
    if isinstance(to, str) and os.getuid():
        pytest.skip("only root gives files away")
    monkeypatch.setenv("MINISRGAN_CXXFLAGS", "-O0")  # it is compiled the sooner
    process.run()
    for path in [tmp_path / "cache"] if changed == "folder" else (tmp_path / "cache").iterdir():
        os.chown(path, 12345, -1) if isinstance(to, str) else path.chmod(to)
    error = process.run()
    assert process.compiled() == sorted(BOTH * 2)
    assert error.count("\n") == (changed == "folder")  # where nothing can be kept
    if changed == "folder":
        assert str(tmp_path / "cache") in error and "may write there" in error


def unreadable(path):
    path.write_bytes(b"")
    path.chmod(0)


@needs_compiler
def test_strange_entries_are_passed_over(process, tmp_path, monkeypatch):
    monkeypatch.setenv("MINISRGAN_CXXFLAGS", "-O0")
    process.run()
    strange = [Path.mkdir, os.mkfifo, unreadable, lambda path: path.symlink_to("/dev/zero"), lambda p: p.symlink_to(p)]
    for path in list((tmp_path / "cache").iterdir()):
        path.unlink()
        for i, make in enumerate(strange):
            make(path.with_name(f"{path.stem}{i}.so"))
        path.mkdir()
    process.run()
    assert process.compiled() == sorted(BOTH * 2)


@needs_compiler
def test_a_link_to_a_library_is_not_followed(process, tmp_path):
    process.run()
    (tmp_path / "other").mkdir()
    for path in list((tmp_path / "cache").iterdir()):
        path.rename(tmp_path / "other" / path.name)
        path.symlink_to(tmp_path / "other" / path.name)
    process.run()
    assert process.compiled() == sorted(BOTH * 2)


@needs_compiler
def test_a_user_without_a_folder_has_one_of_the_process(folder, monkeypatch):
    for variable in ("MINISRGAN_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # as for a uid without an entry
    y = ones(4)
    launch("scale", y, y, 4, 3.0, 0)
    assert y[0] == 3 and files.cache_folder() == files.private_folder()


@needs_compiler
def test_a_cache_that_cannot_be_written_is_one_line(process, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MINISRGAN_CACHE", str(tmp_path / "file" / "cache"))
    error = process.run()
    assert error.count("\n") == 1 and str(tmp_path / "file") in error and "MINISRGAN_CACHE" in error
    if os.getuid():  # root writes anywhere
        (tmp_path / "fixed").mkdir(mode=0o555)
        monkeypatch.setenv("MINISRGAN_CACHE", str(tmp_path / "fixed"))
        assert process.run().count("\n") == 1


@needs_compiler
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(folder, tmp_path, monkeypatch, caplog):
    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    y = ones(4)
    launch("scale", y, y, 4, 3.0, 0)
    launch("scale", y, y, 4, 3.0, 0, TIMES=2)
    assert y[0] == 18
    assert [record.message.count("No space left") for record in caplog.records] == [1]
    assert not list((tmp_path / "cache").iterdir())


@needs_compiler
def test_a_compile_error_names_the_line_of_the_cu_file(folder):
    lines = TOY.splitlines()
    lines[6] = lines[6].replace("plus(", "minus(")
    (folder / "toy.cu").write_text("\n".join(lines))
    with pytest.raises(KernelError, match=r"cannot compile toy-float: .*toy\.cu:7.*minus"):
        launch("scale", ones(4), ones(4), 4, 1.0, 0)


@needs_compiler
@pytest.mark.parametrize("name", [os.fsdecode(b"caf\xe9"), 'a "b" [c] \\n'])
def test_a_folder_may_be_called_anything(folder, monkeypatch, name):
    if sys.platform == "darwin" and "\udce9" in name:
        pytest.skip("this system's names are text")
    monkeypatch.setattr(source, "FOLDER", folder.rename(folder.with_name(name)))
    launch("scale", y := ones(4), y, 4, 3.0, 0)
    assert y[0] == 3
    cpu.load("runtime", source.numbered("cpu/runtime.cpp"), [f"-I{source.FOLDER / 'cpu'}"])


@needs_compiler
def test_the_compiler_is_cxx_else_the_first_that_works(tmp_path, monkeypatch):
    monkeypatch.setattr(cpu.importlib.util, "find_spec", lambda name: None)
    working = shutil.which(cpu.find_compiler().command[0])
    stand_in(tmp_path / "g++", "echo please install me; exit 1")
    stand_in(tmp_path / "clang++", f'case "$*" in *=native*) exit 1;; *) exec {working} "$@";; esac')
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    forget(monkeypatch, "find_compiler")
    assert cpu.find_compiler().command == ["clang++"]
    monkeypatch.setenv("CXX", f"{working} -m64")
    forget(monkeypatch, "find_compiler")
    assert cpu.find_compiler().command[:2] == [working, "-m64"]


def stand_in(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def no_room(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


FAILING = {  # what is wrong: what is said of it
    "quoting": "CXX is no command",
    "flags": "MINISRGAN_CXXFLAGS is no command",
    "no room": "No space left on device; TMPDIR",
    "silent": "cannot compile runtime: it says nothing, and ends with 0",
    "failing": "cannot compile runtime: it says nothing, and ends with 3",
    "babbling": "cannot compile runtime",
}


@needs_compiler
@pytest.mark.parametrize("problem", FAILING)
def test_a_compiler_that_does_not_work_is_one_line_and_the_device_is_numpy(folder, tmp_path, monkeypatch, problem):
    working = shutil.which(cpu.find_compiler().command[0])
    ends = {"silent": "exit 0", "failing": "exit 3", "babbling": r"printf '\\377\\376 error: \\033[31m' >&2; exit 1"}
    stand_in(tmp_path / "cxx", f'case "$*" in *" -o "*) {ends.get(problem, "")};; *) exec {working} "$@";; esac')
    forget(monkeypatch, "find_compiler", "runtime")
    monkeypatch.setenv("CXX", "g++ 'unfinished" if problem == "quoting" else str(tmp_path / "cxx"))
    monkeypatch.setenv("MINISRGAN_CXXFLAGS", "-DX='" if problem == "flags" else "")
    if problem == "no room":
        monkeypatch.setattr(tempfile, "mkdtemp", no_room)
    said = cpu.cpu_problem()
    assert FAILING[problem] in said and "\n" not in said
    monkeypatch.delenv("MINISRGAN_DEVICE", raising=False)
    monkeypatch.setitem(PROBLEMS, "cuda", lambda: "no GPU")
    device, why = choose_device()
    assert device == "numpy" and said in why


def test_no_compiler_is_said_in_one_line(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(cpu.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    forget(monkeypatch, "find_compiler", "runtime")
    assert cpu.cpu_problem() == cpu.NO_COMPILER
    with pytest.raises(KernelError, match="install g"):
        launch("scale", ones(4), ones(4), 4, 1.0, 0)


# ---- Which implementation an op runs ---------------------------------------------------------------------


class Twice(Op):
    def forward(x, by=2):
        return by * x


@kernel(Twice)
def twice(x, by=2):
    return NotImplemented if by != 2 else x + x + 1000  # so that it can be told from the definition


class Plain(Op):
    def forward(x):
        return x + 1


def test_a_kernel_runs_where_there_is_one_and_the_device_has_kernels():
    x = Tensor(ones(1))
    assert Twice(x).data == 2
    with use_device("cpu"):
        assert Twice(x).data == 1002
        assert Twice(x, by=3).data == 3
        assert Plain(x).data == 2
    with use_device("numpy"):
        assert Twice(x).data == 2


# ---- What kernels take of a GPU --------------------------------------------------------------------------

LOG = """\
ptxas info    : 48 bytes gmem
ptxas info    : Compiling entry function 'second' for 'sm_90'
ptxas info    : Function properties for second
ptxas         .     312 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 124 registers, used 1 barriers, 312 bytes cumulative stack size, 12288 bytes smem
ptxas info    : Compile time = 69.178 ms
ptxas info    : Compiling entry function 'first' for 'sm_90'
ptxas info    : Function properties for first
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 32 registers, used 0 barriers, 376 bytes cmem[0]
"""


def test_the_assemblers_log_is_read():
    assert resources.parse_log(LOG) == [
        resources.Use("first", registers=32, stack=0, spills=0, shared=0),
        resources.Use("second", registers=124, stack=312, spills=20, shared=12288),
    ]


def test_no_nvrtc_is_a_clear_error():
    def load(path):
        raise OSError

    with pytest.raises(DeviceError, match="pip install"):
        resources.load_nvrtc(load)


@pytest.fixture
def nvrtc():
    try:
        return resources.load_nvrtc()
    except DeviceError as error:
        pytest.skip(str(error))


def test_a_spill_on_the_judged_gpu_is_a_failure(folder, nvrtc, monkeypatch):
    lines = []
    assert resources.print_resources(say=lines.append) == 0
    assert sum("sm_90 " in line for line in lines) == 4 and lines[-1] == "spills on sm_90: none"
    (folder / "toy.cu").write_text(
        'extern "C" __global__ void __launch_bounds__(1024, 2) greedy(const real *x, real *y, int n) {\n'
        "    real r[64] = {};\n"
        "    for (int k = 0; k < n; ++k)\n"
        "        for (int i = 0; i < 64; ++i) r[i] += x[k] * x[k + i * i];\n"
        "    for (int i = 0; i < 64; ++i) y[i] = r[i];\n}\n"
    )
    assert resources.print_resources(say=lines.append) == 1
    assert lines[-1] == "spills on sm_90: greedy"


def test_nvrtcs_errors_are_passed_on(folder, nvrtc):
    (folder / "toy.cu").write_text("\n\nint *x = 1.5;\n")
    with pytest.raises(KernelError, match=r"toy\.cu\(3\): error"):
        resources.kernel_uses(nvrtc, "toy.cu", 90, "float")
    (folder / "toy.cu").write_text(
        'extern "C" __global__ void large(real *x, int n) {\n'
        "    __shared__ real much[1 << 16];\n    much[n] = n;\n    __syncthreads();\n    *x = much[n / 2];\n}\n"
    )
    with pytest.raises(KernelError, match="large.* uses too much shared data"):
        resources.kernel_uses(nvrtc, "toy.cu", 90, "float")


VARIANTS = [(file, defines) for file in source.kernel_files() for defines in resources.variants(file)]


@pytest.mark.parametrize("file, defines", VARIANTS)
def test_every_kernel_compiles_for_every_gpu(file, defines, nvrtc):
    mma = file in geometry.FLOAT_ONLY  # these take long to compile; the precisions differ in little but registers
    few = mma and dict(defines)["PRECISION"] != 1
    for architecture in (resources.JUDGED,) if few else resources.ARCHITECTURES:
        uses = resources.kernel_uses(nvrtc, file, architecture, "float", defines)
        assert {use.kernel for use in uses} == set(launching.signatures(file))
        assert not (mma or architecture == resources.JUDGED) or not any(use.spills for use in uses)
    if mma:
        return
    uses = resources.kernel_uses(nvrtc, file, resources.JUDGED, "double", defines)
    assert not any(use.spills for use in uses)


@pytest.mark.parametrize("architecture", [80, 90, 120])
@pytest.mark.parametrize("precision, product", [(1, "HMMA.1688.F32.TF32"), (16, "HMMA.16816.F32.BF16")])
def test_tensor_cores_and_asynchronous_copies_are_in_the_machine_code(architecture, precision, product, nvrtc):
    """In each direction a slab of 128 x 128 tiles is 64 products of TF32 a warp, and half as many of bf16."""
    try:
        resources.find_disassembler()
    except DeviceError as error:
        pytest.skip(str(error))
    choice = (("PRECISION", precision), ("TILE_N", 128))
    found = resources.instructions(nvrtc, "conv_mma.cu", architecture, choice)
    assert found.keys() == set(launching.signatures("conv_mma.cu"))
    for name_of_kernel, code in found.items():
        names = [each.split()[0] for each in code]
        assert sum(name.startswith(product) for name in names) == 64 // (2 if precision == 16 else 1)
        assert any(name.startswith("LDGSTS") and "128" in name for name in names)
        assert not any(name.startswith(("LDL", "STL")) for name in names)  # no register is in memory
        if name_of_kernel != "weight_grad_mma":
            assert any(name.startswith("LDSM.16.M88.4") for name in names)


def test_what_is_launched_is_among_the_variants(monkeypatch):
    launched = set()
    for module in conv_kernels, conv_mma, matmul, pooling:
        monkeypatch.setattr(
            module, "launch", lambda file, *_, shared=0, **defines: launched.add((file, tuple(defines.items())))
        )
    x = {c: np.ones((1, 8, 8, c), np.float32) for c in (3, 8, 16, 32, 64, 128)}
    for cin, cout, side in ((3, 32, 5), (3, 64, 9), (64, 128, 5), (64, 3, 9), (32, 3, 3), (16, 8, 3)):
        w = np.ones((side, side, cin, cout), np.float32)
        conv_kernels.launch_conv(x[cin], w, np.ones((1, 8, 8, cout), np.float32), (1, 1), (side // 2,) * 2)
    for cin in (3, 64, 128):
        w = np.ones((3, 3, cin, 64), np.float32)
        conv_kernels.launch_input_gradient(np.ones((1, 4, 4, 64), np.float32), w, x[cin], (2, 2), (1, 1))
    pooling.max_pool(x[64])
    for m, k, n in ((64, 64, 64), (4, 64, 64), (64, 4, 64), (64, 64, 4)):
        of = matmul.Products(k, 1, n, 1, n, 1, m, n, k, 0, 0, 0, 1)
        matmul.multiply(None, None, np.ones((m, n), np.float32), of)
    for precision in filter(None, PRECISIONS.values()):
        for cin, cout in ((64, 128), (128, 64), (64, 32), (32, 16)):
            w, y = np.ones((3, 3, cin, cout), np.float32), np.ones((1, 8, 8, cout), np.float32)
            sizes = geometry_of(x[cin], w.shape, (8, 8), (1, 1), (1, 1))
            monkeypatch.setattr(conv_mma, "sum_parts", lambda parts: parts[0])
            conv_mma.convolve(x[cin], w, y, sizes, PLAIN, precision)
            conv_mma.input_gradient(y, w, x[cin], sizes, precision)
            conv_mma.weight_gradient(x[cin], y, sizes, precision)
    assert {file for file, _ in launched} == {"conv.cu", "conv_few.cu", "conv_mma.cu", "matmul.cu", "pooling.cu"}
    assert launched == {(file, defines) for file, defines in VARIANTS if file in {file for file, _ in launched}}


def test_a_file_without_the_line_has_one_variant(folder):
    assert resources.variants("toy.cu") == [()]
