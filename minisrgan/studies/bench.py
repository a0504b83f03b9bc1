"""`minisrgan bench`: how fast, and in how much memory? If PyTorch is installed, beside PyTorch.

Ours and PyTorch take turns in one run, so that whatever else slows the machine slows both. A figure is the median of
the seconds per call over the rounds. The ratio is PyTorch's figure over ours: above 1, ours is faster. On a GPU a turn
is a burst of calls, and the clock is read when the GPU has done them all.

The file is written again after each section. So what was measured stays, even if the rest takes too long.
"""

import functools
import gc
import importlib
import json
import math
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Array, to_device, to_numpy
from ..device import use_device
from ..device.graph import VARIABLE, WARM_UP, StepGraph
from ..device.memory import high_water_mark, most_memory
from ..device.precision import PRECISIONS, precision, use_precision
from ..errors import MinisrganError
from ..files import check_writable, write_whole
from ..imaging.patches import PhotoSet
from ..losses import DiscriminatorLoss, PixelMSE
from ..models.discriminator import Discriminator, DiscriminatorConfig
from ..models.generator import Generator, GeneratorConfig
from ..models.vgg import VGG, VGG19, VGGConfig, VGGFeatures
from ..nn import Module, Parameter
from ..ops import Add, Conv2d, InputGrad, LeakyReLU, MaxPool, PixelShuffle, PReLU, WeightGrad
from ..ops.batch_norm import BatchNorm, batch_statistics
from ..ops.reduce import sum_rows
from ..optim import Adam, move_towards
from ..tensor import Tensor, grad, no_grad
from ..training.config import Stage, TrainConfig
from ..training.presets import PRESETS
from ..training.recorded import nothing, replaced, steps_of
from ..training.trainer import Trainer
from . import Say
from .machine import describe_machine
from .roofline import copying, draw_roofline, multiplying
from .timeline import draw_timeline, record, summary

Work = Callable[[], object]  # what is timed
Peer = Any  # the module bench_torch; None without PyTorch
Places = Sequence[Any]  # bench_torch's: where PyTorch computes
Times = Mapping[str, list[float]]  # seconds per call in each round, by whose: "ours", or a layout of PyTorch's

RATE = 1e-4
DIRECTIONS = ("forward", "InputGrad", "WeightGrad")
BURST = 0.05  # seconds that a turn takes at least; in less time the clock and the other side's spinning threads count
GPU_BURST = 0.02  # the same on a GPU
REPEATS = 10  # of a convolution in a graph: on a GPU it is over before Python could start the next
LONG = 2  # seconds: of work that takes as long, three rounds do
SAME = 1e-8  # the relative error up to which two float64 models count as the same

HOW = {
    "steps": "on a GPU, ours are graphs, to which the images come from the CPU each time; the GAN step is that of "
    "`train`, which also chooses crops and measures; PyTorch's images are on the GPU already",
    "seconds": "per call: the median, the least and each of the rounds, in which the two sides take turns",
    "ratio": "PyTorch's median seconds (in its faster layout) over ours: above 1, ours is faster",
    "ratio_spread": "the lowest and the highest of that ratio in a single round",
    "convolutions": "on a GPU both sides' are graphs of several calls, so that only the GPU's time counts",
    "gflops": "2·N·Ho·Wo·Cout·kh·kw·Cin over the median seconds, whatever the algorithm really multiplies",
    "intensity": "these operations over the bytes of the three arrays",
    "error": "‖y - y₆₄‖/‖y₆₄‖ of a convolution's result, with y₆₄ by the definition in float64",
    "roofs": "a copy of large arrays, each byte read and written once; a large product of matrices in each precision",
    "elementwise": "the bytes that an operation must at least read and write, over the median seconds",
    "timeline": "of one GAN step that is no graph: our own launches, and their milliseconds",
    "compiled": 'PyTorch by torch.compile(mode="max-autotune")',
    "memory": "bytes; PyTorch's in the layout that takes less; ratio as above. On a CPU, in a process of its own: how "
    "far the highest resident memory in three steps is above the highest before them, when everything was imported "
    "and a toy step was done. On a GPU: the size that the library's memory pool grows to in a step, from empty",
    "disagreement": "the largest relative error between both sides' outputs and gradients from the same weights",
}


