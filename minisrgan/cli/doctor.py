"""`minisrgan doctor`: say what this machine has."""

import argparse

from .options import Commands, add_command, add_device, choose_precision


def add(commands: Commands) -> None:
    command = add_command(
        commands, "doctor", run, "say what this machine has, and which device is used", "minisrgan doctor"
    )
    add_device(command)


def run(args: argparse.Namespace) -> int:
    from ..studies.doctor import print_doctor

    choose_precision(args)
    return print_doctor(args.device)
