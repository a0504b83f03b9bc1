"""What is measured and tried, and not needed to train."""

from collections.abc import Callable

Say = Callable[[str], object]  # what takes the lines of a report: `print`, or a test's list
