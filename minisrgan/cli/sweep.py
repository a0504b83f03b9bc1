"""`minisrgan sweep`: train the same GAN stage with several settings."""

import argparse

from ..errors import ConfigError
from .options import Commands, add_command, add_device, add_family, start_device, whole_number


def add(commands: Commands) -> None:
    command = add_command(
        commands,
        "sweep",
        run,
        "train the GAN stage with several settings, and compare perception and distortion",
        "minisrgan sweep --vary adversarial=1e-4,1e-3,1e-2 --steps 300 --out runs/sweep",
    )
    add_device(command)
    command.add_argument(
        "--vary",
        required=True,
        action="append",
        type=settings,
        metavar="NAME=A,B,...",
        help="the values to try. NAME is content, pixel, adversarial, tv or grid: the weight of a term of G's loss; "
        "adversarial-share and so on: its share, as `train --share` takes it; rate: the learning rate; features: what "
        "`train --content` takes. Give --vary again for all combinations",
    )
    command.add_argument(
        "--from",
        dest="source",
        metavar="RUN",
        help="a run whose settings, photos and first stage to start from; by default the tiny preset, the packaged "
        "photos and the packaged weights",
    )
    command.add_argument(
        "--steps", type=whole_number, metavar="N", help="steps of each GAN stage; by default the run's"
    )
    command.add_argument("--vgg", metavar="FILE", help="a file of a VGG19, to train on and to measure with")
    add_family(command)
    command.add_argument("--out", default="runs/sweep", metavar="FOLDER", help="a new folder (%(default)s)")


def run(args: argparse.Namespace) -> None:
    from ..studies.sweep import sweep

    vary = dict(args.vary)
    if len(vary) < len(args.vary):
        raise ConfigError("--vary names the same setting twice: give it all its values at once")
    sweep(vary, args.source, args.steps, args.out, args.vgg, args.family, start_device(args))


def settings(text: str) -> tuple[str, list[float | str]]:
    """("adversarial", [0.001, 0.01]) of "adversarial=1e-3,1e-2", and ("features", ["vgg22"]) of "features=vgg22"."""
    name, _, values = text.partition("=")
    return name, [value if name == "features" else float(value) for value in values.split(",")]


settings.__name__ = "NAME=VALUE,VALUE,..."  # what argparse calls it in its messages
