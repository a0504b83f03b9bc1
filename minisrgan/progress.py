"""A progress bar on the screen."""

import sys
from typing import Any

from tqdm import tqdm

SELDOM = 60  # seconds


def progress_bar(*args: Any, **options: Any) -> Any:
    """tqdm's bar. A terminal gets it ten times a second; a file or a pipe, which keeps every line, once a minute."""
    interval = 0.1 if sys.stderr.isatty() else SELDOM
    return tqdm(*args, mininterval=interval, maxinterval=max(interval, 10), **options)
