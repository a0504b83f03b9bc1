"""Modules, layers and their initialisation."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from . import ops
from .arrays import Array, array_module, to_device, to_numpy
from .errors import WeightsError
from .in_place import mark_changed
from .ops.batch_norm import batch_statistics
from .ops.spectral_norm import power_iteration
from .tensor import Tensor, definition


class Parameter(Tensor):
    """A Tensor that is learned."""

    __slots__ = ()

    def __init__(self, data: Array) -> None:
        super().__init__(data, requires_grad=True)


class Module:
    """A function whose Parameters and Modules are its attributes. It finds them by itself, also in lists of Modules.

    The attributes named in `buffers` are arrays that belong to the state too, but are not learned.
    """

    buffers: tuple[str, ...] = ()
    training = True
    held = False
    forward: Callable[..., Any]

    def __call__(self, *inputs: Any) -> Any:
        return self.forward(*inputs)

    def modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """(dotted prefix, module) for this module and all within it."""
        yield prefix, self
        for name, value in vars(self).items():
            numbered = enumerate(value) if isinstance(value, list) else ()
            for path, each in [(name, value), *((f"{name}.{i}", each) for i, each in numbered)]:
                if isinstance(each, Module):
                    yield from each.modules(f"{prefix}{path}.")

    def named_parameters(self) -> dict[str, Parameter]:
        """{dotted name: Parameter}: first the module's own, then those of its modules, in the order they were made."""
        return {
            prefix + name: value
            for prefix, module in self.modules()
            for name, value in vars(module).items()
            if isinstance(value, Parameter)
        }

    def parameters(self) -> list[Parameter]:
        return list(self.named_parameters().values())

    def parameter_count(self) -> int:
        return sum(parameter.size for parameter in self.parameters())

    def train(self, on: bool = True) -> Self:
        """Switch to training, or to evaluation. In training, batch norm uses the batch's statistics and updates its
        running ones, and spectral norm refines its vectors. In evaluation both use their state as it is."""
        for _, module in self.modules():
            module.training = on
        return self

    def eval(self) -> Self:
        return self.train(False)

    def to(self, device: str | None = None, dtype: Any = None) -> Self:
        """Move the state to a device, or to another floating-point type, in place."""
        for owner, attribute in self.state_slots().values():
            array = getattr(owner, attribute)
            moved = array if dtype is None else array.astype(dtype, copy=False)
            moved = moved if device is None else to_device(moved, device)
            if moved is not array:
                setattr(owner, attribute, moved)
        return self

    def state(self) -> dict[str, np.ndarray]:
        """{dotted name: NumPy array}: copies of all that is needed to make an equal module."""
        return {name: to_numpy(getattr(*slot)).copy() for name, slot in self.state_slots().items()}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Load what `state` returned. Raises WeightsError, and changes nothing, if names or shapes differ."""
        slots = self.state_slots()
        check_fit(self.arrays(), state)
        for name, slot in slots.items():
            own = getattr(*slot)
            mark_changed(own, f"load_state, which replaced {name}")
            setattr(*slot, array_module(own).array(state[name], own.dtype))

    def arrays(self) -> dict[str, Array]:
        """{dotted name: array}: the state itself, not copies."""
        return {name: getattr(*slot) for name, slot in self.state_slots().items()}

    def state_slots(self) -> dict[str, tuple[Any, str]]:
        """{dotted name: (object, attribute)}: where each parameter's and buffer's array is held."""
        return {
            prefix + name: (value, "data") if isinstance(value, Parameter) else (module, name)
            for prefix, module in self.modules()
            for name, value in vars(module).items()
            if isinstance(value, Parameter) or name in module.buffers
        }


def check_fit(own: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Raise WeightsError unless two {name: array} have the same names and shapes."""
    if differing := sorted(own.keys() ^ state.keys()):
        raise WeightsError(f"the weights are of another model: {differing[0]!r} is in only one of the two")
    for name, array in own.items():
        if state[name].shape != array.shape:
            raise WeightsError(f"the weights are of another model: {name!r} is {state[name].shape}, not {array.shape}")


def he_normal(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, slope: float = 0.0) -> np.ndarray:
    """Normal weights that keep the variance through a rectifier of this negative slope. He et al. 2015, equation 15."""
    std = math.sqrt(2 / ((1 + slope**2) * fan_in))
    return (rng.standard_normal(shape) * std).astype(np.float32)


