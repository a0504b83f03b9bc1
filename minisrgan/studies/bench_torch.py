"""The other side of the benchmark: the same models and steps in PyTorch, plainly written.

Only bench.py imports this, if PyTorch is installed. Nothing in the package needs it. Images are NCHW, in either of
PyTorch's memory layouts, and weights are (Cout, Cin, kh, kw).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ..arrays import to_device, to_numpy
from ..device import use_device
from ..device.graph import no_garbage_collection
from ..losses import DiscriminatorLoss, PixelMSE
from ..models import discriminator, generator, vgg
from ..models.discriminator import DiscriminatorConfig
from ..models.generator import GeneratorConfig
from ..tensor import Tensor, grad, no_grad

if TYPE_CHECKING:
    from .bench import Shape, Sizes

Work = Callable[[], None]  # what is timed

RATE = 1e-4
LAYOUTS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}


# The precisions in which PyTorch computes on each of our devices: its usual one is the first
PRECISIONS = {"cuda": ("tf32", "float32", "bf16"), "cpu": ("float32",), "numpy": ("float32",)}
LIKE = {"tf32": "tf32", "3xtf32": "float32", "bf16": "bf16", "float32": "float32"}  # ours → the one most like it


class Place(NamedTuple):
    """Where PyTorch computes: device "cpu" or "cuda", one of LAYOUTS, compiled or eager, and in which precision."""

    device: str
    layout: str
    compiled: bool = False
    precision: str = "float32"

    @property
    def name(self) -> str:
        return "compiled" if self.compiled else self.layout

    @property
    def dtype(self) -> torch.dtype:
        """Of the arrays. In bf16 PyTorch keeps them too; ours are float32, and only the factors are bf16."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    def images(self, array: np.ndarray) -> torch.Tensor:
        """An NHWC array as images of this layout, in this place."""
        return (
            torch.from_numpy(array).permute(0, 3, 1, 2).to(self.device).contiguous(memory_format=LAYOUTS[self.layout])
        )

    def model(self, model: nn.Module, dtype: torch.dtype = torch.float32) -> Any:
        """The model in this place, its weights in this layout."""
        use_precision(self.precision)
        placed = model.to(self.device, dtype, memory_format=LAYOUTS[self.layout])
        return torch.compile(placed, mode="max-autotune") if self.compiled else placed


def places(device: str, threads: int) -> tuple[list[Place], str]:
    """(the places to measure, PyTorch's settings in words) for one of our devices. It changes PyTorch's settings."""
    if device == "cuda":
        torch.backends.cudnn.benchmark = True
        use_precision("tf32")
        here = Place("cuda", "channels-last", precision="tf32")
        return [here], "eager; cuDNN benchmark on; TF32 allowed; Adam fused"
    torch.set_num_threads(threads)
    return [Place("cpu", layout) for layout in LAYOUTS], f"eager; {threads} threads; float32; Adam fused"


def compiled_place() -> Place:
    """The GPU, by torch.compile. What was compiled before is forgotten."""
    torch.compiler.reset()
    return Place("cuda", "channels-last", compiled=True, precision="tf32")


def use_precision(precision: str) -> None:
    """Let PyTorch compute products of float32 numbers in "tf32" or "float32" from now on."""
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")


def multiplying(side: int, precision: str, device: str) -> Work:
    """Work that multiplies two matrices of side × side."""
    place = Place("cuda" if device == "cuda" else "cpu", "contiguous", precision=precision)
    a = torch.full((side, side), 1e-3, dtype=place.dtype, device=place.device)
    out = torch.empty_like(a)

    def run() -> None:
        use_precision(precision)
        torch.matmul(a, a, out=out)

    return run


# ---- The models, their parts in the order of ours ------------------------------------------------------


