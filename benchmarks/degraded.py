"""PSNR of generators on degraded photos: the table "Photos as they really are" of docs/training.md.

    python benchmarks/degraded.py SET5 runs/clean/generator.safetensors runs/real/generator.safetensors

Both runs are `minisrgan train --data BSD200 T91 --stage pretrain --steps 3000`, the second one also with
`--degrade blur=0.2..2 noise=0..15 jpeg=40..95`. A row for each degradation: bicubic, then each generator.
"""

import sys

import numpy as np

from minisrgan.device import choose_device, use_device
from minisrgan.imaging.degrade import Degradation
from minisrgan.imaging.files import find_photos, read_photo
from minisrgan.imaging.metrics import score
from minisrgan.imaging.pictures import Held
from minisrgan.imaging.resize import crop_to_multiple, downsample
from minisrgan.upscaling.trial import try_photo
from minisrgan.weights.generators import load_generator

DEGRADATIONS = [], ["blur=1"], ["noise=8"], ["jpeg=60"], ["blur=1", "noise=8", "jpeg=60"]


def measure(folder, files):
    """Print a row of the table for each of DEGRADATIONS: PSNR in dB on Y, the mean over a folder's photos."""
    device, _ = choose_device()
    use_device(device)
    generators = [load_generator(file).to(device) for file in files]
    for words in DEGRADATIONS:
        rows = []
        for seed, path in enumerate(find_photos(folder)):
            hr = crop_to_multiple(read_photo(path)[0], 4)
            picture = Held(hr, downsample(hr, 4))
            height, width = picture.size
            lr = Degradation.parse(words).part(picture, (slice(0, height), slice(0, width)), 4, seed)
            trials = [try_photo(generator, hr, device, lr) for generator in generators]
            rows.append([score(each, hr, 4).psnr_y for each in [trials[0].bicubic, *(trial.sr for trial in trials)]])
        print(" ".join(words) or "clean", *(f"{psnr:.2f}" for psnr in np.mean(rows, axis=0)), sep=" | ")


if __name__ == "__main__":
    sys.exit(__doc__) if len(sys.argv) < 3 else measure(sys.argv[1], sys.argv[2:])
