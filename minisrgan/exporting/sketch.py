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
            x = convolved(x, weight, bias, layer.padding, layer.shuffle)
        elif isinstance(layer, PReLU):
            x = x.then("prelu", slope=layer.slope.data)
        elif isinstance(layer, LeakyReLU | ReLU):
            x = x.then("leaky", slope=float(getattr(layer, "slope", 0)))
        else:
            raise TypeError(f"{type(layer).__name__} has no counterpart in other programs")
    return x if residual is None else x + residual


def convolved(x: Sketch, weight: np.ndarray, bias: np.ndarray, padding: int, shuffle: int) -> Sketch:
    stride, read = 1, x.layers[x.number()]
    if read.kind == "fold":  # a convolution of folded pixels is one of the pixels, by r times as wide a kernel
        stride = read.about["r"]
        weight, padding = unfolded(weight, stride), padding * stride
        x = Sketch(x.layers, dict.fromkeys(read.inputs, 1.0))
    return x.then("conv", weight=weight, bias=bias, stride=stride, padding=padding, shuffle=shuffle)


def unfolded(weight: np.ndarray, r: int) -> np.ndarray:
    """(kh, kw, r²·C, Cout) → (r·kh, r·kw, C, Cout)."""
    kh, kw, cin, cout = weight.shape
    squares = weight.reshape(kh, kw, r, r, cin // r**2, cout).transpose(0, 2, 1, 3, 4, 5)
    return squares.reshape(r * kh, r * kw, cin // r**2, cout)


def enlarged(x: Sketch, weight: np.ndarray, lines: int, scale: int) -> Sketch:
    """An enlargement whose every pixel depends on `lines` pixels on each side."""
    bias = np.zeros(weight.shape[-1], np.float32)
    return convolved(x.then("edge", lines=lines), weight.astype(np.float32), bias, 0, scale)


@register(enlarge_bicubic, is_sketch)
def bicubic_sketch(x: Sketch, scale: int) -> Sketch:
    return enlarged(x, bicubic_weights(3, scale), 2, scale)


@register(enlarge_bilinear, is_sketch)
def bilinear_sketch(x: Sketch, scale: int) -> Sketch:
    return enlarged(x, bilinear_weights(3, scale), 1, scale)


@register(enlarge_nearest, is_sketch)
def nearest_sketch(x: Sketch, scale: int) -> Sketch:
    return x if scale == 1 else x.then("nearest", scale=scale)


@register(join, is_sketch)
def join_sketch(first: Sketch, *others: Sketch) -> Sketch:
    return first.then("join", *others) if others else first


@register(fold_pixels, is_sketch)
def fold_sketch(x: Sketch, r: int) -> Sketch:
    return x.then("fold", r=r)


@register(crop_to, is_sketch)
def crop_sketch(x: Sketch, lr: Sketch, scale: int) -> Sketch:
    return x  # other programs have to give sides that can be folded


def readers(layers: Sequence[Layer]) -> list[int]:
    """How many inputs of other layers each layer is."""
    return [sum(n in layer.inputs and layer.inputs.count(n) for layer in layers) for n in range(len(layers))]
