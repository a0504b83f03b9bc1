"""Enlarges files of photos: which files, into which files, and one after the other, whatever becomes of the others.

Its result is a plain list of what was done, from which reports are made.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import ConfigError, ImageError, MinisrganError, message_of
from ..files import check_writable
from ..imaging.files import READ, extent_of, look_for_photos, write_encoded
from ..imaging.originals import Animation, Original, load_original, pictures, survey
from ..imaging.pixels import levels_as
from ..imaging.resize import resize_part
from ..imaging.transparency import fill_hidden
from ..imaging.writing import FORMATS, Format, check_size, encode, encode_animation, format_of
from ..models.architectures import Network
from ..ranks.communicator import Communicator
from ..ranks.sharing import shared_out
from .upscale import new_size, upscale_strips

PIPE = Path("-")  # stdin as a photo, stdout as an output
SAME = "same"  # each photo's own format
MADE = re.compile(r"(.+)-x\d+(\.\d+)?")  # the stem of a file that an earlier run made


class Job(NamedTuple):
    """A photo's file, the file to write, its format, and what is already known to be wrong, or None."""

    source: Path
    output: Path
    form: Format
    problem: str | None = None


class Result(NamedTuple):
    """What became of one photo.

    size, new_size   (width, height), or None if it was not enlarged
    notes            what the output could not keep, and the like
    error            one line, or None
    skipped          whether the output was there already
    """

    source: Path
    output: Path
    size: tuple[int, int] | None = None
    new_size: tuple[int, int] | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    error: str | None = None
    skipped: bool = False


@dataclass(frozen=True)
class Enlarger:
    """A generator and how it is used on every file."""

    generator: Network
    device: str
    scale: float
    ensemble: bool = False
    quality: int | None = None
    force: bool = False


# ---- Which files ------------------------------------------------------------------------------------------


def find_jobs(
    names: Sequence[str], output: str | None, suffix: str | None, scale: float, force: bool = False
) -> tuple[list[Job], list[Path]]:
    """(the jobs for what was named, the photos that are left out because earlier runs made them).

    names    files, folders, patterns; "-" is stdin
    output   a file for one photo, a folder for several, "-" for stdout; None: beside each photo
    suffix   such as ".jpg"; None: as the output says, else ".png"; SAME: each photo's own
    force    whether a file that is named as the output may be there

    An output is called PHOTO-x4.png; PHOTO.jpg-x4.png where two photos would have one name. In an output folder,
    photos keep their folders (`named`, `with_folders`). Raises ConfigError or ImageError for an output that cannot be.
    """
    if "" in (*names, output):
        raise ConfigError("a name is empty, perhaps that of an unset variable: name a file or a folder")
    found = named(names, Path(output) if output else None)
    made = made_before(found)
    taken_out = {*made}
    left = [each for each in found if each.path not in taken_out]
    if not left:
        raise ConfigError("there is nothing to enlarge: all that was named lies in the output folder")
    if output and output != "-" and not is_folder(output, names, left):
        return [single(left[0], Path(output), suffix, force)], made
    jobs = []
    for each in with_folders(left):
        end = own_suffix(each.path) if suffix == SAME else suffix or ".png"
        if output == "-" or (each.path == PIPE and not output):
            if len(left) > 1:
                raise ConfigError(f"stdout takes one photo, and here are {len(left)}: name a folder with -o")
            return [Job(each.path, PIPE, FORMATS[end], each.problem)], made
        name = f"{'stdin' if each.path == PIPE else each.path.stem}-x{scale:g}{end}"
        folder = Path(output) / each.inside if output else each.path.parent
        jobs.append(Job(each.path, folder / name, FORMATS[end], each.problem))
    return apart(jobs, scale), made


class Found(NamedTuple):
    """A photo that was named, the folder below which its folders are kept, and what is wrong, or None."""

    path: Path
    base: Path
    problem: str | None = None

    @property
    def inside(self) -> Path:
        """Its folder within the output folder."""
        path = Path(os.path.relpath(self.path.parent, self.base))
        return Path() if ".." in path.parts else path