def icnr(rng: np.random.Generator, kernel: int, cin: int, cout: int, r: int) -> np.ndarray:
    """He weights for a convolution before PixelShuffle(r), the same for all r² offsets. So the untrained pair enlarges
    by nearest neighbour, and starts without a checkerboard. Aitken et al. 2017."""
    one = he_normal(rng, (kernel, kernel, cin, cout // (r * r)), kernel * kernel * cin)
    return np.tile(one, r * r)  # channel (i·r + j)·C + c: the copies stand one after another


class Conv(Module):
    """A k×k convolution with a bias. An odd k keeps the size at stride 1, and halves it (rounded up)
    at stride 2."""

    shuffle = 1

    def __init__(
        self, rng: np.random.Generator, cin: int, cout: int, kernel: int = 3, stride: int = 1, slope: float = 0.0
    ) -> None:
        self.weight = Parameter(he_normal(rng, (kernel, kernel, cin, cout), kernel * kernel * cin, slope))
        self.bias = Parameter(np.zeros(cout, np.float32))
        self.stride, self.padding = stride, kernel // 2

    def forward(self, x: Tensor, weight: Tensor | None = None, padding: int | tuple[int, int] | None = None) -> Tensor:
        weight = self.weight if weight is None else weight
        padding = self.padding if padding is None else padding
        at = {"stride": self.stride, "padding": padding, "shuffle": self.shuffle}
        return ops.Conv2dBias(x, weight, self.bias, **at)


class SubpixelConv(Conv):
    """Enlargement by r: a convolution to r² times `cout` channels, and a pixel shuffle. `cout` is by default `cin`."""

    def __init__(
        self, rng: np.random.Generator, cin: int, cout: int | None = None, r: int = 2, kernel: int = 3
    ) -> None:
        cout = cin if cout is None else cout
        super().__init__(rng, cin, cout * r * r, kernel)
        self.weight = Parameter(icnr(rng, kernel, cin, cout * r * r, r))
        self.shuffle = r


class Dense(Module):
    """x W + b on the last axis."""

    def __init__(self, rng: np.random.Generator, cin: int, cout: int, slope: float = 0.0) -> None:
        self.weight = Parameter(he_normal(rng, (cin, cout), cin, slope))
        self.bias = Parameter(np.zeros(cout, np.float32))

    def forward(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        return ops.MatMul(x, self.weight if weight is None else weight) + self.bias


class PReLU(Module):
    """A rectifier with a learned negative slope for each channel, 0.25 at first."""

    def __init__(self, channels: int) -> None:
        self.slope = Parameter(np.full(channels, 0.25, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        return ops.PReLU(x, self.slope)


class LeakyReLU(Module):
    """A rectifier with a fixed negative slope."""

    def __init__(self, slope: float = 0.2) -> None:
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        return ops.LeakyReLU(x, slope=self.slope)


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.ReLU(x)


class MaxPool(Module):
    """The largest of each size×size square."""

    def __init__(self, size: int = 2) -> None:
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return ops.MaxPool(x, size=self.size)


class BlurPool(Module):
    """Pooling that hardly notices a shift by a pixel: the largest of each size×size square at stride 1, then a blur,
    then every second pixel. Zhang 2019."""

    def __init__(self, size: int = 2) -> None:
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return ops.blur_pool(ops.max_neighbours(x, self.size))


class BatchNorm(Module):
    """Batch normalisation: by the batch's own statistics in training, by frozen running averages in evaluation.

    running ← (1 - momentum)·running + momentum·batch, the variance with its M/(M - 1) correction.
    """

    buffers = ("running_mean", "running_var")

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        self.gamma = Parameter(np.ones(channels, np.float32))
        self.beta = Parameter(np.zeros(channels, np.float32))
        self.running_mean: Array = np.zeros(channels, np.float32)
        self.running_var: Array = np.ones(channels, np.float32)
        self.eps, self.momentum = eps, momentum

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            scale, shift = self.running_affine()
            return x * scale + shift
        statistics = batch_statistics(x.data, self.running())
        return ops.BatchNorm(x, self.gamma, self.beta, statistics=statistics, eps=self.eps)

    def running(self) -> tuple[Array, Array, float] | None:
        """The averages that are to follow a batch's statistics, and their momentum; None if they are held."""
        if self.held:
            return None
        for average in (self.running_mean, self.running_var):
            mark_changed(average, "batch norm, whose running averages followed a batch")
        return self.running_mean, self.running_var, self.momentum

    def running_affine(self) -> tuple[Tensor, Tensor]:
        """(scale, shift) from the running averages: in evaluation, batch norm is x·scale + shift."""
        scale = self.gamma * Tensor((self.running_var + self.eps) ** -0.5)
        return scale, self.beta - Tensor(self.running_mean) * scale


class SpectralNormed(Module):
    """A Conv or Dense whose weights are divided by their largest singular value.

    As a map of vectors, or of receptive fields, it has a norm of at most 1; as a map of images at most k, since a pixel
    is in up to k² receptive fields. The singular vectors u and v are state, like batch norm's averages. In training,
    each forward pass refines them by a round of power iteration. One round a step is enough, since the weights change
    little. FIRST_ROUNDS find u and v when the layer is made.
    """

    FIRST_ROUNDS = 20
    buffers = ("u", "v")

    def __init__(self, rng: np.random.Generator, layer: Conv | Dense) -> None:
        self.layer = layer
        random = rng.standard_normal(layer.weight.shape[-1]).astype(np.float32)
        self.u, self.v = power_iteration(layer.weight.data, random, self.FIRST_ROUNDS)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and not self.held:
            for own, refined in zip((self.u, self.v), power_iteration(self.layer.weight.data, self.v)):
                mark_changed(own, "a round of power iteration")
                own[...] = refined  # the walk back keeps copies, which stay as they are
        return self.layer(x, ops.SpectralNorm(self.layer.weight, u=self.u.copy(), v=self.v.copy()))


@contextmanager
def held(module: Module) -> Generator[Module, None, None]:
    """Within the block, the module's forward pass does not change its state: batch norm's running averages and spectral
    norm's vectors stay as they are."""
    modules = [each for _, each in module.modules()]
    before = [each.held for each in modules]
    for each in modules:
        each.held = True
    try:
        yield module
    finally:
        for each, was in zip(modules, before):
            each.held = was


class Sequential(Module):
    """Modules one after another."""

    def __init__(self, *layers: Module) -> None:
        self.layers = list(layers)

    def forward(self, x: Tensor) -> Tensor:
        return chain(x, *self.layers)


@definition
def chain(x: Tensor, *modules: Module, residual: Tensor | None = None) -> Tensor:
    """The modules one after another, and then the `residual` (or None) added.

    A device may do it in fewer passes over memory (device/fusion.py).
    """
    for module in modules:
        x = module(x)
    return x if residual is None else x + residual


@definition
def both(a: Tensor, b: Tensor, module: Module) -> tuple[Tensor, Tensor]:
    """(module(a), module(b)), which a device may compute side by side (device/fusion.py)."""
    return module(a), module(b)
