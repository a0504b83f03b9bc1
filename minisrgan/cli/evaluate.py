"""`minisrgan evaluate`: measure how near a generator comes to photos that were shrunk."""

import argparse

from .options import Commands, add_command, add_device, add_family, add_generator, chosen_generator, start_device


def add(commands: Commands) -> None:
    command = add_command(
        commands,
        "evaluate",
        run,
        "measure PSNR, SSIM and the perceptual distance of bicubic and a model on a folder of photos",
        "minisrgan evaluate Set5 --weights runs/mine/generator.safetensors",
    )
    add_device(command)
    command.add_argument(
        "folder",
        metavar="FOLDER",
        help="photos in high resolution, also in folders within it; they are shrunk and enlarged again",
    )
    add_generator(command)
    command.add_argument(
        "--vgg", metavar="FILE", help="a file of a VGG19, to measure the perceptual distance with it too"
    )
    add_family(command)


def run(args: argparse.Namespace) -> None:
    from ..studies.evaluate import evaluate, rulers

    device = start_device(args)
    measured_by = rulers(device, args.vgg, args.family)
    generator = chosen_generator(args).to(device)
    evaluate(generator, args.folder, device, measured_by, ensemble=args.ensemble)
