"""`minisrgan gradcheck`: ask the three questions of check.py about every derivative in the package."""

from collections import abc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from .. import check, losses, nn, ops, regularisers
from ..arrays import Array, array_module, on_gpu, to_device
from ..errors import ConfigError
from ..models.architectures import build, name_of
from ..models.compact import CompactConfig
from ..models.discriminator import Discriminator, DiscriminatorConfig
from ..models.esrgan import MSRResNetConfig, RRDBConfig
from ..models.generator import Generator, GeneratorConfig
from ..models.vgg import VGG, VGGConfig, VGGFeatures
from ..names import FAMILIES
from ..ops.batch_norm import batch_statistics
from ..ops.spectral_norm import power_iteration
from ..tensor import Op, Tensor
from . import Say


class Case(NamedTuple):
    """A function of Tensors, and the float64 NumPy arrays at which to check it. `linear`: whether it is so in each."""

    name: str
    function: Callable[..., Tensor]
    arrays: list[np.ndarray]
    linear: bool = False


class Result(NamedTuple):
    """The errors of a case. That of the adjoint is None for a function that is not linear."""

    name: str
    shapes: str
    adjoint: float | None
    first: float
    second: float

    @property
    def passed(self) -> bool:
        return (
            (self.adjoint is None or self.adjoint <= check.ADJOINT_TOLERANCE)
            and self.first <= check.FIRST_ORDER_TOLERANCE
            and self.second <= check.SECOND_ORDER_TOLERANCE
        )


