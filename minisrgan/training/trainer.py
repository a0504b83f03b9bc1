"""The training of an SRGAN, step by step.

    min_G max_D  E[ln D(HR)] + E[ln(1 - D(G(LR)))]        (or another game: losses.ADVERSARIAL)

Stage 1, `pretrain_step`, teaches G alone to be near HR. Stage 2, `gan_step`, is the game: D on L_D, then G on

    L_G = Σ weight·L over its terms: content, pixels, adversarial, total variation, grid

By the chain rule, with J = ∂SR/∂θ the Jacobian of G in its parameters,

    ∂L_G/∂θ = Jᵀ ∂L_G/∂SR        ∂L_G/∂SR = Σ weight·∂L/∂SR

So each term is differentiated as far as SR, where their gradients can be compared, and only the sum goes on into G.
"""

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import numpy as np

from ..arrays import to_device
from ..imaging.patches import Crop, PhotoSet
from ..imaging.pixels import hr_from_uint8, lr_from_uint8
from ..losses import ADVERSARIAL, PIXEL_CONTENT, PixelMSE, feature_mse, grid_loss, total_variation
from ..measures import norm
from ..models.architectures import Network, build
from ..models.discriminator import Discriminator
from ..models.vgg import VGGFeatures
from ..optim import Adam, move_average
from ..regularisers import REGULARISERS
from ..tensor import Tensor, grad
from ..weights.vgg import load_content
from .adversary import Adversary
from .config import Stage, TrainConfig
from .health import image_moments, measure_discriminator, measure_images
from .measured import Board, Measured
from .presets import of_another
from .shares import Shares


