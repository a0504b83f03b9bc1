"""The roofs: that what measures them does what it says, and how the picture is drawn."""

import numpy as np
import pytest

from minisrgan.studies import roofline


def test_a_copy_copies_all_of_it(monkeypatch):
    copied = []
    monkeypatch.setattr(roofline.np, "copyto", lambda target, source: copied.append((target.nbytes, source.nbytes)))
    roofline.copying(4000, "numpy", threads=3)()
    assert len(copied) == 3 and sum(target for target, _ in copied) == sum(source for _, source in copied) == 4000


def test_the_roof_is_the_lower_of_the_two(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(roofline, "save_figure", lambda figure, path: figures.append(figure))
    roofs = {"copy, GB/s": 10.0, "peaks, GFLOP/s": {"tf32": 400.0, "float32": 50.0}}
    row = {
        "direction": "forward",
        "intensity": 8.0,
        "precision": "tf32",
        "gflops": {"ours": 70.0, "channels-last": 60.0},
    }
    roofline.draw_roofline(tmp_path / "r.png", "a title", roofs, [row, row | {"precision": "3xtf32"}])
    (axes,) = figures[0].axes
    for line, peak in zip(axes.lines, (400, 50)):
        x, y = line.get_data()
        np.testing.assert_allclose(y, np.minimum(peak, 10 * x))
    points = [line for line in axes.lines if len(line.get_xdata()) == 1]
    assert [point.get_ydata()[0] for point in points] == [70, 60, 70, 60]
    assert [point.get_markerfacecolor() == "none" for point in points] == [False, True, False, True]
    assert points[0].get_color() == axes.lines[0].get_color() != points[2].get_color()  # 3xtf32 has no roof of its own
    labels = axes.get_legend_handles_labels()[1]
    assert labels[0] == "tf32: 400 GFLOP/s" and "3xtf32: no roof was measured" in labels


def test_a_product_is_one():
    work = roofline.multiplying(8, "numpy")
    assert work() is not None and work()[0, 0] == pytest.approx(8e-6)
