"""A generator as a list of plain layers, which each format writes in its own words.

The network's own forward pass is run on a Sketch, as upscaling runs it on Bands. The Sketch computes nothing, and notes
which layer is applied to which. Three things are simpler in the list than in the network:

    range       LR and SR are both in [0, 1], as other programs expect
    batch norm  is in the weights of the convolution before it
    factors     and constants too: a Sketch is a sum Σ factor·layer + constant, and a convolution takes in its factor
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..device.fusion import fold, layers_of
from ..device.register import register
from ..models.architectures import Network
from ..models.enlarging import bilinear_weights, crop_to, enlarge_bilinear, enlarge_nearest, fold_pixels, join
from ..models.generator import bicubic_weights, enlarge_bicubic
from ..nn import BatchNorm, Conv, LeakyReLU, Module, PReLU, ReLU, chain


@dataclass(frozen=True)
class Layer:
    """One layer, and the numbers of the layers that it reads.

    kind      what it has
    input
    conv      weight (kh, kw, Cin, Cout), bias (Cout,), stride, padding with zeros, shuffle as in nn.SubpixelConv
    prelu     slope (C,)
    leaky     slope, a number
    add       two inputs
    times     factor
    join      the channels of several inputs
    nearest   scale
    edge      lines: how often the outermost pixels are repeated on each side
    mirror    lines: how many are mirrored beyond the last one, below and on the right
    crop      two inputs: the first, of which the second's height and width are left
    """

    kind: str
    inputs: tuple[int, ...]
    about: dict[str, Any]


@dataclass
class Sketch:
    """Σ factor·layer + constant, over `terms`, {number of a layer: factor}. `layers` is the list that all share. Once a
    layer has read the sum, it is a layer itself."""

    layers: list[Layer]
    terms: dict[int, float]
    constant: float = 0.0

    def __add__(self, other: Sketch) -> Sketch:
        terms = {n: self.terms.get(n, 0) + other.terms.get(n, 0) for n in self.terms | other.terms}
        return Sketch(self.layers, terms, self.constant + other.constant)

    def __mul__(self, factor: float) -> Sketch:
        return Sketch(self.layers, {n: factor * f for n, f in self.terms.items()}, factor * self.constant)

    def __sub__(self, number: float) -> Sketch:
        return replace(self, constant=self.constant - number)

    def then(self, kind: str, *others: Sketch, **about: Any) -> Sketch:
        """A layer that reads this and the others."""
        return self.added(Layer(kind, tuple(each.number() for each in (self, *others)), about))

    def added(self, layer: Layer) -> Sketch:
        self.layers.append(layer)
        return Sketch(self.layers, {len(self.layers) - 1: 1.0})

    def number(self) -> int:
        """The number of a layer that gives this sum."""
        parts, constant = [], self.constant
        for n, factor in self.terms.items():
            layer, part = self.layers[n], Sketch(self.layers, {n: 1.0})
            if layer.kind == "conv" and (factor, constant) != (1, 0):
                weight, bias = (factor * layer.about[name] for name in ("weight", "bias"))
                part = self.added(replace(layer, about=layer.about | {"weight": weight, "bias": bias + constant}))
                constant = 0.0
            elif factor != 1:
                part = part.then("times", factor=factor)
            parts.append(part)
        assert constant == 0, "only a convolution can take in a constant"
        total = parts[0]
        for part in parts[1:]:
            total = total.then("add", part)
        self.terms, self.constant = total.terms, 0.0
        return next(iter(total.terms))


def sketch(generator: Network) -> list[Layer]:
    """The generator's layers, in an order in which they can be computed. The last one gives SR."""
    layers = [Layer("input", (), {})]
    last = (generator.eval()(Sketch(layers, {0: 1.0})) * 0.5 - -0.5).number()
    needed = {last}
    for n in reversed(range(last + 1)):
        needed |= {*layers[n].inputs} if n in needed else set()
    numbers = {n: i for i, n in enumerate(sorted(needed))}
    return [replace(layers[n], inputs=tuple(numbers[each] for each in layers[n].inputs)) for n in numbers]


def is_sketch(x: Any) -> bool:
    return isinstance(x, Sketch)


@register(chain, is_sketch)
def chain_sketch(x: Sketch, *modules: Module, residual: Sketch | None = None) -> Sketch:
    layers: list[Any] = layers_of(modules)
    while layers:
        layer = layers.pop(0)
        if isinstance(layer, Conv):
            norm = layers.pop(0) if layers and isinstance(layers[0], BatchNorm) else None
            weight, bias = (each.data for each in (fold(layer, norm) if norm else (layer.weight, layer.bias)))
            x = x.then("conv", weight=weight, bias=bias, stride=1, padding=layer.padding, shuffle=layer.shuffle)
        elif isinstance(layer, PReLU):
            x = x.then("prelu", slope=layer.slope.data)
        elif isinstance(layer, LeakyReLU | ReLU):
            x = x.then("leaky", slope=float(getattr(layer, "slope", 0)))
        else:
            raise TypeError(f"{type(layer).__name__} has no counterpart in other programs")
    return x if residual is None else x + residual


def fixed(x: Sketch, weight: np.ndarray, stride: int = 1, shuffle: int = 1) -> Sketch:
    """A convolution with weights that are not learned, without bias and padding."""
    weight, bias = weight.astype(np.float32), np.zeros(weight.shape[-1], np.float32)
    return x.then("conv", weight=weight, bias=bias, stride=stride, padding=0, shuffle=shuffle)


@register(enlarge_bicubic, is_sketch)
def bicubic_sketch(x: Sketch, scale: int) -> Sketch:
    return fixed(x.then("edge", lines=2), bicubic_weights(3, scale), shuffle=scale)


@register(enlarge_bilinear, is_sketch)
def bilinear_sketch(x: Sketch, scale: int) -> Sketch:
    return fixed(x.then("edge", lines=1), bilinear_weights(3, scale), shuffle=scale)


@register(enlarge_nearest, is_sketch)
def nearest_sketch(x: Sketch, scale: int) -> Sketch:
    return x if scale == 1 else x.then("nearest", scale=scale)


@register(join, is_sketch)
def join_sketch(first: Sketch, *others: Sketch) -> Sketch:
    return first.then("join", *others) if others else first


@register(fold_pixels, is_sketch)
def fold_sketch(x: Sketch, r: int) -> Sketch:
    """A convolution whose every filter picks one pixel of a square. Its stride leaves out a square that is not whole.
    So as many lines can be mirrored as an image of any size may need."""
    return fixed(x.then("mirror", lines=r - 1), np.eye(3 * r**2).reshape(r, r, 3, -1), stride=r)


@register(crop_to, is_sketch)
def crop_sketch(x: Sketch, lr: Sketch, scale: int) -> Sketch:
    return x.then("crop", nearest_sketch(lr, scale))


def readers(layers: Sequence[Layer]) -> list[int]:
    """How many inputs of other layers each layer is."""
    return [sum(n in layer.inputs and layer.inputs.count(n) for layer in layers) for n in range(len(layers))]
