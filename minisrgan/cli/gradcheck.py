"""`minisrgan gradcheck`: check every derivative against finite differences."""

import argparse

from .options import Commands, add_command, add_device, start_device


def add(commands: Commands) -> None:
    command = add_command(
        commands,
        "gradcheck",
        run,
        "check every derivative against finite differences",
        "minisrgan gradcheck --plant Conv2d",
    )
    add_device(command)
    command.add_argument("--plant", metavar="OP", help="first put a fault of 1 %% into one element of that op's vjp")


def run(args: argparse.Namespace) -> int:
    from ..studies.gradcheck import find_op, gradcheck

    if args.plant:
        find_op(args.plant)  # before anything else, so that a mistyped name is told at once
    return 0 if gradcheck(start_device(args), args.plant) else 1
