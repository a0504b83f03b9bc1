"""The steps of kernels/conv_steps.cu: each is the NumPy definition of a convolution, whatever the shape."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_helpers import DEVICE, assert_close, both_reals, needs_kernels, normal, run

from minisrgan.cli.main import main
from minisrgan.ops import Conv2d
from minisrgan.studies import bench, conv_steps
from minisrgan.studies.conv_steps import AFTER, STEPS

pytestmark = needs_kernels
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


@each_step
def test_an_empty_batch(step):
    made = run(step, normal(0, 8, 8, 4), normal(3, 3, 4, 5), stride=(1, 1), padding=(1, 1))
    assert made.shape == (0, 8, 8, 5)


@pytest.mark.parametrize("compared", AFTER.values(), ids=AFTER)
def test_what_the_steps_are_measured_beside_computes_the_same(compared):
    x, w, at = normal(2, 8, 9, 16), normal(3, 3, 16, 32), {"stride": (1, 1), "padding": (1, 1)}
    assert_close(run(compared, x, w, **at), Conv2d.forward(x, w, **at), terms=4 * w[..., 0].size)


def test_the_table_has_a_row_for_each(capsys):
    assert main(["bench", "--steps", "--quick", "--device", DEVICE]) == 0
    rows = capsys.readouterr().out.splitlines()[-len(STEPS | AFTER) :]
    for row, name in zip(rows, STEPS | AFTER):
        assert row.startswith(name)
    shares = [float(row.split()[-1].rstrip("%")) for row in rows]
    assert max(shares) == 100 and min(shares) > 0


def test_a_speed_is_that_of_the_best_round(monkeypatch):
    shape = bench.convolution_shapes(bench.QUICK)[1]
    seconds = {name: [3.0 + i, 1.0 + i, 2.0] for i, name in enumerate(STEPS | AFTER)}
    monkeypatch.setattr(conv_steps, "take_turns", lambda works, *_: {name: seconds[name] for name in works})
    said = []
    speeds = conv_steps.bench_steps(DEVICE, quick=True, say=said.append)
    assert speeds["1 direct"] == shape.operations / 1e9 and speeds["2 tiled"] == speeds["1 direct"] / 2
    assert said[-len(seconds)].endswith("100.0%") and said[1 - len(seconds)].endswith("50.0%")


def test_options_that_make_no_sense(capsys):
    assert main(["bench", "--steps", "--device", "numpy"]) == 2
    assert "numpy" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["bench", "--steps", "--out", "steps.json"])
