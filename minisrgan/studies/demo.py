"""The demonstration: train the tiny model through both stages, then enlarge photos that it never saw."""

from pathlib import Path

from ..files import free_name
from ..names import STAGES
from ..training.config import TrainConfig
from ..training.loop import train
from ..training.photos import gather, hashes
from ..training.presets import PRESETS
from ..training.report import draw_comparison
from ..training.run import Run
from ..training.trainer import Trainer
from ..upscaling.trial import try_photo
from ..weights.generators import load_generator
from .evaluate import Quality, judge, mean_quality, rulers, say_means, say_rulers

NOTE = """The GAN stage gives up PSNR for sharpness, on purpose. PSNR rewards the mean of all plausible textures, which
is blurred; D rejects blur. This is the trade-off of distortion and perception (Blau and Michaeli 2018)."""


def demo(out: str | Path, device: str, config: TrainConfig = PRESETS["tiny"], bar: bool = True) -> dict[str, Quality]:
    """Train, compare, and say where the picture is. Returns the mean Quality by what was compared: bicubic, each stage.

    out   the run's folder; if there is one, the next free number is added
    bar   whether to show the progress
    """
    photos = gather(config, {"data": None})
    measured_by = rulers(device)  # now, so that missing weights are noticed before the training
    trainer = Trainer(config, photos.crops, device)
    here = hashes(photos.crops, photos.held_out, trainer.vgg)
    run = Run.create(free_name(out), config, trainer, data=None, stages=STAGES, weights=None, **here)
    train(run, trainer, [photo.rgb for photo in photos.held_out], STAGES, bar)

    generators = {"stage 1": load_generator(run.pretrained), "GAN": load_generator(run.generator)}
    qualities: dict[str, list[Quality]] = {name: [] for name in ("bicubic", *generators)}
    names = [Path(photo.name).stem for photo in photos.held_out]
    for name, photo in zip(names, photos.held_out):
        trials = {which: try_photo(generator.to(device), photo.rgb, device) for which, generator in generators.items()}
        one = trials["GAN"]
        enlarged = {"bicubic": one.bicubic, **{which: trial.sr for which, trial in trials.items()}}
        for which, image in enlarged.items():
            qualities[which].append(judge(image, one.hr, config.generator.scale, measured_by))
        scored = {which: (image, qualities[which][-1].score) for which, image in enlarged.items()}
        draw_comparison(run.folder / f"{name}.png", one.lr, one.hr, scored)

    means = {name: mean_quality(each) for name, each in qualities.items()}
    print(f"\nHeld-out photos ({', '.join(names)}), enlarged {config.generator.scale} times:")
    say_means(means, measured_by, print)
    say_rulers(measured_by, print)
    print(f"\n{NOTE}\n")
    print(f"picture: {run.folder / names[0]}.png")
    print(f"curves:  {run.folder / 'curves.png'}")
    print(f"report:  {run.folder / 'report.html'}")
    return means
