"""Makes the README's pictures of what the shipped generators do.

    python docs/pictures.py Set5          gan.png, plane.png and training.png, beside this file

The details are of photos that come with scikit-image and matplotlib, which no shipped generator was trained on. The
plane needs the folder of Set5's originals and the network of ST-LPIPS (`minisrgan vgg fetch stlpips`); the curves are
drawn from benchmarks/results/training-*.csv, which say how each shipped file was trained.
"""

from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from minisrgan.arrays import choose_device, use_device
from minisrgan.imaging.files import read_photo
from minisrgan.models.weights import load_generator, packaged
from minisrgan.tools.evaluate import try_photo
from minisrgan.tools.photos import packaged as packaged_photos
from minisrgan.tools.report import save_figure

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "benchmarks" / "results"
SIDE = 112  # HR pixels of a detail


class Detail(NamedTuple):
    """What it shows, the photo and the package that brings it, and its top left corner."""

    what: str
    package: str
    photo: str
    top: int
    left: int


DETAILS = [
    Detail("fur", "skimage", "chelsea.png", 60, 130),
    Detail("a face", "skimage", "astronaut.png", 80, 170),
    Detail("letters", "skimage", "astronaut.png", 330, 340),
    Detail("cloth", "matplotlib", "grace_hopper.jpg", 400, 200),
]


def draw_details(path, device):
    """LR, bicubic, both stages of the small model, HR: a row for each detail."""
    generators = {stage: load_generator(packaged("small", stage)).to(device) for stage in ("stage1", "gan")}
    figure = Figure(figsize=(15, 3.1 * len(DETAILS)), layout="constrained")
    rows = figure.subplots(len(DETAILS), 5)
    for detail, axes in zip(DETAILS, rows):
        (file,) = packaged_photos({detail.package: detail.photo})
        rgb = read_photo(file)[0]
        trials = {stage: try_photo(generator, rgb, device) for stage, generator in generators.items()}
        one = trials["gan"]
        images = {
            "LR": one.lr.repeat(4, 0).repeat(4, 1),
            "bicubic": one.bicubic,
            "stage 1": trials["stage1"].sr,
            "GAN": one.sr,
            "HR": one.hr,
        }
        for each, (name, image) in zip(axes, images.items()):
            each.imshow(image[detail.top :, detail.left :][:SIDE, :SIDE], interpolation="nearest")
            each.set(xticks=[], yticks=[])
            if detail is DETAILS[0]:
                each.set_title(name, fontsize=15)
        axes[0].set_ylabel(detail.what, fontsize=13)
    save_figure(figure, path)


if __name__ == "__main__":
    device, _ = choose_device()
    use_device(device)
    draw_details(HERE / "gan.png", device)
