"""The command `minisrgan`."""

import argparse
import sys
from pathlib import Path

from .. import __version__
from ..errors import ConfigError, MinisrganError

# Each command imports what it needs when it runs, so that --help and a mistyped option answer at once.


def start_device(args):
    """The device as the options and the machine have it; from now on arrays are computed there."""
    from ..arrays import choose_device, use_device

    device, why = choose_device(args.device)
    use_device(device)
    print(f"device {device} ({why})", file=sys.stderr)  # stdout is for what was asked
    return device


def train_command(args):
    from ..imaging.patches import PhotoSet
    from ..models.weights import load_generator
    from ..training.checkpoint import Run
    from ..training.trainer import Trainer
    from .photos import training_photos
    from .train import train

    device = start_device(args)
    run = Run(args.resume or args.out or "runs/train")
    config, about = resumed_training(run, args) if args.resume else new_training(run, args)
    training, held_out, small = training_photos(about["data"], config.discriminator.crop)
    photos = PhotoSet(training, config.generator.scale, config.discriminator.crop)
    trainer = Trainer(config, photos, device)
    if args.resume:
        if photos.names != about["photos"]:
            raise ConfigError(f"the photos are not those that {run.folder} was begun with: see its config.json")
        run.restore(trainer)
    else:
        if args.weights:
            trainer.start_from(load_generator(args.weights))
        Run.create(run.folder, config, **about, photos=photos.names)
    small = f"; {len(small)} smaller than {photos.crop} x {photos.crop} left out" if small else ""
    print(f"{len(photos)} photos to train on, {len(held_out)} held out to measure PSNR{small}")
    print(f"writing {run.folder}; stop with Ctrl-C, go on with: minisrgan train --resume {run.folder}")
    train(run, trainer, [rgb for _, rgb in held_out], about["stages"])
    print(f"generator: {run.generator}")
    if (run.folder / "curves.png").exists():  # not where there were no steps
        print(f"curves:    {run.folder / 'curves.png'}")


def new_training(run, args):
    """(TrainConfig, what else config.json is to say) of a training as the options want it."""
    from ..training.config import PRESETS
    from ..training.trainer import STAGES

    run.check_new()
    stages = STAGES if args.stage in (None, "both") else (args.stage,)
    steps = args.steps or []
    if steps and len(steps) != len(stages):
        raise ConfigError(f"--steps takes a number for each stage ({', '.join(stages)}), not {len(steps)}")
    if stages == ("gan",) and not args.weights:
        raise ConfigError("the GAN stage starts from a trained generator: name one with --weights, or use --stage both")
    config = PRESETS[args.preset or "tiny"].with_steps(**dict(zip(stages, steps))).with_seed(args.seed or 0)
    data = args.data and str(Path(args.data).resolve())
    return config, {"data": data, "stages": stages, "weights": args.weights}


def resumed_training(run, args):
    """(TrainConfig, what else config.json says) of a run. Raises ConfigError for options that would change it."""
    options = ("data", "preset", "stage", "steps", "weights", "out", "seed")
    if given := [f"--{name}" for name in options if getattr(args, name) is not None]:
        raise ConfigError(f"--resume goes on with the run as it was begun: leave out {', '.join(given)}")
    return run.config()


def upscale_command(args):
    from tqdm import tqdm

    from ..imaging.files import FORMATS, read_photo, write_photo
    from ..imaging.resize import upsample
    from ..models.weights import DEFAULT, load_generator
    from ..upscale import upscale

    device = start_device(args)
    generator = load_generator(args.weights or DEFAULT).to(device)
    scale = generator.config.scale
    photo = Path(args.photo)
    rgb, alpha = read_photo(photo)
    out = Path(args.output or photo.with_name(f"{photo.stem}-x{scale}.png"))
    if out.is_dir():
        raise ConfigError(f"{out} is a folder: name a file in it, such as {out / f'{photo.stem}-x{scale}.png'}")
    if out.suffix.lower() not in FORMATS:
        raise ConfigError(f"{out}: no photo format ends in {out.suffix!r}: use one of {', '.join(FORMATS)}")
    if out.exists() and out.samefile(photo):
        raise ConfigError(f"{out} is the photo itself: name another file with -o")
    sr = upscale(generator, rgb, device, progress=lambda tiles: tqdm(tiles, unit="tile", disable=len(tiles) < 2))
    write_photo(out, sr, None if alpha is None else upsample(alpha, scale))
    print(f"{out}: {rgb.shape[1]}×{rgb.shape[0]} to {sr.shape[1]}×{sr.shape[0]}")


def evaluate_command(args):
    from ..models.weights import DEFAULT, load_generator
    from .evaluate import evaluate

    device = start_device(args)
    evaluate(load_generator(args.weights or DEFAULT).to(device), args.folder, device)


def gradcheck_command(args):
    from .gradcheck import find_op, gradcheck

    if args.plant:
        find_op(args.plant)  # a mistyped name is told before anything else
    return 0 if gradcheck(start_device(args), args.plant) else 1


def demo_command(args):
    from .demo import demo

    demo(args.out, start_device(args))