def named(names: Sequence[str], output: Path | None) -> list[Found]:
    """All that was named, each file once.

    The folders that are kept are those below a folder that was named; if several were, these too; and those below the
    fixed part of a pattern.
    """
    found: dict[Path, Found] = {}
    folders = [name for name in names if Path(name).is_dir()]
    for name in names:
        exact = name == "-" or os.path.lexists(name)
        for path in [Path(name)] if exact else expanded(name):
            base = path.parent if exact else fixed_part(name)
            if path.is_dir():
                base = base if not exact else Path(os.path.abspath(path)).parent if len(folders) > 1 else path
            try:
                photos = look_for_photos(path)[0] if path.is_dir() else [path]
            except ImageError as error:
                photos, problem = [path], str(error)
            else:
                problem = None
            for photo in photos:
                if not (path.is_dir() and output and within(photo, output) and within(output, path)):
                    found.setdefault(place_of(photo), Found(photo, base, problem))
    return [*found.values()]


def with_folders(photos: Sequence[Found]) -> Sequence[Found]:
    """The same photos. If some of one name would come into one folder, all keep their folders from the one on that they
    have in common."""
    places = Counter((each.inside, each.path.name) for each in photos)
    if max(places.values()) == 1:
        return photos
    common = Path(os.path.commonpath([os.path.abspath(each.path.parent) for each in photos if each.path != PIPE]))
    return [each if each.path == PIPE else each._replace(base=common) for each in photos]


def place_of(path: Path) -> Path:
    """A file's one name, whatever links lead to its folder."""
    return path.parent.resolve() / path.name


def expanded(pattern: str) -> list[Path]:
    """The paths that a pattern matches, for shells that do not look; if there are none, the pattern as a name."""
    paths = glob.glob(os.path.expanduser(pattern), recursive=True) if glob.has_magic(pattern) else []
    shortest: dict[Path, Path] = {}  # `**` goes round a loop of links again and again
    for path in sorted(map(Path, paths), key=lambda path: (len(path.parts), path)):
        shortest.setdefault(place_of(path), path)
    return sorted(shortest.values()) or [Path(pattern)]


def fixed_part(pattern: str) -> Path:
    """The folder up to a pattern's first sign."""
    return next(path for path in Path(os.path.expanduser(pattern)).parents if not glob.has_magic(str(path)))


def within(path: Path, folder: Path) -> bool:
    return folder.resolve() in path.resolve().parents


def made_before(photos: Sequence[Found]) -> list[Path]:
    """The photos that are called as the output of one of the others: beside it, or in an output folder, which has the
    same folders."""
    originals = {(each.path.parent, name) for each in photos for name in (each.path.stem, each.path.name)}

    def is_made(photo: Found) -> bool:
        match, folders = MADE.fullmatch(photo.path.stem), photo.inside.parts
        places = [photo.path.parent, *(photo.base.joinpath(*folders[i:]) for i in range(1, len(folders) + 1))]
        return match is not None and any((place, match[1]) in originals for place in places)

    return [photo.path for photo in photos if is_made(photo)]


def is_folder(output: str, names: Sequence[str], photos: Sequence[Found]) -> bool:
    """Whether -o names a folder. Raises ConfigError if it cannot be one and there are several photos."""
    several = len(photos) > 1 or photos[0].path != Path(names[0])  # a folder and a pattern may have several
    if several and (Path(output).is_file() or (Path(output).suffix.lower() in FORMATS and not Path(output).is_dir())):
        raise ConfigError(f"{output} is one file: name a folder with -o for folders, patterns and several photos")
    return several or Path(output).is_dir() or output.endswith(("/", os.sep))


def single(photo: Found, output: Path, suffix: str | None, force: bool) -> Job:
    """The Job of one photo whose output was named."""
    if not output.suffix:
        raise ConfigError(f"{output} has no suffix such as .png: add one, or write {output}/ for a folder")
    source, form = photo.path, format_of(output)
    if suffix and suffix != SAME and FORMATS[suffix] is not form:
        raise ConfigError(f"{output} is named as {form.name}: leave out --format, or name another file")
    if output.exists() and source != PIPE and source.exists() and output.samefile(source):
        raise ConfigError(f"{output} is the photo itself: name another file with -o")
    if os.path.lexists(output) and not force:
        raise ConfigError(f"{output} is there already: --force replaces it")
    return Job(source, output, form, photo.problem)


