"""`minisrgan pack`: write a generator in half precision, as those in the package are."""

import argparse
from pathlib import Path

from ..errors import ConfigError
from .options import Commands, add_command


def add(commands: Commands) -> None:
    command = add_command(
        commands,
        "pack",
        run,
        "write a generator in half precision, with a note on how it was trained, as the package's are",
        "minisrgan pack runs/mine/generator.safetensors -o mine.safetensors --note birds",
    )
    command.add_argument("weights", metavar="FILE", help="a generator.safetensors of a run")
    command.add_argument("-o", "--output", required=True, metavar="OUT", help="a new file")
    command.add_argument("--note", required=True, metavar="TEXT", help="how it was trained, and on what")


def run(args: argparse.Namespace) -> None:
    from ..weights.generators import pack_generator

    if Path(args.output).exists():
        raise ConfigError(f"{args.output} is there already: name another file with -o")
    pack_generator(args.weights, args.output, args.note)
    print(f"{args.output}: {Path(args.output).stat().st_size} bytes")
