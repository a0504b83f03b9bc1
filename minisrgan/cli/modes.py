"""`minisrgan modes`: play every adversarial loss on a ring of eight Gaussians."""

import argparse

from .options import Commands, add_command, png, whole_number


def add(commands: Commands) -> None:
    command = add_command(
        commands,
        "modes",
        run,
        "play every adversarial loss on a ring of eight Gaussians, and say which find them all",
        "minisrgan modes --out modes.png",
    )
    command.add_argument(
        "--out",
        type=png,
        default="modes.png",
        metavar="FILE",
        help="the picture (%(default)s); a CSV table is written beside it",
    )
    command.add_argument(
        "--steps", type=whole_number, default=1500, metavar="N", help="steps of each game (%(default)s)"
    )


def run(args: argparse.Namespace) -> None:
    from ..studies.modes import modes

    modes(args.out, args.steps)
    print(args.out)