def op_cases(rng: np.random.Generator) -> list[Case]:
    """One or more cases for each Op, at odd shapes."""

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape)

    def positive(*shape: int) -> np.ndarray:
        return rng.uniform(0.5, 2, shape)

    def case(op: Any, *arrays: np.ndarray, **params: Any) -> Case:
        values = " ".join(f"{k}={v}".replace(" ", "") for k, v in params.items() if k != "key")
        return Case(f"{op.__name__} {values}".strip(), lambda *xs: op(*xs, **params), list(arrays), op.linear)

    x, image = normal(3, 4), normal(2, 5, 7, 3)
    chosen = rng.integers(4, size=(2, 2, 3, 3))
    convolutions = [
        # image, kernel, stride, padding: by im2col, with few outputs, strided, 1×1, uneven, beyond the image
        ((2, 6, 7, 3), (3, 3, 3, 4), 1, 1),
        ((2, 6, 5, 9), (3, 5, 9, 2), 1, (1, 2)),
        ((2, 7, 8, 3), (3, 3, 3, 2), 2, 1),
        ((1, 4, 5, 3), (1, 1, 3, 2), 1, 0),
        ((1, 8, 7, 2), (4, 3, 2, 3), (3, 2), (0, 1)),
        ((1, 3, 2, 2), (2, 2, 2, 3), 1, 3),
    ]
    cases = [
        case(ops.Add, x, normal(4)),
        case(ops.Sub, x, normal(3, 1)),
        case(ops.Mul, x, normal(4)),
        case(ops.Div, x, positive(4)),
        case(ops.Neg, x),
        case(ops.Pow, positive(3, 4), exponent=3),
        case(ops.Pow, positive(3, 4), exponent=-0.5),
        case(ops.Exp, x),
        case(ops.Log, positive(3, 4)),
        case(ops.Sigmoid, x),
        case(ops.Softplus, x),
        case(ops.Abs, x),
        case(ops.Clip, x, low=-0.5, high=0.8),
        case(ops.ReLU, image),
        case(ops.LeakyReLU, image, slope=0.2),
        case(ops.PReLU, image, normal(3)),
        case(ops.WherePositive, x, normal(3, 4), normal(4)),
        case(ops.Sum, image, axis=(0, 2)),
        case(ops.Sum, image, axis=None, keepdims=True),
        case(ops.SumTo, image, shape=(3,)),
        case(ops.SumTo, image, shape=(5, 1, 3)),
        case(ops.BroadcastTo, normal(5, 1, 3), shape=(2, 5, 7, 3)),
        case(ops.MatMul, normal(2, 3, 4), normal(4, 5)),
        case(ops.Reshape, x, shape=(2, 6)),
        case(ops.Transpose, image, axes=(2, 0, 3, 1)),
        case(ops.Transpose, normal(3, 3, 3), axes=(0, -1, 1)),
        case(ops.Slice, image, key=(slice(None), slice(1, -1), 2)),
        case(ops.Unslice, normal(2, 3), key=(slice(None), slice(1, 4)), shape=(2, 5)),
        case(ops.Pad, x, widths=((1, 2), (0, 3))),
        case(ops.Concatenate, x, normal(3, 2), axis=1),
        case(ops.PixelShuffle, normal(2, 3, 2, 12), r=2),
        case(ops.PixelUnshuffle, normal(1, 6, 9, 2), r=3),
        case(ops.MaxPool, image, size=2),
        chosen_case(ops.Pick, image, chosen, size=2),
        chosen_case(ops.Place, normal(2, 2, 3, 3), chosen, size=2, shape=image.shape),
        Case(
            "BatchNorm",
            lambda x, *affine: ops.BatchNorm(x, *affine, statistics=batch_statistics(x.data), eps=1e-5),
            [normal(3, 4, 5, 2), normal(2), normal(2)],
        ),
        case(losses.PixelMSE, image, normal(*image.shape)),
        case(losses.DiscriminatorLoss, normal(6), normal(5)),
        case(losses.NonSaturatingLoss, normal(6)),
        case(losses.MinimaxLoss, normal(6)),
    ]
    for image_shape, kernel, stride, padding in convolutions:
        x, w = normal(*image_shape), normal(*kernel)
        g = normal(*ops.Conv2d(Tensor(x), Tensor(w), stride=stride, padding=padding).shape)
        at = {"stride": stride, "padding": padding}
        cases += [
            case(ops.Conv2d, x, w, **at),
            case(ops.Conv2dBias, x, w, normal(kernel[3]), **at),
            case(ops.InputGrad, g, w, size=image_shape[1:3], **at),
            case(ops.WeightGrad, x, g, kernel=kernel[:2], **at),
        ]
    rng = rng.spawn(1)[0]  # so that the cases after these keep their numbers
    g = normal(*image.shape)
    cases += [
        case(ops.LeakyReLUGrad, g, image, slope=0.2),
        case(ops.PReLUGrad, g, image, normal(3)),
        case(ops.SlopeGrad, g, image, shape=(3,)),
        case(losses.PixelMSEGrad, image, g, normal()),
        case(ops.MatMul, normal(7, 300), normal(300, 5)),
        case(ops.MatMul, normal(4, 3), normal(2, 3, 5)),
        case(ops.Conv2dBias, normal(2, 4, 5, 3), normal(3, 3, 3, 8), normal(8), padding=1, shuffle=2),
        case(ops.Conv2dBias, normal(1, 4, 5, 3), normal(3, 3, 3, 6), normal(6), padding=1, slope=0.2),
        case(ops.Conv2dBias, normal(1, 4, 5, 3), normal(3, 3, 3, 64), normal(64), padding=1, shuffle=2, slope=0.0),
        case(ops.Conv2dBias, normal(1, 5, 3, 2), normal(3, 3, 2, 64), normal(64), stride=2, padding=1, shuffle=2),
        case(losses.PixelL1, image, g),
        case(losses.PixelCharbonnier, image, g, eps=0.5),
        case(losses.LeastSquaresDiscriminatorLoss, normal(6), normal(5)),
        case(losses.LeastSquaresLoss, normal(6)),
        case(losses.HingeDiscriminatorLoss, normal(6), normal(5)),
        case(losses.WassersteinDiscriminatorLoss, normal(6), normal(5)),
        case(losses.WassersteinLoss, normal(6)),
        case(losses.RelativisticLoss, normal(6), normal(5)),
        Case("blur_pool", ops.blur_pool, [normal(2, 5, 6, 3)], linear=True),
        Case("max_neighbours", lambda x: ops.max_neighbours(x, 3), [normal(2, 5, 6, 3)]),
        spectral_norm_case(normal(3, 3, 2, 4), *power_iteration(normal(3, 3, 2, 4), normal(4))),
    ]
    return cases


