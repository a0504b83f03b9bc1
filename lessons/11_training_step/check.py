"""Two of the learner's steps, with a G and a D that take notes, compared with two steps of the library's Trainer."""

from dataclasses import replace

import numpy as np

from lessons.course.checking import Wrong, compare
from minisrgan.errors import GraphError
from minisrgan.losses import DiscriminatorLoss, MinimaxLoss, NonSaturatingLoss, PixelMSE
from minisrgan.models.discriminator import Discriminator, DiscriminatorConfig
from minisrgan.models.generator import Generator, GeneratorConfig
from minisrgan.nn import held
from minisrgan.optim import Adam
from minisrgan.tensor import Tensor, grad
from minisrgan.training.config import Stage
from minisrgan.training.presets import PRESETS
from minisrgan.training.trainer import Trainer

WEIGHT, RATE, STEPS = 0.3, 2e-3, 2
TOLERANCE = 1e-9  # everything is in float64
CONFIG = replace(
    PRESETS["tiny"],
    generator=GeneratorConfig(channels=4, blocks=1, edge_kernel=3),
    discriminator=DiscriminatorConfig(channels=2, dense=6, crop=12),
    gan=Stage(STEPS, RATE),
    content="pixel",
    adversarial="non-saturating",
).with_weights(content=1.0, pixel=0.0, adversarial=WEIGHT, grid=0.0)


def check(exercise):
    rng = np.random.default_rng(11)
    crops = [(Tensor(rng.random((3, 3, 3, 3))), Tensor(rng.uniform(-1, 1, (3, 12, 12, 3)))) for _ in range(STEPS)]
    library, learner = Library(), Learner()
    for step, (lr, hr) in enumerate(crops, 1):
        library.step(lr, hr)
        returned = learner.step(exercise, lr, hr, step)
        check_gradients(learner, library, step)
        for name in ("D", "G"):
            check_state(name, learner, library, step)
        if isinstance(returned, tuple | list) and any(isinstance(each, Tensor) for each in returned):
            raise Wrong("type", "training_step(…) returns Tensors. Return numbers: loss.item() is one.")
        wanted = (library.trainer.measured["loss_d"], library.trainer.measured["loss_g"])
        compare("training_step(…)", returned, wanted, TOLERANCE)


# ---- The library's step --------------------------------------------------------------------------------


class Library:
    """The Trainer, on given crops. It keeps each step's gradients, and the gradients that known mistakes would give."""

    def __init__(self):
        self.trainer = Trainer(CONFIG, photos=None, device="numpy")
        self.networks = {"G": self.trainer.generator, "D": self.trainer.discriminator}
        for network in self.networks.values():
            network.to(dtype="float64")
        self.trainer.start_stage("gan")
        self.gradients, self.leaks = [], []  # of each step

    def step(self, lr, hr):
        trainer = self.trainer
        old_d = copy(trainer.discriminator)
        self.gradients.append({})

        def noting(name, adam):
            def step(gradients, rate, fault):
                self.gradients[-1][name] = flat(gradients)
                self.note_mistakes(name, lr, hr, old_d)
                Adam.step(adam, gradients, rate, fault)

            return step

        trainer.choose_crops = lambda: None  # the crops are given
        trainer.sample_hr, trainer.downsample = (lambda crops: hr), (lambda crops: lr)
        trainer.adam_d.step, trainer.adam_g.step = noting("D", trainer.adam_d), noting("G", trainer.adam_g)
        trainer.gan_step()

    def note_mistakes(self, name, lr, hr, old_d):
        """When a player moves: the gradients that mistaken losses would give it; in G's move also ∂L_G/∂θ_D."""
        g, d = self.networks.values()

        def of(loss, module=g):
            with held(d), held(g):
                return flat(grad(loss(g(lr)), module.parameters()))

        def adversarial(sr):
            return NonSaturatingLoss(d(sr))

        if name == "D":
            exchanged = of(lambda sr: DiscriminatorLoss(d(sr), d(hr)), d)
            self.mistakes = {"labels exchanged": (exchanged, "D learns to take SR for real, and HR for fake")}
            return
        self.leaks.append(WEIGHT * of(adversarial, d))
        pixel, fooling, saturating = of(lambda sr: PixelMSE(sr, hr)), of(adversarial), of(lambda sr: MinimaxLoss(d(sr)))
        new_d = copy(d)
        d.load_state(old_d)
        stale = of(adversarial)
        d.load_state(new_d)
        self.mistakes |= {
            "stale D": (pixel + WEIGHT * stale, "G learned from D as it was before its move"),
            "adversarial term missing": (pixel, "G's gradient comes from the pixel loss alone"),
            "pixel term missing": (WEIGHT * fooling, "G's gradient comes from the adversarial loss alone"),
            "weight missing": (pixel + fooling, "the adversarial loss has no weight"),
            "weight misplaced": (WEIGHT * pixel + fooling, "the weight is on the pixel loss, not the adversarial loss"),
            "adversarial sign": (
                pixel - WEIGHT * fooling,
                "the adversarial loss is subtracted: add it, it has its minus inside",
            ),
            "minimax": (pixel + WEIGHT * saturating, "G minimises E[ln(1 - D(SR))] instead of -E[ln D(SR)]"),
        }


