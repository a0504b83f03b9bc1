"""Makes the pictures of what the shipped generators do, for training.md; and of a run's page, for results.md.

    python docs/pictures.py SET5          gan.png, plane.png, training.png and degradations.png, beside this file
    python docs/pictures.py degradations  degradations.png alone
    python docs/pictures.py RUN           results.png: the page of a run on the packaged photos, such as runs/demo

The details are of photos that come with scikit-image and matplotlib, which no shipped generator was trained on. The
plane is measured on the folder SET5, and needs the network of ST-LPIPS (`minisrgan vgg fetch --st-lpips`). The curves
are of benchmarks/results/training-*.csv: PSNR as the runs' log.csv have it, and ST-LPIPS as `minisrgan evaluate` has it
of the states that they saved.
"""

import csv
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from minisrgan.device import choose_device, use_device
from minisrgan.imaging.degrade import Degradation
from minisrgan.imaging.files import find_photos, read_photo
from minisrgan.imaging.pictures import Held
from minisrgan.imaging.resize import downsample
from minisrgan.studies.evaluate import ST_LPIPS, judge, mean_quality, rulers
from minisrgan.training.photos import packaged as packaged_photos
from minisrgan.training.report import save_figure
from minisrgan.upscaling.trial import try_photo
from minisrgan.weights.generators import blend, load_generator, packaged

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "benchmarks" / "results"
MODELS = {"tiny": "C0", "small": "C1"}
BLENDS = (0.25, 0.5, 0.75)
SIDE = 112  # HR pixels of a detail


class Detail(NamedTuple):
    """What it shows, the photo and the package that brings it, and its top left corner."""

    what: str
    package: str
    photo: str
    top: int
    left: int


DETAILS = [
    Detail("fur", "skimage", "chelsea.png", 60, 40),
    Detail("a face", "matplotlib", "grace_hopper.jpg", 148, 168),
    Detail("letters", "skimage", "astronaut.png", 336, 124),
    Detail("wood", "skimage", "coffee.png", 60, 20),
]


def draw_details(path, device):
    """LR, bicubic, both stages of the small model, HR: a row for each detail."""
    stage1, gan = (load_generator(packaged("small", stage)).to(device) for stage in ("stage1", "gan"))
    figure = Figure(figsize=(15, 3.05 * len(DETAILS)), layout="constrained")
    for detail, axes in zip(DETAILS, figure.subplots(len(DETAILS), 5)):
        (file,) = packaged_photos({detail.package: detail.photo})
        before, after = (try_photo(each, read_photo(file)[0], device) for each in (stage1, gan))
        lr = before.lr.repeat(4, 0).repeat(4, 1)
        images = {"LR": lr, "bicubic": before.bicubic, "stage 1": before.sr, "GAN": after.sr, "original": before.hr}
        for each, (name, image) in zip(axes, images.items()):
            each.imshow(image[detail.top :, detail.left :][:SIDE, :SIDE], interpolation="nearest")
            each.set(xticks=[], yticks=[])
            if detail is DETAILS[0]:
                each.set_title(name, fontsize=15)
        axes[0].set_ylabel(detail.what, fontsize=14)
    save_figure(figure, path)


def measure(generator, photos, by, device):
    """{"bicubic" or "model": (PSNR on Y, ST-LPIPS)}, the mean over the photos."""
    trials = [try_photo(generator, photo, device) for photo in photos]
    found = {}
    for name, images in {"bicubic": [t.bicubic for t in trials], "model": [t.sr for t in trials]}.items():
        scale = generator.config.scale
        mean = mean_quality([judge(image, t.hr, scale, by) for image, t in zip(images, trials)])
        found[name] = mean.score.psnr_y, mean.distances[ST_LPIPS]
    return found


