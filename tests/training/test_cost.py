"""What a training says of the cost of its steps."""

import re
from types import SimpleNamespace

from minisrgan.training import cost


def test_what_is_done_besides_counts_as_no_steps(monkeypatch):
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(cost, "time", SimpleNamespace(perf_counter=lambda: now.seconds))
    steps = cost.Cost()
    for _ in range(4):
        now.seconds += 0.5
    with steps.stopped():
        now.seconds += 8
    figures = steps.figures(4, 3, "cpu", 0.01)
    said = cost.in_words("gan", 4, figures)
    assert said.startswith("stage gan: 4 steps of 500.0 ms, 6 images a second, 0.5 % of it waiting for photos; ")
    assert "; 8 of 10 s went into " in said
    assert int(re.search(r"at most ([\d,]+) MiB", said)[1].replace(",", "")) > 10
    assert list(figures) == cost.COLUMNS and figures["waiting"] == 0.5
