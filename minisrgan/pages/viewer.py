"""Photos before and after, under a slider; and one detail over time."""

import base64
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from .markup import Html, element, joined, section, table, write_page

BUDGET = 3_500_000  # bytes of a page's pictures; in base64 they take a third more
FOLDER = 12_000_000  # the same, of a page for a folder of photos: some twenty of them
DETAIL = 384  # the pixels a side of the detail that such a page shows of a large photo
PREVIEW = 240  # the most pixels a side of the small picture that shows where a detail is


class Item(NamedTuple):
    """A photo in several versions, which have one size.

    images    {label: uint8 (H, W, 3) or the bytes of a file}
    figures   {label: what is said below that version}
    place     (top, left) of the detail that is shown first; None: the middle
    note      a sentence on the photo
    """

    name: str
    images: Mapping[str, np.ndarray | bytes]
    figures: Mapping[str, str] = {}
    place: tuple[int, int] | None = None
    note: object = ""


def encoded(image: np.ndarray) -> bytes:
    """A uint8 (H, W, 3) image as lossless WebP, so that nobody judges the compression. The quickest way: 5 ms and 75 kB
    for 256×256 pixels, where the smallest file takes 55 ms and 70 kB."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "WEBP", lossless=True, method=0)
    return buffer.getvalue()


def picture(image: np.ndarray | bytes, alt: str) -> Html:
    """An <img> that holds its image."""
    data = image if isinstance(image, bytes) else encoded(image)
    with Image.open(io.BytesIO(data)) as opened:
        (width, height), kind = opened.size, (opened.format or "png").lower()
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return element("img", src=source, alt=alt, width=width, height=height)


def figure(label: str, image: np.ndarray | bytes, alt: str, below: str = "") -> Html:
    caption = element("figcaption", element("b", label), f" {below}" if below else "")
    return element("figure", picture(image, alt), caption, data_label=label, data_below=below)


def within(items: Iterable[Item | Callable[[], Item | None]], budget: int = BUDGET) -> tuple[list[Item], int]:
    """(the first items whose pictures fit into so many bytes, how many were left out). Their images are encoded.

    A function makes an item, or None if there is nothing to show. It is called only while there is room.
    """
    kept, left_out = [], 0
    for each in items:
        if left_out:
            left_out += 1
            continue
        item = each if isinstance(each, Item) else each()
        if item is None:
            continue
        images = {k: image if isinstance(image, bytes) else encoded(image) for k, image in item.images.items()}
        size = sum(map(len, images.values()))
        if size <= budget:
            budget -= size
            kept.append(item._replace(images=images))
        else:
            left_out = 1
    return kept, left_out


def where(whole: np.ndarray, place: tuple[int, int], side: int = DETAIL) -> Html:
    """A small picture of a uint8 (H, W, 3) image, with a frame around the detail of `side` pixels at `place`."""
    small = Image.fromarray(whole)
    small.thumbnail((PREVIEW, PREVIEW), Image.Resampling.BOX)
    times = small.width / whole.shape[1]
    top, left, extent = (round(each * times) for each in (*place, side))
    box = left, top, min(left + extent, small.width) - 1, min(top + extent, small.height) - 1
    draw = ImageDraw.Draw(small)
    draw.rectangle(box, outline=(0, 0, 0), width=3)
    draw.rectangle(box, outline=(255, 211, 77))
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=85)  # it shows only where the detail is
    return picture(buffer.getvalue(), "the whole photo, with a frame around the detail")


def viewer(items: Sequence[Item], left: str, right: str) -> Html:
    """A slider over each photo, between any two of its versions; below it, one detail in every version.

    left, right   the labels that are shown first
    """
    photos = []
    for item in items:
        top, place_left = item.place or (None, None)
        versions = [
            figure(label, image, f"{item.name}: {label}", item.figures.get(label, ""))
            for label, image in item.images.items()
        ]
        note = element("div", item.note, class_="note") if item.note else ""
        photos.append(
            element(
                "div",
                element("h3", item.name),
                note,
                element("div", *versions, class_="versions"),
                class_="photo",
                data_name=item.name,
                data_top=top,
                data_left=place_left,
            )
        )
    return element("div", *photos, class_="viewer", data_before=left, data_after=right)


def over_time(frames: Sequence[tuple[str, np.ndarray | bytes, str]], fixed: Mapping[str, np.ndarray | bytes]) -> Html:
    """One detail at several times, under a slider.

    frames   (when, image, what is said below it)
    fixed    {label: image} to compare with, shown beside it
    """
    shown = [figure(label, image, f"the detail: {label}") for label, image in fixed.items()]
    moments = [figure(when, image, f"the detail: {when}", below) for when, image, below in frames]
    return element(
        "div",
        element("div", *shown, class_="fixed"),
        element("div", *moments, class_="moments"),
        class_="time",
    )


def before_and_after(
    path: str | Path,
    title: str,
    subtitle: object,
    items: Iterable[Item | Callable[[], Item | None]],
    head: Sequence[object] = (),
    rows: Iterable[Sequence[object]] = (),
    left_out: Sequence[tuple[str, str]] = (),
    budget: int = FOLDER,
) -> int:
    """Write a self-contained page: photos before and after, under a slider, and a table.

    items    Items, or functions that make them, as `within` takes them; the first label is on the left of the slider,
             the second on the right
    head     the table's columns, the first of which names the rows
    left_out (name, why) of photos that are in neither

    Returns how many photos the page leaves out, since their pictures would take more than `budget` bytes. The page says
    so. Raises OSError.
    """
    kept, beyond = within(items, budget)
    parts = []
    if kept:
        labels = [*kept[0].images]
        parts.append(element("section", viewer(kept, *labels[:2])))
    if beyond:
        also = ", to keep it small" + ("; the table has them" if head else "")
        parts.append(element("p", f"{beyond} more photos are not on this page{also}.", class_="note"))
    if head:
        parts.append(section("All of them", table(head, rows)))
    if left_out:
        parts.append(section("Left out", element("div", table(["photo", "why"], left_out), class_="words")))
    write_page(path, title, subtitle, joined(parts))
    return beyond
