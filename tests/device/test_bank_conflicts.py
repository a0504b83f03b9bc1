"""No warp meets a bank conflict in the tiles of a GPU's kernels: worked out from the addresses of its accesses."""

import numpy as np
import pytest
from kernel_helpers import both_reals, needs_cpu, needs_kernels, normal

from lessons.course.accesses import accesses
from minisrgan.device import conv_mma, geometry
from minisrgan.device.conv import Placement
from minisrgan.device.convolution import PLAIN, Geometry
from minisrgan.device.matmul import Products
from minisrgan.device.source import FOLDER
from minisrgan.errors import KernelError

pytestmark = [needs_kernels, needs_cpu]
each_width = pytest.mark.parametrize("wide", [1, 2, 4])


def conflicts(found):
    """The accesses to shared memory that meet a bank conflict. There must be some that do not."""
    sites = found.shared()
    assert sum(site.accesses for site in sites) > 100
    return [str(site) for site in sites if site.ways > 1]


def in_whole_sectors(found, argument):
    """Whether each warp reads no more of an array than it asks for."""
    return all(site.pieces * 32 <= site.accesses * 32 * site.bytes for site in found.of(argument))


def conv2d(dtype, file="conv.cu", **choice):
    x, w, y = (normal(*shape, dtype=dtype) for shape in ((1, 8, 16, 32), (3, 3, 32, 64), (1, 8, 16, 64)))
    sizes, place = Geometry(1, 8, 16, 32, 3, 3, 64, 8, 16, 1, 1, 1, 1), Placement(1, 8, 16, 1, 1, 0, 0)
    return accesses(file, "conv2d", None, x, w, None, None, None, y, sizes, place, 9 * 32, 1, **choice)


@each_width
@both_reals
def test_conv2d(dtype, wide):
    found = conv2d(dtype, WIDE=wide)
    assert not conflicts(found)
    assert in_whole_sectors(found, 0) and in_whole_sectors(found, 1) and in_whole_sectors(found, 5)


@each_width
@both_reals
def test_weight_grad(dtype, wide):
    x, g, parts = (normal(*shape, dtype=dtype) for shape in ((1, 8, 8, 32), (1, 8, 8, 64), (1, 3, 3, 32, 64)))
    sizes = Geometry(1, 8, 8, 32, 3, 3, 64, 8, 8, 1, 1, 1, 1)
    found = accesses("conv.cu", "weight_grad", None, x, g, parts, sizes, 64, 1, WIDE=wide)
    assert not conflicts(found)
    assert in_whole_sectors(found, 0) and in_whole_sectors(found, 1) and in_whole_sectors(found, 2)


@both_reals
@pytest.mark.parametrize("choice", [{}, {"SKINNY": 1}, {"NARROW": 1}], ids=str)
@pytest.mark.parametrize("turned", [False, True])
def test_matmul(turned, choice, dtype):
    """Of matrices whose rows, or whose columns, lie in memory."""
    a, b, c = (normal(*shape, dtype=dtype) for shape in ((128, 64), (64, 128), (128, 128)))
    steps = (1, 128, 1, 64) if turned else (64, 1, 128, 1)
    found = accesses("matmul.cu", "matmul", None, a, b, c, Products(*steps, 128, 1, 128, 128, 64, 0, 0, 0, 1), **choice)
    assert not conflicts(found)
    assert in_whole_sectors(found, 0) and in_whole_sectors(found, 1) and in_whole_sectors(found, 2)


@both_reals
def test_conv2d_few(dtype):
    x, w, y = (normal(*shape, dtype=dtype) for shape in ((1, 9, 40, 8), (9, 9, 8, 3), (1, 9, 40, 3)))
    sizes = Geometry(1, 9, 40, 8, 9, 9, 3, 9, 40, 1, 1, 4, 4)
    found = accesses("conv_few.cu", "conv2d_few", None, x, w, None, y, sizes, FEW=3, KH=9, KW=9)
    assert not conflicts(found)


@pytest.fixture
def on_tensor_cores(monkeypatch):
    """The accesses of the launches of conv_mma.py from here on. Each must be of one block."""
    found = []

    def launch(file, name, grid, block, *args, **options):
        assert np.prod(grid) == 1
        found.append(accesses(file, name, block, *args, **options))

    monkeypatch.setattr(conv_mma, "launch", launch)
    return found


@pytest.mark.parametrize("columns", [32, 64, 128])
def test_tensor_cores(columns, on_tensor_cores):
    """In all three directions, for each width of a tile."""
    x, w, y = normal(1, 8, 16, 16), normal(3, 3, 16, columns), normal(1, 8, 16, columns)
    conv_mma.convolve(x, w, y, Geometry(1, 8, 16, 16, 3, 3, columns, 8, 16, 1, 1, 1, 1), PLAIN, 1)
    turned = Geometry(1, 8, 16, columns, 3, 3, 16, 8, 16, 1, 1, 1, 1)
    conv_mma.input_gradient(x, normal(3, 3, columns, 16), y, turned, 1)
    x, g = normal(1, 9, 9, 32), normal(1, 8, 8, columns)
    conv_mma.weight_gradient(x, g, Geometry(1, 9, 9, 32, 2, 2, columns, 8, 8, 1, 1, 0, 0), 1)
    assert len(on_tensor_cores) == 3
    for found in on_tensor_cores:
        assert not conflicts(found)
        assert in_whole_sectors(found, 0) and in_whole_sectors(found, 1)


# ---- Would a conflict be seen? -----------------------------------------------------------------------


