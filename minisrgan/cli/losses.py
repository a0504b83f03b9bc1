"""`minisrgan losses`: draw the adversarial losses."""

import argparse

from .options import Commands, add_command, png


def add(commands: Commands) -> None:
    command = add_command(
        commands,
        "losses",
        run,
        "draw every adversarial loss and its derivative against the logit",
        "minisrgan losses --out losses.png",
    )
    command.add_argument("--out", type=png, default="losses.png", metavar="FILE", help="the picture (%(default)s)")


def run(args: argparse.Namespace) -> None:
    from ..studies.losses import draw_losses

    draw_losses(args.out)
    print(args.out)