def bench_command(args):
    from .bench import bench
    from .conv_steps import bench_steps

    if args.steps:
        bench_steps(start_device(args), args.quick)
    else:
        bench(start_device(args), args.out, args.quick)


def resources_command(args):
    from .resources import print_resources

    return print_resources()


def doctor_command(args):
    from .doctor import print_doctor

    return print_doctor(args.device)


def whole_number(text):
    value = int(text)
    if value < 0:
        raise ValueError
    return value


whole_number.__name__ = "whole number"  # what argparse calls it in its message


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, like all others."""

    def error(self, message):
        self.exit(2, f"minisrgan: {message} (see {self.prog} --help)\n")


def build_parser():
    parser = Parser(
        prog="minisrgan",
        description="Learn, check and train a super-resolution GAN, from scratch.",
        epilog="`minisrgan COMMAND --help` shows a command's options and an example.",
    )
    parser.add_argument("--version", action="version", version=f"minisrgan {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name, run, summary, example):
        added = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(run=run)
        added.add_argument("--device", metavar="D", help="cuda, cpu or numpy; by default the first that works")
        return added

    train = command(
        "train",
        train_command,
        "train a generator, and the discriminator against it",
        "minisrgan train --data my-photos --preset tiny --steps 1000 150 --out runs/mine",
    )
    train.add_argument(
        "--data", metavar="FOLDER", help="photos to learn from; by default those of scikit-image and matplotlib"
    )
    train.add_argument(
        "--preset",
        choices=("tiny", "small", "paper"),
        help="tiny: minutes on a CPU (default); small: hours; paper: the paper's G and D, for a GPU",
    )
    train.add_argument(
        "--stage",
        choices=("pretrain", "gan", "both"),
        help="pretrain: G alone, on the pixel MSE; gan: G against D, from --weights; by default both in turn",
    )
    train.add_argument(
        "--steps", nargs="+", type=whole_number, metavar="N", help="steps of each stage; by default the preset's"
    )
    train.add_argument("--weights", metavar="FILE", help="a generator.safetensors to start from")
    train.add_argument("--out", metavar="RUN", help="the run's folder, new (runs/train)")
    train.add_argument("--seed", type=whole_number, metavar="N", help="the same seed gives the same run (0)")
    train.add_argument(
        "--resume", metavar="RUN", help="go on with a run where it was last saved; no option but --device goes with it"
    )

    upscale = command(
        "upscale",
        upscale_command,
        "enlarge a photo",
        "minisrgan upscale photo.jpg -o large.png --weights runs/mine/generator.safetensors",
    )
    upscale.add_argument("photo", metavar="PHOTO", help="any photo, of any size")
    upscale.add_argument("-o", "--output", metavar="OUT", help="where to; by default PHOTO-x4.png beside it")
    upscale.add_argument("--weights", metavar="FILE", help="a generator.safetensors; by default the one in the package")

    evaluate = command(
        "evaluate",
        evaluate_command,
        "measure PSNR and SSIM of bicubic and a model on a folder of photos",
        "minisrgan evaluate Set5 --weights runs/mine/generator.safetensors",
    )
    evaluate.add_argument(
        "folder", metavar="FOLDER", help="photos in high resolution; they are shrunk and enlarged again"
    )
    evaluate.add_argument(
        "--weights", metavar="FILE", help="a generator.safetensors; by default the one in the package"
    )

    gradcheck = command(
        "gradcheck",
        gradcheck_command,
        "check every derivative against finite differences",
        "minisrgan gradcheck --plant Conv2d",
    )
    gradcheck.add_argument("--plant", metavar="OP", help="first put a fault of 1 %% into one element of that op's vjp")

    demo = command(
        "demo", demo_command, "train the tiny preset and show what it does", "minisrgan demo --out runs/demo"
    )
    demo.add_argument(
        "--out", default="runs/demo", metavar="RUN", help="the run's folder (runs/demo, or the next free number)"
    )

    bench = command(
        "bench",
        bench_command,
        "measure speed and memory, beside PyTorch where it is installed",
        "minisrgan bench --device cpu",
    )
    bench_what = bench.add_mutually_exclusive_group()
    bench_what.add_argument("--out", metavar="FILE", help="a JSON file; by default one in benchmarks/results")
    bench_what.add_argument("--steps", action="store_true", help="only the steps to a fast convolution; writes no file")
    bench.add_argument("--quick", action="store_true", help="small sizes, once: to see that it works")

    command(
        "resources",
        resources_command,
        "compile every kernel for NVIDIA GPUs, and say what registers and memory it takes (no GPU is needed)",
        "minisrgan resources",
    )

    command("doctor", doctor_command, "say what this machine has, and which device is used", "minisrgan doctor")
    return parser


def main(argv=None):
    """Run a command; the exit status: 0 done, 1 a check failed, 2 a mistake in what was asked, 130 interrupted."""
    args = build_parser().parse_args(argv)
    try:
        return args.run(args) or 0
    except MinisrganError as error:
        problem = str(error)
    except OSError as error:
        problem = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except MemoryError:
        problem = "out of memory: try a smaller preset or photo"
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    print(f"minisrgan: {' '.join(problem.split())}", file=sys.stderr)
    return 2