def changed(folder, file, old, new):
    """A copy of a kernel file in a folder, with another text in the place of `old`. It and its headers are there."""
    texts = {path.name: path.read_text() for path in FOLDER.glob("*.cu*")}
    assert sum(old in text for text in texts.values()) == 1
    for name, text in texts.items():
        (folder / name).write_text(text.replace(old, new))
    return folder / file


@pytest.mark.parametrize(
    "old, new",
    [
        ("typedef real SlabA[SLAB][TILE_M + 4]", "typedef real SlabA[SLAB][TILE_M + 8]"),
        ("Image &image, Window window, Column", "Image &image, const Window &window, Column"),
    ],
)
def test_conv2d_laid_out_in_another_way(old, new, tmp_path):
    file = changed(tmp_path, "conv.cu", old, new)
    found = conv2d(np.float32, file, **geometry.macros("conv.cu", True, WIDE=2))
    assert max(site.ways for site in found.shared()) == 2


def test_rows_for_tensor_cores_that_are_not_swizzled(tmp_path, monkeypatch):
    file = changed(tmp_path, "conv_mma.cu", "(chunk ^ (row >> 1 & 3)) * CHUNK", "chunk * CHUNK")

    def launch(_, name, grid, block, *args, shared, **choice):
        own = geometry.macros("conv_mma.cu", True, **choice)
        found.append(accesses(file, name, own["THREADS"], *args, shared=shared, **own))

    found = []
    monkeypatch.setattr(conv_mma, "launch", launch)
    x, w, y = normal(1, 8, 16, 16), normal(3, 3, 16, 32), normal(1, 8, 16, 32)
    conv_mma.convolve(x, w, y, Geometry(1, 8, 16, 16, 3, 3, 32, 8, 16, 1, 1, 1, 1), PLAIN, 1)
    assert max(site.ways for site in found[0].shared()) == 4


TOY = """
extern "C" __global__ void toy(const real *x /*[n]*/, real *y /*[n]*/, int n) {
    SHARED(real, shared, [2048]);
    for (int i = threadIdx.x; i < n; i += blockDim.x) shared[i] = x[i];
    __syncthreads();
    TAKE
}
"""


@pytest.mark.parametrize(
    "take, dtype, pieces, ways",
    [
        ("y[threadIdx.x] = shared[threadIdx.x];", np.float32, 1, 1),
        ("y[threadIdx.x] = shared[7];", np.float32, 1, 1),  # one word for all
        ("y[threadIdx.x] = shared[threadIdx.x / 4 * 8];", np.float32, 2, 2),
        ("y[threadIdx.x] = shared[2 * threadIdx.x];", np.float32, 2, 2),
        ("y[threadIdx.x] = shared[5 * threadIdx.x];", np.float32, 1, 1),
        ("y[threadIdx.x] = shared[32 * threadIdx.x];", np.float32, 32, 32),
        ("y[threadIdx.x] = shared[threadIdx.x];", np.float64, 2, 1),  # half a warp at a time
        ("y[threadIdx.x] = shared[2 * threadIdx.x];", np.float64, 4, 2),
        ("Vec<4>::load(shared + 4 * threadIdx.x).store(y + 4 * threadIdx.x);", np.float32, 4, 1),  # a quarter of one
        ("Vec<4>::load(shared + 8 * threadIdx.x).store(y + 4 * threadIdx.x);", np.float32, 8, 2),
        ("Vec<4>::load(shared + threadIdx.x % 8 * 32).store(y + 4 * threadIdx.x);", np.float32, 32, 8),
    ],
)
def test_banks(take, dtype, pieces, ways, tmp_path):
    file = tmp_path / f"{abs(hash(take))}.cu"
    file.write_text(TOY.replace("TAKE", take))
    x = np.ones(1024, dtype)
    found = accesses(file, "toy", 32, x, np.empty_like(x), 1024)
    (read,) = [site for site in found.shared() if not site.write]
    assert (read.accesses, read.pieces, read.ways) == (1, pieces, ways)
    assert read.lines == f"{file.name}:6"


def test_sectors(tmp_path):
    """Of 32 bytes: a warp that reads 32 numbers side by side needs 4 of them, one that leaves out 7 of 8 needs 32."""
    file = tmp_path / "toy.cu"
    file.write_text(TOY.replace("TAKE", "y[threadIdx.x] = x[threadIdx.x * 8] + shared[0];"))
    x = np.ones(1024, np.float32)
    found = accesses(file, "toy", 32, x, np.empty_like(x), 1024)
    assert [(site.accesses, site.pieces) for site in found.of(0)] == [(32, 128), (1, 32)]
    assert [(site.accesses, site.pieces, site.write) for site in found.of(1)] == [(1, 4, True)]


def test_atomics_are_done_and_noted(tmp_path):
    (file := tmp_path / "toy.cu").write_text(TOY.replace("TAKE", "atomicAdd(y, x[threadIdx.x]);"))
    y = np.zeros(1024, np.float32)
    found = accesses(file, "toy", 32, np.ones(1024, np.float32), y, 1024)
    assert y[0] == 32 and any(site.write and site.accesses == 1 for site in found.of(1))


def test_more_accesses_than_there_is_room_for(tmp_path):
    (file := tmp_path / "toy.cu").write_text(TOY.replace("TAKE", "y[threadIdx.x] = shared[0];"))
    x = np.ones(1024, np.float32)
    with pytest.raises(KernelError, match="toy makes 2112 accesses, and there is room for 100"):
        accesses(file, "toy", 32, x, np.empty_like(x), 1024, room=100)