def own_suffix(path: Path) -> str:
    """The suffix for an output in a photo's own format; ".png" if that cannot be written."""
    own = path.suffix.lower()
    if own in FORMATS:
        return own
    name = next((name for name, suffixes in READ.items() if own in suffixes.split()), "")
    return next((suffix for suffix, form in FORMATS.items() if form.name == name), ".png")


def apart(jobs: list[Job], scale: float) -> list[Job]:
    """The jobs, of which no two write to one file."""
    shared = Counter(job.output for job in jobs)
    jobs = [
        job._replace(output=job.output.with_name(f"{job.source.name}-x{scale:g}{job.output.suffix}"))
        if shared[job.output] > 1
        else job
        for job in jobs
    ]
    taken: dict[Path, Path] = {}
    for i, job in enumerate(jobs):
        if (first := taken.setdefault(job.output, job.source)) != job.source:
            jobs[i] = job._replace(problem=f"{job.source}: {job.output} is the output of {first} too: rename one")
    return jobs


def pixels_of(job: Job) -> int:
    """About how many pixels have to be enlarged."""
    extent = None if job.source == PIPE else extent_of(job.source)
    if extent is None:
        return 0
    width, height, frames = extent
    return width * height * (frames if job.source.suffix.lower() in (".gif", ".webp", ".png", ".apng") else 1)


# ---- One after the other ----------------------------------------------------------------------------------


def enlarge_files(
    jobs: Iterable[Job], enlarger: Enlarger, progress: Callable[[float], object] = lambda share: None
) -> Iterator[Result]:
    """Yields the Result of each job, once it is done. What fails does not stop the others.

    `progress` is told again and again how large a share of the job has been done since.
    """
    for job in jobs:
        start = time.perf_counter()
        try:
            result = enlarge_file(job, enlarger, progress)
        except BrokenPipeError:  # the reader of stdout has gone
            raise
        except (MinisrganError, OSError, MemoryError) as error:
            message = message_of(error)
            if not message.startswith((f"{name_of(job)}: ", f"{job.output}: ", "stdout: ")):
                message = f"{name_of(job)}: {message}"
            result = Result(job.source, job.output, error=message)
        yield result._replace(seconds=time.perf_counter() - start)


def enlarge_on_ranks(jobs: Sequence[Job], enlarger: Enlarger, ranks: Communicator) -> Iterator[Result]:
    """The same by several ranks, each of which enlarges some of the photos. Rank 0 yields all the Results.

    Raises ConfigError if the ranks do not see the same files.
    """
    names = json.dumps([[str(job.source), str(job.output), job.problem] for job in jobs])
    ranks.check_alike({"set of photos": f"{len(jobs)} ({hashlib.sha256(names.encode()).hexdigest()[:8]})"})

    def work(i):
        (result,) = enlarge_files([jobs[i]], enlarger)
        return result._asdict() | {"source": str(result.source), "output": str(result.output)}

    for answer in shared_out(ranks, work, [pixels_of(job) for job in jobs]):
        paths = {name: Path(answer[name]) for name in ("source", "output")}
        yield Result(**answer | paths | {name: answer[name] and tuple(answer[name]) for name in ("size", "new_size")})


def name_of(job: Job) -> str:
    return "stdin" if job.source == PIPE else str(job.source)


