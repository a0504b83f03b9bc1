"""A progress bar on the screen."""

import sys
from typing import Any

from tqdm import tqdm

SELDOM = 60  # seconds


class Lines:
    """stderr where it is a file or a pipe: each drawing of the bar is a line of its own, and so is what comes next."""

    encoding = property(lambda self: sys.stderr.encoding)

    def write(self, text: str) -> None:
        if line := text.strip():
            print(line, file=sys.stderr)

    def flush(self) -> None:
        sys.stderr.flush()


def progress_bar(*args: Any, **options: Any) -> Any:
    """tqdm's bar. A terminal gets it ten times a second; a file or a pipe, which keeps every line, once a minute."""
    terminal = sys.stderr.isatty()
    interval = 0.1 if terminal else SELDOM
    file = sys.stderr if terminal else Lines()
    return tqdm(*args, mininterval=interval, maxinterval=max(interval, 10), file=file, **options)
