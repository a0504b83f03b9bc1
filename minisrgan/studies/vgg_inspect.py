"""`minisrgan vgg inspect`: what a file of VGG weights holds, and how well its feature maps rank distortions."""

from pathlib import Path

import numpy as np

from ..errors import ImageError
from ..models.vgg import ST_LPIPS, VGG, VGGConfig
from ..training.photos import HELD_OUT, named, packaged, read_all
from ..weights.vgg import EMBEDDED, NAMES, identify, load_vgg, read, sha256
from . import Say
from .distortions import DistortedCrops, features_of, say_ranking

INPUT = {  # of each family
    "torchvision": "RGB in 0..1, less a mean, over a standard deviation",
    "caffe": "BGR in 0..255, less a mean",
    ST_LPIPS: "RGB in -1..1, less a mean, over a standard deviation",
}


def inspect(path: str | Path | None = None, family: str | None = None, say: Say = print) -> None:
    """Say which VGG a file holds, and statistics of each layer. Every number is looked at.

    path   by default the package's VGG
    """
    path = Path(path or EMBEDDED)
    blocks, said, lazy = identify(path)
    family = said or family
    arrays = {name: read(path, name, each) for name, each in lazy.items()}
    count = sum(array.size for array in arrays.values())
    say(f"{path}: {NAMES[blocks]}, {len(arrays) // 2} convolutions, {count:,} parameters")
    say(f"family   {family}: the input is {INPUT[family]}" if family else "family   not said: name it with --family")
    say(f"file     {path.stat().st_size:,} bytes, SHA-256 {sha256(path)}")
    columns = f"{'mean':>10}{'deviation':>11}{'largest':>9}{'bias: mean':>12}{'largest':>9}"
    say(f"{'paper':8}{'torchvision':14}{'weights':16}{columns}")
    for (i, j), (index, cin, cout) in VGGConfig(blocks).convolutions().items():
        w, b = arrays[f"features.{index}.weight"], arrays[f"features.{index}.bias"]
        figures = f"{w.mean():10.2g}{w.std():11.2g}{abs(w).max():9.2g}{b.mean():12.2g}{abs(b).max():9.2g}"
        say(f"vgg{i}{j}   {f'features.{index}':14}{f'3×3, {cin} to {cout}':16}{figures}")


def rank(
    path: str | Path | None,
    family: str | None,
    layer: str | None,
    folder: str | Path | None,
    device: str,
    say: Say = print,
) -> dict[str, dict[str, float]]:
    """Say how well a layer ranks distortions by their strength, beside pixels and a VGG of the same kind with random
    weights. Returns the scores by name.

    layer    by default the last
    folder   of photos; by default those that trainings hold out
    """
    photos, bad = read_all(folder) if folder else (list(map(named, packaged(HELD_OUT))), [])
    if not photos:
        raise ImageError(f"{folder}: none of the {len(bad)} photos here can be read, such as {bad[0]}")
    vgg = load_vgg(path, layer, family=family).to(device)
    last = vgg.config.index(layer)
    random = VGG(vgg.config, np.random.default_rng([0, 0]), last).to(device)
    rows = {"pixels": lambda images: images / 127.5, "random": features_of(random, device)}
    return say_ranking(DistortedCrops(photos), rows | {f"features.{last}": features_of(vgg, device)}, say)
