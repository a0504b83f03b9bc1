"""`minisrgan train`: train a generator, and the discriminator against it, in a new run or in one that was stopped."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..names import ON_NAN, STAGES
from .options import Commands, add_command, add_device, add_family, gigabytes, setting, start_device, whole_number
from .ranks import settled, trained_together, trainer_of

if TYPE_CHECKING:
    from ..training.config import TrainConfig
    from ..training.photos import Gathered
    from ..training.run import Run
    from ..training.trainer import Trainer
    from .settings import Settings

PRESET_HELP = {
    "tiny": "minutes on a CPU (default)",
    "small": "an hour or two",
    "gpu": "ten minutes on a GPU",
    "compact": "an hour, in a shape that other programs read (SRVGGNetCompact)",
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
    command.set_defaults(parser=command)
    group = command.add_argument_group("photos")
    group.add_argument(
        "--data",
        nargs="+",
        metavar="FOLDER",
        help="photos to learn from: folders with the folders in them, and text files that list photos; by default the "
        "photos of scikit-image and matplotlib",
    )
    group.add_argument(
        "--data-lr",
        nargs="+",
        metavar="FOLDER",
        help="the photos' LR, a folder for each of --data: files of the same names, or with x4 at the end; by default "
        "bicubic makes the LR",
    )
    group.add_argument(
        "--degrade",
        nargs="+",
        metavar="KIND=LEAST..MOST",
        help="degrade each LR crop, so that real photos can be enlarged: blur=0.2..2 (HR pixels), noise=0..15 (of 255) "
        "and jpeg=40..95 (quality), or some of them",
    )
    group.add_argument(
        "--copies",
        type=whole_number,
        metavar="N",
        help="learn from N smaller copies of each photo too, each 0.8 times the size of the one before: few photos "
        "then teach more; by default the preset's",
    )
    group.add_argument(
        "--crop", type=whole_number, metavar="N", help="pixels on a side of an HR crop; by default the preset's"
    )
    group.add_argument(
        "--cache",
        type=gigabytes,
        metavar="GB",
        help="the most disk space for decoded photos, if they are too many to hold in memory; by default half of what "
        "is free",
    )
    group = command.add_argument_group("models, and how long they learn")
    group.add_argument(
        "--preset",
        choices=PRESET_HELP,
        help="; ".join(f"{name}: {what}" for name, what in PRESET_HELP.items()),
    )
    group.add_argument(
        "--stage",
        choices=(*STAGES, "both"),
        help="pretrain: train G alone, on a pixel loss; gan: train G against D, starting from --weights; by default "
        "both, in this order",
    )
    group.add_argument(
        "--steps", nargs="+", type=whole_number, metavar="N", help="steps of each stage; by default the preset's"
    )
    group.add_argument(
        "--minutes",
        nargs="+",
        type=float,
        metavar="M",
        help="minutes of each stage, by the clock, in place of --steps: the learning rate falls with the time",
    )
    group.add_argument("--batch", type=whole_number, metavar="N", help="crops in a step; by default the preset's")
    group.add_argument(
        "--rates", nargs="+", type=float, metavar="R", help="learning rate of each stage; by default the preset's"
    )
    group.add_argument(
        "--schedules",
        nargs="+",
        metavar="S",
        help="how the learning rate falls in each stage: constant, drop (to a tenth) or cosine; by default as in the "
        "preset",
    )
    group.add_argument(
        "--ema",
        nargs="+",
        type=float,
        metavar="D",
        help="decay of the average of G's weights in each stage (0: no average); by default the preset's",
    )
    group.add_argument("--weights", metavar="FILE", help="a generator.safetensors to start from")
    group = command.add_argument_group("G's losses")
    group.add_argument(
        "--pretrain-loss",
        metavar="L",
        help="loss of stage 1: pixel (the MSE), l1 or charbonnier; by default the preset's",
    )
    group.add_argument(
        "--content",
        metavar="C",
        help="content loss of the GAN stage: pixel, l1, charbonnier, vgg-small, a layer of VGG19 such as vgg54, or of "
        "ST-LPIPS' VGG16 such as st-vgg33; by default the preset's",
    )
    group.add_argument(
        "--vgg", metavar="FILE", help="a file of VGG's weights; by default the VGG19 that `minisrgan vgg fetch` keeps"
    )
    add_family(group)
    group.add_argument(
        "--loss-weights",
        nargs="+",
        action="extend",
        type=setting,
        metavar="TERM=W",
        help="weights of the terms of G's loss in the GAN stage: content, pixel, adversarial, tv, grid",
    )
    group.add_argument(
        "--share",
        nargs="+",
        action="extend",
        type=setting,
        metavar="TERM=S",
        help="in place of a weight: how large a term's gradient at SR is, with the content loss's as 1; for pixel, "
        "adversarial, tv, grid",
    )
    group = command.add_argument_group("D and the optimisers")
    group.add_argument(
        "--adversarial",
        metavar="A",
        help="adversarial loss: minimax, non-saturating, least-squares, hinge, relativistic or wasserstein; by default "
        "the preset's",
    )
    group.add_argument(
        "--regulariser",
        metavar="R",
        help="regulariser of D: none, r1, gradient-penalty, spectral-norm, label-smoothing or instance-noise (none)",
    )
    group.add_argument(
        "--strength", type=float, metavar="S", help="strength of the regulariser; by default its usual one"
    )
    group.add_argument("--beta1", type=float, metavar="B", help="Adam's β₁ (0.9)")
    group.add_argument("--d-rate", type=float, metavar="R", help="D's learning rate; by default G's")
    group.add_argument("--d-beta1", type=float, metavar="B", help="β₁ of D's Adam; by default G's")
    group = command.add_argument_group("the run")
    group.add_argument(
        "--settings",
        metavar="FILE",
        help="a TOML file with settings by the names of these options, or the config.json of a run, to train the same "
        "again; options win over it",
    )
    group.add_argument("--out", metavar="RUN", help="the run's folder, which must be new (runs/train)")
    group.add_argument("--seed", type=whole_number, metavar="N", help="the same seed gives the same run (0)")
    group.add_argument(
        "--on-nan",
        choices=ON_NAN,
        help="what to do when a number is no longer finite: stop (default), or rollback, at most three times: go back "
        "to a saved state, each time to an earlier one, and go on with half the learning rate and other crops",
    )
    group.add_argument(
        "--tensorboard",
        action="store_true",
        default=None,
        help="write the log and the pictures for TensorBoard too, into the run's folder tensorboard",
    )
    group.add_argument(
        "--resume",
        metavar="RUN",
        help="go on with a run from its last saved state; --steps can lengthen it, and --data, --data-lr and --vgg "
        "say where its photos, their LR and VGG are now; besides these, only --device, --precision, --cache and "
        "--tensorboard can be given",
    )
    add_device(group)
    group.add_argument(
        "--sync-batch-norm",
        action="store_true",
        default=None,
        help="with mpiexec: batch norm takes the statistics of all ranks' crops, as one process does, and not each "
        "rank's own",
    )


def run(args: argparse.Namespace) -> None:
    from ..training.photos import gather, hashes
    from ..training.run import Run
    from ..training.tensorboard import FOLDER, run_with_board
    from .settings import Settings

    if args.resume and args.settings:
        raise ConfigError("--resume goes on with the run as it was begun: leave out --settings")
    settings = Settings(args.settings) if args.settings else None
    if settings:
        settings.give(args, args.parser)
    folder = Path(args.resume or args.out or "runs/train")
    board = args.tensorboard or args.resume and (folder / FOLDER).is_dir()
    run = run_with_board(folder, asked_for=bool(args.tensorboard)) if board else Run(folder)
    device = start_device(args)

    def asked():
        return resumed_training(run, args) if args.resume else new_training(run, args, settings)

    config, about = settled(asked, args.ranks)
    photos = gather(config, about, most=args.cache and args.cache * 1e9)
    trainer = trainer_of(config, photos.crops, device, about, args.ranks)
    # now, so that a missing VGG is noticed before the first stage
    here = hashes(photos.crops, photos.held_out, trainer.vgg if "gan" in about["stages"] else None)
    with trained_together(trainer, here, args.ranks) as leads:
        if leads:
            lead(run, trainer, photos, about, here, args)


def lead(run: Run, trainer: Trainer, photos: Gathered, about: dict, here: dict, args: argparse.Namespace) -> None:
    """Begin the run's folder, or take up the state that is in it, and train."""
    from ..training.loop import train
    from ..training.photos import check_same
    from ..weights.generators import load_generator

    if args.resume:
        check_same(run, about, here)
        run.restore(trainer)
        run.describe(trainer.config, **about | here)
    else:
        if args.weights:
            trainer.start_from(load_generator(args.weights))
        run = type(run).create(run.folder, trainer.config, trainer, **about, **here)
    crop, small, held_out = photos.crops.crop, photos.small, photos.held_out
    left_out = f"; {len(small)} smaller than {crop} x {crop} left out" if small else ""
    s, resume = "s" * (photos.training != 1), f"go on with: minisrgan train --resume {run.folder}"
    print(f"{photos.training} photo{s} to train on, {len(held_out)} held out to measure PSNR{left_out}")
    print(f"writing {run.folder}; stop with Ctrl-C, {resume}")
    try:
        train(run, trainer, [(photo.rgb, photo.lr) for photo in held_out], about["stages"])
    except KeyboardInterrupt:
        print(resume)
        raise
    print(f"generator: {run.generator}")
    if (run.folder / "curves.png").exists():  # there are none of 0 steps
        print(f"curves:    {run.folder / 'curves.png'}")
        print(f"report:    {run.folder / 'report.html'}")