class Trainer:
    """G, D, their optimisers and the crops that they see. Each step returns what it measured (measured.py).

    photos   a PhotoSet with the configuration's crop and scale
    seconds  that the stage has lasted, which the training loop counts where the stage has `minutes`; else 0
    Without minutes, the state is a function of the configuration, the photos, the device and the number of steps alone.
    device/__init__.py says what the bits of a device depend on, and has to be imported for its kernels to be used.
    """

    def __init__(self, config: TrainConfig, photos: PhotoSet, device: str) -> None:
        self.config, self.photos, self.device = config, photos, device
        init_g, init_d, self.crop_rng, noise = (np.random.default_rng([config.seed, i]) for i in range(4))
        self.generator = build(config.generator, init_g).to(device)
        self.discriminator = Discriminator(config.discriminator, init_d).to(device)
        self.averaged = build(config.generator, init_g).to(device)  # used where the stage's `ema` says so
        self.averaged.load_state(self.generator.state())
        regulariser = REGULARISERS[config.regulariser](noise, config.strength)
        self.adversary = Adversary(self.discriminator, ADVERSARIAL[config.adversarial], regulariser)
        self.stage = "pretrain"
        self.start_stage("pretrain")
        self.rollbacks = 0

    def pretrain_step(self) -> Measured:
        """G towards HR: one step down a distance of pixels."""
        self.begin_step()
        crops = self.choose_crops()
        hr, lr = self.sample_hr(crops), self.downsample(crops)
        sr = self.generate(lr)
        loss = PIXEL_CONTENT[self.config.pretrain_loss]
        gradient = self.gradient_at_sr(sr, {"pixel": (1, lambda sr: loss(sr, hr))})
        self.update_generator(sr, gradient)
        return self.finish_step()

    def gan_step(self) -> Measured:
        """D and G, a step each, on the same crops and the same SR."""
        self.begin_step()
        crops = self.choose_crops()
        hr, lr = self.sample_hr(crops), self.downsample(crops)
        sr = self.generate(lr)
        loss_d = self.discriminator_loss(hr, sr)
        self.update_discriminator(loss_d)
        gradient = self.generator_loss(hr, sr)
        self.update_generator(sr, gradient)
        self.measure_images(hr, lr, sr)
        return self.finish_step()

    def start_stage(self, stage: str) -> None:
        """Begin `stage` with the best G so far, where the average of weights starts, and new optimisers and shares."""
        self.start_from(self.best)
        self.stage, self.step, self.seconds = stage, 0, 0.0
        config = self.config
        self.adam_g = Adam(self.generator.named_parameters(), config.beta1)
        d_beta1 = config.beta1 if config.d_beta1 is None else config.d_beta1
        self.adam_d = Adam(self.discriminator.named_parameters(), d_beta1)
        self.shares = Shares(config.shares)
        self.board = Board(config.batch, self.device) if self.device == "cuda" else None
        self.begin_step()

    @property
    def progress(self) -> float:
        """How much of the stage is done: from 0, and all of it at 1."""
        return self.stage_config.progress(self.step, self.seconds)

    @property
    def keeps_average(self) -> bool:
        """Whether the average of G's weights is kept, and stands for G."""
        return self.stage_config.ema > 0

    @property
    def stage_config(self) -> Stage:
        """The Stage of the configuration that the training is in."""
        return getattr(self.config, self.stage)

    @property
    def best(self) -> Network:
        """The generator to show, to measure and to keep."""
        return self.averaged if self.keeps_average else self.generator

    def start_from(self, generator: Network) -> None:
        """Take on a trained generator's weights. Raises WeightsError for one of another configuration."""
        if generator.config != self.generator.config:
            raise of_another(generator.config, self.generator.config)
        state = generator.state()
        self.generator.load_state(state)
        self.averaged.load_state(state)

    def choose_crops(self) -> list[Crop]:
        """Random places in distinct photos, each turned and mirrored in a random way."""
        return self.photos.choose(self.crop_rng, self.config.batch)

    def sample_hr(self, crops: list[Crop]) -> Tensor:
        """The photos at these crops: (batch, crop, crop, 3) in [-1, 1]."""
        return Tensor(hr_from_uint8(to_device(self.photos.hr(crops), self.device)))

    def downsample(self, crops: list[Crop]) -> Tensor:
        """The photos' bicubic reductions at the same crops: (batch, crop/scale, crop/scale, 3) in [0, 1]."""
        return Tensor(lr_from_uint8(to_device(self.photos.lr(crops), self.device)))

    def generate(self, lr: Tensor) -> Tensor:
        """SR = G(LR), once a step. D is shown it without its graph; G's step goes back through the graph."""
        return self.generator(lr)

    def discriminator_loss(self, hr: Tensor, sr: Tensor) -> Tensor:
        """L_D and the regulariser's penalty. No gradient goes on to G."""
        loss, penalty, real, fake = self.adversary.discriminator_loss(self.disturb(hr), self.disturb(sr.detach()))
        self.measured.add(partial(measure_discriminator, self.config.adversarial), real.data, fake.data)
        self.measured.number("loss_d", loss.data)
        self.measured.number("penalty", penalty.data)
        return loss + penalty

    def generator_loss(self, hr: Tensor, sr: Tensor) -> Tensor:
        """∂L_G/∂SR. It measures L_G and its terms."""
        by_share = {term: None if share else 0 for term, share in self.config.shares.items()}
        weights, scale = self.config.weights | by_share, self.config.generator.scale
        terms: dict[str, tuple[float | None, Callable[[Tensor], Tensor]]] = {
            "content": (weights["content"], lambda sr: self.content_loss(sr, hr)),
            "pixel": (weights["pixel"], lambda sr: PixelMSE(sr, hr)),
            "adversarial": (weights["adversarial"], lambda sr: self.adversarial_loss(hr, sr)),
            "tv": (weights["tv"], total_variation),
            "grid": (weights["grid"], lambda sr: grid_loss(sr, hr, scale)),
        }
        return self.gradient_at_sr(sr, terms)

    @cached_property
    def content_loss(self) -> Callable[[Tensor, Tensor], Tensor]:
        """(SR, HR) → L_content."""
        return PIXEL_CONTENT[self.config.content] if self.vgg is None else partial(feature_mse, self.vgg)

    @cached_property
    def vgg(self) -> VGGFeatures | None:
        """The VGG whose features L_content compares; None if it compares pixels. Raises WeightsError if missing."""
        config = self.config
        if config.content in PIXEL_CONTENT:
            return None
        return load_content(config.content, config.vgg, config.family).to(self.device)

    def adversarial_loss(self, hr: Tensor, sr: Tensor) -> Tensor:
        """L_adv: G's loss where D sees through SR."""
        return self.adversary.generator_loss(self.disturb(hr), self.disturb(sr))

    def disturb(self, images: Tensor) -> Tensor:
        """The images as D is to see them."""
        return self.adversary.disturb(images, self.progress)

    def gradient_at_sr(self, sr: Tensor, terms: dict[str, tuple[float | None, Callable[[Tensor], Tensor]]]) -> Tensor:
        """∂/∂SR of Σ weight·L over `terms`, {name: (weight, SR → L)}. A weight of 0 costs nothing.

        If a weight is None, it follows from the term's share (shares.py); the content's term comes first.
        Measured are each L, the norm of weight·∂L/∂SR, and a weight that follows from a share.
        """
        here = Tensor(sr.data, requires_grad=True)  # without its graph: each walk back ends at SR
        total, gradients, pulls = 0.0, [], []
        for name, (weight, term) in terms.items():
            if weight == 0:
                continue
            loss = term(here)
            (gradient,) = grad(loss, here)
            length = self.length(gradient)
            if weight is None:
                weight = self.measured.number(f"weight_{name}", self.shares.weight(name, pulls[0], length))
            gradients.append(weight * gradient)
            total = total + weight * self.measured.number(f"loss_{name}", loss.data)
            pulls.append(self.measured.number(f"grad_{name}", weight * length))
        self.measured.number("loss_g", total)
        return sum(gradients[1:], gradients[0])

    def length(self, gradient: Tensor) -> Any:
        """The norm of a gradient at SR: of all images as one vector."""
        return norm([gradient.data])

    def measure_images(self, hr: Tensor, lr: Tensor, sr: Tensor) -> None:
        """Measure what G adds to the images: its size, its sameness, its colour (health.py)."""
        self.measured.add(partial(measure_images, len(sr.data)), *image_moments(hr.data, lr, sr.data))

    def update_discriminator(self, loss: Tensor) -> None:
        self.update(self.adam_d, "grad_d", self.d_rate, loss)

    def update_generator(self, sr: Tensor, gradient: Tensor) -> None:
        """A step of G, by the gradient at SR, which the walk back through G carries on to its parameters."""
        self.update(self.adam_g, "grad_g", self.rate, sr, gradient)

    def update(self, adam: Adam, name: str, rate: float, output: Tensor, cotangent: Tensor | None = None) -> None:
        """A step of Adam, by the gradient of `output` in that optimiser's parameters, and in no others."""
        gradients = grad(output, adam.parameters.values(), cotangent)
        self.measured.number(name, norm([each.data for each in gradients]))
        adam.step(gradients, rate, self.board.note() if self.board else None)

    @property
    def rate(self) -> float:
        """The learning rate of this step. Each time that the training was rolled back has halved it."""
        return self.stage_config.rate_at(self.progress) / 2**self.rollbacks

    @property
    def d_rate(self) -> float:
        own = self.config.d_rate
        return self.rate if own is None else self.rate * own / self.stage_config.rate

    def roll_back(self, rollbacks: int) -> None:
        """After a restore: go on with half the learning rate for each roll-back, and with other crops."""
        self.rollbacks = rollbacks
        self.crop_rng = np.random.default_rng([self.config.seed, 2, rollbacks])

    def begin_step(self) -> None:
        self.measured = Measured(f"step {self.step + 1} of stage {self.stage}", self.board)

    def finish_step(self) -> Measured:
        if self.keeps_average:
            t = self.adam_g.t  # at first the average is over about the last tenth of the steps, until there are enough
            move_average(self.averaged, self.generator, min(self.stage_config.ema, t / (t + 9)))
        self.measured.end(rate=self.rate)
        self.step += 1
        return self.measured
