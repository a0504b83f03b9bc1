"""`minisrgan bench`: how fast, and in how much memory? If PyTorch is installed, beside PyTorch.

Ours and PyTorch take turns in one run, so that whatever else slows the machine slows both. A figure is the median of
the seconds per call over the rounds. The ratio is PyTorch's figure over ours: above 1, ours is faster.
"""

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

from ..arrays import to_device
from ..device import use_device
from ..device.memory import high_water_mark
from ..errors import MinisrganError
from ..files import check_writable, write_whole
from ..losses import DiscriminatorLoss, PixelMSE
from ..models.discriminator import Discriminator, DiscriminatorConfig
from ..models.generator import Generator, GeneratorConfig
from ..nn import Module
from ..ops import Conv2d, InputGrad, WeightGrad
from ..optim import Adam
from ..tensor import Tensor, grad, no_grad
from ..training.presets import PRESETS
from . import Say
from .machine import describe_machine

Work = Callable[[], object]  # what is timed
Peer = Any  # the module bench_torch; None without PyTorch
Places = Sequence[Any]  # bench_torch's: where PyTorch computes
Times = Mapping[str, list[float]]  # seconds per call in each round, by whose: "ours", or a layout of PyTorch's

RATE = 1e-4
DIRECTIONS = ("forward", "InputGrad", "WeightGrad")
PRECISION = "float32"  # of our arithmetic; PyTorch's is reported beside it
BURST = 0.05  # seconds that a turn takes at least; in less time the clock and the other side's spinning threads count
SAME = 1e-8  # the relative error up to which two float64 models count as the same

HOW = {
    "seconds": "per call: the median, the least and each of the rounds, in which the two sides take turns",
    "ratio": "PyTorch's median seconds (in its faster layout) over ours: above 1, ours is faster",
    "ratio_spread": "the lowest and the highest of that ratio in a single round",
    "gflops": "2·N·Ho·Wo·Cout·kh·kw·Cin over the median seconds, whatever the algorithm really multiplies",
    "memory": "bytes, in a process of its own; PyTorch's in the layout that takes less; ratio as above. On a CPU: how "
    "far the highest resident memory in three steps is above the highest before them, when everything was imported "
    "and a toy step was done. On a GPU: the size that the library's memory pool grows to in a step, from empty",
    "disagreement": "the largest relative error between both sides' outputs and gradients from the same weights",
}


# ---- What is measured ----------------------------------------------------------------------------------


