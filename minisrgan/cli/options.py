"""What several commands share: how a command is declared, types of values, and options that belong together."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..names import FAMILIES, MODELS

if TYPE_CHECKING:
    from ..models.architectures import Network

Commands = argparse._SubParsersAction  # what `add_subparsers` returns; argparse has no public name for it
Run = Callable[[argparse.Namespace], int | None]  # what a command does; the exit status, None for 0


def add_command(commands: Commands, name: str, run: Run, summary: str, example: str) -> argparse.ArgumentParser:
    """Declare a command that calls `run`. The caller adds its options."""
    command = add_described(commands, name, summary, f"example:\n  {example}")
    command.set_defaults(run=run)
    return command


def add_described(commands: Commands, name: str, summary: str, epilog: str) -> argparse.ArgumentParser:
    """Declare a command whose help is its summary, its options, and the epilog with its line breaks."""
    return commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


# ---- Types of values, which argparse calls by their __name__ in its messages ---------------------------


def whole_number(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError
    return value


def fraction(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError
    return value


def gigabytes(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError
    return value


def setting(text: str) -> tuple[str, float]:
    """("adversarial", 0.001) of "adversarial=1e-3"."""
    name, _, value = text.partition("=")
    return name, float(value)


def html(text: str) -> Path:
    """The name of a page."""
    if not text.lower().endswith((".html", ".htm")):
        raise ValueError
    return Path(text)


def png(text: str) -> str:
    """The name of a picture, which is written as PNG whatever it is called."""
    if not text.lower().endswith(".png"):
        raise ValueError
    return text


whole_number.__name__ = "whole number"
gigabytes.__name__ = "number of gigabytes"
fraction.__name__ = "number from 0 to 1"
setting.__name__ = "NAME=NUMBER"
html.__name__ = "name ending in .html"
png.__name__ = "name ending in .png"


# ---- Options --------------------------------------------------------------------------------------------


def add_device(command: argparse._ActionsContainer) -> None:
    command.add_argument("--device", metavar="D", help="cuda, cpu or numpy; by default the first that works")
    command.add_argument(
        "--precision", metavar="P", help="of a GPU's convolutions: tf32 (the default), 3xtf32, bf16 or float32"
    )


def start_device(args: argparse.Namespace) -> str:
    """Choose the device by the options and by what this machine has, and compute there from now on."""
    from ..device import choose_device, use_device
    from ..device.precision import precision

    device, why = choose_device(args.device)
    use_device(device)
    choose_precision(args)
    if args.precision and device != "cuda":
        raise ConfigError(f"--precision is a GPU's, and the device is {device}: leave it out, or --device cuda")
    in_use = precision()  # which also notices an unknown one in the environment
    how = f"device {device} ({why})" + (f", convolutions in {in_use}" if device == "cuda" else "")
    print(how, file=sys.stderr)  # stdout is for what was asked
    return device


def choose_precision(args: argparse.Namespace) -> None:
    from ..device.precision import use_precision

    if args.precision:
        use_precision(args.precision)


def add_family(command: argparse._ActionsContainer) -> None:
    command.add_argument(
        "--family", choices=FAMILIES, help="the input that VGG's weights expect, if their file does not say it"
    )


def add_weights(command: argparse.ArgumentParser) -> None:
    """The options that say which generator to use."""
    command.add_argument(
        "--weights",
        action="append",
        metavar="FILE",
        help="a generator.safetensors, or a .pth or .safetensors of others: Compact, ESRGAN or MSRResNet; by default "
        "the best generator in the package. With --blend, it is given twice",
    )
    command.add_argument(
        "--model",
        choices=MODELS,
        help="a generator in the package: after its GAN stage if that is there, else after stage 1",
    )
    command.add_argument(
        "--blend",
        type=fraction,
        metavar="A",
        help="a blend of two generators: 0 is the first of --weights, 1 the second; by default those in the package, "
        "after stage 1 (the most faithful) and after the GAN stage (the most texture)",
    )


def add_generator(command: argparse.ArgumentParser) -> None:
    """The options that say which generator to use, and how."""
    add_weights(command)
    command.add_argument(
        "--ensemble",
        action="store_true",
        help="take the mean over the photo turned and mirrored in all eight ways: a little nearer to the original, "
        "but eight times as long",
    )


def chosen_files(args: argparse.Namespace) -> list[Path]:
    """The file that --weights or --model names, or the two that are blended. Without them, the package's best."""
    from ..weights.generators import packaged

    if args.weights and args.model:
        raise ConfigError("--weights names a file: leave out --model, which is for generators in the package")
    wanted = 1 if args.blend is None else 2
    if args.weights and len(args.weights) != wanted:
        raise ConfigError(
            "--blend is between two files: give --weights twice"
            if wanted == 2
            else f"--weights names one generator, not {len(args.weights)}: --blend takes two"
        )
    if args.weights:
        return [Path(each) for each in args.weights]
    if args.blend is None:
        return [packaged(args.model)]
    gan = packaged(args.model, "gan")
    return [packaged(gan.stem.partition("-")[0], "stage1"), gan]


def chosen_generator(args: argparse.Namespace) -> Network:
    """The generator of `chosen_files`."""
    from ..weights.generators import blend, load_generator

    generators = [load_generator(path) for path in chosen_files(args)]
    return generators[0] if len(generators) == 1 else blend(generators[0], generators[1], args.blend)