def chosen_case(op: type[Op], x: np.ndarray, chosen: np.ndarray, **params: Any) -> Case:
    """The case of an op that is told which pixel of each square counts."""

    def function(x: Tensor) -> Tensor:
        return op(x, chosen=array_module(x.data).asarray(chosen), **params)

    values = " ".join(f"{k}={v}".replace(" ", "") for k, v in params.items())
    return Case(f"{op.__name__} {values}", function, [x], op.linear)


def spectral_norm_case(w: np.ndarray, u: np.ndarray, v: np.ndarray) -> Case:
    """SpectralNorm with u and v that are not w's own. Its derivative holds them fixed, so it must be right for any."""

    def function(w: Tensor) -> Tensor:
        return ops.SpectralNorm(w, u=to_like(u, w), v=to_like(v, w))

    return Case("SpectralNorm", function, [w])


def to_like(array: np.ndarray, tensor: Tensor) -> Array:
    """A NumPy array as an array of the tensor's device and type."""
    return array_module(tensor.data).asarray(array, tensor.dtype)


def loss_cases(rng: np.random.Generator) -> list[Case]:
    """Losses that are made of other ops, as functions of SR, and penalties, as functions of all of D's parameters."""
    sr, hr = rng.uniform(-1, 1, (2, 3, 16, 16, 3))
    features = nn.Sequential(nn.Conv(rng, 3, 4, slope=1.0), nn.LeakyReLU(), nn.Conv(rng, 4, 2)).to(dtype=np.float64)
    small_d = DiscriminatorConfig(channels=2, dense=5, crop=16, batch_norm=False)
    return [
        Case("total_variation", lambda sr: losses.total_variation(sr, eps=0.5), [sr]),
        Case("grid_loss", lambda sr: losses.grid_loss(sr, Tensor(to_like(hr, sr)), period=4, window=2), [sr]),
        feature_case("feature_mse", features, sr, hr),
        *(
            penalty_case(f"{name}, D", Discriminator(small_d, rng), regularisers.REGULARISERS[name], sr, hr, rng)
            for name in ("r1", "gradient-penalty")
        ),
    ]


def feature_case(name: str, features: nn.Module, sr: np.ndarray, hr: np.ndarray) -> Case:
    """The content loss through frozen features."""

    def function(sr: Tensor) -> Tensor:
        features.to(device_of(sr))
        return losses.feature_mse(features, sr, Tensor(to_like(hr, sr)))

    return Case(name, function, [sr])


def penalty_case(
    name: str,
    discriminator: Discriminator,
    regulariser: type[regularisers.Regulariser],
    sr: np.ndarray,
    hr: np.ndarray,
    rng: np.random.Generator,
) -> Case:
    """The penalty as a function of D's parameters. Its first derivative takes D's second, and its second D's third."""
    discriminator.to(dtype=np.float64)

    def function(*values: Tensor) -> Tensor:
        images = [Tensor(to_like(image, values[0])) for image in (hr, sr)]
        with substituted(discriminator, values):
            logits = [discriminator(image) for image in images]
            return regulariser(np.random.default_rng(0)).penalty(discriminator, *images, *logits)

    return Case(name, function, moved_off(discriminator, rng))


SHARED = (CompactConfig(4, 1, 3), RRDBConfig(3, 1, 2, 2, 2), MSRResNetConfig(3, 1, 2))  # architectures of shared models


