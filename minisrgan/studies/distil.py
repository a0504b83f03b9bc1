"""`minisrgan vgg distil`: train the small VGG of the package, so that its content loss asks G for what VGG19's does.

What it learns.  The student has VGG19's layers up to vgg34, but fewer channels in each layer but the last: there it has
to give the teacher's own 256. A content loss is used for its gradient at SR, J^T(φ(SR) - φ(HR)), so the student learns
that gradient too. (Hinton et al. 2015 match outputs; Czarnecki et al. 2017 match gradients as well.) Take pairs of a
crop x and an image x̃ made of it. Let s be the student's map, t the teacher's, and g_s, g_t the gradients at x̃ of
½|s(x̃) - s(x)|² and ½|t(x̃) - t(x)|². Then

    L = |s(x) - t(x)|²/|t(x) - E t|²  +  |Δs - Δt|²/|Δt|²  +  |g_s - g_t|²/|g_t|²        Δs = s(x̃) - s(x)

Each term is a mean over the pairs, so that a slight change counts as much as a strong one. g_s is a gradient, so L's
gradient in the weights is the gradient of a gradient.

What it learns from.  Half of the x̃ are distorted in the ways of distortions.py. The others are the outputs of a
generator that is trained on the student's content loss meanwhile. After `ROUND` steps that generator starts again. So
the student sees what a G makes of the student's mistakes, and learns better.

Where it starts.  Its weights come from the teacher, layer by layer. Of a layer's channels, those are taken that tell
most about all of them, and least squares finds the weights that make them from the student's layer before. Within
seconds that gives four fifths of the variance of the teacher's last map. What training adds is mostly the gradients.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..arrays import array_module, to_device, to_numpy
from ..errors import ConfigError, DivergedError
from ..files import check_writable
from ..imaging.patches import PhotoSet
from ..imaging.pixels import hr_from_uint8, lr_from_uint8
from ..models.architectures import Network
from ..models.vgg import PAPER_SCALE, SMALL, VGG, VGGConfig, VGGFeatures, normalise
from ..nn import Conv, Module
from ..optim import SCHEDULES, Adam
from ..progress import progress_bar
from ..tensor import Tensor, grad, no_grad
from ..training.photos import Photos
from ..weights.array_files import read_arrays, write_arrays
from ..weights.generators import load_generator
from ..weights.vgg import load_vgg, save_vgg, sha256
from . import Say
from .distortions import KINDS, MARGIN, enlarge, without_margin

LAYER = "vgg34"  # of the teacher, and the student's last
LEAST_SIDE = 64 + 2 * MARGIN  # pixels on a side of a crop with its margin, so the smallest photo that will do
PAIRS = 4  # of each kind in a batch
RATE = 8e-4
RATE_G, ROUND = 2e-4, 200  # G's learning rate, and after how many steps G starts again
FITTED_ON, WINDOWS, RIDGE = 40, 12_000, 1e-3  # for least squares: the crops, the 3×3 windows, the ridge
FOURFOLD = math.log(4 / 1.25) / math.log(8 / 1.25)  # the strength at which `enlarge` enlarges four times
SLIGHT = 1e-3  # times the mean size of the pairs is added to each size, so that none is divided by 0
EVERY = 50  # steps after which the state is saved
KIND = "minisrgan distillation"
ORIGIN = (
    "distilled from VGG19 of the Visual Geometry Group, University of Oxford (Simonyan and Zisserman 2015), released "
    "under a Creative Commons Attribution licence"
)


class Distiller:
    """The student in training. Its state depends on the teacher, generator, photos, device, steps and seed alone."""

    def __init__(
        self,
        teacher: VGGFeatures,
        generator: Network,
        photos: Sequence[tuple[str, np.ndarray]],
        device: str,
        steps: int,
        seed: int = 0,
    ):
        if MARGIN % generator.config.scale:
            raise ConfigError(f"the generator must enlarge 2 or 4 times, not {generator.config.scale} times")
        self.device, self.steps, self.step = device, steps, 0
        self.teacher, self.generator = teacher.to(device), generator.to(device)
        self.first = generator.state()
        self.photos = PhotoSet(photos, scale=generator.config.scale, crop=LEAST_SIDE)
        self.rng = np.random.default_rng([seed, 1])
        config = VGGConfig(SMALL)
        self.student = VGG(config, np.random.default_rng([seed, 0]), config.index()).to(device)
        self.teacher.scale = 1 / fit(self.student, teacher, self.examples(), self.rng)
        self.adam = Adam(self.student.named_parameters())
        self.adam_g = Adam(self.generator.named_parameters())

    def examples(self) -> Tensor:
        """The FITTED_ON crops for least squares. Half of them are distorted."""
        patches = self.photos.hr(self.photos.choose(self.rng, FITTED_ON))
        half = FITTED_ON // 2
        return self.images(np.concatenate([without_margin(patches[:half]), self.distort(patches[half:])]))

    def distort(self, patches: np.ndarray) -> np.ndarray:
        """The patches without their margin, each distorted in a random way and at a random strength."""
        kinds = [KINDS[name] for name in self.rng.choice(list(KINDS), len(patches))]
        distorted = [kind(each, self.rng.uniform(), self.rng) for kind, each in zip(kinds, patches)]
        return without_margin(np.array(distorted))

    def images(self, pixels: np.ndarray) -> Tensor:
        """uint8 pixels as images for a VGG."""
        return Tensor(to_device(hr_from_uint8(pixels), self.device))

    def batch(self) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(SR with its graph, (x, x̃)): PAIRS of HR and SR, then PAIRS of a crop and the same crop distorted."""
        crops = self.photos.choose(self.rng, 2 * PAIRS)
        patches, edge = self.photos.hr(crops), MARGIN // self.photos.scale
        lr = self.photos.lr(crops[:PAIRS])[:, edge:-edge, edge:-edge]
        sr = self.generator(Tensor(to_device(lr_from_uint8(lr), self.device)))
        made = np.concatenate([to_numpy(sr.data), to_numpy(self.images(self.distort(patches[PAIRS:])).data)])
        return sr, (self.images(without_margin(patches)), Tensor(to_device(made, self.device)))

    def train_step(self) -> list[float]:
        """A step of the student and a step of G. Returns L's three terms."""
        if self.step % ROUND == 0:  # G starts again
            self.generator.load_state(self.first)
            self.adam_g = Adam(self.generator.named_parameters())
        sr, pairs = self.batch()
        losses, gradient = compare(self.student, self.teacher, *pairs)
        terms = [loss.mean() for loss in losses]
        gradients = grad(sum(terms[1:], terms[0]), self.adam.parameters.values())
        self.adam.step(gradients, RATE * SCHEDULES["cosine"](self.step / self.steps))
        self.adam_g.step(grad(sr, self.adam_g.parameters.values(), Tensor(gradient.data[:PAIRS])), RATE_G)
        self.step += 1
        return [float(term.item()) for term in terms]

    def parts(self) -> dict[str, Module | Adam]:
        """Whatever has a state, by its name in the file."""
        models: dict[str, Module | Adam] = {"student": self.student, "generator": self.generator}
        return models | {"adam": self.adam, "adam_g": self.adam_g}

    def save(self, path: str | Path, about: dict) -> None:
        """Write all that the next step depends on. `about` says which training this is."""
        arrays = {f"{name}/{key}": a for name, part in self.parts().items() for key, a in part.state().items()}
        counts = {"step": self.step, "t": self.adam.t, "t_g": self.adam_g.t}
        write_arrays(path, arrays, kind=KIND, about=about, rng=self.rng.bit_generator.state, **counts)

    def restore(self, path: str | Path, about: dict) -> None:
        """Take back what `save` wrote. Raises ConfigError if that was another training."""
        arrays, metadata = read_arrays(path, "delete it to start again")
        if metadata.get("kind") != KIND or metadata.get("about") != about:
            raise ConfigError(f"{path}: of another training: name another file with --out, or delete it to start again")
        for name, part in self.parts().items():
            part.load_state({key.partition("/")[2]: a for key, a in arrays.items() if key.startswith(f"{name}/")})
        self.rng.bit_generator.state = metadata["rng"]
        self.step, self.adam.t, self.adam_g.t = metadata["step"], metadata["t"], metadata["t_g"]

    def calibrate(self, crops: int = 64) -> None:
        """Scale each layer so that its features, times 1/12.75, have the same MSE as the pixels.

        Both MSEs are between crops and the same crops enlarged four times. Let s_l be the factor that the output of
        layer l needs. Then the layer's weights are multiplied by s_l/s_{l-1}, and its bias by s_l: a positive factor
        passes through ReLU and max pooling.
        """
        patches = self.photos.hr(self.photos.choose(self.rng, crops))
        enlarged = np.array([enlarge(patch, FOURFOLD, self.rng) for patch in patches])
        a, b = self.images(without_margin(patches)), self.images(without_margin(enlarged))
        with no_grad():
            pixels = ((a - b) ** 2).mean().item()
            maps = zip(self.student.maps(a), self.student.maps(b))
            measured = {index: ((x - y) ** 2).mean().item() for (index, x), (_, y) in maps}
        before = 1.0
        for index, layer in enumerate(self.student.features):
            if isinstance(layer, Conv):
                factor = math.sqrt(pixels / measured[index + 1]) / PAPER_SCALE  # index + 1: after the activation
                layer.weight.data *= factor / before
                layer.bias.data *= factor
                before = factor


