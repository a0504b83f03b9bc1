"""`minisrgan resources`: measure what each kernel takes of a GPU."""

import argparse

from .options import Commands, add_command


def add(commands: Commands) -> None:
    add_command(
        commands,
        "resources",
        run,
        "compile every kernel for NVIDIA GPUs, and say what registers and memory it takes (no GPU is needed)",
        "minisrgan resources",
    )


def run(args: argparse.Namespace) -> int:
    from ..studies.resources import print_resources

    return print_resources()
