"""`minisrgan upscale`: enlarge photos."""

import argparse
import sys
from pathlib import Path
from typing import TextIO

from ..errors import ConfigError, message_of
from .console import one_line
from .options import Commands, add_command, add_device, add_generator, chosen_generator, html, start_device

NAMED = 3  # files that a line names; it counts the others
FEW = 2**14  # pixels that are enlarged before a bar of progress would be seen


def scale(text: str) -> float:
    value = float(text)
    if not 1 <= value <= 16:
        raise ValueError
    return value


def quality(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 100:
        raise ValueError
    return value


scale.__name__ = "number from 1 to 16"
quality.__name__ = "whole number from 1 to 100"


def add(commands: Commands) -> None:
    command = add_command(
        commands,
        "upscale",
        run,
        "enlarge photos",
        "minisrgan upscale holidays portrait.jpg -o large --weights runs/mine/generator.safetensors",
    )
    add_device(command)
    command.add_argument(
        "photos",
        metavar="PHOTO",
        nargs="+",
        help="files, folders with the folders in them, patterns such as 'scans/*.tif'; - is stdin",
    )
    command.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="the file to write, or a folder for several photos; - is stdout. By default PHOTO-x4.png beside the photo",
    )
    command.add_argument(
        "--format",
        metavar="F",
        help="png (the default), jpg, webp, tif, avif, gif, bmp, jxl, heic, or same: each photo's own",
    )
    command.add_argument(
        "--scale",
        type=scale,
        metavar="S",
        help="how many times larger, from 1 to 16; by default as the generator enlarges. For another scale, it "
        "enlarges further, and bicubic reduces the result",
    )
    command.add_argument(
        "--quality",
        type=quality,
        metavar="Q",
        help="1 to 100, for jpg (95 by default), avif and heic (90), webp and jxl (lossless by default)",
    )
    command.add_argument("--force", action="store_true", help="replace files that are there already")
    command.add_argument(
        "--report", type=html, metavar="FILE", help="write a page too, with bicubic and the results under a slider"
    )
    add_generator(command)


def run(args: argparse.Namespace) -> int:
    from ..progress import progress_bar
    from ..upscaling.files import PIPE, Enlarger, enlarge_files, enlarge_on_ranks, find_jobs, pixels_of
    from ..upscaling.report import write_report
    from ..upscaling.upscale import passes_for

    suffix = suffix_of(args.format)
    device = start_device(args)
    generator = chosen_generator(args).to(device)
    scale = args.scale or generator.config.scale
    passes_for(generator, scale)  # which notices a scale that cannot be
    jobs, made = find_jobs(args.photos, args.output, suffix, scale, args.force)
    if args.quality and all(job.form.lossy is None for job in jobs):
        raise ConfigError(
            f"--quality is for formats that lose some of it, and here is {jobs[0].form.name}: leave it out"
        )
    if jobs[0].output == PIPE and sys.stdout is None:
        raise ConfigError("stdout is closed: name a file with -o")
    if any(job.source == PIPE for job in jobs) and sys.stdin is None:
        raise ConfigError("stdin is closed: name a photo in place of -")
    if jobs[0].output == PIPE and sys.stdout.isatty():
        raise ConfigError("the photo would go to the terminal: name a file with -o, or send it to another command")
    if args.ranks and PIPE in (jobs[0].source, jobs[0].output):
        raise ConfigError("stdin and stdout are for one process: start it without mpiexec, or name files")
    if args.report:
        check_report(args.report, args.force, PIPE in (jobs[0].source, jobs[0].output))
    if made:
        some = ", ".join(map(str, made[:NAMED])) + (f" and {len(made) - NAMED} more" if len(made) > NAMED else "")
        line = f"left out, as by their names earlier runs made them: {some}; name one alone to enlarge it"
        print(one_line(line), file=sys.stderr)
    enlarger = Enlarger(generator, device, scale, args.ensemble, args.quality, args.force)
    pixels = [pixels_of(job) for job in jobs]
    results = []
    bar = progress_bar(total=sum(pixels), unit="px", unit_scale=True, disable=sum(pixels) < FEW, leave=False)

    def told(share: float) -> None:
        bar.update(share * pixels[len(results)])

    def say(line: str, stream: TextIO = sys.stderr) -> None:
        if sys.stderr.isatty():
            bar.clear()
        print(one_line(line), file=stream, flush=True)

    def report() -> bool:
        """Write the page of what was done, if there is to be one. Whether that succeeded."""
        if args.report and results:  # which rank 0 has
            try:
                write_report(args.report, results)
            except OSError as error:  # the photos are done all the same
                say(f"minisrgan: {message_of(error)}")
                return False
            say(f"{args.report}: the page of them")
        return True

    try:
        with bar:
            shared = enlarge_on_ranks(jobs, enlarger, args.ranks) if args.ranks else None
            for result in shared or enlarge_files(jobs, enlarger, told):
                if shared and result.new_size:
                    told(1.0)
                results.append(result)
                if not result.new_size:
                    bar.total -= pixels[len(results) - 1]  # so that the time left is that of the others
                for note in result.notes:
                    say(note)
                if result.error:
                    say(f"minisrgan: {result.error}")
                elif result.skipped:
                    say(f"{result.output} is there already, and {result.source} is skipped: --force replaces it")
                elif result.size and result.new_size:
                    sizes = " to ".join(f"{width}×{height}" for width, height in (result.size, result.new_size))
                    if result.output == PIPE:
                        say(f"stdout: {sizes}")
                    else:
                        say(f"{result.output}: {sizes}", sys.stdout)
                bar.set_postfix_str(f"{len(results)} of {len(jobs)} photos", refresh=False)
    except KeyboardInterrupt:
        print(f"\n{summary(results)}, {len(jobs) - len(results)} not done", file=sys.stderr)
        report()
        raise
    if len(jobs) > 1:
        print(summary(results), file=sys.stderr)
    whole = report()
    failed = sum(result.error is not None for result in results)
    return 2 if failed == len(jobs) else 1 if failed or not whole else 0


def check_report(path: Path, force: bool, pipe: bool) -> None:
    """Raise ConfigError or OSError if the page cannot be written."""
    from ..files import check_own, check_writable
    from ..pages.markup import MADE

    if pipe:
        raise ConfigError("--report shows files, and - is none: leave one of them out")
    if force:
        check_writable(path)
    else:
        check_own(path, MADE)


def suffix_of(name: str | None) -> str | None:
    from ..imaging.writing import FORMATS
    from ..upscaling.files import SAME

    if name in (None, SAME):
        return name
    suffix = "." + name.lower().removeprefix(".")
    if suffix not in FORMATS:
        raise ConfigError(f"--format is one of {', '.join(each[1:] for each in FORMATS)} and same, not {name}")
    return suffix


def summary(results: list) -> str:
    counts = {
        "enlarged": sum(each.new_size is not None for each in results),
        "skipped": sum(each.skipped for each in results),
        "failed": sum(each.error is not None for each in results),
    }
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count or what == "enlarged")
