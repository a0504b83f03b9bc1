"""The steps of lesson 6: each agrees with the NumPy definition of a convolution for any shape. Their measurement."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_helpers import DEVICE, assert_close, both_reals, needs_cpu, needs_kernels, normal, run

from lessons.course.document import LESSONS
from minisrgan.device.conv import Geometry
from minisrgan.device.cpu import cpu_library
from minisrgan.device.launch import launch
from minisrgan.errors import KernelError
from minisrgan.ops import Conv2d
from minisrgan.studies import bench

pytestmark = needs_kernels
FOLDER = LESSONS / "06_fast_convolution"


def script(file):
    found = importlib.util.spec_from_file_location(f"lesson_6_{Path(file).stem}", FOLDER / file)
    found.loader.exec_module(module := importlib.util.module_from_spec(found))
    return module


measure, count = script("measure.py"), script("on_a_gpu/count.py")
STEPS, ON_A_GPU, AFTER = measure.STEPS, measure.ON_A_GPU, measure.AFTER
ROWS = measure.rows(DEVICE, bench.convolution_shapes(bench.QUICK)[1])
each_step = pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)


@st.composite
def convolutions(draw):
    """(x, w, stride, padding): off every tile boundary, with more than a slab of channels and with one."""
    kh, kw = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    stride, padding = (draw(st.tuples(st.integers(low, 3), st.integers(low, 3))) for low in (1, 0))
    height, width = (draw(st.integers(max(k - 2 * p, 1), 17)) for k, p in zip((kh, kw), padding))
    cin = draw(st.sampled_from([1, 3, 8, 17, 64, 67]))
    cout = draw(st.sampled_from([1, 5, 16, 33, 64, 70]))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    x = normal(draw(st.integers(1, 3)), height, width, cin, dtype=dtype)
    return x, normal(kh, kw, cin, cout, dtype=dtype), stride, padding


@each_step
@settings(max_examples=40, deadline=None)
@given(convolutions())
def test_each_step_is_the_definition(step, case):
    x, w, stride, padding = case
    at = {"stride": stride, "padding": padding}
    assert_close(run(step, x, w, **at), Conv2d.forward(x, w, **at), terms=w[..., 0].size)


@each_step
@both_reals
@pytest.mark.parametrize("size, cin, cout", [((8, 24), 64, 64), ((7, 30), 128, 65), ((20, 21), 16, 16)])
def test_each_step_on_several_tiles(step, dtype, size, cin, cout):
    x, w = normal(2, *size, cin, dtype=dtype), normal(3, 3, cin, cout, dtype=dtype)
    at = {"stride": (1, 1), "padding": (1, 1)}
    assert_close(run(step, x, w, **at), Conv2d.forward(x, w, **at), terms=w[..., 0].size)


@pytest.mark.parametrize("name", ON_A_GPU)
@pytest.mark.parametrize("stride, padding", [((1, 1), (1, 1)), ((2, 1), (0, 2))])
@pytest.mark.parametrize("size, cin, cout", [((9, 31), 20, 68), ((16, 24), 64, 64), ((5, 3), 4, 4)])
def test_each_step_on_a_gpu_is_the_definition(name, size, cin, cout, stride, padding):
    """To the rounding of float32, and of TF32 from step 7 on: 10 bits after the point, of both factors."""
    x, w, at = normal(2, *size, cin), normal(3, 3, cin, cout), {"stride": stride, "padding": padding}
    made, wanted = run(ON_A_GPU[name], x, w, **at), Conv2d.forward(x, w, **at)
    if int(name[0]) < 7:
        assert_close(made, wanted, terms=w[..., 0].size)
    else:
        error = np.sqrt(np.mean((made - wanted) ** 2) / np.mean(wanted**2))
        assert 1e-5 < error < 2**-11


@needs_cpu
def test_the_counts_of_each_step_are_those_on_the_page():
    """But for the registers, which depend on NVRTC."""
    said = []
    count.main(said.append)
    page = (FOLDER / "on_a_gpu/README.md").read_text(encoding="utf-8")
    lines = [line.rpartition(" ")[0].rstrip() for line in said]
    assert len(lines) == 9 and all(f"\n{line}" in page for line in lines)
    assert not any(use and use.spills for use in map(count.use_of, count.STEPS.values()))


@each_step
def test_an_empty_batch(step):
    made = run(step, normal(0, 8, 8, 4), normal(3, 3, 4, 5), stride=(1, 1), padding=(1, 1))
    assert made.shape == (0, 8, 8, 5)


@pytest.mark.parametrize("compared", AFTER.values(), ids=AFTER)
def test_what_the_steps_are_measured_beside_computes_the_same(compared):
    x, w, at = normal(2, 8, 9, 16), normal(3, 3, 16, 32), {"stride": (1, 1), "padding": (1, 1)}
    assert_close(run(compared, x, w, **at), Conv2d.forward(x, w, **at), terms=4 * w[..., 0].size)


def step_on(file, kernel, block, threads):
    x, w, y = np.ones((1, 4, 4, 16)), np.ones((3, 3, 16, 16)), np.ones((1, 4, 4, 16))
    sizes = Geometry(1, 4, 4, 16, 3, 3, 16, 4, 4, 1, 1, 1, 1)
    launch(FOLDER / "steps" / file, kernel, 1, block, x, w, y, sizes, THREADS=threads)


@needs_cpu
@pytest.mark.parametrize(
    "file, kernel, threads, wrong",
    [
        ("2_tiled.cu", "conv_tiled", 256, 128),
        ("3_blocked.cu", "conv_blocked", 64, 256),
        ("4_vectors.cu", "conv_vectors", 32, 64),
    ],
)
def test_a_launch_that_is_cut_up_otherwise_is_refused(file, kernel, threads, wrong):
    step_on(file, kernel, None, threads)
    with pytest.raises(KernelError, match=rf"the launch is not what .*{file}:\d+ requires: .*blockDim.x == THREADS"):
        step_on(file, kernel, wrong, threads)


@needs_cpu
@pytest.mark.parametrize(
    "file, said",
    [
        ("2_tiled.cu", "a thread has one output of the tile"),
        ("3_blocked.cu", "a thread has one square of the tile"),
        ("4_vectors.cu", "threads beyond the last whole row"),
    ],
)
def test_what_the_compiler_can_know_it_refuses(file, said):
    with pytest.raises(KernelError, match=said):
        cpu_library(FOLDER / "steps" / file, "double", (("THREADS", 33),))


# ---- Measuring -----------------------------------------------------------------------------------------


def test_the_table_has_a_row_for_each(capsys):
    assert measure.main(["--quick", "--device", DEVICE]) == 0
    rows = capsys.readouterr().out.splitlines()[-len(ROWS) :]
    for row, name in zip(rows, ROWS):
        assert row.startswith(name)
    shares = [float(row.split()[-1].rstrip("%")) for row in rows]
    assert max(shares) == 100 and min(shares) > 0


def test_the_steps_on_a_gpu_are_measured_there_where_channels_are_multiples_of_4():
    trunk, quick = (bench.convolution_shapes(sizes)[1] for sizes in (bench.PAPER, bench.QUICK))
    assert list(measure.rows("cuda", trunk)) == [*STEPS, *ON_A_GPU, *AFTER]
    assert measure.rows("cpu", trunk) == measure.rows("cuda", quick) == STEPS | AFTER


def test_a_time_is_that_of_the_best_round(monkeypatch):
    now, durations = [0.0], iter([9.0, 3.0, 3.0, 1.0, 2.0])

    def work():
        now[0] += next(durations)

    monkeypatch.setattr(measure.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(measure.time, "process_time", lambda: now[0])
    assert measure.best(work, rounds=3) == 1.0


def test_a_speed_is_of_the_definitions_operations(monkeypatch):
    shape = bench.convolution_shapes(bench.QUICK)[1]
    seconds = iter([1.0, 2.0, *[2.0 + i for i in range(len(ROWS) - 2)]])
    monkeypatch.setattr(measure, "best", lambda *_: next(seconds))
    said = []
    speeds = measure.measure_steps(DEVICE, quick=True, say=said.append)
    assert speeds["1 direct"] == shape.operations / 1e9 and speeds["2 tiled"] == speeds["1 direct"] / 2
    assert said[-len(speeds)].endswith("100.0%") and said[1 - len(speeds)].endswith("50.0%")


@needs_cpu
def test_the_roofs_of_one_core_are_written_to_a_file(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(measure, "measure_roofs", lambda: {"one sum, GFLOP/s": 1.0})
    out = tmp_path / "roofs.json"
    for threads, status in (("2", 2), ("1", 0)):
        monkeypatch.setenv("MINISRGAN_THREADS", threads)
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        assert measure.main(["--quick", "--device", "cpu", "--out", str(out)]) == status and out.exists() == (
            not status
        )
    assert "MINISRGAN_THREADS=1" in capsys.readouterr().err
    written = json.loads(out.read_text())
    assert set(written["steps, GFLOP/s"]) == {name.strip() for name in ROWS} and written["roofs"]


def test_a_device_without_kernels_is_refused(capsys):
    assert measure.main(["--device", "numpy"]) == 2
    assert "numpy" in capsys.readouterr().err
