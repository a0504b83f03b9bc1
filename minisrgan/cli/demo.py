"""`minisrgan demo`: train the tiny preset, and show what it does."""

import argparse

from .options import Commands, add_command, add_device, start_device


def add(commands: Commands) -> None:
    command = add_command(
        commands, "demo", run, "train the tiny preset and show what it does", "minisrgan demo --out runs/demo"
    )
    add_device(command)
    command.add_argument(
        "--out", default="runs/demo", metavar="RUN", help="the run's folder (%(default)s, or the next free number)"
    )


def run(args: argparse.Namespace) -> None:
    from ..studies.demo import demo

    demo(args.out, start_device(args))