def compare(student: VGG, teacher: VGG, x: Tensor, made: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    """(the three terms of L, each with a value for each pair; the student's gradient at x̃). `made` is x̃."""
    here = Tensor(made.data, requires_grad=True)
    with no_grad():
        tx = teacher(x)
    ty = teacher(here)
    dt = (ty - tx).detach()
    gt = grad(ty, here, dt)[0]
    sx, sy = student(x), student(here)
    ds = sy - sx
    gs = grad(sy, here, ds, create_graph=True)[0]
    return (relative_error(sx, tx, tx - tx.mean((0, 1, 2))), relative_error(ds, dt, dt), relative_error(gs, gt, gt)), gs


def relative_error(student: Tensor, teacher: Tensor, of: Tensor) -> Tensor:
    """|student - teacher|²/|of|² of each pair."""
    size = (of**2).sum((1, 2, 3)).detach()
    return ((student - teacher) ** 2).sum((1, 2, 3)) / (size + SLIGHT * size.mean())


def fit(student: VGG, teacher: VGG, images: Tensor, rng: np.random.Generator) -> float:
    """Give the student, layer by layer, the weights that come nearest to the teacher's maps of `images`.

    Returns the size of the teacher's last map. The student's maps have size 1, in each layer.
    """
    sizes = []
    with no_grad():
        maps = {index: to_numpy(x.data) for index, x in teacher.maps(images)}
        x = normalise(images, student.config.family)
        for index, layer in enumerate(student.features):
            if isinstance(layer, Conv):
                wanted, channels = maps[index], layer.weight.shape[-1]
                if channels < wanted.shape[-1]:
                    wanted = wanted[..., most_telling(maps[index + 1], channels)]
                sizes.append(float(np.sqrt((wanted.clip(0) ** 2).mean())))
                found = least_squares(to_numpy(x.data), wanted / sizes[-1], rng)
                for parameter, values in ((layer.weight, found[:-1]), (layer.bias, found[-1])):
                    parameter.data[...] = array_module(parameter.data).asarray(values.reshape(parameter.shape))
            x = layer(x)
    return sizes[-1]


def most_telling(x: np.ndarray, count: int) -> list[int]:
    """The `count` channels of a map that tell the most about all of them, linearly: pivoted Cholesky of x^T x.

    The channel that explains most is taken, what it explains is subtracted from all others, and so on.
    """
    flat = x.reshape(-1, x.shape[-1]).astype(np.float64)
    left = flat.T @ flat
    found: list[int] = []
    least = 1e-9 * np.trace(left)
    for _ in range(count):
        explained = (left**2).sum(0) / np.maximum(np.diag(left), least)
        explained[found] = -1
        found.append(int(explained.argmax()))
        column = left[found[-1]]
        left = left - np.outer(column, column) / max(column[found[-1]], least)
    return sorted(found)


def least_squares(x: np.ndarray, wanted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The weights, and in the last row the bias, of the 3×3 convolution that comes nearest to making `wanted` from x.

    x and `wanted` are (N, H, W, C). WINDOWS random windows of them are looked at.
    """
    n, height, width, _ = x.shape
    i, top, left = rng.integers([n, height, width], size=(WINDOWS, 3)).T
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = [padded[i, top + dy, left + dx] for dy in range(3) for dx in range(3)]
    rows = np.concatenate([*windows, np.ones((WINDOWS, 1), x.dtype)], axis=1).astype(np.float64)
    square = rows.T @ rows
    square += RIDGE * np.trace(square) / len(square) * np.eye(len(square))
    return np.linalg.solve(square, rows.T @ wanted[i, top, left].astype(np.float64))


def distil(
    photos: Photos,
    teacher: str | Path,
    generator: str | Path,
    device: str,
    steps: int,
    seed: int,
    out: str | Path,
    family: str | None = None,
    say: Say = print,
) -> None:
    """Train the small VGG on photos.training, and write it to `out`.

    teacher     the file of a VGG19, and `family`, its family, if the file does not say it
    generator   the file of the generator whose outputs the student learns from
    If this was stopped before, it goes on from the state that it saved beside `out`.
    """
    out, part = Path(out), Path(f"{out}.part")
    if out.exists():
        raise ConfigError(f"{out} is there already: name another file with --out")
    check_writable(out)
    vgg = load_vgg(teacher, LAYER, family=family)
    distiller = Distiller(vgg, load_generator(generator), photos.training, device, steps, seed)
    about = {"origin": ORIGIN, "seed": seed, "steps": steps, "photos": distiller.photos.names}
    about |= {"teacher": sha256(teacher), "generator": sha256(generator)}
    if part.exists():
        distiller.restore(part, about)
    with progress_bar(total=steps, initial=distiller.step, unit="step") as progress:
        while distiller.step < steps:
            terms = distiller.train_step()
            if not all(map(math.isfinite, terms)):
                raise DivergedError(f"step {distiller.step}: the loss is no longer finite")
            if distiller.step % EVERY == 0:
                distiller.save(part, about)
            progress.set_postfix(loss=" + ".join(f"{term:.2f}" for term in terms), refresh=False)
            progress.update()
    distiller.calibrate()
    save_vgg(out, distiller.student.config, distiller.student.state(), np.float16, trained=about)
    part.unlink(missing_ok=True)
    say(f"{out}: {distiller.student.parameter_count():,} parameters, {out.stat().st_size / 1e6:.2f} MB")
