"""`minisrgan sweep`: the same GAN stage with several settings, and where each ends between perception and distortion.

Blau and Michaeli 2018: the image that is nearest to the original (distortion: PSNR) is not the one that looks most like
a photo (perception), and no image is best in both. The weight of the adversarial loss chooses a place between the two.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import cycle, product
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ..errors import ConfigError, DivergedError
from ..imaging.metrics import Score
from ..models.architectures import Network
from ..training.config import TERMS, TrainConfig
from ..training.loop import train
from ..training.photos import check_same, gather, hashes
from ..training.presets import PRESETS
from ..training.report import save_figure, write_csv
from ..training.run import PHOTOS, Run
from ..training.trainer import Trainer
from ..upscaling.trial import try_photo
from ..weights.generators import load_generator, packaged
from . import Say
from .evaluate import Quality, judge, mean_quality, rulers, say_means

Settings = Mapping[str, Any]  # numbers by the names of VARIABLE, but for "features" a name

MOST = 50  # runs
VARIABLE = (*TERMS, *(f"{term}-share" for term in TERMS[1:]), "rate", "features")
MARKERS = "sDo^v<>Pp*Xh"  # each has its own form too, for people who cannot tell the colours apart


def varied(config: TrainConfig, settings: Settings) -> TrainConfig:
    """The configuration with other settings. A name of VARIABLE stands for

    TERM         the weight of a term of L_G
    TERM-share   the share of that term, in place of its weight
    rate         the learning rate of the GAN stage
    features     what the content loss compares

    Raises ConfigError for another name, and for a value of the wrong kind.
    """
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


def grid(vary: Mapping[str, Sequence]) -> list[Settings]:
    """All combinations of {name: values}, each as {name: value}. Raises ConfigError if there are too many."""
    combined: list[Settings] = [dict(zip(vary, values)) for values in product(*vary.values())]
    if len(combined) > MOST:
        raise ConfigError(f"that makes {len(combined)} trainings: vary less, to {MOST} at most")
    return combined


def start_of(folder: str | Path | None) -> tuple[TrainConfig, dict[str, Any], str | Path]:
    """(TrainConfig, what config.json says of the photos, file of the G that the GAN stage starts from) of a run.

    Without a run: those of the tiny preset, the packaged photos and the packaged weights.
    """
    if folder is None:
        return PRESETS["tiny"], {"data": None}, packaged("tiny", "stage1")
    run = Run(folder)
    config, about = run.config()
    start = run.pretrained if run.pretrained.exists() else about.get("weights")
    if start is None:
        raise ConfigError(f"{folder}: has no generator of a first stage to start from")
    return config, {name: about[name] for name in PHOTOS if name in about}, start


def sweep(
    vary: Mapping[str, Sequence],
    folder: str | Path | None,
    steps: int | None,
    out: str | Path,
    vgg: str | Path | None,
    family: str | None,
    device: str,
    say: Say = print,
) -> dict[str, Quality]:
    """Train a GAN stage for each combination of {name: values}. Say a table and draw a picture.

    folder   of a run to start from; see start_of
    vgg      a file of a VGG19 of that family, to train on and to measure by
    Returns the Quality on the held-out photos by the settings, with that of bicubic and of the start among them.
    """
    config, data, start = start_of(folder)
    config = config if steps is None else config.with_stages("steps", gan=steps)
    if vgg:
        config = replace(config, vgg=str(Path(vgg).resolve()), family=family)
    configs = {name_of(settings): varied(config, settings) for settings in grid(vary)}
    out = Path(out)
    if out.exists():
        raise ConfigError(f"{out} is there already: choose another --out")
    photos = gather(config, data)
    crops, held_out = photos.crops, [(photo.rgb, photo.lr) for photo in photos.held_out]
    if folder:
        check_same(Run(folder), Run(folder).config()[1], hashes(crops, photos.held_out))
    measured_by = rulers(device, vgg, family)

    def measure(generator: Network) -> list[Quality]:
        """The mean Quality of bicubic and of the generator on the held-out photos."""
        trials = [try_photo(generator, rgb, device, lr) for rgb, lr in held_out]
        pairs = [[judge(each, t.hr, config.generator.scale, measured_by) for each in (t.bicubic, t.sr)] for t in trials]
        return [mean_quality(each) for each in zip(*pairs)]

    generator = load_generator(start).to(device)
    results = dict(zip(("bicubic", "start"), measure(generator)))
    for name, each in configs.items():
        trainer = Trainer(each, crops, device)
        trainer.start_from(generator)
        here = hashes(crops, photos.held_out, trainer.vgg)
        run = Run.create(out / name, each, trainer, **data, stages=("gan",), weights=str(start), **here)
        say(f"{name}: {run.folder}")
        try:
            train(run, trainer, held_out, ("gan",))
        except DivergedError as error:
            say(f"{name}: {error}")
        else:
            results[name] = measure(trainer.best)[1]

    say_means(results, measured_by, say, width=max(map(len, results)) + 1)
    columns = ["name", *Score._fields, *measured_by]
    write_csv(out / "sweep.csv", columns, ([name, *quality.figures()] for name, quality in results.items()))
    draw_plane(out / "sweep.png", results, [*measured_by][-1])
    say(f"table:   {out / 'sweep.csv'}\npicture: {out / 'sweep.png'}")
    return results


def name_of(settings: Settings) -> str:
    """What a combination is called in tables, and its folder: "adversarial=0.001,rate=0.0002"."""
    return ",".join(f"{name}={value if name == 'features' else format(value, 'g')}" for name, value in settings.items())


def draw_plane(path: str | Path, results: Mapping[str, Quality], vgg: str) -> None:
    """Draw perception by the ruler `vgg` against distortion: lower is more like a photo, farther right is nearer to
    the original.

    Bicubic, the first result, is left out: it is so far from the others that they would look like one point.
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
