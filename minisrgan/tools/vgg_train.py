"""`minisrgan vgg train`: the small VGG of the package, taught to tell how strongly a photo was distorted.

How.  Crops x of photos are distorted (blur, noise, JPEG, a shift), each at a random strength s. As in the content loss,
the distance of the distorted crop x̃ at a feature map φ is d = mean (φ(x̃) - φ(x))². Of two crops distorted by the same
kind, the more strongly distorted should be the farther from its original, whatever the two show: with RankNet's loss
(Burges et al. 2005) over all pairs a, b with s_a > s_b,

    L_rank = mean softplus(ln d_b - ln d_a),        summed over the last map of each block.

Why.  It needs no labels but the strengths, which are known because we distort; and what is trained is the very distance
that the content loss will use. To classify objects, as the genuine VGG learned to, takes a million labelled photos.
Random weights rank the strengths within one crop already; what they cannot do is compare crops: a flat one hardly
moves under a blur that ruins a textured one. To get these right, the maps must respond to what distortions change
rather than to contrast.

Left to itself L_rank kills channels, for one that never fires has no distance to get wrong: nine in ten of the last
map's were dead after 1,400 steps. So a second term keeps each channel's mean μ over the batch, before its activation,
near 0 in units of its deviation σ. Its gradient, unlike that of what is behind a ReLU, reaches a dead channel too:

    L_centre = mean μ²/σ² over the channels,        summed over the convolutions;        L = L_rank + L_centre/10.

Last, each layer's weights are multiplied by a number (which ReLU lets through), so that the content loss has the size
of the pixels' MSE, as the paper wants of its own: see `calibrate`.
"""

import math
from pathlib import Path

import numpy as np

from ..arrays import to_device
from ..autodiff import Softplus, Tensor, grad, no_grad
from ..errors import ConfigError, DivergedError
from ..imaging.files import check_writable
from ..imaging.patches import PhotoSet
from ..imaging.pixels import hr_from_uint8
from ..models.vgg import PAPER_SCALE, SMALL, VGG, VGGConfig
from ..models.vgg_weights import save_vgg
from ..nn import Conv
from ..optim import SCHEDULES, Adam
from .distortions import KINDS, MARGIN, Trial, enlarge, features_of, inner, say_ranking
from .progress import progress_bar

CROP = 48  # pixels on a side
LEAST = CROP + 2 * MARGIN  # and with the margin: what a photo has to have
PER_KIND = 8  # crops of each kind in a batch
RATE = 1e-3
CENTRE = 0.1  # weight of the term that keeps channels alive
FOURFOLD = math.log(4 / 1.25) / math.log(8 / 1.25)  # the strength at which `enlarge` enlarges four times
TINY = 1e-6  # of a distance: what a shift makes of a flat crop has no logarithm


def random_vgg(seed):
    """The small VGG as it is before its training."""
    return VGG(VGGConfig(SMALL), np.random.default_rng([seed, 0]))


def taps(config):
    """torchvision's indices of the maps that are trained: the last of each block, after its activation."""
    last = {i: index for (i, _), (index, _, _) in config.convolutions().items()}
    return [index + 1 for index in last.values()]