# ---- The learner's -------------------------------------------------------------------------------------


class Learner:
    """G, D and two Adams that start like the library's, and note everything that is done with them."""

    def __init__(self):
        start = Library()
        self.notes = []  # ("G",), ("D", "HR" or "SR", with a graph?), ("step", "D" or "G"), ("eval",)
        g = NotingGenerator(CONFIG.generator, np.random.default_rng(0)).to(dtype="float64")
        d = NotingDiscriminator(CONFIG.discriminator, np.random.default_rng(0)).to(dtype="float64")
        self.networks = {"G": g, "D": d}
        for name, network in self.networks.items():
            network.load_state(start.networks[name].state())
            network.learner = self
        self.adams = {name: NotingAdam(name, network, self) for name, network in self.networks.items()}

    def step(self, exercise, lr, hr, number):
        self.notes, self.gradients, self.lr, self.hr = [], {}, lr, hr
        self.before, self.after_d = copy(self.networks["D"]), None
        images = lr.data.copy(), hr.data.copy()
        g, d = self.networks["G"], self.networks["D"]
        try:
            returned = exercise.training_step(g, d, self.adams["G"], self.adams["D"], lr, hr, WEIGHT, RATE)
        except GraphError as error:
            if self.undetached():
                raise Wrong("graph not detached", UNDETACHED + f" Here that led to the error: {error}") from None
            if "changed in place since by Adam.step" in str(error):
                raise Wrong("stale D", f"{STALE} The engine says so too: {error}") from None
            raise
        except (AttributeError, TypeError) as error:
            if self.without_gradient:
                raise Wrong("gradient missing", self.without_gradient) from None
            raise error
        if not (np.array_equal(images[0], lr.data) and np.array_equal(images[1], hr.data)):
            raise Wrong("input changed", "training_step changes the images that it is given: leave them as they are.")
        self.check_notes()
        return returned

    without_gradient = ""

    def undetached(self):
        """Whether D, before its move, saw SR only with its graph."""
        before = self.notes[: self.notes.index(("step", "D"))] if ("step", "D") in self.notes else self.notes
        return ("D", "SR", True) in before and ("D", "SR", False) not in before

    def check_notes(self):
        notes = self.notes
        made, steps = notes.count(("G",)), [note[1] for note in notes if note[0] == "step"]
        if made != 1:
            raise Wrong(
                "SR not once",
                f"G was called {made} times in a step. Call it once: D sees SR without its graph, G's loss sees it "
                "with its graph.",
            )
        if self.undetached():
            raise Wrong("graph not detached", UNDETACHED)
        if any(note[:2] == ("D", "another image") for note in notes):
            raise Wrong(
                "other images",
                "D saw something that is neither HR nor SR. (If you put both into one batch: batch norm would tie them "
                "together, so show them one after the other.)",
            )
        if ("D", "HR", False) not in notes:
            raise Wrong("D without HR", "D never saw HR.")
        if steps == ["G", "D"]:
            raise Wrong("order", "G moved before D. D moves first in a step, and G responds to the updated D.")
        if steps.count("D") > 1 or steps.count("G") > 1:
            raise Wrong(
                "moved twice",
                f"the moves of a step were {', '.join(steps)}. They should be D, G. D's parameters must not change in "
                "G's move, nor G's in D's.",
            )
        for name in ("D", "G"):
            if name not in steps:
                raise Wrong("no move", f"adam_{name.lower()}.step was not called: {name} did not move.")
        after = notes[notes.index(("step", "D")) :]
        if ("D", "SR", True) not in after and ("D", "SR", False) in after:
            raise Wrong(
                "adversarial term missing",
                "in G's move D saw SR without its graph, so the gradient of the adversarial loss does not reach G.",
            )
        if any(note[0] == "D" for note in notes[notes.index(("step", "G")) :]):
            raise Wrong(
                "losses again",
                "D was called again after G's move. Return the losses that the two moves were made with.",
            )
        if not any(note[:2] == ("D", "SR") for note in after):
            raise Wrong("stale D", STALE)
        if ("eval",) in notes:
            raise Wrong(
                "D in eval mode",
                "D was called in eval mode. There it normalises by its running averages, so it is not the same "
                "function as the D that learns. `held(discriminator)` keeps the function and the averages.",
            )
        if all(np.array_equal(self.after_d[name], array) for name, array in self.before.items() if "running" in name):
            raise Wrong(
                "D held in its own move",
                "D's running averages did not change in D's own move: use `held` in G's move only.",
            )
        check_untouched(self.networks["D"], self.after_d)

    def made_first(self):
        """Whether D saw SR before HR in its own move. That is equally right, but the running averages then differ."""
        shown = [note[1] for note in self.notes[: self.notes.index(("step", "D"))] if note[0] == "D"]
        return shown == ["SR", "HR"]