# ---- What is measured ----------------------------------------------------------------------------------


class Sizes(NamedTuple):
    """The models, the batch, the height and width of the photo to enlarge; the side of the matrices that measure the
    roofs (a copy is of as many numbers); how many rounds, and the least seconds of a turn."""

    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    vgg: tuple
    batch: int
    photo: tuple[int, int]
    roof: int
    rounds: int
    burst: float

    def pair(self) -> tuple[np.ndarray, np.ndarray]:
        """LR and HR for a step of G."""
        crop, scale = self.discriminator.crop, self.generator.scale
        return uniform(0, self.batch, crop // scale, crop // scale), uniform(-1, self.batch, crop, crop)

    def real_and_fake(self) -> tuple[np.ndarray, np.ndarray]:
        """HR and SR for a step of D."""
        crop = self.discriminator.crop
        return uniform(-1, self.batch, crop, crop), uniform(-0.5, self.batch, crop, crop)

    def lr_photo(self) -> np.ndarray:
        """An LR photo to enlarge."""
        return uniform(0, 1, *self.photo)


def uniform(low: float, n: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(n).uniform(low, 1, (n, height, width, 3)).astype(np.float32)


def preset_sizes(name: str) -> Sizes:
    preset = PRESETS[name]
    assert isinstance(preset.generator, GeneratorConfig)  # which bench_torch.py builds too
    return Sizes(preset.generator, preset.discriminator, VGG19, preset.batch, (128, 128), 2048, 7, BURST)


PAPER, TINY = preset_sizes("paper"), preset_sizes("tiny")
QUICK = Sizes(
    GeneratorConfig(channels=3, blocks=1, edge_kernel=3),
    DiscriminatorConfig(channels=2, dense=4, crop=32),
    vgg=((2,), (4,)),
    batch=2,
    photo=(8, 8),
    roof=64,
    rounds=1,
    burst=0,
)


def for_gpu(sizes: Sizes) -> Sizes:
    """The same in a GPU's measure: a larger photo and larger roofs; five short rounds, for it is fast and even."""
    return sizes._replace(photo=(339, 510), roof=8192, rounds=5, burst=GPU_BURST)


class Shape(NamedTuple):
    """A convolution of `n` images of side × side, padded so that stride 1 keeps the size."""

    name: str
    n: int
    side: int
    cin: int
    cout: int
    kernel: int = 3
    stride: int = 1

    @property
    def padding(self) -> int:
        return self.kernel // 2

    @property
    def operations(self) -> int:
        return 2 * self.cotangent().size * self.kernel**2 * self.cin

    @property
    def intensity(self) -> float:
        arrays = self.image(), self.weight(), self.cotangent()
        return self.operations / sum(each.nbytes for each in arrays)

    def image(self) -> np.ndarray:
        return normal(self.n, self.side, self.side, self.cin)

    def weight(self) -> np.ndarray:
        return normal(self.kernel, self.kernel, self.cin, self.cout)

    def cotangent(self) -> np.ndarray:
        size = -(-self.side // self.stride)
        return normal(self.n, size, size, self.cout)

    def __str__(self) -> str:
        stride = f" /{self.stride}" if self.stride > 1 else ""
        return f"{self.name} {self.side}² {self.cin}→{self.cout} {self.kernel}×{self.kernel}{stride}"


@functools.lru_cache(16)
def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def convolution_shapes(sizes: Sizes) -> list[Shape]:
    """Every distinct convolution of G, D and VGG in a training step."""
    g, d, n = sizes.generator, sizes.discriminator, sizes.batch
    side = d.crop // g.scale
    shapes = [
        Shape("G head", n, side, 3, g.channels, g.edge_kernel),
        Shape("G trunk", n, side, g.channels, g.channels),
    ]
    while side < d.crop:
        shapes.append(Shape("G enlarge", n, side, g.channels, 4 * g.channels))
        side *= 2
    shapes.append(Shape("G tail", n, side, g.channels, 3, g.edge_kernel))
    cin = 3
    for width in (1, 2, 4, 8):
        for stride in (1, 2):
            cout = d.channels * width
            shapes.append(Shape("D", n, side, cin, cout, stride=stride))
            cin, side = cout, -(-side // stride)
    cin, side = 3, d.crop
    for block in sizes.vgg:
        shapes += [Shape("VGG", n, side, *channels) for channels in zip((cin, *block), block)]
        cin, side = block[-1], side // 2
    return list(dict.fromkeys(shapes))


# ---- Our side: functions that make what is timed -------------------------------------------------------


def generator_step(sizes: Sizes, device: str) -> Work:
    model = Generator(sizes.generator, np.random.default_rng(0)).to(device)
    return step(model, lambda lr, hr: PixelMSE(model(lr), hr), sizes.pair(), device)


def discriminator_step(sizes: Sizes, device: str) -> Work:
    model = Discriminator(sizes.discriminator, np.random.default_rng(0)).to(device)
    return step(model, lambda hr, sr: DiscriminatorLoss(model(hr), model(sr)), sizes.real_and_fake(), device)


def step(model: Module, loss: Callable[..., Tensor], images: Sequence[np.ndarray], device: str) -> Work:
    """A step of Adam. On a GPU it is a graph, as in `train`, and its images come from the CPU each time."""
    adam = Adam(model.named_parameters())

    def update(*images: Array) -> None:
        adam.step(grad(loss(*map(Tensor, images)), adam.parameters.values()), RATE)

    if device != "cuda":
        return lambda: update(*images)

    def prepared(*images: Array) -> None:
        with replaced(adam, prepare=nothing):
            update(*images)

    recorded = StepGraph(prepared, model.state_slots().values())

    def run() -> None:
        adam.prepare(RATE)
        recorded(*images)

    return warm(run)


def warm(work: Work) -> Work:
    """The work, which was done so often that it is a graph now."""
    for _ in range(WARM_UP + 1):
        work()
    return work


def repeated(work: Work) -> Work:
    """REPEATS times the work, as one graph."""

    def several() -> None:
        for _ in range(REPEATS):
            work()

    return warm(StepGraph(several, []))


def gan_step(sizes: Sizes, device: str) -> Work:
    """What `train` does in a step of the paper's GAN stage, but for the log: it chooses crops and measures, too."""
    g, d, rng = sizes.generator, sizes.discriminator, np.random.default_rng(0)
    stage = Stage(10**6, RATE)
    config = TrainConfig(g, d, sizes.batch, pretrain=stage, gan=stage, content="vgg54")
    photos = rng.integers(256, size=(sizes.batch, d.crop + 32, d.crop + 32, 3), dtype=np.uint8)
    trainer = Trainer(config, PhotoSet(((f"{i}", each) for i, each in enumerate(photos)), g.scale, d.crop), device)
    trainer.vgg = random_vgg(sizes).to(device)
    trainer.start_stage("gan")
    return warm(steps_of(trainer)) if device == "cuda" else steps_of(trainer)


def random_vgg(sizes: Sizes) -> VGGFeatures:
    config = VGGConfig(sizes.vgg)
    return VGGFeatures(config, VGG(config, np.random.default_rng(0)).state())


def inference(sizes: Sizes, device: str) -> Work:
    model = Generator(sizes.generator, np.random.default_rng(0)).to(device).eval()
    photo = Tensor(to_device(sizes.lr_photo(), device))

    def run() -> None:
        with no_grad():
            model(photo)

    return run


def convolution(shape: Shape, direction: str, device: str, dtype: str = "float32") -> Callable[[], Tensor]:
    arrays = shape.image(), shape.weight(), shape.cotangent()
    x, w, g = (Tensor(to_device(each.astype(dtype, copy=False), device)) for each in arrays)
    at = {"stride": shape.stride, "padding": shape.padding}
    return {
        "forward": lambda: Conv2d(x, w, **at),
        "InputGrad": lambda: InputGrad(g, w, size=x.shape[1:3], **at),
        "WeightGrad": lambda: WeightGrad(x, g, kernel=w.shape[:2], **at),
    }[direction]


def elementwise(sizes: Sizes, device: str) -> dict[str, tuple[Work, float]]:
    """{name: (work, the bytes that it must at least read and write)}, on maps and on D's largest weights."""
    d, rng = sizes.discriminator, np.random.default_rng(0)

    def array(*shape: int) -> Tensor:
        return Tensor(to_device(rng.standard_normal(shape, np.float32), device))

    maps = sizes.batch, d.crop, d.crop, 4 * d.channels  # too large for any cache
    x, g, gamma, beta = array(*maps), array(*maps), array(maps[-1]), array(maps[-1])
    smaller = array(sizes.batch, d.crop // 2, d.crop // 2, maps[-1])
    statistics = batch_statistics(x.data)
    weight = Parameter(array((d.crop // 16) ** 2 * 8 * d.channels, d.dense).data)
    gradient, average = Tensor(0 * weight.data), 0 * weight.data
    adam = Adam({"weight": weight})
    once, weights = x.data.nbytes, weight.data.nbytes
    return {
        "Add": (lambda: Add(x, g), 3 * once),
        "PReLU": (lambda: PReLU(x, gamma), 2 * once),
        "LeakyReLU": (lambda: LeakyReLU(x, slope=0.2), 2 * once),
        "PixelShuffle": (lambda: PixelShuffle(x, r=2), 2 * once),
        "MaxPool": (lambda: MaxPool(x, size=2), once + smaller.data.nbytes),
        "sum for each channel": (lambda: sum_rows(x.data), once),
        "batch norm, statistics given": (lambda: BatchNorm(x, gamma, beta, statistics=statistics, eps=1e-5), 2 * once),
        "Adam": (lambda: adam.step([gradient], RATE), 7 * weights),
        "average of weights": (lambda: move_towards([average], [weight.data], 0.01), 3 * weights),
    }


# `bench_torch` has the same, by the same names
WORKS = {make.__name__: make for make in (generator_step, discriminator_step, gan_step, inference)}


# ---- The benchmark -------------------------------------------------------------------------------------


def bench(
    device: str, out: str | Path | None = None, quick: bool = False, compiled: bool = False, say: Say = print
) -> dict:
    """Measure on `device`, say tables, write JSON to the file `out`, and return what the file holds.

    out        by default benchmarks/results/<processor>-<date>.json, below the current folder. Pictures go beside it
    quick      toy sizes and a single round: this shows that it works, not how fast
    compiled   measure steps beside torch.compile, which takes minutes to compile them, and nothing else
    """
    sizes = QUICK if quick else for_gpu(PAPER) if device == "cuda" else PAPER
    with use_device(device):
        machine = describe_machine(device)
        out = Path(out or default_file(machine, quick, compiled))
        check_writable(out)
        threads = machine["threads"]
        peer, places, pytorch = find_peer(device, threads)
        precision = our_precision(device)
        say(f"{machine['processor']}, device {device}, {threads} CPU threads, {precision}")
        say(f"PyTorch {pytorch['version']}: {pytorch['settings']}" if peer else f"no PyTorch: {pytorch['problem']}")
        results: dict = {"device": device, "quick": quick, "machine": machine, "precision": precision}
        results |= {"pytorch": pytorch, "how": HOW}
        sections: dict[str, Callable[[], object]] = {
            "disagreement": lambda: check_agreement(peer, sizes, device, say),
            "steps": lambda: measure_steps(peer, places, sizes, device, quick, say),
            "timeline": lambda: measure_timeline(sizes, device, beside(out, "timeline"), say),
            "memory": lambda: measure_memory(peer, places, sizes, device, threads, quick, say),
            "roofs": lambda: measure_roofs(peer, sizes, device, threads, say),
            "convolutions": lambda: measure_convolutions(peer, places, sizes, device, say),
            "precisions": lambda: measure_precisions(peer, places, sizes, device, say),
            "elementwise": lambda: measure_elementwise(sizes, device, results["roofs"], say),
        }

        def keep() -> None:
            write_whole(out, json.dumps(results, indent=1, ensure_ascii=False).encode())

        if compiled:
            results["compiled"] = rows = []
            sections = {"compiled": lambda: measure_compiled(peer, sizes, device, say, rows, keep)}
        for name, measured in sections.items():
            results[name] = measured()
            keep()
            if name == "precisions":
                title = f"Convolutions of a GAN step on {machine['processor']}, device {device}"
                rows = [*results["convolutions"], *results["precisions"]]
                draw_roofline(beside(out, "roofline"), title, results["roofs"], rows)
    say(f"\n{out}")
    return results


def beside(out: Path, picture: str) -> Path:
    """The path of a picture of the results in the file `out`."""
    return out.with_name(f"{out.stem}-{picture}.png")


def our_precision(device: str) -> str:
    """The precision of our convolutions; PyTorch's is reported beside it."""
    return precision() if device == "cuda" else "float32"


def find_peer(device: str, threads: int) -> tuple[Peer, Places, dict[str, str]]:
    """(the module `bench_torch` or None, the places where PyTorch computes, what to report of PyTorch)."""
    try:
        version = importlib.import_module("torch").__version__
    except (ImportError, OSError) as error:  # OSError: a shared library of its own is missing
        return None, [], {"problem": f"it cannot be imported ({error})"}
    from . import bench_torch

    if device == "cuda" and not importlib.import_module("torch").cuda.is_available():
        return None, [], {"problem": f"{version} sees no GPU"}
    places, settings = bench_torch.places(device, threads)
    return bench_torch, places, {"version": version, "settings": settings}


def check_agreement(peer: Peer, sizes: Sizes, device: str, say: Say) -> dict[str, dict[str, float]] | None:
    """{dtype: {model: relative error}}, or None without PyTorch. Raises MinisrganError if the models differ."""
    if not peer:
        return None
    sizes = sizes._replace(batch=2)
    errors = {dtype: peer.disagreement(sizes, device, dtype) for dtype in ("float64", "float32")}
    shown = (f"{name} {error:.0e} in {dtype}" for dtype, both in errors.items() for name, error in both.items())
    say(f"relative difference of outputs and gradients: {', '.join(shown)}")
    if not all(error < SAME for error in errors["float64"].values()):  # which NaN is not either
        raise MinisrganError("our models and PyTorch's do not compute the same: their speeds cannot be compared")
    return errors


def measure_steps(peer: Peer, places: Places, sizes: Sizes, device: str, quick: bool, say: Say) -> list[dict]:
    """Rows of how long a training step and inference take."""
    heading(say, "training steps and inference")
    rows = []
    for work, name in step_names(sizes).items():
        makers = {"ours": partial(WORKS[work], sizes, device)}
        makers |= {place.name: partial(getattr(peer, work), sizes, place) for place in places}
        rows.append(measure(name, makers, sizes, device, say))
    if not quick:  # and what `minisrgan demo` trains; its bicubic skip is not in PyTorch's model
        for work in ("generator_step", "discriminator_step"):
            makers = {"ours": partial(WORKS[work], TINY, device)}
            rows.append(measure(f"preset tiny, {step_names(TINY)[work][:6]}", makers, TINY, device, say))
    return rows


def step_names(sizes: Sizes) -> dict[str, str]:
    """What each of WORKS is called in tables."""
    batch, crop, scale = sizes.batch, sizes.discriminator.crop, sizes.generator.scale
    height, width = sizes.photo
    return {
        "generator_step": f"G step, {batch} of {crop // scale}²",
        "discriminator_step": f"D step, {batch} of {crop}²",
        "gan_step": f"GAN step with VGG, {batch} of {crop}²",
        "inference": f"inference, {width}×{height} → {width * scale}×{height * scale}",
    }


def measure_compiled(
    peer: Peer, sizes: Sizes, device: str, say: Say, rows: list[dict], keep: Callable[[], None]
) -> list[dict]:
    """The same beside torch.compile. A row may have a "problem" instead of times. Since it takes minutes to compile,
    `keep` is called after each of the `rows`."""
    if not peer:
        return rows
    heading(say, "beside torch.compile")
    for work in ("generator_step", "gan_step", "discriminator_step", "inference"):
        name = step_names(sizes)[work]
        makers = {"ours": partial(WORKS[work], sizes, device)}
        makers["compiled"] = partial(getattr(peer, work), sizes, peer.compiled_place(device))
        try:
            rows.append(measure(name, makers, sizes, device, say))
        except Exception as error:  # whatever the compiler or the compiled code raises
            problem = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"
            say(f"{name:40}  {problem}")
            rows.append({"name": name, "problem": problem})
        keep()
    return rows


def measure_roofs(peer: Peer, sizes: Sizes, device: str, threads: int, say: Say) -> dict[str, Any]:
    """{"copy, GB/s": …, "peaks, GFLOP/s": {precision: …}}: the most that was seen of this machine."""
    side = sizes.roof

    def best(work: Work) -> float:
        times = take_turns({"ours": work}, sizes, synchronizer(device))["ours"]
        return min(times)

    copied = 4 * side**2
    roofs: dict[str, Any] = {"copy, GB/s": 2 * copied / best(copying(copied, device, threads)) / 1e9}
    products = {"float32": multiplying(side, device)} if not peer else {}
    for each in peer.PRECISIONS[device] if peer else ():
        products[each] = peer.multiplying(side, each, device)
    roofs["peaks, GFLOP/s"] = {name: 2 * side**3 / best(work) / 1e9 for name, work in products.items()}
    say(f"\nroofs: a copy {roofs['copy, GB/s']:,.0f} GB/s; a product of {side}² matrices, GFLOP/s: "
        + ", ".join(f"{name} {peak:,.0f}" for name, peak in roofs["peaks, GFLOP/s"].items()))  # fmt: skip
    return roofs


def measure_convolutions(peer: Peer, places: Places, sizes: Sizes, device: str, say: Say) -> list[dict]:
    """Rows of how long each convolution takes, forward and in both of its gradients. (VGG's weights have none.)"""
    heading(say, "convolutions")
    rows = []
    for shape in convolution_shapes(sizes):
        for direction in DIRECTIONS[:2] if shape.name == "VGG" else DIRECTIONS:
            rows.append(measure_convolution(shape, direction, peer, places, sizes, device, say))
    return rows


def measure_convolution(
    shape: Shape, direction: str, peer: Peer, places: Places, sizes: Sizes, device: str, say: Say
) -> dict:
    """A row of results. On a GPU both sides' works are graphs, so that only the GPU's time counts."""
    makers: dict[str, Callable[[], Work]] = {"ours": lambda: convolution(shape, direction, device)}
    makers |= {place.name: partial(peer.convolution, shape, direction, place) for place in places}
    calls = 1
    if device == "cuda":
        graphs = {who: repeated if who == "ours" else partial(peer.repeated, calls=REPEATS) for who in makers}
        makers = {who: lambda make=make, graph=graphs[who]: graph(make()) for who, make in makers.items()}
        calls = REPEATS
    row = measure(f"{shape} {direction}", makers, sizes, device, say, shape.operations, calls)
    about = {"shape": shape._asdict(), "direction": direction, "intensity": shape.intensity}
    return row | about | {"precision": our_precision(device)}


def measure_precisions(peer: Peer, places: Places, sizes: Sizes, device: str, say: Say) -> list[dict]:
    """Rows of how fast and how exact two convolutions are in each precision, beside PyTorch in the one most like it."""
    g, *_ = (shape for shape in convolution_shapes(sizes) if shape.name == "G trunk")
    d, *_ = (shape for shape in convolution_shapes(sizes) if shape.cin == 2 * sizes.discriminator.channels)
    rows = []
    for name in PRECISIONS if device == "cuda" else ["float32"]:
        heading(say, f"in {name}; PyTorch in {peer.LIKE[name]}" if peer else f"in {name}")
        with use_precision(name):
            theirs = [place._replace(precision=peer.LIKE[name]) for place in places[:1]]
            for shape in (g, d):
                for direction in DIRECTIONS:
                    exact = exact_convolution(shape, direction)
                    row = measure_convolution(shape, direction, peer, theirs, sizes, device, say) | {"precision": name}
                    row |= {"pytorch_precision": peer.LIKE[name]} if peer else {}
                    found = {"ours": to_numpy(convolution(shape, direction, device)().data)}
                    found |= {each.name: peer.convolved(shape, direction, each) for each in theirs}
                    row["error"] = {who: relative_error(y, exact) for who, y in found.items()}
                    say("    error: " + ", ".join(f"{who} {error:.1e}" for who, error in row["error"].items()))
                    rows.append(row)
    return rows


@functools.lru_cache(16)
def exact_convolution(shape: Shape, direction: str) -> np.ndarray:
    """Its result by the definition, in float64."""
    with use_device("numpy"):
        return to_numpy(convolution(shape, direction, "numpy", "float64")().data)


def relative_error(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def measure_elementwise(sizes: Sizes, device: str, roofs: Mapping[str, Any], say: Say) -> list[dict]:
    """Rows of how much memory a second operations go through that compute little, beside a copy."""
    say(f"\n{'little computed for each number':40}{'ms':>10}{'GB/s':>10}{'of a copy':>12}")
    rows = []
    for name, (work, size) in elementwise(sizes, device).items():
        times = compare(take_turns({"ours": work}, sizes, synchronizer(device)))
        rate = size / times["ours"]["median"] / 1e9
        rows.append({"name": name, **times, "GB/s": rate, "of a copy": rate / roofs["copy, GB/s"]})
        say(f"{name:40}{1e3 * times['ours']['median']:10.3f}{rate:10,.0f}{rows[-1]['of a copy']:12.0%}")
    return rows


def measure_timeline(sizes: Sizes, device: str, picture: Path, say: Say) -> dict:
    """What one GAN step launches: {kernel: {"launches": …, "ms": …}}, and a picture of when."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = "off"  # of a graph's kernels only the GPU knows when they run
    try:
        launches = record(warm(gan_step(sizes, device)), device)
    finally:
        os.environ.pop(VARIABLE) if before is None else os.environ.update({VARIABLE: before})
    if launches:  # NumPy has none
        draw_timeline(picture, f"One GAN step on the device {device}", launches)
        say(f"\n{len(launches):,} launches in a GAN step: {picture}")
    return summary(launches)


def measure(
    name: str,
    makers: Mapping[str, Callable[[], Work]],
    sizes: Sizes,
    device: str,
    say: Say,
    operations: int | None = None,
    calls: int = 1,
) -> dict:
    """A row of results: who took how long.

    makers       what makes each side's work; the keys are "ours" and the names of PyTorch's places
    operations   of one call, to report GFLOP/s
    calls        that a work consists of
    """
    gc.collect()
    works = {who: make() for who, make in makers.items()}
    times = take_turns(works, sizes, synchronizer(device))
    row: dict = {"name": name, **compare({who: [each / calls for each in times[who]] for who in times})}
    if operations:
        row["gflops"] = {who: operations / row[who]["median"] / 1e9 for who in works}
    say(table_line(row))
    return row


def take_turns(works: Mapping[str, Work], sizes: Sizes, synchronize: Callable[[], object]) -> dict[str, list[float]]:
    """The seconds per call of each work, in each round. The works take turns."""
    calls, longest = {}, 0.0
    for who, work in works.items():
        work()  # compiles, or chooses its algorithms
        once = seconds(work, 1, synchronize)
        calls[who], longest = max(1, math.ceil(sizes.burst / once)), max(longest, once)
    times: dict[str, list[float]] = {who: [] for who in works}
    for _ in range(sizes.rounds if longest < LONG else min(sizes.rounds, 3)):
        for who, work in works.items():
            if calls[who] > 1:
                work()  # the caches, and threads that still spin, are the other side's: short work would feel that
            times[who].append(seconds(work, calls[who], synchronize))
    return times


def seconds(work: Work, calls: int, synchronize: Callable[[], object]) -> float:
    """The seconds that one call takes, in the mean of several."""
    synchronize()
    start = time.perf_counter()
    for _ in range(calls):
        work()
    synchronize()
    return (time.perf_counter() - start) / calls


def synchronizer(device: str) -> Callable[[], object]:
    """A function that waits until the GPU has done all its work, CuPy's and PyTorch's. On a CPU it does nothing."""
    if device != "cuda":
        return lambda: None
    import cupy

    return cupy.cuda.runtime.deviceSynchronize


def compare(times: Times) -> dict:
    """What is reported of the times. If PyTorch took part, the ratio to its faster layout is in it."""
    row: dict = {
        who: {"median": statistics.median(each), "min": min(each), "rounds": each} for who, each in times.items()
    }
    theirs = [who for who in times if who != "ours"]
    if theirs:
        fastest = min(theirs, key=lambda who: row[who]["median"])
        in_each_round = [other / ours for other, ours in zip(times[fastest], times["ours"])]
        row["pytorch_layout"] = fastest
        row["ratio"] = row[fastest]["median"] / row["ours"]["median"]
        row["ratio_spread"] = [min(in_each_round), max(in_each_round)]
    return row


# ---- Memory, in processes of their own -----------------------------------------------------------------


def measure_memory(
    peer: Peer, places: Places, sizes: Sizes, device: str, threads: int, quick: bool, say: Say
) -> list[dict]:
    """Rows of the most memory that a training step takes."""
    say(f"\n{'peak memory, MiB':36}{'ours':>12}{'PyTorch':>12}{'ratio':>8}")
    rows = []
    for work in ("generator_step", "discriminator_step", "gan_step"):
        ask = partial(peak_elsewhere, work=work, device=device, threads=threads, quick=quick)
        row: dict = {"name": work.replace("_", " "), "ours": ask(layout=None)}
        row |= {place.name: ask(layout=place.name) for place in places}
        shown = f"{row['name']:36}{row['ours'] / 2**20:12.0f}"
        if places:
            row["pytorch_layout"] = min((place.name for place in places), key=row.__getitem__)
            theirs = row[row["pytorch_layout"]]
            row["ratio"] = theirs / row["ours"] if row["ours"] else None
            shown += f"{theirs / 2**20:12.0f}{row['ratio'] or math.nan:8.2f}  {row['pytorch_layout']}"
        say(shown)
        rows.append(row)
    return rows


def peak_elsewhere(**arguments: Any) -> int:
    """`peak`; for a CPU in a new process. There, nothing else has raised the high-water mark."""
    if arguments["device"] == "cuda":
        return peak(**arguments)
    package = Path(__file__).resolve().parents[2]
    paths = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    ran = subprocess.run(
        [sys.executable, "-m", "minisrgan.studies.bench", json.dumps(arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    if ran.returncode:
        reason = (ran.stderr.strip() or f"exit status {ran.returncode}").splitlines()[-1]
        raise MinisrganError(f"the memory of a {arguments['work']} could not be measured: {reason}")
    return int(ran.stdout.split()[-1])


def peak(work: str, device: str, layout: str | None, threads: int, quick: bool) -> int:
    """The most bytes that a work takes: ours, or with a `layout` PyTorch's. Ask once in a process."""
    use_device(device)
    gc.collect()
    peer: Peer = None
    if layout is None:
        make, place = WORKS[work], device
    else:
        peer, places, _ = find_peer(device, threads)
        make, place = getattr(peer, work), next(place for place in places if place.name == layout)
    make(QUICK, place)()  # loads libraries, compiles kernels
    synchronizer(device)()  # before its arrays are gone
    before = high_water_mark()
    run = make(QUICK if quick else PAPER, place)
    for _ in range(3):
        run()
    if device != "cuda":
        return max(high_water_mark() - before, 0)  # Linux counts it to some dozen pages, so a toy's may seem to fall
    if layout is not None:
        return peer.peak_of_pool(run)
    import cupy

    synchronizer(device)()
    cupy.get_default_memory_pool().free_all_blocks()
    run()
    synchronizer(device)()
    return most_memory(device)


def default_file(machine: dict, quick: bool, compiled: bool = False) -> Path:
    """benchmarks/results/<processor>-<date>.json"""
    slug = re.sub(r"\((r|tm)\)|[^a-z0-9]+", "-", machine["processor"].lower())
    words = [word for word in slug.split("-") if word]
    name = "-".join([*words, *["quick"] * quick, *["compiled"] * compiled, machine["date"][:10]])
    return Path("benchmarks", "results", f"{name}.json")


# ---- Tables --------------------------------------------------------------------------------------------


def heading(say: Say, title: str) -> None:
    columns = f"{title:40}{'ours':>10}{'min':>10}{'PyTorch':>10}{'min':>10}{'ratio':>7}  {'spread':11}  "
    say(f"\n{columns}layout, GFLOP/s   (milliseconds)")


def table_line(row: dict) -> str:
    line = f"{row['name']:40}{milliseconds(row['ours'])}"
    if "ratio" in row:
        low, high = row["ratio_spread"]
        spread = f"{low:.2f}…{high:.2f}"
        layout = row["pytorch_layout"]
        line += f"{milliseconds(row[layout])}{row['ratio']:7.2f}  {spread:11}  {layout}"
    if "gflops" in row:
        line += "  " + " : ".join(f"{row['gflops'][who]:.0f}" for who in ("ours", row.get("pytorch_layout")) if who)
    return line


def milliseconds(times: Mapping[str, Any]) -> str:
    return f"{1e3 * times['median']:10.2f}{1e3 * times['min']:10.2f}"


if __name__ == "__main__":
    print(peak(**json.loads(sys.argv[1])))
