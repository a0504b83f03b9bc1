"""VGG, whose feature maps compare images as the content loss does. Simonyan and Zisserman 2015; Ledig et al. 2017.

    image ─ input contract ─ block 1 ─ pool ─ block 2 ─ pool ─ … ─ φ        block: [conv 3×3, ReLU] × j

Images are (N, H, W, 3) in [-1, 1], like HR and SR. The network was trained on another range, which depends on who
trained it. Two families of weights differ in nothing else:

    torchvision   RGB in [0, 1], less a mean, divided by a standard deviation, each channel by itself
    caffe         BGR in 0 … 255, less a mean (the Oxford group's own weights; Keras has these)

A feature map has two names. The paper's φ_{i,j}, "vgg54", is the j-th convolution of block i, after its activation or
before. torchvision's "features.35" counts convolutions, activations and poolings alike, from 0.

ST-LPIPS' VGG16 is a third family: it has its own range, and its pooling is BlurPool.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ..arrays import array_module
from ..errors import ConfigError, ShapeError
from ..names import FAMILIES
from ..nn import BlurPool, Conv, MaxPool, Module, ReLU, chain
from ..tensor import Tensor

PAPER_SCALE = 1 / 12.75  # of the features, so that their MSE is like the pixels' in size: Ledig et al., section 3.2
ST_LPIPS = "st-lpips"  # a third family, which its files name: its pooling tolerates shifts (st_lpips.py)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's photos, RGB in [0, 1]
ST_MEAN, ST_STD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of the images in [-1, 1] themselves
BGR_MEAN = (103.939, 116.779, 123.68)  # of ImageNet's photos, BGR in 0 … 255


@dataclass(frozen=True)
class VGGConfig:
    """blocks: for each block the channels of its convolutions; family: of the weights, which decides the
    range of the input."""

    blocks: tuple
    family: str = "torchvision"

    def __post_init__(self) -> None:
        if not self.blocks or any(not block or min(block) < 1 for block in self.blocks):
            raise ConfigError("a VGG has at least one block, a block one convolution, and a convolution one channel")
        if self.family not in (*FAMILIES, ST_LPIPS):
            raise ConfigError(f"a VGG's family is one of {', '.join((*FAMILIES, ST_LPIPS))}, not {self.family!r}")

    def convolutions(self) -> dict[tuple[int, int], tuple[int, int, int]]:
        """{(i, j): (torchvision's index, Cin, Cout)} of φ_{i,j}, both counted from 1."""
        found, index, cin = {}, 0, 3
        for i, block in enumerate(self.blocks, 1):
            for j, cout in enumerate(block, 1):
                found[i, j] = index, cin, cout
                index, cin = index + 2, cout  # the convolution and its activation
            index += 1  # the pooling
        return found

    def index(self, layer: str | None = None, after_activation: bool = True) -> int:
        """torchvision's index of the layer with this name; by default of the last convolution.

        `after_activation` says where "vgg54" is taken. For "features.35" the name says it.
        Raises ConfigError if no layer has this name.
        """
        convolutions = self.convolutions()
        layer = layer or "vgg{}{}".format(*max(convolutions))
        if layer in (named := {f"vgg{i}{j}": index for (i, j), (index, _, _) in convolutions.items()}):
            return named[layer] + after_activation
        layers = sum(2 * len(block) + 1 for block in self.blocks)
        if layer in (numbered := {f"features.{index}": index for index in range(layers)}):
            return numbered[layer]
        raise ConfigError(
            f"this VGG has no layer {layer!r}: choose one of {', '.join(named)}, or features.0 to .{layers - 1}"
        )


VGG16 = ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3)
VGG19 = ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4)
SMALL = ((32,) * 2, (64,) * 2, (64, 64, 64, 256))  # the package's: VGG19 up to vgg34, with fewer channels


class VGG(Module):
    """The layers of VGG up to torchvision's `features[last]`, by default all. The weights are random at first (He)."""

    def __init__(self, config: VGGConfig, rng: np.random.Generator, last: int | None = None) -> None:
        self.config = config
        self.features = []  # so that a weight's name in our state is torchvision's: features.0.weight
        cin = 3
        for block in config.blocks:
            for cout in block:
                self.features += [Conv(rng, cin, cout), ReLU()]
                cin = cout
            self.features.append(BlurPool() if config.family == ST_LPIPS else MaxPool())
        if last is not None:
            del self.features[last + 1 :]

    def forward(self, images: Tensor) -> Tensor:
        self.check(images)
        return chain(normalise(images, self.config.family), *self.features)

    def maps(self, images: Tensor) -> Iterator[tuple[int, Tensor]]:
        """(torchvision's index, feature map) of each layer in turn."""
        self.check(images)
        x = normalise(images, self.config.family)
        for index, layer in enumerate(self.features):
            x = layer(x)
            yield index, x

    def check(self, images: Tensor) -> None:
        least = 1
        for layer in reversed(self.features):  # MaxPool halves; BlurPool takes 4 pixels or more, n to ⌊n/2⌋ + 1
            if isinstance(layer, (MaxPool, BlurPool)):
                least = 2 * least if isinstance(layer, MaxPool) else max(2 * least - 2, 4)
        if images.ndim != 4 or images.shape[3] != 3 or min(images.shape[1:3]) < least:
            raise ShapeError(f"this VGG takes images (N, H, W, 3), H and W at least {least}, not {images.shape}")


class VGGFeatures(VGG):
    """φ, scaled and frozen: its weights require no gradient, so that a backward walk spends no time on them.

    arrays   {"features.0.weight": (3, 3, Cin, Cout), "features.0.bias": (Cout,), …}, at least up to the layer
    """

    def __init__(
        self,
        config: VGGConfig,
        arrays: Mapping[str, np.ndarray],
        layer: str | None = None,
        after_activation: bool = True,
        scale: float = PAPER_SCALE,
    ) -> None:
        super().__init__(config, np.random.default_rng(0), config.index(layer, after_activation))
        self.load_state({name: arrays[name] for name in self.named_parameters()})
        self.scale = scale
        for parameter in self.parameters():
            parameter.requires_grad = False

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * self.scale


def normalise(images: Tensor, family: str) -> Tensor:
    """Images in [-1, 1] in the range that the family of weights expects.

    The zeros that a convolution pads with must mean the mean colour. If the bias of the first convolution did the
    subtraction, the padding would be grey.
    """
    like = array_module(images.data), images.dtype
    if family == "caffe":
        return (images[..., ::-1] + 1) * 127.5 - constant(BGR_MEAN, *like)
    if family == ST_LPIPS:
        return (images - constant(ST_MEAN, *like)) / constant(ST_STD, *like)
    return ((images + 1) * 0.5 - constant(MEAN, *like)) / constant(STD, *like)


@cache  # since a GPU has to be given a copy
def constant(values: tuple[float, ...], xp: Any, dtype: Any) -> Tensor:
    return Tensor(xp.asarray(values, dtype))