def new_training(run: Run, args: argparse.Namespace, settings: Settings | None) -> tuple[TrainConfig, dict]:
    """(TrainConfig, what else is to be in config.json) of a new training, as the options and a file of settings say."""
    run.check_new()
    if not settings:
        return chosen_training(args)
    try:
        return chosen_training(args, settings)
    except ConfigError as error:
        raise ConfigError(f"with the settings of {settings.path}: {error}") from None


def chosen_training(args: argparse.Namespace, settings: Settings | None = None) -> tuple[TrainConfig, dict]:
    """What new_training returns."""
    from ..training.presets import PRESETS

    stages = STAGES if args.stage in (None, "both") else (args.stage,)
    by_stage = {name: for_each(stages, option, getattr(args, option)) for option, name in BY_STAGE.items()}
    if stages == ("gan",) and not args.weights:
        raise ConfigError("the GAN stage starts from a trained generator: name one with --weights, or use --stage both")
    if args.steps and args.minutes:
        raise ConfigError("a stage goes by --steps or by --minutes: leave one of them out")
    if args.minutes and min(args.minutes) <= 0:
        raise ConfigError("--minutes: a stage lasts for more than 0 minutes")
    config = PRESETS[args.preset or "tiny"]
    if settings:
        config = settings.apply(config, args.preset)
    for name, values in by_stage.items():
        config = config.with_stages(name, **values)
    if args.crop is not None:
        config = config.with_crops(args.crop)
    if args.regulariser is not None:
        config = config.with_regulariser(args.regulariser)
    chosen = {name: getattr(args, name) for name in SETTINGS if getattr(args, name) is not None}
    if args.vgg:
        chosen["vgg"] = str(Path(args.vgg).resolve())
    config = config.with_terms(once("loss-weights", args.loss_weights), once("share", args.share))
    config = replace(config, **chosen)
    about = {"stages": stages, "weights": args.weights and str(Path(args.weights).resolve())}
    return config, photos_of(args) | about | ({"sync_batch_norm": True} if args.sync_batch_norm else {})


