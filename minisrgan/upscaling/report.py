"""A page of what `upscale` has done: each photo under the slider, bicubic against the result."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import ImageError
from ..imaging.files import load_photo
from ..imaging.patches import place_of_detail
from ..imaging.resize import resize_part
from ..imaging.transparency import over_white
from ..pages.markup import joined
from ..pages.viewer import DETAIL, Item, before_and_after, where
from .files import Result


def write_report(path: str | Path, results: Sequence[Result]) -> None:
    """Write the page. Photos beyond its bounds, and those that failed, are in its table alone. Raises OSError."""
    rows = [
        [result.source, size_of(result.size), size_of(result.new_size), f"{result.seconds:.1f} s", outcome(result)]
        for result in results
    ]
    items = [partial(item, result) for result in results if result.new_size]
    done, seconds = len(items), sum(result.seconds for result in results)
    subtitle = f"{done} photo{'s' * (done != 1)} enlarged in {seconds:.0f} s. Bicubic is on the left of the line."
    before_and_after(path, "Enlarged", subtitle, items, ["photo", "size", "enlarged", "time", "result"], rows)


def size_of(size: tuple[int, int] | None) -> str:
    return "–" if size is None else f"{size[0]}×{size[1]}"


def outcome(result: Result) -> str:
    """What became of a photo."""
    if result.error:
        return result.error
    return f"{result.output} was there already" if result.skipped else "; ".join([str(result.output), *result.notes])


def item(result: Result) -> Item | None:
    """A photo on the page: all of it, or the detail of a large one where it has most contrast, at full resolution.

    None for a file that cannot be read again, such as one too large to unpack.
    """
    try:
        photo, enlarged = pixels_of(result.source), pixels_of(result.output)
    except ImageError:
        return None
    top, left, part = 0, 0, enlarged
    note: object = f"{size_of(result.size)} to {size_of(result.new_size)} in {result.seconds:.1f} s"
    height, width = enlarged.shape[:2]
    if max(height, width) > DETAIL:
        scale = height / photo.shape[0]
        top, left = (int(each * scale) for each in place_of_detail(photo, int(DETAIL / scale)))
        part = enlarged[top : top + DETAIL, left : left + DETAIL]
        note = joined([f"{note}. A detail in full resolution, from here: ", where(enlarged, (top, left))])
    bicubic = resize_part(photo, (height, width), top, top + part.shape[0])[:, left : left + part.shape[1]]
    return Item(result.output.name, {"bicubic": bicubic, "result": part}, note=note)


def pixels_of(path: Path) -> np.ndarray:
    """uint8 (H, W, 3) of a photo, over white where it is transparent. Raises ImageError."""
    photo = load_photo(path)
    return over_white(photo.rgb, photo.alpha)
