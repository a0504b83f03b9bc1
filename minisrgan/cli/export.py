"""`minisrgan export`: write a generator for other programs."""

import argparse
import re
import sys
from pathlib import Path

from .options import Commands, add_command, add_weights, chosen_files, chosen_generator


def add(commands: Commands) -> None:
    command = add_command(
        commands,
        "export",
        run,
        "write a generator for other programs: ONNX, ncnn (upscayl) or PyTorch",
        "minisrgan export --model small -o small-x4.onnx small-x4.param small-x4.pth",
    )
    add_weights(command)
    command.add_argument(
        "-o",
        "--output",
        nargs="+",
        required=True,
        metavar="OUT",
        help="new files. The suffix says what is written: .onnx; .param, and .bin beside it, for ncnn; .safetensors or "
        ".pth for PyTorch, and a small .py beside it",
    )


def run(args: argparse.Namespace) -> None:
    from ..exporting.export import check, check_name, contents, export
    from ..weights.generators import provenance

    paths = [*map(Path, args.output)]
    for path in paths:
        check_name(path)
    generator = chosen_generator(args)
    about = provenance(chosen_files(args)) | ({} if args.blend is None else {"blend": str(args.blend)})
    for path in paths:  # none is written if a file beside one is there already
        contents(generator, path, about)
    for path in paths:
        files = export(generator, path, about)
        print(f"{', '.join(map(str, files))}: {check(generator, path)}")
        scale = generator.config.scale
        if path.suffix == ".param" and not re.search(rf"x{scale}|{scale}x", path.stem.lower()):
            print(f"upscayl reads the scale from the name: call it {path.stem}-x{scale}", file=sys.stderr)