class Sizes(NamedTuple):
    """The models, the batch, the side of the photo to enlarge; how many rounds, and the least seconds of a turn."""

    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    batch: int
    side: int
    rounds: int
    burst: float

    def pair(self) -> tuple[np.ndarray, np.ndarray]:
        """LR and HR for a step of G."""
        crop, scale = self.discriminator.crop, self.generator.scale
        return uniform(0, self.batch, crop // scale), uniform(-1, self.batch, crop)

    def real_and_fake(self) -> tuple[np.ndarray, np.ndarray]:
        """HR and SR for a step of D."""
        return uniform(-1, self.batch, self.discriminator.crop), uniform(-0.5, self.batch, self.discriminator.crop)

    def photo(self) -> np.ndarray:
        """An LR photo to enlarge."""
        return uniform(0, 1, self.side)


def uniform(low: float, n: int, side: int) -> np.ndarray:
    return np.random.default_rng(n).uniform(low, 1, (n, side, side, 3)).astype(np.float32)


def preset_sizes(name: str) -> Sizes:
    preset = PRESETS[name]
    return Sizes(preset.generator, preset.discriminator, preset.batch, side=128, rounds=7, burst=BURST)


PAPER, TINY = preset_sizes("paper"), preset_sizes("tiny")
QUICK = Sizes(
    GeneratorConfig(channels=3, blocks=1, edge_kernel=3),
    DiscriminatorConfig(channels=2, dense=4, crop=32),
    batch=2,
    side=8,
    rounds=1,
    burst=0,
)


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


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def convolution_shapes(sizes: Sizes) -> list[Shape]:
    """Every distinct convolution of G and D in a training step."""
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
    return shapes


# ---- Our side: functions that make what is timed -------------------------------------------------------


def generator_step(sizes: Sizes, device: str) -> Work:
    model = Generator(sizes.generator, np.random.default_rng(0)).to(device)
    lr, hr = (Tensor(to_device(each, device)) for each in sizes.pair())
    return step(model, lambda: PixelMSE(model(lr), hr))


def discriminator_step(sizes: Sizes, device: str) -> Work:
    model = Discriminator(sizes.discriminator, np.random.default_rng(0)).to(device)
    hr, sr = (Tensor(to_device(each, device)) for each in sizes.real_and_fake())
    return step(model, lambda: DiscriminatorLoss(model(hr), model(sr)))


def step(model: Module, loss: Callable[[], Tensor]) -> Work:
    adam = Adam(model.named_parameters())
    return lambda: adam.step(grad(loss(), adam.parameters.values()), RATE)


def inference(sizes: Sizes, device: str) -> Work:
    model = Generator(sizes.generator, np.random.default_rng(0)).to(device).eval()
    photo = Tensor(to_device(sizes.photo(), device))

    def run() -> None:
        with no_grad():
            model(photo)

    return run


def convolution(shape: Shape, direction: str, device: str) -> Work:
    x, w, g = (Tensor(to_device(each, device)) for each in (shape.image(), shape.weight(), shape.cotangent()))
    at = {"stride": shape.stride, "padding": shape.padding}
    return {
        "forward": lambda: Conv2d(x, w, **at),
        "InputGrad": lambda: InputGrad(g, w, size=x.shape[1:3], **at),
        "WeightGrad": lambda: WeightGrad(x, g, kernel=w.shape[:2], **at),
    }[direction]


WORKS = {make.__name__: make for make in (generator_step, discriminator_step, inference)}  # `bench_torch` has the same


# ---- The benchmark -------------------------------------------------------------------------------------


def bench(device: str, out: str | Path | None = None, quick: bool = False, say: Say = print) -> dict:
    """Measure on `device`, say tables, write JSON to the file `out`, and return what the file holds.

    out     by default benchmarks/results/<processor>-<date>.json, below the current folder
    quick   toy sizes and a single round: this shows that it works, not how fast
    """
    sizes = QUICK if quick else PAPER
    with use_device(device):
        machine = describe_machine(device)
        out = Path(out or default_file(machine, quick))
        check_writable(out)
        peer, places, pytorch = find_peer(device, machine["threads"])
        say(f"{machine['processor']}, device {device}, {machine['threads']} CPU threads, {PRECISION}")
        say(f"PyTorch {pytorch['version']}: {pytorch['settings']}" if peer else f"no PyTorch: {pytorch['problem']}")
        results = {
            "device": device,
            "quick": quick,
            "machine": machine,
            "precision": PRECISION,
            "pytorch": pytorch,
            "how": HOW,
            "disagreement": check_agreement(peer, sizes, device, say),
            "steps": measure_steps(peer, places, sizes, device, say),
            "convolutions": measure_convolutions(peer, places, sizes, device, say),
            "memory": measure_memory(peer, places, sizes, device, machine["threads"], say),
        }
    write_whole(out, json.dumps(results, indent=1, ensure_ascii=False).encode())
    say(f"\n{out}")
    return results


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


def measure_steps(peer: Peer, places: Places, sizes: Sizes, device: str, say: Say) -> list[dict]:
    """Rows of how long a training step and inference take."""
    heading(say, "training steps and inference")
    batch, crop, scale = sizes.batch, sizes.discriminator.crop, sizes.generator.scale
    names = {
        "generator_step": f"G step, {batch} of {crop // scale}²",
        "discriminator_step": f"D step, {batch} of {crop}²",
        "inference": f"inference, {sizes.side}² → {sizes.side * scale}²",
    }
    rows = []
    for work, name in names.items():
        makers = {"ours": partial(WORKS[work], sizes, device)}
        makers |= {place.layout: partial(getattr(peer, work), sizes, place) for place in places}
        rows.append(measure(name, makers, sizes, device, say))
    if sizes is PAPER:  # and what `minisrgan demo` trains; its bicubic skip is not in PyTorch's model
        for work in ("generator_step", "discriminator_step"):
            makers = {"ours": partial(WORKS[work], TINY, device)}
            rows.append(measure(f"preset tiny, {names[work][:6]}", makers, TINY, device, say))
    return rows


def measure_convolutions(peer: Peer, places: Places, sizes: Sizes, device: str, say: Say) -> list[dict]:
    """Rows of how long each convolution takes, forward and in both of its gradients."""
    heading(say, "convolutions")
    rows = []
    for shape in convolution_shapes(sizes):
        for direction in DIRECTIONS:
            makers = {"ours": partial(convolution, shape, direction, device)}
            makers |= {place.layout: partial(peer.convolution, shape, direction, place) for place in places}
            name = f"{shape} {direction}"
            row = measure(name, makers, sizes, device, say, shape.operations)
            rows.append(row | {"shape": shape._asdict(), "direction": direction})
    return rows


def measure(
    name: str,
    makers: Mapping[str, Callable[[], Work]],
    sizes: Sizes,
    device: str,
    say: Say,
    operations: int | None = None,
) -> dict:
    """A row of results: who took how long.

    makers       what makes each side's work; the keys are "ours" and PyTorch's layouts
    operations   of one call, to report GFLOP/s
    """
    gc.collect()
    works = {who: make() for who, make in makers.items()}
    row: dict = {"name": name, **compare(take_turns(works, sizes, synchronizer(device)))}
    if operations:
        row["gflops"] = {who: operations / row[who]["median"] / 1e9 for who in works}
    say(table_line(row))
    return row


def take_turns(works: Mapping[str, Work], sizes: Sizes, synchronize: Callable[[], object]) -> dict[str, list[float]]:
    """The seconds per call of each work, in each round. The works take turns."""
    calls = {}
    for who, work in works.items():
        work()  # compiles, or chooses its algorithms
        calls[who] = max(1, math.ceil(sizes.burst / seconds(work, 1, synchronize)))
    times: dict[str, list[float]] = {who: [] for who in works}
    for _ in range(sizes.rounds):
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
    layouts = [who for who in times if who != "ours"]
    if layouts:
        fastest = min(layouts, key=lambda who: row[who]["median"])
        in_each_round = [theirs / ours for theirs, ours in zip(times[fastest], times["ours"])]
        row["pytorch_layout"] = fastest
        row["ratio"] = row[fastest]["median"] / row["ours"]["median"]
        row["ratio_spread"] = [min(in_each_round), max(in_each_round)]
    return row


# ---- Memory, in processes of their own -----------------------------------------------------------------


def measure_memory(peer: Peer, places: Places, sizes: Sizes, device: str, threads: int, say: Say) -> list[dict]:
    """Rows of the most memory that a training step takes."""
    say(f"\n{'peak memory, MiB':36}{'ours':>12}{'PyTorch':>12}{'ratio':>8}")
    rows = []
    for work in ("generator_step", "discriminator_step"):
        ask = partial(peak_elsewhere, work=work, device=device, threads=threads, quick=sizes is QUICK)
        row: dict = {"name": work.replace("_", " "), "ours": ask(layout=None)}
        row |= {place.layout: ask(layout=place.layout) for place in places}
        shown = f"{row['name']:36}{row['ours'] / 2**20:12.0f}"
        if places:
            row["pytorch_layout"] = min((place.layout for place in places), key=row.__getitem__)
            theirs = row[row["pytorch_layout"]]
            row["ratio"] = theirs / row["ours"] if row["ours"] else None
            shown += f"{theirs / 2**20:12.0f}{row['ratio'] or math.nan:8.2f}  {row['pytorch_layout']}"
        say(shown)
        rows.append(row)
    return rows


def peak_elsewhere(**arguments: Any) -> int:
    """`peak` in a new process. There, nothing else has raised the high-water mark."""
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
    peer: Peer = None
    if layout is None:
        make, place = WORKS[work], device
    else:
        peer, places, _ = find_peer(device, threads)
        make, place = getattr(peer, work), next(place for place in places if place.layout == layout)
    make(QUICK, place)()  # loads libraries, compiles kernels
    before = high_water_mark()
    run = make(QUICK if quick else PAPER, place)
    for _ in range(3):
        run()
    if device != "cuda":
        return max(high_water_mark() - before, 0)  # Linux counts it to some dozen pages, so a toy's may seem to fall
    if layout is not None:
        return peer.peak_of_pool(run)
    import cupy

    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    run()
    return pool.total_bytes()  # it gives nothing back by itself


def default_file(machine: dict, quick: bool) -> Path:
    """benchmarks/results/<processor>-<date>.json"""
    slug = re.sub(r"\((r|tm)\)|[^a-z0-9]+", "-", machine["processor"].lower())
    words = [word for word in slug.split("-") if word]
    name = "-".join([*words, *(["quick"] if quick else []), machine["date"][:10]])
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