def photos_of(args: argparse.Namespace) -> dict:
    """What config.json says of the photos, as far as the options do."""
    from ..imaging.degrade import Degradation

    if args.data_lr and not args.data:
        raise ConfigError("--data-lr names the LR of the photos that --data names: name both")
    data = [str(Path(each).resolve()) for each in args.data or []]
    about: dict = {"data": data if len(data) > 1 else data[0] if data else None}
    if args.data_lr:
        about["data_lr"] = [str(Path(each).resolve()) for each in args.data_lr]
    if args.degrade:
        about["degrade"] = Degradation.parse(args.degrade).to_dict()
    return about


def for_each(stages: Sequence[str], option: str, values: Sequence | None) -> dict:
    """{stage: value}, or {} if the option was not given."""
    if values and len(values) != len(stages):
        raise ConfigError(
            f"--{option} takes a value for each stage ({', '.join(stages)}), with a space between, not {len(values)}"
        )
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
    from ..training.photos import as_list

    options = "preset stage crop weights out regulariser loss_weights share degrade sync_batch_norm".split()
    options += [*BY_STAGE, *SETTINGS]
    options.remove("steps")
    if given := [f"--{name.replace('_', '-')}" for name in options if getattr(args, name) is not None]:
        raise ConfigError(f"--resume goes on with the run as it was begun: leave out {', '.join(given)}")
    config, about = run.config()
    if args.data or args.data_lr:
        about |= photos_of(args)
    for place in as_list(about["data"]):
        if not Path(place).exists():
            raise ConfigError(f"{place}: the folder of the run's photos is not there: --data names where it is now")
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
                keep = f": {done} keeps it, and the later stage can be longer" if over else ""
                had = "ended after" if over else "already has"
                raise ConfigError(f"--steps: stage {each} {had} {done}, not {n}{keep}")
        config = config.with_stages("steps", **steps)
        about["steps_before"] = [*about.get("steps_before", []), {"stage": stage, "step": step, "steps": before}]
    return config, about