def conv(cin: int, cout: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, kernel, stride, kernel // 2)


def norm_conv(channels: int, batch_norm: bool) -> nn.Sequential:
    return nn.Sequential(conv(channels, channels), *([nn.BatchNorm2d(channels)] if batch_norm else []))


class ResidualBlock(nn.Module):
    def __init__(self, channels: int, batch_norm: bool):
        super().__init__()
        self.conv1 = norm_conv(channels, batch_norm)
        self.prelu = nn.PReLU(channels)
        self.conv2 = norm_conv(channels, batch_norm)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv2(self.prelu(self.conv1(x)))


class Generator(nn.Module):
    """G without the option of a bicubic skip."""

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        c, edge = config.channels, config.edge_kernel
        self.head = nn.Sequential(conv(3, c, edge), nn.PReLU(c))
        self.blocks = nn.Sequential(*[ResidualBlock(c, config.batch_norm) for _ in range(config.blocks)])
        self.trunk = norm_conv(c, config.batch_norm)
        doublings = int(math.log2(config.scale))
        self.upsample = nn.Sequential(
            *[nn.Sequential(conv(c, 4 * c), nn.PixelShuffle(2), nn.PReLU(c)) for _ in range(doublings)]
        )
        self.tail = conv(c, 3, edge)

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        first = self.head(lr)
        return self.tail(self.upsample(self.trunk(self.blocks(first)) + first))


class Discriminator(nn.Module):
    def __init__(self, config: DiscriminatorConfig):
        super().__init__()
        layers, cin, size = [], 3, config.crop
        for width in (1, 2, 4, 8):
            for stride in (1, 2):
                cout = config.channels * width
                layers += [conv(cin, cout, stride=stride)]
                layers += [nn.BatchNorm2d(cout)] if cin != 3 else []
                layers += [nn.LeakyReLU(0.2, inplace=True)]
                cin, size = cout, -(-size // stride)
        self.layers = nn.Sequential(*layers)
        self.dense = nn.Sequential(nn.Linear(size * size * cin, config.dense), nn.LeakyReLU(0.2, inplace=True))
        self.logit = nn.Linear(config.dense, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.logit(self.dense(self.layers(image).flatten(1))).flatten()


class VGG(nn.Module):
    """VGG up to its last convolution and that one's activation, of images in [-1, 1]."""

    def __init__(self, blocks: Sequence[Sequence[int]]):
        super().__init__()
        layers, cin = [], 3
        for block in blocks:
            for cout in block:
                layers += [conv(cin, cout), nn.ReLU(inplace=True)]
                cin = cout
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[:-1])
        for name, values in (("mean", vgg.MEAN), ("std", vgg.STD)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float64).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.features(((image + 1) * 0.5 - self.mean) / self.std)


def discriminator_loss(model: nn.Module, hr: torch.Tensor, sr: torch.Tensor) -> torch.Tensor:
    return F.softplus(-model(hr)).mean() + F.softplus(model(sr)).mean()


# ---- What is timed -------------------------------------------------------------------------------------


def generator_step(sizes: Sizes, place: Place) -> Work:
    model = place.model(Generator(sizes.generator))
    lr, hr = (place.images(each) for each in sizes.pair())
    return step(model, lambda: F.mse_loss(model(lr), hr), place)


def discriminator_step(sizes: Sizes, place: Place) -> Work:
    model = place.model(Discriminator(sizes.discriminator))
    hr, sr = (place.images(each) for each in sizes.real_and_fake())
    return step(model, lambda: discriminator_loss(model, hr, sr), place)


def gan_step(sizes: Sizes, place: Place) -> Work:
    """A step of D and a step of G on the paper's losses, on a batch that is on the device already. Nothing else is
    measured or checked."""
    g, d = place.model(Generator(sizes.generator)), place.model(Discriminator(sizes.discriminator))
    features = place.model(VGG(sizes.vgg).requires_grad_(False))
    lr, hr = (place.images(each) for each in sizes.pair())
    adam_g, adam_d = fused_adam(g), fused_adam(d)

    def run() -> None:
        sr = g(lr)
        adam_d.zero_grad()
        discriminator_loss(d, hr, sr.detach()).backward()
        adam_d.step()
        adam_g.zero_grad()
        d.requires_grad_(False)  # its gradient is not wanted here
        with torch.no_grad():
            target = features(hr)
        content = F.mse_loss(features(sr) * vgg.PAPER_SCALE, target * vgg.PAPER_SCALE)
        (content + 1e-3 * F.softplus(-d(sr)).mean()).backward()
        d.requires_grad_(True)
        adam_g.step()

    return ready(run, place)


def ready(work: Work, place: Place) -> Work:
    """The work. If it is compiled, it is marked as a step, and done so often that its CUDA graphs are recorded."""
    if not place.compiled:
        return work

    def marked() -> None:
        torch.compiler.cudagraph_mark_step_begin()
        work()

    for _ in range(4):
        marked()
    return marked


def fused_adam(model: nn.Module) -> torch.optim.Adam:
    """The fastest of PyTorch's Adams."""
    return torch.optim.Adam(model.parameters(), RATE, fused=True)


def step(model: nn.Module, loss: Callable[[], torch.Tensor], place: Place) -> Work:
    adam = fused_adam(model)

    def run() -> None:
        adam.zero_grad()
        loss().backward()
        adam.step()

    return ready(run, place)


def inference(sizes: Sizes, place: Place) -> Work:
    model = place.model(Generator(sizes.generator)).eval()
    photo = place.images(sizes.lr_photo())

    def run() -> None:
        with torch.no_grad():
            model(photo)

    return ready(run, place)


def convolution(shape: Shape, direction: str, place: Place) -> Callable[[], torch.Tensor]:
    use_precision(place.precision)
    x, g = (place.images(each).to(place.dtype) for each in (shape.image(), shape.cotangent()))
    w = torch.from_numpy(shape.weight()).permute(3, 2, 0, 1).to(place.device, place.dtype)
    w = w.contiguous(memory_format=LAYOUTS[place.layout])
    stride, padding = (shape.stride,) * 2, (shape.padding,) * 2
    wanted = [direction == "InputGrad", direction == "WeightGrad", False]

    def run() -> torch.Tensor:
        if direction == "forward":
            return F.conv2d(x, w, None, stride, padding)
        found = torch.ops.aten.convolution_backward(
            g, x, w, None, stride, padding, (1, 1), False, (0, 0), 1, wanted)  # fmt: skip
        return found[wanted.index(True)]

    return run


def convolved(shape: Shape, direction: str, place: Place) -> np.ndarray:
    """The result of `convolution` in our arrangement, as float32."""
    found = convolution(shape, direction, place)().float().cpu().numpy()
    return found.transpose((2, 3, 1, 0) if direction == "WeightGrad" else (0, 2, 3, 1))


def repeated(work: Callable[[], object], calls: int) -> Work:
    """So many times the work, as one graph. It must not need the CPU."""
    for _ in range(3):
        work()  # chooses its algorithm
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with no_garbage_collection(), torch.cuda.graph(graph):
        for _ in range(calls):
            work()
    return graph.replay


def peak_of_pool(work: Work) -> int:
    """The bytes that PyTorch's memory pool on the GPU grows to in one more run of `work`, from empty."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    work()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_reserved()


# ---- Do both compute the same? -------------------------------------------------------------------------


def as_theirs(name: str, array: np.ndarray, config: Any) -> np.ndarray:
    """One of our arrays, a parameter or its gradient of a model of this configuration, in PyTorch's arrangement.

    Convolutions: (kh, kw, Cin, Cout) → (Cout, Cin, kh, kw). Before a pixel shuffle our channel (i·r + j)·C + c is
    theirs c·r² + i·r + j. After D's convolutions we flatten (row, column, channel), they (channel, row, column).
    """
    if name.startswith("upsample") and not name.endswith("slope"):
        array = array.reshape(*array.shape[:-1], 4, -1).swapaxes(-1, -2).reshape(array.shape)
    if name == "dense.layers.0.weight":
        channels = 8 * config.channels
        side = math.isqrt(len(array) // channels)
        array = array.reshape(side, side, channels, -1).transpose(2, 0, 1, 3).reshape(array.shape)
    return np.ascontiguousarray(array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T)


def load(theirs: nn.Module, ours: generator.Generator | discriminator.Discriminator | vgg.VGG) -> None:
    """Copy the state of our model into PyTorch's."""
    own = [(name, tensor) for name, tensor in theirs.state_dict().items() if not name.endswith("num_batches_tracked")]
    for (name, tensor), (our_name, array) in zip(own, ours.state().items(), strict=True):
        array = as_theirs(our_name, array, ours.config)
        if tensor.shape != array.shape:
            raise ValueError(f"{name} is {tuple(tensor.shape)} and our {our_name} {array.shape}")
        tensor.copy_(torch.from_numpy(array))


def disagreement(sizes: Sizes, device: str, dtype: str = "float64") -> dict[str, float]:
    """{"G": error, "D": error, "VGG": error}: how far apart the two sides are, with the same weights and images.

    An error is the largest relative error (in the norm) of any output or gradient. The outputs are those in training
    and then in evaluation, where the running statistics count. The gradients are those in the images and in every
    parameter. A gradient's error is divided by its norm, but at least by a thousandth of the largest gradient's norm:
    the gradient of a bias before batch norm is 0, and only rounding is left of it.
    """
    rng, config = np.random.default_rng(0), vgg.VGGConfig(sizes.vgg)
    sides: dict[str, tuple] = {
        "G": (
            (generator.Generator(sizes.generator, rng), lambda model, lr, hr: PixelMSE(model(lr), hr)),
            (Generator(sizes.generator), lambda model, lr, hr: F.mse_loss(model(lr), hr)),
            sizes.pair(),
        ),
        "D": (
            (
                discriminator.Discriminator(sizes.discriminator, rng),
                lambda model, hr, sr: DiscriminatorLoss(model(hr), model(sr)),
            ),
            (Discriminator(sizes.discriminator), discriminator_loss),
            sizes.real_and_fake(),
        ),
        "VGG": (
            (vgg.VGG(config, rng, config.index()), lambda model, hr, sr: PixelMSE(model(hr), model(sr))),
            (VGG(sizes.vgg), lambda model, hr, sr: F.mse_loss(model(hr), model(sr))),
            sizes.real_and_fake(),
        ),
    }
    errors = {}
    for name, ((ours, our_loss), (theirs, their_loss), pair) in sides.items():
        load(theirs, ours)
        images = [image.astype(dtype) for image in pair]
        with use_device(device):
            found = our_results(ours.to(device, dtype), our_loss, images, device)
        place = Place("cuda" if device == "cuda" else "cpu", "contiguous")
        expected = their_results(place.model(theirs, getattr(torch, dtype)), their_loss, images, place)
        errors[name] = largest_error(found, expected)
    return errors


def our_results(
    model: generator.Generator | discriminator.Discriminator | vgg.VGG,
    loss: Callable[..., Tensor],
    arrays: Sequence[np.ndarray],
    device: str,
) -> tuple[list, list]:
    """(outputs, gradients) as NumPy arrays, in PyTorch's arrangement."""
    images = [Tensor(to_device(each, device), requires_grad=True) for each in arrays]
    parameters = model.named_parameters()
    gradients = [to_numpy(each.data) for each in grad(loss(model, *images), [*images, *parameters.values()])]
    with no_grad():
        outputs = [model.train(training)(images[0]) for training in (True, False)]
    return (
        [as_nchw(to_numpy(each.data)) for each in outputs],
        [as_nchw(each) for each in gradients[:2]]
        + [as_theirs(name, each, model.config) for name, each in zip(parameters, gradients[2:])],
    )


def their_results(
    model: nn.Module, loss: Callable[..., torch.Tensor], arrays: Sequence[np.ndarray], place: Place
) -> tuple[list, list]:
    """(outputs, gradients) of PyTorch's model, as NumPy arrays."""
    images = [place.images(each).requires_grad_() for each in arrays]
    gradients = torch.autograd.grad(loss(model, *images), [*images, *model.parameters()])
    with torch.no_grad():
        outputs = [model.train(training)(images[0]) for training in (True, False)]
    return [each.cpu().numpy() for each in outputs], [each.cpu().numpy() for each in gradients]


def as_nchw(array: np.ndarray) -> np.ndarray:
    return array.transpose(0, 3, 1, 2) if array.ndim == 4 else array


def largest_error(found: tuple[list, list], expected: tuple[list, list]) -> float:
    """The largest relative error of (outputs, gradients); see `disagreement`."""
    errors = []
    for ours, theirs in zip(found, expected):
        least = max(np.linalg.norm(each) for each in theirs) / 1000
        for one, other in zip(ours, theirs, strict=True):
            errors.append(np.linalg.norm(one - other) / max(np.linalg.norm(other), least))
    return float(max(errors))