def enlarge_file(job: Job, enlarger: Enlarger, progress: Callable[[float], object]) -> Result:
    """Enlarge one photo. Raises ImageError, WeightsError, OSError or MemoryError if that fails."""
    if job.problem:
        raise ImageError(job.problem)
    if job.output != PIPE and os.path.lexists(job.output) and not enlarger.force:
        return Result(job.source, job.output, skipped=True)
    data = sys.stdin.buffer.read() if job.source == PIPE else None
    name = name_of(job)
    original = load_original(name, data)
    if job.output != PIPE:
        check_writable(job.output)
    notes = list(what_is_lost(job, original))
    animation = None
    if original.moving:
        try:
            animation = survey(name, data)
        except ImageError:
            notes.append(f"{name}: its animation cannot be read, and only its first picture is taken")
    elif original.frames > 1:
        notes.append(f"{name}: only the first of its {original.frames} pictures is taken")
    if animation and len(animation.durations) > 1:
        frames = (
            Original(each[..., :3], each[..., 3:], original.about, 1, False) for each in pictures(name, data, animation)
        )
        parts, size = moving_parts(job, animation, frames, enlarger, progress)
    else:
        parts, size = still_parts(job, original, enlarger, progress)
    if job.output == PIPE:
        write_out(parts)
    else:
        write_encoded(job.output, parts)
    height, width = original.pixels.shape[:2]
    return Result(job.source, job.output, (width, height), size[::-1], notes=tuple(notes))


def write_out(parts: Iterable[bytes | memoryview]) -> None:
    """Write the parts of a photo's file to stdout. Raises OSError, and then keeps nothing to be written later."""
    with open(sys.stdout.fileno(), "wb", buffering=0, closefd=False) as stdout:
        for part in parts:
            rest = memoryview(part)
            while rest:
                try:
                    rest = rest[stdout.write(rest) or 0 :]
                except OSError as error:
                    error.filename = "stdout"
                    raise


def what_is_lost(job: Job, original: Original) -> Iterator[str]:
    """Lines that say what of a photo its output's format cannot hold."""
    name = name_of(job)
    if original.pixels.dtype == np.uint16 and not job.form.deep:
        yield f"{name}: its 16 bits are rounded, for {job.form.name} has 8 here: .png and .tif keep them"
    if original.alpha is not None and not job.form.alpha:
        yield f"{name}: {job.form.name} holds no transparency, and the photo is laid over white"


def still_parts(
    job: Job, original: Original, enlarger: Enlarger, progress: Callable[[float], object]
) -> tuple[Iterator[bytes | memoryview], tuple[int, int]]:
    """(the bytes of the enlarged photo's file part by part, its height and width)."""
    height, width, channels = original.pixels.shape
    size = new_size(height, width, enlarger.scale)
    shape = (*size, channels + (original.alpha is not None))
    check_size(job.output, job.form, shape)
    dtype = original.pixels.dtype if job.form.deep else np.dtype(np.uint8)
    strips = enlarged_strips(original, enlarger, dtype, size, progress)
    return encode(job.form, shape, dtype, strips, original.about, enlarger.quality), size


def moving_parts(
    job: Job, animation: Animation, frames: Iterable[Original], enlarger: Enlarger, progress: Callable[[float], object]
) -> tuple[Iterator[bytes | memoryview], tuple[int, int]]:
    """The same of an animation, picture by picture."""
    height, width, channels = animation.shape
    size, count = new_size(height, width, enlarger.scale), len(animation.durations)
    shape = (*size, channels)
    check_size(job.output, job.form, shape)
    strips = (
        enlarged_strips(
            each if channels == 4 else each._replace(alpha=None), enlarger, np.dtype(np.uint8), size,
            lambda share: progress(share / count),
        )
        for each in frames
    )  # fmt: skip
    return (
        encode_animation(
            job.form, shape, strips, animation.durations, animation.plays, animation.about, enlarger.quality
        ),
        size,
    )


def enlarged_strips(
    original: Original,
    enlarger: Enlarger,
    dtype: np.dtype,
    size: tuple[int, int],
    progress: Callable[[float], object],
) -> Iterator[np.ndarray]:
    """The strips of an enlarged photo, with its alpha as the last channel, if it has one."""
    alpha = original.alpha
    pixels = fill_hidden(original.pixels, None if alpha is None else alpha[..., 0])
    strips = upscale_strips(
        enlarger.generator, pixels, enlarger.device, enlarger.scale, dtype.name, enlarger.ensemble, progress
    )
    if alpha is None:
        yield from strips
        return
    alpha, top = levels_as(alpha, dtype.name), 0
    for strip in strips:
        opacity = resize_part(alpha, size, top, top + len(strip))
        yield np.concatenate([strip, opacity], axis=2)
        top += len(strip)
