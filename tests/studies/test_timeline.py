"""A timeline: what is launched, in which order, for how long; and its picture."""

import numpy as np
import pytest
from PIL import Image

from minisrgan.device import launch as launching
from minisrgan.device import use_device
from minisrgan.device.cpu import cpu_problem
from minisrgan.ops import Add, ReLU
from minisrgan.optim import move_towards
from minisrgan.studies import timeline
from minisrgan.studies.timeline import Launch


@pytest.mark.skipif(cpu_problem() is not None, reason=str(cpu_problem()))
def test_every_launch_is_seen_in_its_order():
    x = timeline_input()
    with use_device("cpu"):
        ReLU(x)  # compiles
        launches = timeline.record(lambda: [ReLU(x), Add(x, x), ReLU(x)], "cpu")
        ReLU(x)
    assert [each.kernel for each in launches] == ["relu_forward", "add", "relu_forward"]
    assert launches[0].start == 0 and all(each.seconds > 0 for each in launches)
    assert all(one.start + one.seconds <= next.start for one, next in zip(launches, launches[1:]))
    assert launching.watch is None


@pytest.mark.skipif(cpu_problem() is not None, reason=str(cpu_problem()))
def test_what_is_watched_is_done_once():
    average, weights = np.zeros(5, np.float32), np.ones(5, np.float32)
    with use_device("cpu"):
        launches = timeline.record(lambda: move_towards([average], [weights], 0.25), "cpu")
    assert len(launches) == 1 and (average == 0.25).all()


def timeline_input():
    return np.ones((64, 64, 8), np.float32)


def test_the_watch_ends_with_the_work():
    def fail():
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        timeline.record(fail, "cpu")
    assert launching.watch is None


LAUNCHES = [
    Launch("b", 0.0, 0.001),
    *(Launch(f"{i:02}", 0.002 * i, 0.0005) for i in range(1, 20)),
    Launch("b", 0.05, 0.002),
]


def test_the_summary_has_the_kernel_with_the_most_time_first():
    found = timeline.summary(LAUNCHES)
    assert [*found][0] == "b" and len(found) == 20
    assert found["b"] == {"launches": 2, "ms": pytest.approx(3)}


def test_the_picture_has_a_lane_for_each_kernel_and_one_for_the_rest(tmp_path, monkeypatch):
    figures = []
    save = timeline.save_figure
    monkeypatch.setattr(timeline, "save_figure", lambda figure, path: figures.append(figure) or save(figure, path))
    timeline.draw_timeline(tmp_path / "t.png", "A step", LAUNCHES)
    (axes,) = figures[0].axes
    labels = [each.get_text() for each in axes.get_yticklabels()]
    assert labels[:2] == ["all", "b: 2 in 3.0 ms"] and labels[-1] == "others: 4 in 2.0 ms"
    assert len(labels) == timeline.LANES + 2
    assert axes.get_title().startswith("A step: 21 launches in 52.0 ms, our kernels run 24% of it")
    assert len(axes.collections) == 2 * len(LAUNCHES)
    with Image.open(tmp_path / "t.png") as picture:
        assert picture.width > 1000
