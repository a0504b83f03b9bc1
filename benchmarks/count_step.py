"""What a GAN step asks of a GPU, by kernel: launches, operations, bytes. No GPU is needed, and no kernel runs.

    FAKE_CUPY_DRY=1 MINISRGAN_GRAPH=off PYTHONPATH=tests/acts_like_cupy:. python benchmarks/count_step.py [PRESET]

It counts on the stand-in for CuPy (tests/acts_like_cupy). GFLOP are those of the definitions, of convolutions and
matrix products. MB are those of the arrays that the launches are given, each once for a launch; Adam's, which it finds
by address, and the norms' do not count. A content loss of VGG19's features has random weights.
"""

import sys
from collections import Counter

import cupy
import numpy as np

import minisrgan.device  # noqa: F401  its kernels
from minisrgan.device.convolution import Geometry
from minisrgan.device.matmul import Products
from minisrgan.imaging.patches import PhotoSet
from minisrgan.models.vgg import VGG, VGG19, VGGConfig, VGGFeatures
from minisrgan.training import trainer
from minisrgan.training.presets import PRESETS


def operations(args: tuple) -> int:
    """Of a convolution or a matrix product with these arguments."""
    for g in args:
        if isinstance(g, Geometry):
            return 2 * g.n * g.out_h * g.out_w * g.cout * g.kh * g.kw * g.cin
        if isinstance(g, Products):
            return 2 * g.m * g.n * g.k * (1 if g.k_next else g.count)
    return 0


def count_step(preset: str) -> tuple[Counter, Counter, Counter]:
    """(launches, operations, bytes) of each kernel in a GAN step of the preset, after a first one that fills caches."""
    config, rng = PRESETS[preset], np.random.default_rng(0)
    side = config.discriminator.crop
    if config.content.startswith("vgg") and config.content != "vgg-small":
        vgg = VGGConfig(VGG19)
        features = VGGFeatures(vgg, VGG(vgg, rng).state(), config.content).to("cuda")
        trainer.load_content = lambda *_: features
    photos = [(str(i), rng.integers(256, size=(side, side, 3), dtype=np.uint8)) for i in range(config.batch)]
    training = trainer.Trainer(config, PhotoSet(photos, config.generator.scale, side), "cuda")
    training.start_stage("gan")
    training.gan_step()

    launches, flops, moved = Counter(), Counter(), Counter()

    def counting(launch):
        def count(file, name, grid, block, *args, **choice):
            launches[name] += 1
            flops[name] += operations(args)
            moved[name] += sum(array.nbytes for array in args if hasattr(array, "nbytes"))
            return launch(file, name, grid, block, *args, **choice)

        return count

    for name, module in sys.modules.items():
        if name.startswith("minisrgan.device.") and hasattr(module, "launch") and callable(module.launch):
            module.launch = counting(module.launch)
    cupy.COUNT.clear()
    training.gan_step()
    return launches, flops, moved


def main() -> None:
    launches, flops, moved = count_step(sys.argv[1] if len(sys.argv) > 1 else "paper")
    print(f"{'kernel':24}{'launches':>9}{'GFLOP':>9}{'MB':>9}")
    for name in sorted(launches, key=lambda name: (-flops[name], -moved[name])):
        print(f"{name:24}{launches[name]:9}{flops[name] / 1e9:9.1f}{moved[name] / 1e6:9.0f}")
    print(f"{'CuPy, number by number':24}{cupy.COUNT['elementwise']:9}")
    total = launches.total() + cupy.COUNT["elementwise"]
    print(f"{'together':24}{total:9}{flops.total() / 1e9:9.1f}{moved.total() / 1e6:9.0f}")
    print(f"copies to the device: {cupy.COUNT['to device']}; the host waits: {cupy.COUNT['synchronisations']} times")


if __name__ == "__main__":
    main()
