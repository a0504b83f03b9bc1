"""A progress bar in a file or a pipe, where no line can be erased again."""

import sys
from itertools import count

import pytest

from minisrgan.progress import progress_bar


@pytest.mark.parametrize("terminal, least, most", [(True, 60, 130), (False, 2, 5)])
def test_a_bar_is_drawn_seldom_where_there_is_no_terminal(capsys, monkeypatch, terminal, least, most):
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    with progress_bar(total=60) as bar:
        clock = count(bar.start_t, 2.5)
        bar._time = lambda: next(clock)  # so that each step takes seconds
        for _ in range(60):
            bar.update()
        print("a line", file=sys.stderr)
    drawn = capsys.readouterr().err
    assert least <= drawn.count("\r" if terminal else "\n") <= most
    assert terminal or ("a line" in drawn.splitlines() and "\r" not in drawn)