class Trainer:
    """The small VGG in training. Its state is a function of the photos, the device (arrays.py says what of it), the
    steps and the seed alone."""

    def __init__(self, photos, device, steps, seed=0):
        self.device, self.steps, self.step = device, steps, 0
        self.photos = PhotoSet(photos, scale=1, crop=LEAST)
        self.vgg = random_vgg(seed).to(device)
        self.taps = taps(self.vgg.config)
        self.rng = np.random.default_rng([seed, 1])
        self.adam = Adam(self.vgg.named_parameters())

    def batch(self):
        """(crops, the same distorted: uint8, one kind after another; strengths (kinds, PER_KIND))."""
        patches = self.photos.hr(self.photos.choose(self.rng, PER_KIND * len(KINDS)))
        strengths = self.rng.uniform(size=(len(KINDS), PER_KIND))
        kinds = np.repeat(list(KINDS.values()), PER_KIND)
        distorted = [kind(patch, s, self.rng) for kind, patch, s in zip(kinds, patches, strengths.ravel().tolist())]
        return inner(patches), inner(np.array(distorted)), strengths

    def train_step(self):
        crops, distorted, strengths = self.batch()
        images = Tensor(to_device(hr_from_uint8(np.concatenate([crops, distorted])), self.device))
        stronger = (strengths[:, :, None] > strengths[:, None, :]).astype(np.float32)
        pairs = Tensor(to_device(stronger / stronger.sum(), self.device))
        losses = []
        for index, x in self.vgg.maps(images):
            if isinstance(self.vgg.features[index], Conv):
                losses.append(CENTRE * off_centre(x))
            elif index in self.taps:
                losses.append((Softplus(-log_ratios(x, strengths.shape)) * pairs).sum())
        loss = sum(losses[1:], losses[0])
        gradients = grad(loss, self.adam.parameters.values())
        self.adam.step(gradients, RATE * SCHEDULES["cosine"](self.step / self.steps))
        self.step += 1
        return float(loss.item())

    def calibrate(self, crops=64):
        """Scale each layer so that, times 1/12.75, its MSE between crops and the same enlarged fourfold is the pixels'.

        With s_l the factor that the output of layer l needs, its weights are multiplied by s_l/s_{l-1} and its bias by
        s_l: ReLU and max pooling let positive factors through.
        """
        patches = self.photos.hr(self.photos.choose(self.rng, crops))
        enlarged = np.array([enlarge(patch, FOURFOLD, self.rng) for patch in patches])
        a, b = (Tensor(to_device(hr_from_uint8(inner(each)), self.device)) for each in (patches, enlarged))
        with no_grad():
            pixels = ((a - b) ** 2).mean().item()
            maps = zip(self.vgg.maps(a), self.vgg.maps(b))
            measured = {index: ((x - y) ** 2).mean().item() for (index, x), (_, y) in maps}
        before = 1.0
        for index, layer in enumerate(self.vgg.features):
            if isinstance(layer, Conv):
                factor = math.sqrt(pixels / measured[index + 1]) / PAPER_SCALE  # index + 1: after the activation
                layer.weight.data *= factor / before
                layer.bias.data *= factor
                before = factor


def off_centre(x):
    """mean μ²/σ² over the channels, of which μ and σ² are mean and variance in a batch before its activation."""
    centred = x - x.mean((0, 1, 2))
    return (x.mean((0, 1, 2)) ** 2 / ((centred**2).mean((0, 1, 2)) + TINY)).mean()


def log_ratios(x, shape):
    """ln d_a - ln d_b (kinds, a, b) by a map of the crops and then of them distorted."""
    n = len(x.data) // 2
    log_d = (((x[n:] - x[:n]) ** 2).mean((1, 2, 3)) + TINY).log()
    kinds, each = shape
    return log_d.reshape((kinds, each, 1)) - log_d.reshape((kinds, 1, each))


def train(photos, device, steps, seed, out, say=print):
    """Train the small VGG on photos.training, write it to `out`, and say how it ranks distortions of the held-out."""
    if Path(out).exists():
        raise ConfigError(f"{out} is there already: name another file with --out")
    check_writable(out)
    trainer, trial = Trainer(photos.training, device, steps, seed), Trial(photos.held_out, side=CROP)
    with progress_bar(range(steps), unit="step") as progress:
        for _ in progress:
            loss = trainer.train_step()
            if not math.isfinite(loss):
                raise DivergedError(f"step {trainer.step}: the loss is no longer finite")
            progress.set_postfix(loss=f"{loss:.3f}", refresh=False)
    if steps:
        trainer.calibrate()
    about = {"seed": seed, "steps": steps, "photos": trainer.photos.names}
    save_vgg(out, trainer.vgg.config, trainer.vgg.state(), np.float16, trained=about)
    rows = {"pixels": lambda images: images / 127.5, "random": features_of(random_vgg(seed).to(device), device)}
    results = say_ranking(trial, rows | {"trained": features_of(trainer.vgg, device)}, say)
    say(f"{out}: {trainer.vgg.parameter_count():,} parameters, {Path(out).stat().st_size / 1e6:.2f} MB")
    return results