def module_cases(rng: np.random.Generator) -> list[Case]:
    """Each layer, and whole small models, as functions of their input and of all their parameters."""
    image = rng.standard_normal((2, 5, 7, 3))
    small_g: dict[str, Any] = {"channels": 4, "blocks": 2, "scale": 4}
    small_d = Discriminator(DiscriminatorConfig(channels=2, dense=5, crop=16), rng)
    spectral = DiscriminatorConfig(channels=2, dense=5, crop=16, batch_norm=False, spectral_norm=True)
    layers = {
        "Conv": nn.Conv(rng, 3, 4),
        "Conv stride=2": nn.Conv(rng, 3, 4, stride=2),
        "SubpixelConv": nn.SubpixelConv(rng, 3),
        "PReLU layer": nn.PReLU(3),
        "LeakyReLU layer": nn.LeakyReLU(),
        "BatchNorm layer": nn.BatchNorm(3),
        "BatchNorm layer, eval": nn.BatchNorm(3).eval(),
    }
    photo = rng.uniform(0, 1, (2, 5, 6, 3))
    generators = {
        "G": Generator(GeneratorConfig(**small_g), rng),
        "G, eval": Generator(GeneratorConfig(**small_g), rng).eval(),
        "G, bicubic skip": Generator(
            GeneratorConfig(**small_g, batch_norm=False, bicubic_skip=True, edge_kernel=3), rng
        ),
        "G, direct": Generator(GeneratorConfig(**small_g, batch_norm=False, edge_kernel=3, direct=True), rng),
    }
    return [
        *(module_case(name, layer, image, rng) for name, layer in layers.items()),
        module_case("Dense", nn.Dense(rng, 6, 4), rng.standard_normal((3, 6)), rng),
        *(module_case(name, generator, photo, rng) for name, generator in generators.items()),
        module_case("D", small_d, rng.uniform(-1, 1, (3, 16, 16, 3)), rng),
        # in evaluation, where u and v stay as they are: in training each forward would change them
        module_case("SpectralNorm layer, Conv", nn.SpectralNormed(rng, nn.Conv(rng, 3, 4)).eval(), image, rng),
        module_case(
            "SpectralNorm layer, Dense",
            nn.SpectralNormed(rng, nn.Dense(rng, 6, 4)).eval(),
            rng.normal(size=(3, 6)),
            rng,
        ),
        module_case("D, spectral norm", Discriminator(spectral, rng).eval(), rng.uniform(-1, 1, (3, 16, 16, 3)), rng),
        *(vgg_case(family, rng) for family in FAMILIES),
        *(module_case(name_of(config), build(config, rng), photo, rng) for config in SHARED),
    ]


def vgg_case(family: str, rng: np.random.Generator) -> Case:
    """A small frozen VGG as a function of the image alone."""
    config = VGGConfig(((3, 4), (5, 4)), family)
    vgg = VGGFeatures(config, VGG(config, rng).state()).to(dtype=np.float64)

    def function(image: Tensor) -> Tensor:
        vgg.to(device_of(image))
        return vgg(image)

    return Case(f"VGG features, {family}", function, [rng.uniform(-1, 1, (2, 6, 7, 3))])


def module_case(name: str, module: nn.Module, x: np.ndarray, rng: np.random.Generator) -> Case:
    """The module as a function of its input and of its parameters."""
    module.to(dtype=np.float64)

    def function(x: Tensor, *values: Tensor) -> Tensor:
        with substituted(module, values):
            return module.to(device_of(x))(x)

    return Case(name, function, [x, *moved_off(module, rng)])


def moved_off(module: nn.Module, rng: np.random.Generator) -> list[np.ndarray]:
    """The module's parameters as arrays, each moved a little: at the start many are 0, or alike."""
    return [p.data + 0.1 * rng.standard_normal(p.shape) for p in module.parameters()]


def device_of(tensor: Tensor) -> str:
    return "cuda" if on_gpu(tensor.data) else "numpy"


@contextmanager
def substituted(module: nn.Module, values: Sequence[Tensor]) -> abc.Generator[None, None, None]:
    """Within the block, the module computes with these Tensors in place of its Parameters."""
    slots = [
        (vars(each), name)
        for _, each in module.modules()
        for name, value in vars(each).items()
        if isinstance(value, nn.Parameter)
    ]
    parameters = [attributes[name] for attributes, name in slots]
    for (attributes, name), value in zip(slots, values, strict=True):
        attributes[name] = value
    try:
        yield
    finally:
        for (attributes, name), parameter in zip(slots, parameters, strict=True):
            attributes[name] = parameter


