"""`minisrgan bench`: measure speed and memory, beside PyTorch's."""

import argparse

from .options import Commands, add_command, add_device, start_device


def add(commands: Commands) -> None:
    command = add_command(
        commands,
        "bench",
        run,
        "measure speed and memory, beside PyTorch if it is installed",
        "minisrgan bench --device cpu",
    )
    add_device(command)
    command.add_argument("--out", metavar="FILE", help="a JSON file; by default one in benchmarks/results")
    command.add_argument(
        "--compiled",
        action="store_true",
        help="measure steps beside PyTorch's torch.compile, which takes minutes to compile them, and nothing else",
    )
    command.add_argument(
        "--ranks",
        action="store_true",
        help="measure a training step on 1, 2 and 4 ranks of this machine beside what is worked out, and nothing else",
    )
    command.add_argument("--quick", action="store_true", help="small sizes, measured once: to see that it works")


def run(args: argparse.Namespace) -> None:
    if args.ranks:
        from ..studies.scaling import scaling

        scaling(start_device(args), args.out, args.quick)
        return
    from ..studies.bench import bench

    bench(start_device(args), args.out, args.quick, args.compiled)
