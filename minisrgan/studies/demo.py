"""The demonstration: the tiny model through both stages, then a photo that it never saw."""

from pathlib import Path

from ..files import free_name
from ..names import STAGES
from ..studies.evaluate import header, judge, mean_quality, row, rulers, say_rulers
from ..training.config import PRESETS
from ..training.loop import train
from ..training.photos import hashes, patches, training_photos
from ..training.report import draw_comparison
from ..training.run import Run
from ..training.trainer import Trainer
from ..upscaling.trial import try_photo
from ..weights.generators import load_generator

NOTE = """The GAN stage gives up PSNR for sharpness, on purpose. PSNR rewards the mean of all plausible textures, which
is blurred; D rejects blur. This is the trade-off of distortion and perception (Blau and Michaeli 2018)."""


def demo(out, device, config=PRESETS["tiny"], bar=True):
    """Train, compare, and say where the picture is; returns {name: mean Quality} of what was compared."""
    photos = training_photos(least=config.discriminator.crop)
    crops = patches(config, photos.training)
    measured_by = rulers(device)  # what is missing is to be missed now, not after the training
    trainer = Trainer(config, crops, device)
    here = hashes(crops, photos.held_out, trainer.vgg)
    run = Run.create(free_name(out), config, trainer, data=None, stages=STAGES, weights=None, **here)
    train(run, trainer, [rgb for _, rgb in photos.held_out], STAGES, bar)

    generators = {"stage 1": load_generator(run.pretrained), "GAN": load_generator(run.generator)}
    qualities = {"bicubic": [], **{name: [] for name in generators}}
    names = [Path(name).stem for name, _ in photos.held_out]
    for name, (_, photo) in zip(names, photos.held_out):
        trials = {which: try_photo(generator.to(device), photo, device) for which, generator in generators.items()}
        one = trials["GAN"]
        enlarged = {"bicubic": one.bicubic, **{which: trial.sr for which, trial in trials.items()}}
        for which, image in enlarged.items():
            qualities[which].append(judge(image, one.hr, config.generator.scale, measured_by))
        scored = {which: (image, qualities[which][-1].score) for which, image in enlarged.items()}
        draw_comparison(run.folder / f"{name}.png", one.lr, one.hr, scored)

    means = {name: mean_quality(each) for name, each in qualities.items()}
    print(f"\nHeld-out photos ({', '.join(names)}), enlarged {config.generator.scale} times:")
    print(header(measured_by, "").splitlines()[1])
    for name, mean in means.items():
        print(row(name, mean))
    say_rulers(measured_by, print)
    print(f"\n{NOTE}\n")
    print(f"picture: {run.folder / names[0]}.png")
    print(f"curves:  {run.folder / 'curves.png'}")
    return means
