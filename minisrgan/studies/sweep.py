"""`minisrgan sweep`: the same GAN stage with other settings, and where each ends between perception and distortion.

Blau and Michaeli 2018: what is nearest to the original (distortion: PSNR) is not what looks most like a photo
(perception), and no image is best in both. The weight of the adversarial loss chooses a place on the way from one to
the other.
"""

import csv
from dataclasses import replace
from io import StringIO
from itertools import cycle, product
from pathlib import Path

from matplotlib.figure import Figure

from ..errors import ConfigError, DivergedError
from ..files import write_whole
from ..training.config import PRESETS, TERMS
from ..training.loop import train
from ..training.photos import check_same, hashes, patches, training_photos
from ..training.report import save_figure
from ..training.run import Run
from ..training.trainer import Trainer
from ..upscaling.trial import try_photo
from ..weights.generators import load_generator, packaged
from .evaluate import header, judge, mean_quality, row, rulers

MOST = 50  # runs
VARIABLE = (*TERMS, *(f"{term}-share" for term in TERMS[1:]), "rate", "features")
MARKERS = "sDo^v<>Pp*Xh"  # a form as well as a colour, for eyes that tell few colours apart


def varied(config, settings):
    """The configuration with other settings: {a term of L_G: its weight, "TERM-share": its share of the slope, "rate":
    the GAN stage's, "features": what the content loss compares}."""
    if unknown := sorted(settings.keys() - {*VARIABLE}):
        raise ConfigError(f"{unknown[0]!r} cannot be varied: choose from {', '.join(VARIABLE)}")
    for name, value in settings.items():
        if (name == "features") != isinstance(value, str):
            raise ConfigError(f"{name} takes {'a name' if name == 'features' else 'a number'}, not {value!r}")
    weights = {name: value for name, value in settings.items() if name in TERMS}
    shares = {name.removesuffix("-share"): value for name, value in settings.items() if name.endswith("-share")}
    config = config.with_terms(weights, shares)
    config = config.with_stages("rate", gan=settings.get("rate", config.gan.rate))
    return replace(config, content=settings.get("features", config.content))


def grid(vary):
    """All combinations of {name: values}, each as {name: value}. Raises ConfigError for too many."""
    combined = [dict(zip(vary, values)) for values in product(*vary.values())]
    if len(combined) > MOST:
        raise ConfigError(f"that makes {len(combined)} trainings: vary less, to {MOST} at most")
    return combined


def start_of(folder):
    """(TrainConfig, folder of photos or None, file of the trained G that the GAN stage starts from) of a run.

    Without one, the tiny preset, the packaged photos and the packaged weights.
    """
    if folder is None:
        return PRESETS["tiny"], None, packaged("tiny", "stage1")
    run = Run(folder)
    config, about = run.config()
    start = run.pretrained if run.pretrained.exists() else about.get("weights")
    if start is None:
        raise ConfigError(f"{folder}: has no generator of a first stage to start from")
    return config, about["data"], start


def sweep(vary, folder, steps, out, vgg, family, device, say=print):
    """Train a GAN stage for each combination of {name: values}; say a table, draw a picture.

    Returns {name: Quality} on the held-out photos, with that of bicubic and of the start among them.
    """
    config, data, start = start_of(folder)
    config = config if steps is None else config.with_stages("steps", gan=steps)
    if vgg:
        config = replace(config, vgg=str(Path(vgg).resolve()), family=family)
    configs = {name_of(settings): varied(config, settings) for settings in grid(vary)}
    out = Path(out)
    if out.exists():
        raise ConfigError(f"{out} is there already: choose another --out")
    photos = training_photos(data, config.discriminator.crop)
    held_out = [rgb for _, rgb in photos.held_out]
    crops = patches(config, photos.training)
    if folder:
        check_same(Run(folder), Run(folder).config()[1], hashes(crops, photos.held_out))
    measured_by = rulers(device, vgg, family)

    def measure(generator):
        """(bicubic's, the generator's) mean Quality on the held-out photos."""
        trials = [try_photo(generator, photo, device) for photo in held_out]
        pairs = [[judge(each, t.hr, config.generator.scale, measured_by) for each in (t.bicubic, t.sr)] for t in trials]
        return [mean_quality(each) for each in zip(*pairs)]

    generator = load_generator(start).to(device)
    results = dict(zip(("bicubic", "start"), measure(generator)))
    for name, each in configs.items():
        trainer = Trainer(each, crops, device)
        trainer.start_from(generator)
        here = hashes(crops, photos.held_out, trainer.vgg)
        run = Run.create(out / name, each, trainer, data=data, stages=("gan",), weights=str(start), **here)
        say(f"{name}: {run.folder}")
        try:
            train(run, trainer, held_out, ("gan",))
        except DivergedError as error:
            say(f"{name}: {error}")
        else:
            results[name] = measure(trainer.best)[1]

    width = max(map(len, results)) + 1
    say(header(measured_by, "", width=width).splitlines()[1])
    for name, quality in results.items():
        say(row(name, quality, width=width))
    write_whole(out / "sweep.csv", table(results).encode())
    draw_plane(out / "sweep.png", results, [*measured_by][-1])
    say(f"table:   {out / 'sweep.csv'}\npicture: {out / 'sweep.png'}")
    return results


def name_of(settings):
    return ",".join(f"{name}={value if name == 'features' else format(value, 'g')}" for name, value in settings.items())


def table(results):
    """The results as CSV."""
    text, first = StringIO(), next(iter(results.values()))
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", *first.score._fields, *first.distances])
    writer.writerows([name, *quality.score, *quality.distances.values()] for name, quality in results.items())
    return text.getvalue()


def draw_plane(path, results, vgg):
    """Perception against distortion: down is more like a photo, to the right is nearer to the original.

    Bicubic is left out: it is so far from all of them that they would be one point.
    """
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes = figure.subplots()
    for (name, quality), marker in zip(list(results.items())[1:], cycle(MARKERS)):
        axes.plot(quality.score.psnr_y, quality.distances[vgg], marker, label=name, alpha=0.8)
    axes.legend(fontsize=9)
    axes.set_xlabel("PSNR of held-out photos, dB on Y (distortion: the farther right the better)")
    axes.set_ylabel(f"perceptual distance by {vgg} (the lower the better)")
    axes.margins(0.15)
    save_figure(figure, path)
