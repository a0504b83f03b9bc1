"""The command `minisrgan`."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from .. import __version__
from ..errors import ConfigError, MinisrganError
from .console import console, one_line

FAMILIES = ("torchvision", "caffe")  # of VGG's weights
SETTINGS = (  # of TrainConfig, each an option too
    "batch copies pretrain_loss content adversarial strength beta1 d_rate d_beta1 family on_nan seed"
).split()

BY_STAGE = {"steps": "steps", "rates": "rate", "schedules": "schedule", "ema": "ema"}  # option: field of Stage

# Each command imports what it needs when it runs, so that --help and a mistyped option answer at once.


def start_device(args):
    """The device as the options and the machine have it; from now on arrays are computed there."""
    from ..device import choose_device, use_device

    device, why = choose_device(args.device)
    use_device(device)
    print(f"device {device} ({why})", file=sys.stderr)  # stdout is for what was asked
    return device


def train_command(args):
    from ..training.loop import train
    from ..training.photos import check_same, hashes, patches, training_photos
    from ..training.run import Run
    from ..training.trainer import Trainer
    from ..weights.generators import load_generator

    device = start_device(args)
    run = Run(args.resume or args.out or "runs/train")
    config, about = resumed_training(run, args) if args.resume else new_training(run, args)
    training, held_out, small = training_photos(about["data"], config.discriminator.crop)
    photos = patches(config, training)
    trainer = Trainer(config, photos, device)
    # a VGG that is missing is to be missed now, not after the first stage
    here = hashes(photos, held_out, trainer.vgg if "gan" in about["stages"] else None)
    if args.resume:
        check_same(run, about, here)
        run.restore(trainer)
        run.describe(config, **about | here)
    else:
        if args.weights:
            trainer.start_from(load_generator(args.weights))
        run = Run.create(run.folder, config, trainer, **about, **here)
    small = f"; {len(small)} smaller than {photos.crop} x {photos.crop} left out" if small else ""
    print(f"{len(training)} photos to train on, {len(held_out)} held out to measure PSNR{small}")
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
    by_stage = {name: for_each(stages, option, getattr(args, option)) for option, name in BY_STAGE.items()}
    if stages == ("gan",) and not args.weights:
        raise ConfigError("the GAN stage starts from a trained generator: name one with --weights, or use --stage both")
    config = PRESETS[args.preset or "tiny"]
    for name, values in by_stage.items():
        config = config.with_stages(name, **values)
    if args.crop is not None:
        config = config.with_crops(args.crop)
    if args.regulariser:
        config = config.with_regulariser(args.regulariser)
    settings = {name: getattr(args, name) for name in SETTINGS if getattr(args, name) is not None}
    if args.vgg:
        settings["vgg"] = str(Path(args.vgg).resolve())
    config = config.with_terms(once("loss-weights", args.loss_weights), once("share", args.share))
    config = replace(config, **settings)
    data = args.data and str(Path(args.data).resolve())
    return config, {"data": data, "stages": stages, "weights": args.weights and str(Path(args.weights).resolve())}


def for_each(stages, option, values):
    """{stage: value}, or {} where the option was not given."""
    if values and len(values) != len(stages):
        raise ConfigError(f"--{option} takes a value for each stage ({', '.join(stages)}), not {len(values)}")
    return dict(zip(stages, values or []))


def once(option, pairs):
    """{term: value}, or {} where the option was not given."""
    if pairs and len(dict(pairs)) < len(pairs):
        raise ConfigError(f"--{option} names the same term twice: give it one value")
    return dict(pairs or [])


def resumed_training(run, args):
    """(TrainConfig, what else config.json is to say) of a run, with where its files are now and how long it is to last.

    Raises ConfigError for options that would change what it was.
    """
    from ..training.trainer import STAGES

    options = "preset stage crop weights out regulariser loss_weights share".split() + [*BY_STAGE, *SETTINGS]
    options.remove("steps")
    if given := [f"--{name.replace('_', '-')}" for name in options if getattr(args, name) is not None]:
        raise ConfigError(f"--resume goes on with the run as it was begun: leave out {', '.join(given)}")
    config, about = run.config()
    if args.data:
        about["data"] = str(Path(args.data).resolve())
    if about["data"] and not Path(about["data"]).is_dir():
        raise ConfigError(f"{about['data']}: the folder of the run's photos is not there: --data names where it is now")
    if args.vgg:
        config = replace(config, vgg=str(Path(args.vgg).resolve()))
    before = {stage: getattr(config, stage).steps for stage in about["stages"]}
    steps = before | for_each(about["stages"], "steps", args.steps)
    if steps != before:
        stage, step = run.position()
        for each, n in steps.items():
            over = STAGES.index(each) < STAGES.index(stage)
            done = before[each] if over else step if each == stage else 0
            if n < done or (over and n > done):
                raise ConfigError(f"--steps: stage {each} {'ended after' if over else 'already has'} {done}, not {n}")
        config = config.with_stages("steps", **steps)
        about["steps_before"] = [*about.get("steps_before", []), {"stage": stage, "step": step, "steps": before}]
    return config, about


def upscale_command(args):
    from ..files import check_writable, free_name
    from ..imaging.files import check_format, load_photo, write_photo
    from ..imaging.resize import upsample
    from ..imaging.transparency import fill_hidden
    from ..progress import progress_bar
    from ..upscaling.upscale import upscale

    device = start_device(args)
    generator = chosen_generator(args).to(device)
    scale = generator.config.scale
    path = Path(args.photo)
    photo = load_photo(path)
    height, width = photo.rgb.shape[:2]
    default = path.with_name(f"{path.stem}-x{scale}.png")
    out = Path(args.output) if args.output else free_name(default)
    if out.is_dir():
        raise ConfigError(f"{out} is a folder: name a file in it, such as {out / default.name}")
    check_format(out, height * scale, width * scale, photo.alpha is not None)
    if out.exists() and out.samefile(path):
        raise ConfigError(f"{out} is the photo itself: name another file with -o")
    check_writable(out)
    if photo.frames > 1:
        print(f"{path}: of its {photo.frames} pictures only the first is taken", file=sys.stderr)

    def bar(bands):
        return progress_bar(bands, unit="band", disable=len(bands) < 2)

    sr = upscale(generator, fill_hidden(photo.rgb, photo.alpha), device, progress=bar, ensemble=args.ensemble)
    if not args.output:
        out = free_name(default)  # another may have taken the name in the meantime
    write_photo(out, sr, None if photo.alpha is None else upsample(photo.alpha, scale))
    print(f"{out}: {width}×{height} to {sr.shape[1]}×{sr.shape[0]}")


def pack_command(args):
    from ..weights.generators import pack_generator

    if Path(args.output).exists():
        raise ConfigError(f"{args.output} is there already: name another file with -o")
    pack_generator(args.weights, args.output, args.note)
    print(f"{args.output}: {Path(args.output).stat().st_size} bytes")


def chosen_generator(args):
    """The generator that --weights names, or --model and --blend; the best of the package where none is given."""
    from ..weights.generators import blend, load_generator, packaged

    if args.weights and (args.model or args.blend is not None):
        raise ConfigError("--weights names a file: leave out --model and --blend, which are for those in the package")
    if args.blend is not None:
        gan = packaged(args.model, "gan")
        stage1 = packaged(gan.stem.partition("-")[0], "stage1")
        return blend(load_generator(stage1), load_generator(gan), args.blend)
    if args.weights:
        return load_generator(args.weights)
    return load_generator(packaged(args.model))


def evaluate_command(args):
    from ..studies.evaluate import evaluate, rulers

    device = start_device(args)
    measured_by = rulers(device, args.vgg, args.family)
    generator = chosen_generator(args).to(device)
    evaluate(generator, args.folder, device, measured_by, ensemble=args.ensemble)


def gradcheck_command(args):
    from ..studies.gradcheck import find_op, gradcheck

    if args.plant:
        find_op(args.plant)  # a mistyped name is told before anything else
    return 0 if gradcheck(start_device(args), args.plant) else 1


def losses_command(args):
    from ..studies.losses import draw_losses

    draw_losses(args.out)
    print(args.out)


def sweep_command(args):
    from ..studies.sweep import sweep

    vary = dict(args.vary)
    if len(vary) < len(args.vary):
        raise ConfigError("--vary names the same setting twice: give it all its values at once")
    sweep(vary, args.source, args.steps, args.out, args.vgg, args.family, start_device(args))


def modes_command(args):
    from ..studies.modes import modes

    modes(args.out, args.steps)
    print(args.out)


def demo_command(args):
    from .demo import demo

    demo(args.out, start_device(args))


def bench_command(args):
    from ..studies.bench import bench

    bench(start_device(args), args.out, args.quick)


def resources_command(args):
    from ..studies.resources import print_resources

    return print_resources()


def vgg_inspect_command(args):
    from ..studies.vgg_inspect import inspect, rank

    inspect(args.file, args.family)
    if args.rank:
        rank(args.file, args.family, args.layer, args.data, start_device(args))
    elif args.layer or args.data:
        raise ConfigError("--layer and --data are for --rank")


def vgg_fetch_command(args):
    from ..weights.fetch import URL, fetch
    from ..weights.fetch_st_lpips import fetch_st_lpips

    if args.st_lpips:
        if args.url or args.family:
            raise ConfigError("--st-lpips is got by pip: leave out --url and --family")
        fetch_st_lpips(args.source)
    else:
        fetch(args.url or URL, args.source, args.family)


def vgg_distil_command(args):
    from ..studies.distil import LEAST, distil
    from ..training.photos import training_photos
    from ..weights.generators import packaged

    photos, generator = training_photos(args.data, LEAST), args.weights or packaged("tiny", "stage1")
    distil(photos, args.teacher, generator, start_device(args), args.steps, args.seed, args.out, args.family)


def doctor_command(args):
    from ..studies.doctor import print_doctor

    return print_doctor(args.device)


def whole_number(text):
    value = int(text)
    if value < 0:
        raise ValueError
    return value


whole_number.__name__ = "whole number"  # what argparse calls it in its message


def setting(text):
    """("adversarial", 0.001) of "adversarial=1e-3"."""
    name, _, value = text.partition("=")
    return name, float(value)


setting.__name__ = "NAME=NUMBER"


def settings(text):
    """("adversarial", [0.001, 0.01]) of "adversarial=1e-3,1e-2", and ("features", ["vgg22"]) of "features=vgg22"."""
    name, _, values = text.partition("=")
    return name, [value if name == "features" else float(value) for value in values.split(",")]


settings.__name__ = "NAME=VALUE,VALUE,..."


def png(text):
    """The name of a picture that is written as PNG, whatever it is called."""
    if not text.lower().endswith(".png"):
        raise ValueError
    return text


png.__name__ = "name ending in .png"


def share(text):
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError
    return value


share.__name__ = "number from 0 to 1"


def add_generator(command):
    """The options of which generator to take."""
    command.add_argument(
        "--weights", metavar="FILE", help="a generator.safetensors; by default the best one in the package"
    )
    command.add_argument(
        "--model", choices=("small", "tiny"), help="one in the package: after its GAN stage, if it has"
    )
    command.add_argument(
        "--blend",
        type=share,
        metavar="A",
        help="one in the package between that after stage 1 (0: the most faithful) and that after the GAN stage "
        "(1: the most texture)",
    )
    command.add_argument(
        "--ensemble",
        action="store_true",
        help="take the mean over the photo turned and mirrored in all eight ways: a little nearer, eight times as long",
    )


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

    def described(commands, name, summary, epilog):
        return commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def command(name, run, summary, example, commands=commands, device=True):
        added = described(commands, name, summary, f"example:\n  {example}")
        added.set_defaults(run=run)
        if device:
            added.add_argument("--device", metavar="D", help="cuda, cpu or numpy; by default the first that works")
        return added

    family = "where the file does not say it: the input that its weights expect"

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
        help="tiny: minutes on a CPU (default); small: an hour or two; paper: the paper's G and D, for a GPU",
    )
    train.add_argument(
        "--stage",
        choices=("pretrain", "gan", "both"),
        help="pretrain: G alone, on a distance of pixels; gan: G against D, from --weights; by default both in turn",
    )
    train.add_argument(
        "--steps", nargs="+", type=whole_number, metavar="N", help="steps of each stage; by default the preset's"
    )
    train.add_argument(
        "--rates", nargs="+", type=float, metavar="R", help="learning rate of each stage; by default the preset's"
    )
    train.add_argument(
        "--schedules", nargs="+", metavar="S", help="of each stage's rate: constant, drop (to a tenth) or cosine"
    )
    train.add_argument(
        "--ema", nargs="+", type=float, metavar="D", help="decay of the average of G's weights in each stage; 0: none"
    )
    train.add_argument(
        "--copies",
        type=whole_number,
        metavar="N",
        help="so many copies of each photo besides, each at 0.8 of the one before: more to learn from few photos; by "
        "default the preset's",
    )
    train.add_argument("--batch", type=whole_number, metavar="N", help="crops in a step; by default the preset's")
    train.add_argument("--crop", type=whole_number, metavar="N", help="pixels on a side of a crop of HR")
    train.add_argument("--weights", metavar="FILE", help="a generator.safetensors to start from")
    train.add_argument(
        "--pretrain-loss", metavar="L", help="of stage 1: pixel (the MSE), l1 or charbonnier; by default the preset's"
    )
    train.add_argument(
        "--content",
        metavar="C",
        help="content loss of the GAN stage: pixel, l1, charbonnier, vgg-small, a layer of VGG19 such as vgg54, or of "
        "ST-LPIPS' VGG16 such as st-vgg33; by default the preset's",
    )
    train.add_argument(
        "--adversarial",
        metavar="A",
        help="minimax, non-saturating, least-squares, hinge, relativistic or wasserstein; by default the preset's",
    )
    train.add_argument(
        "--regulariser",
        metavar="R",
        help="of D: none, r1, gradient-penalty, spectral-norm, label-smoothing or instance-noise (none)",
    )
    train.add_argument(
        "--loss-weights",
        nargs="+",
        action="extend",
        type=setting,
        metavar="TERM=W",
        help="of G's loss in the GAN stage: content, pixel, adversarial, tv, grid",
    )
    train.add_argument(
        "--share",
        nargs="+",
        action="extend",
        type=setting,
        metavar="TERM=S",
        help="how hard a term pulls at SR beside the content loss, in place of a weight: pixel, adversarial, tv, grid",
    )
    train.add_argument("--strength", type=float, metavar="S", help="of the regulariser; by default its own")
    train.add_argument("--beta1", type=float, metavar="B", help="Adam's β₁ (0.9)")
    train.add_argument("--d-rate", type=float, metavar="R", help="D's learning rate; by default G's")
    train.add_argument("--d-beta1", type=float, metavar="B", help="β₁ of D's Adam; by default G's")
    train.add_argument(
        "--vgg", metavar="FILE", help="VGG's weights; by default the VGG19 that `minisrgan vgg fetch` keeps"
    )
    train.add_argument("--family", choices=FAMILIES, help=family)
    train.add_argument(
        "--on-nan",
        choices=("stop", "rollback"),
        help="where a number is no longer finite: stop (default), or go back to a saved state, each time further, and "
        "on with half the learning rate and other crops, three times at most",
    )
    train.add_argument("--out", metavar="RUN", help="the run's folder, new (runs/train)")
    train.add_argument("--seed", type=whole_number, metavar="N", help="the same seed gives the same run (0)")
    train.add_argument(
        "--resume",
        metavar="RUN",
        help="go on with a run where it was last saved; --steps may lengthen it, and --data and --vgg name where its "
        "photos and VGG are now; but for --device no other option goes with it",
    )

    upscale = command(
        "upscale",
        upscale_command,
        "enlarge a photo",
        "minisrgan upscale photo.jpg -o large.png --weights runs/mine/generator.safetensors",
    )
    upscale.add_argument("photo", metavar="PHOTO", help="any photo, of any size")
    upscale.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="where to; by default PHOTO-x4.png beside it, or PHOTO-x4-2.png where that is there already",
    )
    add_generator(upscale)

    pack = command(
        "pack",
        pack_command,
        "write a generator in half precision, with a note on how it was trained, as the package's are",
        "minisrgan pack runs/mine/generator.safetensors -o mine.safetensors --note birds",
        device=False,
    )
    pack.add_argument("weights", metavar="FILE", help="a generator.safetensors of a run")
    pack.add_argument("-o", "--output", required=True, metavar="OUT", help="a new file")
    pack.add_argument("--note", required=True, metavar="TEXT", help="how it was trained, and on what")

    evaluate = command(
        "evaluate",
        evaluate_command,
        "measure PSNR, SSIM and the perceptual distance of bicubic and a model on a folder of photos",
        "minisrgan evaluate Set5 --weights runs/mine/generator.safetensors",
    )
    evaluate.add_argument(
        "folder",
        metavar="FOLDER",
        help="photos in high resolution, in folders of it too; they are shrunk and enlarged again",
    )
    add_generator(evaluate)
    evaluate.add_argument("--vgg", metavar="FILE", help="a VGG19, to measure the perceptual distance by it too")
    evaluate.add_argument("--family", choices=FAMILIES, help=family)

    gradcheck = command(
        "gradcheck",
        gradcheck_command,
        "check every derivative against finite differences",
        "minisrgan gradcheck --plant Conv2d",
    )
    gradcheck.add_argument("--plant", metavar="OP", help="first put a fault of 1 %% into one element of that op's vjp")

    losses = command(
        "losses",
        losses_command,
        "draw every adversarial loss and its derivative against the logit",
        "minisrgan losses --out losses.png",
        device=False,
    )
    losses.add_argument("--out", type=png, default="losses.png", metavar="FILE", help="the picture (losses.png)")

    sweep = command(
        "sweep",
        sweep_command,
        "train the GAN stage with several settings, and compare perception and distortion",
        "minisrgan sweep --vary adversarial=1e-4,1e-3,1e-2 --steps 300 --out runs/sweep",
    )
    sweep.add_argument(
        "--vary",
        required=True,
        action="append",
        type=settings,
        metavar="NAME=A,B,...",
        help="content, pixel, adversarial, tv or grid, a weight of G's loss; adversarial-share and the like, its share "
        "of the slope; rate, the learning rate; features, what --content of `train` takes; may be given again, for all "
        "combinations",
    )
    sweep.add_argument(
        "--from",
        dest="source",
        metavar="RUN",
        help="a run whose settings, photos and first stage to start from; by default the tiny preset, the packaged "
        "photos and the packaged weights",
    )
    sweep.add_argument("--steps", type=whole_number, metavar="N", help="of each GAN stage; by default the run's")
    sweep.add_argument("--vgg", metavar="FILE", help="a VGG19, to train on and to measure the perceptual distance by")
    sweep.add_argument("--family", choices=FAMILIES, help=family)
    sweep.add_argument("--out", default="runs/sweep", metavar="FOLDER", help="a new folder (runs/sweep)")

    modes = command(
        "modes",
        modes_command,
        "play every adversarial loss on a ring of eight Gaussians, and say which find them all",
        "minisrgan modes --out modes.png",
        device=False,
    )
    modes.add_argument(
        "--out", type=png, default="modes.png", metavar="FILE", help="the picture (modes.png); a table goes beside it"
    )
    modes.add_argument("--steps", type=whole_number, default=1500, metavar="N", help="steps of each game (1500)")

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
    bench.add_argument("--out", metavar="FILE", help="a JSON file; by default one in benchmarks/results")
    bench.add_argument("--quick", action="store_true", help="small sizes, once: to see that it works")

    command(
        "resources",
        resources_command,
        "compile every kernel for NVIDIA GPUs, and say what registers and memory it takes (no GPU is needed)",
        "minisrgan resources",
        device=False,
    )

    vgg = described(
        commands,
        "vgg",
        "get, look at or distil a VGG, whose feature maps compare images",
        "`minisrgan vgg COMMAND --help` shows a command's options and an example.",
    ).add_subparsers(dest="vgg_command", required=True, metavar="COMMAND")

    inspect = command(
        "inspect",
        vgg_inspect_command,
        "say which VGG a file holds, its family, layers, statistics and SHA-256",
        "minisrgan vgg inspect vgg19-dcbb9e9d.pth",
        vgg,
    )
    inspect.add_argument("file", nargs="?", metavar="FILE", help=".safetensors, .pth or .h5; by default the package's")
    inspect.add_argument("--family", choices=FAMILIES, help=family)
    inspect.add_argument("--rank", action="store_true", help="measure how well a layer ranks distortions by strength")
    inspect.add_argument("--layer", metavar="L", help="which layer: vgg22, features.8, ...; by default the last")
    inspect.add_argument(
        "--data", metavar="FOLDER", help="photos to measure on; by default those held out from training"
    )

    fetch = command(
        "fetch",
        vgg_fetch_command,
        "get VGG's weights for the content loss: torchvision's VGG19 (575 MB, of which 80 MB are kept)",
        "minisrgan vgg fetch --from vgg19-dcbb9e9d.pth",
        vgg,
        device=False,
    )
    source = fetch.add_mutually_exclusive_group()
    source.add_argument("--from", dest="source", metavar="FILE", help="a file that is here: nothing is downloaded")
    source.add_argument("--url", metavar="URL", help="another address of it")
    fetch.add_argument(
        "--st-lpips",
        action="store_true",
        help="get the networks of ST-LPIPS instead, by pip (64 MB): one for `evaluate`, one for --content st-vgg33",
    )
    fetch.add_argument("--family", choices=FAMILIES, help=family)

    vgg_distil = command(
        "distil",
        vgg_distil_command,
        "train the small VGG of the package to see as VGG19 does",
        "minisrgan vgg distil --teacher vgg19.safetensors --data my-photos --out runs/vgg-small.safetensors",
        vgg,
    )
    vgg_distil.add_argument("--teacher", required=True, metavar="FILE", help="a VGG19: .safetensors, .pth or .h5")
    vgg_distil.add_argument("--family", choices=FAMILIES, help=family)
    vgg_distil.add_argument(
        "--data", metavar="FOLDER", help="photos to learn from; by default those of scikit-image and matplotlib"
    )
    vgg_distil.add_argument(
        "--weights",
        metavar="FILE",
        help="a generator whose outputs it learns from; by default the package's tiny after stage 1",
    )
    vgg_distil.add_argument("--steps", type=whole_number, default=1200, metavar="N", help="how long (1200)")
    vgg_distil.add_argument("--seed", type=whole_number, default=0, metavar="N", help="the same seed, the same VGG (0)")
    vgg_distil.add_argument(
        "--out", default="runs/vgg-small.safetensors", metavar="FILE", help="a new file (runs/vgg-small.safetensors)"
    )

    command("doctor", doctor_command, "say what this machine has, and which device is used", "minisrgan doctor")
    return parser


def main(argv=None):
    """Run a command; the exit status: 0 done, 1 a check failed, 2 a mistake in what was asked, 130 interrupted.

    A training that another signal than Ctrl-C's stopped ends with 128 and the signal's number.
    """
    with console():
        return call(build_parser().parse_args(argv))


def call(args):
    try:
        return args.run(args) or 0
    except BrokenPipeError:
        raise
    except MinisrganError as error:
        problem = str(error)
    except OSError as error:
        problem = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except MemoryError:
        problem = "out of memory: try a smaller preset or photo"
    except KeyboardInterrupt as stopped:
        print("\ninterrupted", file=sys.stderr)
        return 128 + (stopped.args or (2,))[0]  # of which signal; 2 is Ctrl-C's
    print(f"minisrgan: {one_line(problem)}", file=sys.stderr)
    return 2
