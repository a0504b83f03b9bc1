"""Which photos `--data` and `--data-lr` name: folders with the folders in them, and lists of files."""

import re
from collections.abc import Callable, Container, Sequence
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

from ..errors import ConfigError, ImageError
from ..imaging.files import PHOTO_SUFFIXES, is_reduced, look_for_photos, size_of
from ..upscaling.files import Found, made_before


class Source(NamedTuple):
    """A photo's name in tables and logs, its file, and the file of its LR; None: it is reduced."""

    name: str
    path: Path
    lr: Path | None = None


def find_sources(
    data: Sequence[str],
    data_lr: Sequence[str],
    scale: int,
    say: Callable[[str], object],
    begun_with: Container[str] = (),
) -> list[Source]:
    """The photos that folders and lists name, each file once. `say` is told which files in them are left out.

    Where there are several folders or lists, a photo's name begins with the folder's or the list's.

    data_lr      for each of them a folder of the photos' LR; or nothing
    begun_with   names of photos with which a run began: they count though `upscale` may have made them, since earlier
                 versions did not ask

    Raises ImageError if a folder, a list or a file in it is missing or has no photos, and ConfigError for the first
    photo that has no LR, or whose LR does not fit.
    """
    if data_lr and len(data_lr) != len(data):
        raise ConfigError(f"--data-lr names a folder for each of --data: {len(data)}, not {len(data_lr)}")
    sources, seen, labels = [], set(), set()
    for i, place in enumerate(map(Path, data)):
        found = list_of(place) if place.is_file() else folder_of(place, say, begun_with)
        own = place.stem if place.is_file() else place.resolve().name
        numbered = chain([own], (f"{own}-{n}" for n in count(2)))
        label = next(each for each in numbered if each not in labels)
        labels.add(label)
        lower = by_name(Path(data_lr[i])) if data_lr else {}
        for name, path in found:
            if (file := path.resolve()) not in seen:
                seen.add(file)
                lr = partner(name, path, lower, data_lr[i], scale) if data_lr else None
                sources.append(Source(f"{label}/{name}" if len(data) > 1 else name, path, lr))
    return sources


def folder_of(folder: Path, say: Callable[[str], object], begun_with: Container[str]) -> list[tuple[str, Path]]:
    """(name, path) of the photos in a folder and its subfolders."""
    found, others = originals_in(folder, begun_with)
    if others:
        say(others_in(folder, others))
    return [(name_in(folder, path), path) for path in found]


def originals_in(folder: Path | str, begun_with: Container[str] = ()) -> tuple[list[Path], list[Path]]:
    """(photos, others), as `look_for_photos`; what `upscale` made of a photo, such as a-x4.png, is no original, unless
    its name is in `begun_with`."""
    found, others = look_for_photos(folder)
    made = {path for path in made_before([Found(path, Path(folder)) for path in found])
            if name_in(folder, path) not in begun_with}  # fmt: skip
    return [path for path in found if path not in made], sorted([*others, *made])


def list_of(file: Path) -> list[tuple[str, Path]]:
    """(name, path) of the photos that a text file lists: a path on each line, seen from the list's folder. A line that
    begins with # does not count."""
    if file.suffix.lower() in PHOTO_SUFFIXES:
        raise ImageError(f"{file}: this is a photo: name the folder that it is in, or a list of photos")
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ImageError(f"{file}: this is no list of photos: that is a text file with a path on each line") from None
    found = []
    for number, line in enumerate(map(str.strip, lines), 1):
        if line and not line.startswith("#"):
            path = file.parent / line
            if not path.is_file():
                raise ImageError(f"{file}, line {number}: there is no file {path}: paths begin at the list's folder")
            found.append((line, path))
    if not found:
        raise ImageError(f"{file}: no photos in this list: it needs a path on each line")
    return found


def by_name(folder: Path) -> dict[str, Path]:
    """{name without suffix: path} of all photos in a folder and its subfolders."""
    if not folder.is_dir():
        raise ImageError(f"{folder}: there is no such folder: --data-lr names the folder of the photos' LR")
    inside = ((path.relative_to(folder), path) for path in sorted(folder.rglob("*")))
    return {
        name.with_suffix("").as_posix(): path
        for name, path in inside
        if path.suffix.lower() in PHOTO_SUFFIXES and not any(part.startswith(".") for part in name.parts)
    }


def partner(name: str, path: Path, lower: dict[str, Path], folder: str, scale: int) -> Path:
    """The file of a photo's LR: its name is the photo's, with x4 or the like at its end or without.

    Raises ConfigError if there is none, or if its size is not the photo's divided by the scale. As in published sets,
    the photo may be up to scale - 1 pixels longer.
    """
    stem = re.sub(r"^(\.\./|/)+", "", Path(name).with_suffix("").as_posix())
    lr = next((lower[stem + end] for end in ("", f"x{scale}", f"X{scale}", f"_x{scale}") if stem + end in lower), None)
    if lr is None:
        raise ConfigError(f"{path} has no LR in {folder}: it would be called {stem}.png or {stem}x{scale}.png there")
    size, small = size_of(path), size_of(lr)
    if size and small and small != (expected := tuple(side // scale for side in size)):
        raise ConfigError(
            f"{lr} does not fit {path}: it has {small[0]} x {small[1]} pixels, but {size[0]} x {size[1]} divided by "
            f"{scale} are {expected[0]} x {expected[1]}"
        )
    return lr


def others_in(folder: Path | str, others: list[Path]) -> str:
    """A line that says which files of a folder are left out because of their names."""
    kinds = {path.suffix.lower() or "without a suffix" for path in others if path.suffix.lower() not in PHOTO_SUFFIXES}
    photos = [path for path in others if path.suffix.lower() in PHOTO_SUFFIXES]
    made = [name_in(folder, path) for path in photos if not is_reduced(folder, path)]
    reduced = {path.relative_to(folder).parent.as_posix() for path in photos if is_reduced(folder, path)}
    why = [f"not named as photos ({', '.join(sorted(kinds))})"] * bool(kinds)
    why += [f"in folders of low-resolution copies ({', '.join(sorted(reduced))})"] * bool(reduced)
    some = ", ".join(made[:3]) + ", …" * (len(made) > 3)
    why += [f"made by `upscale` from others, by their names ({some})"] * bool(made)
    return f"{folder}: left out {len(others)} other{'s' * (len(others) != 1)}, {' or '.join(why)}"


def name_in(folder: Path | str, path: Path) -> str:
    """A photo's name in tables and logs: its path within the folder, so that no two names are the same."""
    return path.relative_to(folder).as_posix()
