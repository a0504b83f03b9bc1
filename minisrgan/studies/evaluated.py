"""What an evaluation has measured, for files: figures as CSV and JSON, the images, and a page with both."""

import io
import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import ConfigError
from ..files import write_whole
from ..imaging.metrics import Score
from ..imaging.patches import place_of_detail
from ..pages.markup import joined, number
from ..pages.viewer import DETAIL, Item, before_and_after, where
from ..training.report import write_csv
from . import Say
from .evaluate import PLACES, Quality
from .published import published

CSV_MADE = "photo,version,psnr_y"  # by which the files are known as ours
JSON_MADE = '"made_by": "minisrgan evaluate"'
WHOLE = 512  # the most pixels a side of a photo that the page shows whole


class Evaluated:
    """Collects the photos of an evaluation, as its `take`, and their images, with `keep`.

    save   a folder for the images, which is new or empty; None: they are not kept
    """

    def __init__(self, save: str | Path | None = None) -> None:
        """Raises ConfigError if the folder has something in it."""
        self.save = None if save is None else Path(save)
        self.rows: dict[str, Mapping[str, Quality]] = {}  # by the photo's name
        self.left_out: dict[str, str] = {}  # why, by the photo's name
        if self.save and (self.save.is_file() or self.save.is_dir() and any(self.save.iterdir())):
            raise ConfigError(f"{self.save} is there already: name a new folder to save the images in")

    def __call__(self, name: str, found: Mapping[str, Quality] | str) -> None:
        if isinstance(found, str):
            self.left_out[name] = found
        else:
            self.rows[name] = found

    def keep(self, name: str, images: Mapping[str, np.ndarray]) -> None:
        """Save the images of a photo, if they are to be saved."""
        if self.save:
            for version, image in images.items():
                buffer = io.BytesIO()
                Image.fromarray(image).save(buffer, "PNG")
                write_whole(self.path_of(name, version), buffer.getvalue())

    def path_of(self, name: str, version: str) -> Path:
        """Where an image is saved: a folder for each version, and in it the photos' own names, as PNG."""
        assert self.save
        end = "" if name.lower().endswith(".png") else ".png"  # a.jpg and a.png stay apart
        return self.save / version / f"{name}{end}"

    def columns(self) -> list[str]:
        """The names of the figures."""
        first = next(iter(next(iter(self.rows.values())).values()))
        return [*Score._fields, *first.distances]

    def write_csv(self, path: str | Path) -> None:
        """A row for each photo and version. What was not measured is empty."""
        rows = [
            [name, version, *("" if math.isnan(figure) else figure for figure in quality.figures())]
            for name, versions in self.rows.items()
            for version, quality in versions.items()
        ]
        write_csv(path, ["photo", "version", *self.columns()], rows)

    def write_json(self, path: str | Path, means: Sequence[Quality], **about: Any) -> None:
        """The same, the means over the photos, and why others were left out. What was not measured is null."""

        def named(versions: Mapping[str, Quality]) -> dict[str, dict[str, float | None]]:
            columns = self.columns()
            return {
                version: {column: None if math.isnan(x) else x for column, x in zip(columns, quality.figures())}
                for version, quality in versions.items()
            }

        versions = next(iter(self.rows.values()))
        found = {"made_by": "minisrgan evaluate", **about, "mean": named(dict(zip(versions, means)))}
        found["photos"] = {name: named(qualities) for name, qualities in self.rows.items()}
        found["left_out"] = self.left_out
        write_whole(path, json.dumps(found, indent=2).encode())

    def write_page(self, title: str, subtitle: str, means: Sequence[Quality]) -> Path:
        """A page of the saved images under a slider, with all figures. Returns its path."""
        assert self.save
        versions = dict(zip(next(iter(self.rows.values())), means))
        rows = [
            [name, version, *map(number, quality.score[:2]), number(quality.score.ssim_y, 4)]
            + [number(far, PLACES.get(which, 5)) for which, far in quality.distances.items()]
            for name, qualities in {f"mean of {len(self.rows)}": versions, **self.rows}.items()
            for version, quality in qualities.items()
        ]
        head = ["photo", "version", "PSNR Y", "PSNR RGB", "SSIM", *self.columns()[len(Score._fields) :]]
        path = self.save / "report.html"
        items = [partial(self.item, name) for name in self.rows]
        before_and_after(path, title, subtitle, items, head, rows, [*self.left_out.items()])
        return path

    def item(self, name: str) -> Item:
        """A photo on the page, from its saved images; a detail of a large one."""
        images: dict[str, np.ndarray] = {}
        for version in [*self.rows[name], "HR"]:
            with Image.open(self.path_of(name, version)) as image:
                images[version] = np.asarray(image)
        below = {version: f"{quality.score.psnr_y:.2f} dB" for version, quality in self.rows[name].items()}
        if max(images["HR"].shape) <= WHOLE:
            return Item(name, images, below, place_of_detail(images["HR"], min(64, *images["HR"].shape[:2])))
        top, left = place = place_of_detail(images["HR"], DETAIL)
        parts = {version: image[top : top + DETAIL, left : left + DETAIL] for version, image in images.items()}
        note = joined(["A detail, from here; PSNR is of the whole photo: ", where(images["HR"], place)])
        return Item(name, parts, below, note=note)


def say_published(folder: str | Path, photos: int, scale: int, means: Mapping[str, Quality], say: Say) -> None:
    """Say what the literature reports for this set beside what was measured, the least PSNR first."""
    name, found = published(folder, photos, scale)
    if not found:
        say(name)
        return
    rows = [(each.psnr[name], each.method, each.trained_on, each.source) for each in found]
    rows += [(mean.score.psnr_y, f"{version}, measured here", "", "") for version, mean in means.items()]
    say(f"\nPublished for {name} at scale {scale}, PSNR on Y in dB:")
    for psnr, method, trained_on, source in sorted(rows):
        say(f"{psnr:8.2f}  {method:26}{trained_on:24}{source}".rstrip())
