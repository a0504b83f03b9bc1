"""A page of what `upscale` has done: each photo under the slider, bicubic against the result."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import ImageError
from ..imaging.files import extent_of, load_photo
from ..imaging.patches import place_of_detail
from ..imaging.resize import resize_part
from ..imaging.transparency import over_white
from ..pages.markup import joined
from ..pages.viewer import DETAIL, Item, before_and_after, where
from .files import Result


def write_report(path: str | Path, results: Sequence[Result]) -> None:
    """Write the page. Photos beyond its bounds, and those that failed, are in its table alone. Raises OSError."""
    results = [with_sizes(result) if result.skipped else result for result in results]
    rows = [
        [result.source, size_of(result.size), size_of(result.new_size), f"{result.seconds:.1f} s", outcome(result)]
        for result in results
    ]
    shown = [result for result in results if result.new_size]
    names = names_of([result.output for result in shown])
    items = [partial(item, name, result) for name, result in zip(names, shown)]
    there, seconds = sum(result.skipped for result in results), sum(result.seconds for result in results)
    done = sum(not result.skipped for result in shown)
    subtitle = f"{done} photo{'s' * (done != 1)} enlarged in {seconds:.0f} s"
    subtitle += f", {there} there already" * (there > 0) + ". Bicubic is on the left of the line."
    before_and_after(path, "Enlarged", subtitle, items, ["photo", "size", "enlarged", "time", "result"], rows)


def with_sizes(result: Result) -> Result:
    """The Result of a photo that was skipped, with the sizes of both files, if they can be those of one photo."""
    sizes = [extent_of(result.source), extent_of(result.output)]
    if not all(sizes):
        return result
    size, new_size = (each[:2] for each in sizes if each)
    times = new_size[0] / size[0]
    alike = abs(new_size[1] - size[1] * times) <= 1 + size[1] / size[0]  # both sides are rounded
    return result._replace(size=size, new_size=new_size) if alike else result


def names_of(outputs: Sequence[Path]) -> list[str]:
    """The paths of the outputs within the folder that they share: photos of one name have different folders."""
    paths = [path.absolute() for path in outputs]
    shared = os.path.commonpath([path.parent for path in paths]) if paths else ""
    return [str(path.relative_to(shared)) for path in paths]


def size_of(size: tuple[int, int] | None) -> str:
    return "–" if size is None else f"{size[0]}×{size[1]}"


def outcome(result: Result) -> str:
    """What became of a photo."""
    if result.error:
        return result.error
    return f"{result.output} was there already" if result.skipped else "; ".join([str(result.output), *result.notes])


def item(name: str, result: Result) -> Item | None:
    """A photo on the page: all of it, or the detail of a large one where it has most contrast, at full resolution.

    None for a file that cannot be read again, such as one too large to unpack.
    """
    try:
        photo, enlarged = pixels_of(result.source), pixels_of(result.output)
    except ImageError:
        return None
    top, left, part = 0, 0, enlarged
    took = "; was there already" if result.skipped else f" in {result.seconds:.1f} s"
    note: object = f"{size_of(result.size)} to {size_of(result.new_size)}{took}"
    height, width = enlarged.shape[:2]
    if max(height, width) > DETAIL:
        scale = height / photo.shape[0]
        top, left = (int(each * scale) for each in place_of_detail(photo, int(DETAIL / scale)))
        part = enlarged[top : top + DETAIL, left : left + DETAIL]
        note = joined([f"{note}. A detail in full resolution, from here: ", where(enlarged, (top, left))])
    bicubic = resize_part(photo, (height, width), top, top + part.shape[0])[:, left : left + part.shape[1]]
    place = place_of_detail(part, min(64, *part.shape[:2]))
    return Item(name, {"bicubic": bicubic, "result": part}, place=place, note=note)


def pixels_of(path: Path) -> np.ndarray:
    """uint8 (H, W, 3) of a photo, over white where it is transparent. Raises ImageError."""
    photo = load_photo(path)
    return over_white(photo.rgb, photo.alpha)
