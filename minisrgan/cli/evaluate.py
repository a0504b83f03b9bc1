"""`minisrgan evaluate`: measure how near a generator comes to photos that were shrunk."""

import argparse
from pathlib import Path

from ..errors import ConfigError
from .options import Commands, add_command, add_device, add_family, add_generator, chosen_generator, start_device


def csv(text: str) -> str:
    if not text.lower().endswith(".csv"):
        raise ValueError
    return text


def json(text: str) -> str:
    if not text.lower().endswith(".json"):
        raise ValueError
    return text


csv.__name__ = "name ending in .csv"
json.__name__ = "name ending in .json"


def add(commands: Commands) -> None:
    command = add_command(
        commands,
        "evaluate",
        run,
        "measure PSNR, SSIM and the perceptual distance of bicubic and a model on a folder of photos",
        "minisrgan evaluate Set5 --weights runs/mine/generator.safetensors",
    )
    add_device(command)
    command.add_argument(
        "folder",
        metavar="FOLDER",
        help="photos in high resolution, also in folders within it; they are shrunk and enlarged again",
    )
    add_generator(command)
    command.add_argument(
        "--vgg", metavar="FILE", help="a file of a VGG19, to measure the perceptual distance with it too"
    )
    add_family(command)
    command.add_argument("--csv", type=csv, metavar="FILE", help="write the figures of each photo into this file too")
    command.add_argument("--json", type=json, metavar="FILE", help="the same as JSON, with the means over the photos")
    command.add_argument(
        "--published",
        action="store_true",
        help="for Set5, Set14, BSD100 and Urban100: show what the literature reports, with its sources",
    )
    command.add_argument(
        "--save",
        metavar="FOLDER",
        help="keep the images, of bicubic, the model and the original, in this new folder, with a page to look at them",
    )


def run(args: argparse.Namespace) -> None:
    from ..files import check_own
    from ..studies.evaluate import evaluate, rulers
    from ..studies.evaluated import CSV_MADE, JSON_MADE, Evaluated, say_published

    device = start_device(args)
    for path, made in ((args.csv, CSV_MADE), (args.json, JSON_MADE)):
        if path:
            check_own(path, made)
    folder = Path(args.folder).resolve()
    if args.save and folder in (save := Path(args.save).resolve(), *save.parents):
        raise ConfigError(
            f"{args.save} lies in {args.folder}, and its images would count as photos: name another folder"
        )
    measured_by = rulers(device, args.vgg, args.family)
    generator = chosen_generator(args).to(device)
    found, scale = Evaluated(args.save), generator.config.scale
    kept = {"keep": found.keep, "take": found, "ranks": args.ranks}
    means = evaluate(generator, args.folder, device, measured_by, ensemble=args.ensemble, **kept)
    if not means:  # rank 0 has them
        return
    versions = dict(zip(next(iter(found.rows.values())), means))
    if args.published:
        say_published(args.folder, len(found.rows), scale, versions, print)
    if args.csv:
        found.write_csv(args.csv)
    if args.json:
        found.write_json(args.json, means, folder=args.folder, scale=scale)
    if args.save:
        subtitle = f"Shrunk {scale} times and enlarged again: bicubic, the model and the original"
        print(found.write_page(folder.name, subtitle, means))
