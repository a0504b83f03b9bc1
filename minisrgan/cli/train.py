"""`minisrgan train`: train a generator, and the discriminator against it, in a new run or in one that was stopped."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..names import ON_NAN, STAGES
from .options import Commands, add_command, add_device, add_family, setting, start_device, whole_number

if TYPE_CHECKING:
    from ..training.config import TrainConfig
    from ..training.run import Run

PRESET_HELP = {
    "tiny": "minutes on a CPU (default)",
    "small": "an hour or two",
    "gpu": "ten minutes on a GPU",
    "compact": "an hour; SRVGGNetCompact, which other programs read too",
    "paper": "the paper's G and D, for a GPU",
}
SETTINGS = (  # of TrainConfig, each an option too
    "batch copies pretrain_loss content adversarial strength beta1 d_rate d_beta1 family on_nan seed"
).split()

# {option: the field of Stage that it sets, with a value for each stage}
BY_STAGE = {"steps": "steps", "minutes": "minutes", "rates": "rate", "schedules": "schedule", "ema": "ema"}


def add(commands: Commands) -> None:
    command = add_command(
        commands,
        "train",
        run,
        "train a generator, and the discriminator against it",
        "minisrgan train --data my-photos --preset tiny --steps 1000 150 --out runs/mine",
    )
    add_device(command)
    command.add_argument(
        "--data", metavar="FOLDER", help="photos to learn from; by default those of scikit-image and matplotlib"
    )
    command.add_argument(
        "--preset",
        choices=PRESET_HELP,
        help="; ".join(f"{name}: {what}" for name, what in PRESET_HELP.items()),
    )
    command.add_argument(
        "--stage",
        choices=(*STAGES, "both"),
        help="pretrain: train G alone, on a pixel loss; gan: train G against D, starting from --weights; by default "
        "both, in this order",
    )
    command.add_argument(
        "--steps", nargs="+", type=whole_number, metavar="N", help="steps of each stage; by default the preset's"
    )
    command.add_argument(
        "--minutes",
        nargs="+",
        type=float,
        metavar="M",
        help="minutes of each stage, by the clock, in place of --steps: the learning rate falls with the time",
    )
    command.add_argument(
        "--rates", nargs="+", type=float, metavar="R", help="learning rate of each stage; by default the preset's"
    )
    command.add_argument(
        "--schedules",
        nargs="+",
        metavar="S",
        help="how the learning rate falls in each stage: constant, drop (to a tenth) or cosine; by default as in the "
        "preset",
    )
    command.add_argument(
        "--ema",
        nargs="+",
        type=float,
        metavar="D",
        help="decay of the average of G's weights in each stage (0: no average); by default the preset's",
    )
    command.add_argument(
        "--copies",
        type=whole_number,
        metavar="N",
        help="learn from N smaller copies of each photo too, each 0.8 times the size of the one before: few photos "
        "then teach more; by default the preset's",
    )
    command.add_argument("--batch", type=whole_number, metavar="N", help="crops in a step; by default the preset's")
    command.add_argument(
        "--crop", type=whole_number, metavar="N", help="pixels on a side of an HR crop; by default the preset's"
    )
    command.add_argument("--weights", metavar="FILE", help="a generator.safetensors to start from")
    command.add_argument(
        "--pretrain-loss",
        metavar="L",
        help="loss of stage 1: pixel (the MSE), l1 or charbonnier; by default the preset's",
    )
    command.add_argument(
        "--content",
        metavar="C",
        help="content loss of the GAN stage: pixel, l1, charbonnier, vgg-small, a layer of VGG19 such as vgg54, or of "
        "ST-LPIPS' VGG16 such as st-vgg33; by default the preset's",
    )
    command.add_argument(
        "--adversarial",
        metavar="A",
        help="adversarial loss: minimax, non-saturating, least-squares, hinge, relativistic or wasserstein; by default "
        "the preset's",
    )
    command.add_argument(
        "--regulariser",
        metavar="R",
        help="regulariser of D: none, r1, gradient-penalty, spectral-norm, label-smoothing or instance-noise (none)",
    )
    command.add_argument(
        "--loss-weights",
        nargs="+",
        action="extend",
        type=setting,
        metavar="TERM=W",
        help="weights of the terms of G's loss in the GAN stage: content, pixel, adversarial, tv, grid",
    )
    command.add_argument(
        "--share",
        nargs="+",
        action="extend",
        type=setting,
        metavar="TERM=S",
        help="in place of a weight: how large a term's gradient at SR is, with the content loss's as 1; for pixel, "
        "adversarial, tv, grid",
    )
    command.add_argument(
        "--strength", type=float, metavar="S", help="strength of the regulariser; by default its usual one"
    )
    command.add_argument("--beta1", type=float, metavar="B", help="Adam's β₁ (0.9)")
    command.add_argument("--d-rate", type=float, metavar="R", help="D's learning rate; by default G's")
    command.add_argument("--d-beta1", type=float, metavar="B", help="β₁ of D's Adam; by default G's")
    command.add_argument(
        "--vgg", metavar="FILE", help="a file of VGG's weights; by default the VGG19 that `minisrgan vgg fetch` keeps"
    )
    add_family(command)
    command.add_argument(
        "--on-nan",
        choices=ON_NAN,
        help="what to do when a number is no longer finite: stop (default), or rollback, at most three times: go back "
        "to a saved state, each time to an earlier one, and go on with half the learning rate and other crops",
    )
    command.add_argument("--out", metavar="RUN", help="the run's folder, which must be new (runs/train)")
    command.add_argument("--seed", type=whole_number, metavar="N", help="the same seed gives the same run (0)")
    command.add_argument(
        "--resume",
        metavar="RUN",
        help="go on with a run from its last saved state; --steps can lengthen it, and --data and --vgg say where its "
        "photos and VGG are now; besides these, only --device and --precision can be given",
    )


def run(args: argparse.Namespace) -> None:
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
    # now, so that a missing VGG is noticed before the first stage
    here = hashes(photos, held_out, trainer.vgg if "gan" in about["stages"] else None)
    if args.resume:
        check_same(run, about, here)
        run.restore(trainer)
        run.describe(config, **about | here)
    else:
        if args.weights:
            trainer.start_from(load_generator(args.weights))
        run = Run.create(run.folder, config, trainer, **about, **here)
    left_out = f"; {len(small)} smaller than {photos.crop} x {photos.crop} left out" if small else ""
    print(f"{len(training)} photos to train on, {len(held_out)} held out to measure PSNR{left_out}")
    print(f"writing {run.folder}; stop with Ctrl-C, go on with: minisrgan train --resume {run.folder}")
    train(run, trainer, [rgb for _, rgb in held_out], about["stages"])
    print(f"generator: {run.generator}")
    if (run.folder / "curves.png").exists():  # there are none of 0 steps
        print(f"curves:    {run.folder / 'curves.png'}")


def new_training(run: Run, args: argparse.Namespace) -> tuple[TrainConfig, dict]:
    """(TrainConfig, what else is to be in config.json) of a new training, as the options say."""
    from ..training.presets import PRESETS

    run.check_new()
    stages = STAGES if args.stage in (None, "both") else (args.stage,)
    by_stage = {name: for_each(stages, option, getattr(args, option)) for option, name in BY_STAGE.items()}
    if stages == ("gan",) and not args.weights:
        raise ConfigError("the GAN stage starts from a trained generator: name one with --weights, or use --stage both")
    if args.steps and args.minutes:
        raise ConfigError("a stage goes by --steps or by --minutes: leave one of them out")
    if args.minutes and min(args.minutes) <= 0:
        raise ConfigError("--minutes: a stage lasts for more than 0 minutes")
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


def for_each(stages: Sequence[str], option: str, values: Sequence | None) -> dict:
    """{stage: value}, or {} if the option was not given."""
    if values and len(values) != len(stages):
        raise ConfigError(f"--{option} takes a value for each stage ({', '.join(stages)}), not {len(values)}")
    return dict(zip(stages, values or []))


def once(option: str, pairs: Sequence[tuple[str, float]] | None) -> dict[str, float]:
    """{term: value}, or {} if the option was not given."""
    if pairs and len(dict(pairs)) < len(pairs):
        raise ConfigError(f"--{option} names the same term twice: give it one value")
    return dict(pairs or [])


def resumed_training(run: Run, args: argparse.Namespace) -> tuple[TrainConfig, dict]:
    """(TrainConfig, what else is to be in config.json) of a run, as the options say where its files are and how many
    steps it has.

    Raises ConfigError for options that would change the run otherwise.
    """
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
    if args.steps and any(getattr(config, stage).minutes for stage in about["stages"]):
        raise ConfigError("--steps lengthens a run whose stages go by steps: this one's go by minutes")
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
