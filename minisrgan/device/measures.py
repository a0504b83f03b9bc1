"""The kernels of measures.cu, on a GPU: there, a number that the host does not need at once stays where it is."""

from collections.abc import Sequence
from types import NotImplementedType

from ..arrays import Array, array_module, on_gpu
from ..measures import JUMP, LARGEST_RATIO, MEMORY, RANGE, Place, follow_ratio, moments_beyond, norm, note
from .cuts import GPU_BLOCKS, contiguous, tickets
from .geometry import macros
from .launch import address, find_kernel, launch
from .pieces import argument, launches
from .register import register

THREADS = 32  # of a note, a thread for each array


def first_on_gpu(arrays: Sequence[Array]) -> bool:
    return bool(arrays) and on_gpu(arrays[0])


@register(norm, first_on_gpu)
def length(arrays: Sequence[Array]) -> Array:
    """The length of all arrays together, as an array of one number."""
    arrays, xp = [contiguous(each) for each in arrays], array_module(arrays[0])
    if not any(each.size for each in arrays):
        return xp.zeros((), arrays[0].dtype)
    out, total = xp.empty((), arrays[0].dtype), None
    for each in launches("measures.cu", "length", "arrays", arrays):
        before, sums, total = total, xp.empty(each.pieces, "f8"), xp.empty(1, "f8")
        launch("measures.cu", "length", each.grid, None, each.arrays, before, sums, total, out, tickets(out),
               each.count, each.pieces)  # fmt: skip
    return out


@register(note, on_gpu)
def note_on_gpu(board: Array, state: Array, arrays: Sequence[Array], places: Sequence[Place], ends: bool) -> None:
    layout = find_kernel("measures.cu", "note").layout("numbers")
    room, arrays = layout.counts["at"], [each if each.flags.c_contiguous else each.copy() for each in arrays]
    for start in range(0, max(len(arrays), 1), room):
        some, there = arrays[start : start + room], places[start : start + room]
        numbers = argument(layout.names)(
            [address(each) for each in some],
            [each.size for each in some],
            [each.column for each in there],
            [int(each.checked) for each in there],
        )
        last = start + room >= len(arrays)
        launch("measures.cu", "note", 1, THREADS, numbers, board, state, len(some), ends and last, *board.shape)


@register(follow_ratio, on_gpu)
def follow_on_gpu(content: Array, length: Array, state: Array) -> Array:
    mean = array_module(content).empty((), content.dtype)
    launch("measures.cu", "follow_ratio", 1, 1, content, length, state, mean, MEMORY, JUMP, RANGE, LARGEST_RATIO)
    return mean


@register(moments_beyond, on_gpu)
def image_moments(bicubic: Array, hr: Array, sr: Array) -> tuple[Array, ...] | NotImplementedType:
    images, channels = len(sr), sr.shape[-1]
    threads = macros("measures.cu", True)["IMAGE_THREADS"]
    if not sr.size or threads % channels or 4 * channels > threads:
        return NotImplemented
    size = sr.size // images
    run = threads * max(1, -(-size * images // (GPU_BLOCKS * threads)))
    blocks, xp = -(-size // run), array_module(sr)
    out, parts = xp.empty(4, sr.dtype), xp.empty((images + 1, blocks, 4, channels), "f8")
    launch("measures.cu", "image_moments", (blocks, images + 1), threads, contiguous(bicubic), contiguous(hr),
           contiguous(sr), parts, out, tickets(out), images, size, channels, run)  # fmt: skip
    return tuple(out[i] for i in range(4))
