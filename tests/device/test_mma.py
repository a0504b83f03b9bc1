"""The instructions of mma.cuh: which lane holds which number, and how they round.

The tables here are those of the PTX ISA ("Matrix Fragments for mma.m16n8k8", "... for mma.m16n8k16 with floating point
type", "ldmatrix"), written as formulas of %laneid like there, and not taken from mma.cuh. On a CPU they hold the
emulation to it, and with MINISRGAN_DEVICE=cuda the GPU.
"""

from pathlib import Path

import numpy as np
import pytest
from kernel_helpers import DEVICE, needs_kernels

from minisrgan.arrays import to_device, to_numpy
from minisrgan.device.launch import launch
from minisrgan.device.precision import has_tensor_cores

pytestmark = [
    needs_kernels,
    pytest.mark.skipif(DEVICE == "cuda" and not has_tensor_cores(), reason="this GPU has no tensor cores for float32"),
]
PROBE = Path(__file__).with_name("probe_mma.cu")
LANES = range(32)


def group(lane):
    return lane >> 2  # groupID


def member(lane):
    return lane % 4  # threadID_in_group


TF32_A = {  # (lane, i of a_i) → (row, column) of A
    (lane, i): (group(lane) if i in (0, 2) else group(lane) + 8, member(lane) if i in (0, 1) else member(lane) + 4)
    for lane in LANES
    for i in range(4)
}
TF32_B = {(lane, i): (member(lane) if i == 0 else member(lane) + 4, group(lane)) for lane in LANES for i in range(2)}
BF16_A = {  # i counts numbers: a register has two
    (lane, i): (
        group(lane) if 0 <= i < 2 or 4 <= i < 6 else group(lane) + 8,
        member(lane) * 2 + (i & 1) + (0 if i < 4 else 8),
    )
    for lane in LANES
    for i in range(8)
}
BF16_B = {
    (lane, i): (member(lane) * 2 + (i & 1) + (0 if i < 2 else 8), group(lane)) for lane in LANES for i in range(4)
}
SUMS = {
    (lane, i): (group(lane) if i < 2 else group(lane) + 8, member(lane) * 2 + (i & 1))
    for lane in LANES
    for i in range(4)
}


def fragments(matrix, table):
    """The numbers of a matrix as a warp's lanes hold them: (32, numbers of a lane)."""
    out = np.empty((32, len(table) // 32), matrix.dtype)
    for (lane, i), place in table.items():
        out[lane, i] = matrix[place]
    return out


def whole(registers, table, shape):
    out = np.full(shape, np.nan, registers.dtype)
    for (lane, i), place in table.items():
        out[place] = registers.reshape(32, -1)[lane, i]
    return out


def run(name, *arrays):
    there = [to_device(each, DEVICE) if isinstance(each, np.ndarray) else each for each in arrays]
    launch(PROBE, name, 1, 32, *there)
    return [to_numpy(each) for each in there if not isinstance(each, int)]


def bf16(x):
    """bf16 numbers as the upper halves of float32: here they are small whole numbers, and exact."""
    return (x.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


@pytest.mark.parametrize("name, depth, a_table, b_table", [("tf32", 8, TF32_A, TF32_B), ("bf16", 16, BF16_A, BF16_B)])
def test_a_product_is_what_the_tables_say(name, depth, a_table, b_table):
    rng = np.random.default_rng(0)
    a, b, c = (rng.integers(-9, 10, shape).astype(np.float32) for shape in ((16, depth), (depth, 8), (16, 8)))
    packed = [fragments(each if name == "tf32" else bf16(each), table) for each, table in ((a, a_table), (b, b_table))]
    packed = [np.ascontiguousarray(each).view(np.uint32).ravel() for each in packed]
    *_, d = run(f"probe_{name}", *packed, fragments(c, SUMS).ravel())
    np.testing.assert_array_equal(whole(d, SUMS, (16, 8)), a @ b + c)


def test_what_tf32_does_not_look_at():
    """The lower 13 bits of a factor."""
    a, b = np.zeros((16, 8), np.float32), np.zeros((8, 8), np.float32)
    a[0, 0], b[0, 0] = np.float32(1 + 2**-11), 1
    registers = [fragments(each, table).view(np.uint32).ravel() for each, table in ((a, TF32_A), (b, TF32_B))]
    *_, d = run("probe_tf32", *registers, np.zeros(128, np.float32))
    assert whole(d, SUMS, (16, 8))[0, 0] == 1


def test_ldmatrix():
    """ldmatrix .x4: "threads 0–7 have the row addresses of matrix 0", 8–15 those of matrix 1, and so on. Of matrix i,
    lane l gets the 4 bytes number l % 4 of row l / 4 into its register i."""
    x = np.arange(128, dtype=np.float32)
    _, registers = run("probe_ldmatrix", x, np.zeros(128, np.uint32))
    rows = x.reshape(4, 8, 4)  # matrix, row, number
    wanted = [[rows[i, lane // 4, lane % 4] for i in range(4)] for lane in LANES]
    np.testing.assert_array_equal(registers.view(np.float32).reshape(32, 4), wanted)


def test_rounding():
    """TF32: to nearest, halves away from zero. bf16: to nearest, halves to even. Infinity and NaN stay."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(1000).astype(np.float32) * 10.0 ** rng.integers(-20, 20, 1000)
    halves = [1 + 2**-11, -1 - 2**-11, 1 + 2**-8, 1 + 3 * 2**-8, -1 - 3 * 2**-8, 2 - 2**-24, np.inf, -np.inf]
    x = np.concatenate([x, halves, [np.nan, 0]]).astype(np.float32)
    _, tf32, pairs = run("probe_rounding", x, np.zeros(len(x), np.uint32), np.zeros(len(x) // 2, np.uint32), len(x))
    exact = x.astype(np.float64)
    made = (tf32 & 0xFFFFE000).view(np.float32)
    step = 2.0 ** (np.floor(np.log2(np.abs(exact[:-4]))) - 10)
    away = np.sign(exact[:-4]) * np.floor(np.abs(exact[:-4]) / step + 0.5) * step
    np.testing.assert_array_equal(made[:-4], away.astype(np.float32))
    assert made[-4] == np.inf and made[-3] == -np.inf and np.isnan(made[-2]) and made[-1] == 0

    halves = pairs.view(np.uint16).astype(np.uint32) << 16
    np.testing.assert_array_equal(halves.view(np.float32)[:-4], (np.rint(exact[:-4] / step / 8) * step * 8).astype("f"))
    assert halves.view(np.float32)[-4] == np.inf and np.isnan(halves.view(np.float32)[-2])