STALE = "after its move D was not called on SR again, so G would learn from the old D: compute L_G after D's update."
UNDETACHED = (
    "D's loss was computed from SR with its graph. So backward continues through G. It leaves a gradient there that "
    "makes G's images easier to tell, and it releases the graph that G's own move needs. In D's move SR is data: "
    "sr.detach()."
)


def check_untouched(discriminator, before):
    """Raise a diagnosis if G's move changed D."""
    for name, array in discriminator.arrays().items():
        if not np.array_equal(array, before[name]):
            if "running" in name:
                raise Wrong(
                    "D not held",
                    f"G's move changed D's {name}: batch norm counted SR once more. Inside `with held(discriminator)` "
                    "a forward pass leaves no trace.",
                )
            raise Wrong("D moved", f"G's move changed D's {name}. D's parameters must not change in G's move.")


class NotingGenerator(Generator):
    def forward(self, lr):
        self.learner.notes.append(("G",))
        self.learner.sr = sr = super().forward(lr)
        return sr


class NotingDiscriminator(Discriminator):
    def forward(self, image):
        learner = self.learner
        known = {"HR": learner.hr.data, "SR": getattr(learner, "sr", learner.hr).data}
        kind = next((name for name, array in known.items() if np.array_equal(array, image.data)), "another image")
        learner.notes += [("D", kind, image.requires_grad), *([] if self.training else [("eval",)])]
        return super().forward(image)


class NotingAdam(Adam):
    def __init__(self, name, network, learner):
        super().__init__(network.named_parameters())
        self.name, self.learner = name, learner

    def step(self, gradients, rate):
        adam, gradients = f"adam_{self.name.lower()}", list(gradients)
        strange = next((each for each in gradients if not (each is None or isinstance(each, Tensor))), None)
        if strange is not None:
            text = f"{adam}.step got a list with a {type(strange).__name__} in it. It takes Tensors"
            raise Wrong("type", f"{text}: each parameter's .grad, as it is.")
        if any(each is None for each in gradients):
            self.learner.without_gradient = (
                f"{adam}.step got no gradient for some of {self.name}'s parameters: their .grad is "
                "None. Was it cleared after backward, or did the loss not depend on them?"
            )
        super().step(gradients, rate)
        self.learner.notes.append(("step", self.name))
        self.learner.gradients[self.name] = flat(gradients)
        if rate != RATE:
            raise Wrong("rate", f"{adam}.step was given the rate {rate}, not {RATE}.")
        if self.name == "D":
            self.learner.after_d = copy(self.learner.networks["D"])


# ---- The comparison ------------------------------------------------------------------------------------


def check_gradients(learner, library, step):
    """Compare the gradients that each optimiser got with the library's. Known mistakes get their own diagnosis."""
    for name in ("D", "G"):
        made, wanted = learner.gradients[name], library.gradients[-1][name]
        if close(made, wanted):
            continue
        for left, what in left_over(name, library):
            if close(made, wanted + left):
                text = (
                    f"in step {step} {name}'s gradient has {what} added to it: backward adds to what is in .grad, so "
                )
                raise Wrong("left-over gradient", text + "clear it before every backward pass.")
        for kind, (mistaken, sentence) in library.mistakes.items():
            if close(made, mistaken):
                raise Wrong(kind, f"in step {step} {sentence}.")
        compare(f"the gradient that adam_{name.lower()} got in step {step}", made, wanted, TOLERANCE)


def left_over(name, library):
    """(array, its name) for every gradient that may be left in .grad from the step before."""
    if len(library.gradients) > 1:
        before = library.gradients[-2][name]
        yield before, "the gradient of the step before"
        if name == "D":
            yield library.leaks[-2], "∂L_G/∂θ_D, which G's move left there in the step before,"
            yield before + library.leaks[-2], "the gradient of the step before, and ∂L_G/∂θ_D from G's move,"


def check_state(name, learner, library, step):
    """Compare every parameter and running average of G or D with the library's, to a millionth of a step.

    (The gradient of a bias before batch norm is only rounding errors, and Adam makes them visible: 1e-12.)
    """
    wanted = library.networks[name].arrays()
    for key, array in learner.networks[name].arrays().items():
        if name == "D" and "running" in key and learner.made_first():
            continue
        if not np.allclose(array, wanted[key], rtol=0, atol=1e-6 * RATE):
            compare(f"{name}'s {key} after {'one step' if step == 1 else f'{step} steps'}", array, wanted[key], 0)


def copy(module):
    return {name: array.copy() for name, array in module.arrays().items()}


def flat(tensors):
    return np.concatenate([each.data.ravel() for each in tensors])


def close(made, wanted):
    return made.shape == wanted.shape and np.allclose(made, wanted, rtol=0, atol=TOLERANCE * abs(wanted).max())