def examine(case: Case, device: str, rng: np.random.Generator) -> Result:
    """Ask the questions about a case, on a device."""
    arrays = [to_device(array, device) for array in case.arrays]
    shapes = ", ".join("×".join(map(str, array.shape)) for array in arrays[:2]) + (", …" if len(arrays) > 2 else "")
    return Result(
        case.name,
        shapes,
        check.adjoint_error(case.function, arrays, rng) if case.linear else None,
        check.first_order_error(case.function, arrays, rng),
        check.second_order_error(case.function, arrays, rng),
    )


def all_cases(seed: int = 0) -> list[Case]:
    rng = np.random.default_rng(seed)
    return op_cases(rng) + module_cases(rng) + loss_cases(rng)


def find_op(name: str) -> type[Op]:
    """The Op of that name. Raises ConfigError if there is none."""
    ops = {op.__name__: op for op in all_ops()}
    if name not in ops:
        raise ConfigError(f"there is no op {name!r}: choose one of {', '.join(sorted(ops))}")
    return ops[name]


def all_ops(base: type[Op] = Op) -> Iterator[type[Op]]:
    """Every Op of the package that has a derivative."""
    for op in base.__subclasses__():
        if hasattr(op, "vjp"):
            yield op
        yield from all_ops(op)


@contextmanager
def planted(op: Any, argument: int = 0, fault: float = 1.01) -> abc.Generator[None, None, None]:
    """Within the block, the op's vjp is wrong by 1 % in one element: the largest of one input's cotangent.

    argument   which input; only those count in which the op has a derivative
    """
    sound = op.vjp

    def faulty(g: Tensor, *args: Any, **params: Any) -> tuple:
        functions = sound(g, *args, **params)
        functions = list(functions) if isinstance(functions, tuple) else [functions]
        differentiable = [i for i, function in enumerate(functions) if function]
        if argument < len(differentiable):
            spoiled = differentiable[argument]
            sound_one = functions[spoiled]
            functions[spoiled] = lambda: spoil(sound_one(), fault)
        return tuple(functions)

    op.vjp = faulty
    try:
        yield
    finally:
        op.vjp = sound


def spoil(gradient: Tensor, fault: float) -> Tensor:
    """The gradient with its largest element times `fault`, still differentiable."""
    factors = array_module(gradient.data).ones(gradient.shape, gradient.dtype)
    factors.reshape(-1)[int(abs(gradient.data).argmax())] = fault
    return gradient * Tensor(factors)


def gradcheck(device: str, plant: str | None = None, say: Say = print) -> bool:
    """Say the table. Returns whether every case passed.

    plant   the name of an Op to make faulty first; then the result is False in any case
    """
    if plant:
        op = find_op(plant)
        say(f"planted: a fault of 1 % in one element of the vjp of {plant}")
        with planted(op):
            failed = count_failures(device, say)
        say(f"the fault planted in {plant} was " + (f"found: {failed} failed" if failed else "NOT found: 0 failed"))
        return False
    return not count_failures(device, say)


def count_failures(device: str, say: Say) -> int:
    """Say the table of all cases. Returns how many failed."""
    cases = all_cases()
    width = max(len(case.name) for case in cases) + 2
    say(f"{'what':{width}}{'shapes':28}{'device':8}{'adjoint':>9}{'first':>9}{'second':>9}")
    rng = np.random.default_rng(1)
    results = []
    for case in cases:
        result = examine(case, device, rng)
        results.append(result)
        adjoint = "-" if result.adjoint is None else f"{result.adjoint:.0e}"
        verdict = "pass" if result.passed else "FAIL"
        errors = f"{adjoint:>9}{result.first:9.0e}{result.second:9.0e}"
        say(f"{result.name:{width}}{result.shapes[:27]:28}{device:8}{errors}  {verdict}")
    failed = sum(not result.passed for result in results)
    say(
        f"{len(results) - failed} passed, {failed} failed (relative errors; allowed: adjoint "
        f"{check.ADJOINT_TOLERANCE:.0e}, first and second order {check.FIRST_ORDER_TOLERANCE:.0e})"
    )
    return failed
