"""`minisrgan upscale`: enlarge a photo."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import ConfigError
from .options import Commands, add_command, add_device, add_generator, chosen_generator, start_device


def add(commands: Commands) -> None:
    command = add_command(
        commands,
        "upscale",
        run,
        "enlarge a photo",
        "minisrgan upscale photo.jpg -o large.png --weights runs/mine/generator.safetensors",
    )
    add_device(command)
    command.add_argument("photo", metavar="PHOTO", help="any photo, of any size")
    command.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="the file to write; by default PHOTO-x4.png beside the photo, or PHOTO-x4-2.png if there is one already",
    )
    add_generator(command)


def run(args: argparse.Namespace) -> None:
    from ..files import check_writable, free_name
    from ..imaging.files import check_format, load_photo, write_photo
    from ..imaging.resize import upsample
    from ..imaging.transparency import fill_hidden
    from ..progress import progress_bar
    from ..upscaling.upscale import upscale

    device = start_device(args)
    generator = chosen_generator(args).to(device)
    scale = generator.config.scale
    path = Path(args.photo)
    photo = load_photo(path)
    height, width = photo.rgb.shape[:2]
    default = path.with_name(f"{path.stem}-x{scale}.png")
    out = Path(args.output) if args.output else free_name(default)
    if out.is_dir():
        raise ConfigError(f"{out} is a folder: name a file in it, such as {out / default.name}")
    check_format(out, height * scale, width * scale, photo.alpha is not None)
    if out.exists() and out.samefile(path):
        raise ConfigError(f"{out} is the photo itself: name another file with -o")
    check_writable(out)
    if photo.frames > 1:
        print(f"{path}: only the first of its {photo.frames} pictures is taken", file=sys.stderr)

    def bar(bands: Sequence) -> Iterable:
        return progress_bar(bands, unit="band", disable=len(bands) < 2)

    sr = upscale(generator, fill_hidden(photo.rgb, photo.alpha), device, progress=bar, ensemble=args.ensemble)
    if not args.output:
        out = free_name(default)  # another may have taken the name in the meantime
    write_photo(out, sr, None if photo.alpha is None else upsample(photo.alpha, scale))
    print(f"{out}: {width}×{height} to {sr.shape[1]}×{sr.shape[0]}")
