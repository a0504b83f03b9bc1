"""What is measured and tried, and not needed to train."""

from collections.abc import Callable

from .. import device  # noqa: F401  a study computes as fast as its device can, whatever else it imports

Say = Callable[[str], object]  # what takes the lines of a report: `print`, or a test's list
