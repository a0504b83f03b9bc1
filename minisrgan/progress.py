"""A bar on the screen that says how far something is."""

import sys
from typing import Any

from tqdm import tqdm

SELDOM = 60  # seconds


def progress_bar(*args: Any, **options: Any) -> Any:
    """tqdm's, drawn ten times a second on a terminal, and once a minute into a file or a pipe, which keeps them all."""
    apart = 0.1 if sys.stderr.isatty() else SELDOM
    return tqdm(*args, mininterval=apart, maxinterval=max(apart, 10), **options)
