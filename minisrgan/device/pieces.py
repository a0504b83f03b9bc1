"""Many arrays in one launch, as kernels/pieces.cuh takes them: by their addresses, and cut into pieces."""

from collections import namedtuple
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import accumulate
from typing import Any, NamedTuple

from ..arrays import Array, on_gpu
from .geometry import macros
from .launch import address, find_kernel

MOST_BLOCKS = 1024  # of a launch: blocks take what is left in turn


class Launch(NamedTuple):
    """A launch for some of the arrays."""

    arrays: Any  # the kernel's struct: addresses, sizes, numbers of first pieces
    count: int  # of arrays
    pieces: int
    grid: int


def launches(file: str, kernel: str, parameter: str, *lists: Sequence[Array]) -> Iterator[Launch]:
    """The launches in which a kernel takes all arrays. Equally long lists have arrays of the same sizes.

    parameter   the kernel's one that is the struct
    """
    layout = find_kernel(file, kernel).layout(parameter)
    struct, room = argument(layout.names), layout.counts["size"]
    piece = macros(file, on_gpu(lists[0][0]))["PIECE"]
    for start in range(0, len(lists[0]), room):
        some = [arrays[start : start + room] for arrays in lists]
        sizes = [each.size for each in some[0]]
        *first, pieces = accumulate((-(-size // piece) for size in sizes), initial=0)
        addresses = ([address(each) for each in arrays] for arrays in some)
        yield Launch(struct(*addresses, sizes, first), len(sizes), pieces, min(pieces, MOST_BLOCKS))


@cache
def argument(names: tuple[str, ...]) -> Any:
    """A NamedTuple for a struct with members of these names."""
    return namedtuple("Arrays", names)  # pyrefly: ignore[bad-class-definition]  it wants the names in the text
