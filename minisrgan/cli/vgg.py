"""`minisrgan vgg`: get, look at or distil a VGG, whose feature maps compare images."""

import argparse

from ..errors import ConfigError
from .options import Commands, add_command, add_described, add_device, add_family, start_device, whole_number


def add(commands: Commands) -> None:
    vgg = add_described(
        commands,
        "vgg",
        "get, look at or distil a VGG, whose feature maps compare images",
        "`minisrgan vgg COMMAND --help` shows a command's options and an example.",
    ).add_subparsers(dest="vgg_command", required=True, metavar="COMMAND")
    add_inspect(vgg)
    add_fetch(vgg)
    add_distil(vgg)


def add_inspect(commands: Commands) -> None:
    command = add_command(
        commands,
        "inspect",
        run_inspect,
        "say which VGG a file holds, its family, layers, statistics and SHA-256",
        "minisrgan vgg inspect vgg19-dcbb9e9d.pth",
    )
    add_device(command)
    command.add_argument("file", nargs="?", metavar="FILE", help=".safetensors, .pth or .h5; by default the package's")
    add_family(command)
    command.add_argument("--rank", action="store_true", help="measure how well a layer ranks distortions by strength")
    command.add_argument(
        "--layer", metavar="L", help="the layer to measure: vgg22, features.8, ...; by default the last"
    )
    command.add_argument(
        "--data", metavar="FOLDER", help="photos to measure on; by default those held out from training"
    )


def run_inspect(args: argparse.Namespace) -> None:
    from ..studies.vgg_inspect import inspect, rank

    inspect(args.file, args.family)
    if args.rank:
        rank(args.file, args.family, args.layer, args.data, start_device(args))
    elif args.layer or args.data:
        raise ConfigError("--layer and --data are for --rank")


def add_fetch(commands: Commands) -> None:
    command = add_command(
        commands,
        "fetch",
        run_fetch,
        "get VGG's weights for the content loss: torchvision's VGG19 (575 MB, of which 80 MB are kept)",
        "minisrgan vgg fetch --from vgg19-dcbb9e9d.pth",
    )
    source = command.add_mutually_exclusive_group()
    source.add_argument("--from", dest="source", metavar="FILE", help="a file on this machine: nothing is downloaded")
    source.add_argument("--url", metavar="URL", help="another address to download from")
    command.add_argument(
        "--st-lpips",
        action="store_true",
        help="get the networks of ST-LPIPS instead, by pip (64 MB): one for `evaluate`, one for `train --content "
        "st-vgg33`",
    )
    add_family(command)


def run_fetch(args: argparse.Namespace) -> None:
    from ..weights.fetch import URL, fetch
    from ..weights.fetch_st_lpips import fetch_st_lpips

    if args.st_lpips:
        if args.url or args.family:
            raise ConfigError("pip gets ST-LPIPS: leave out --url and --family with --st-lpips")
        fetch_st_lpips(args.source)
    else:
        fetch(args.url or URL, args.source, args.family)


def add_distil(commands: Commands) -> None:
    command = add_command(
        commands,
        "distil",
        run_distil,
        "train the small VGG of the package to see as VGG19 does",
        "minisrgan vgg distil --teacher vgg19.safetensors --data my-photos --out runs/vgg-small.safetensors",
    )
    add_device(command)
    command.add_argument(
        "--teacher", required=True, metavar="FILE", help="a file of a VGG19: .safetensors, .pth or .h5"
    )
    add_family(command)
    command.add_argument(
        "--data", metavar="FOLDER", help="photos to learn from; by default those of scikit-image and matplotlib"
    )
    command.add_argument(
        "--weights",
        metavar="FILE",
        help="a generator whose outputs it learns from; by default the package's tiny after stage 1",
    )
    command.add_argument(
        "--steps", type=whole_number, default=1200, metavar="N", help="steps of the training (%(default)s)"
    )
    command.add_argument(
        "--seed", type=whole_number, default=0, metavar="N", help="the same seed gives the same VGG (%(default)s)"
    )
    command.add_argument("--out", default="runs/vgg-small.safetensors", metavar="FILE", help="a new file (%(default)s)")


def run_distil(args: argparse.Namespace) -> None:
    from ..studies.distil import LEAST_SIDE, distil
    from ..training.photos import training_photos
    from ..weights.generators import packaged

    photos, generator = training_photos(args.data, LEAST_SIDE), args.weights or packaged("tiny", "stage1")
    distil(photos, args.teacher, generator, start_device(args), args.steps, args.seed, args.out, args.family)