def draw_plane(path, folder, device):
    """Perception against distortion: every shipped generator, the blends of its two stages, and bicubic."""
    photos = [read_photo(file)[0] for file in find_photos(folder)]
    by = {name: ruler for name, ruler in rulers(device).items() if name == ST_LPIPS}
    if not by:
        sys.exit("`minisrgan vgg fetch --st-lpips` gets the network that the plane is measured by")
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.subplots()
    for model, color in MODELS.items():
        stage1, gan = (load_generator(packaged(model, stage)) for stage in ("stage1", "gan"))
        points = []
        for share in (0, *BLENDS, 1):
            found = measure(blend(stage1, gan, share).to(device), photos, by, device)
            points.append(found["model"])
            print(f"{model}, blend {share}: {found['model'][0]:.2f} dB, ST-LPIPS {found['model'][1]:.4f}")
        axes.plot(*zip(*points), "-", color=color, lw=1)
        axes.plot(*zip(*points[1:-1]), ".", color=color, ms=9)
        axes.plot(*points[0], "s", color=color, ms=9, label=f"{model}, stage 1")
        axes.plot(*points[-1], "*", color=color, ms=15, label=f"{model}, GAN")
    axes.plot(*found["bicubic"], "kD", label="bicubic")
    axes.set_xlabel("PSNR on Set5, dB on Y (the farther right the nearer to the original)")
    axes.set_ylabel("ST-LPIPS on Set5 (the lower the more alike to people)")
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, path)


def draw_training(path):
    """PSNR of the held-out photos in stage 1, and ST-LPIPS of Set5 in the GAN stage, against minutes on one core."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    panels = [
        ("stage1", "psnr_y", "stage 1", "PSNR of held-out photos, dB on Y"),
        ("gan", "st_lpips", "the GAN stage", "ST-LPIPS on Set5 (less is better)"),
    ]
    for axes, (stage, column, title, label) in zip(figure.subplots(1, 2), panels):
        for model, color in MODELS.items():
            with open(RESULTS / f"training-{model}-{stage}.csv") as file:
                rows = list(csv.DictReader(file))
            points = [(float(row["minutes"]), float(row[column])) for row in rows]
            axes.plot(*zip(*points), ".-", color=color, label=model)
        axes.set(title=title, xlabel="minutes", ylabel=label)
        axes.grid(alpha=0.3)
        axes.legend()
    save_figure(figure, path)


def draw_degradations(path):
    """LR of a detail, clean and degraded in each way, weakly and strongly."""
    (file,) = packaged_photos({"skimage": "coffee.png"})
    hr = read_photo(file)[0][:400, :600]
    picture, place = Held(hr, downsample(hr, 4)), (slice(2, 58), slice(78, 134))
    figure = Figure(figsize=(15, 6.4), layout="constrained")
    for strength, axes in zip(["weak", "strong"], figure.subplots(2, 5)):
        weak = strength == "weak"
        kinds = [f"blur={1 if weak else 3}", f"noise={5 if weak else 20}", f"jpeg={60 if weak else 15}"]
        for each, words in zip(axes, [[], *([kind] for kind in kinds), kinds]):
            lr = Degradation.parse(words).part(picture, place, 4, seed=0)
            each.imshow(lr, interpolation="nearest")
            each.set(xticks=[], yticks=[])
            each.set_title(" ".join(words) or "clean", fontsize=13)
        axes[0].set_ylabel(strength, fontsize=14)
    save_figure(figure, path)


def show_page(path, run):
    """The upper part of a run's page, in the Chromium of the system."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 1200})
        page.goto((run / "report.html").resolve().as_uri())
        page.locator(".stage input").fill("62")
        page.screenshot(path=path)
        browser.close()


def main(folder):
    if Path(folder, "report.html").is_file():
        return show_page(HERE / "results.png", Path(folder))
    draw_degradations(HERE / "degradations.png")
    if folder == "degradations":
        return
    device, _ = choose_device()
    use_device(device)
    np.seterr(all="raise", under="ignore")
    draw_details(HERE / "gan.png", device)
    draw_plane(HERE / "plane.png", folder, device)
    draw_training(HERE / "training.png")


if __name__ == "__main__":
    sys.exit(__doc__) if len(sys.argv) != 2 else main(sys.argv[1])
