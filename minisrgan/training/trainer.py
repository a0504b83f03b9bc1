"""The training of an SRGAN, step by step.

    min_G max_D  E[ln D(HR)] + E[ln(1 - D(G(LR)))]        (or another game: losses.ADVERSARIAL)

Stage 1, `pretrain_step`, teaches G alone to be near HR. Stage 2, `gan_step`, is the game: D on L_D, then G on

    L_G = Σ weight·L over its terms: content, pixels, adversarial, total variation

By the chain rule, with J = ∂SR/∂θ the Jacobian of G in its parameters,

    ∂L_G/∂θ = Jᵀ ∂L_G/∂SR        ∂L_G/∂SR = Σ weight·∂L/∂SR

So each term is differentiated as far as SR, where their shares can be compared, and only the sum goes on into G.
"""

import math
from dataclasses import asdict
from functools import cached_property, partial

import numpy as np

from ..arrays import to_device
from ..autodiff import Tensor, grad
from ..errors import DivergedError, WeightsError
from ..imaging.pixels import hr_from_uint8, lr_from_uint8
from ..losses import ADVERSARIAL, PixelMSE, feature_mse, total_variation
from ..models.discriminator import Discriminator
from ..models.generator import Generator
from ..models.vgg_weights import load_content
from ..nn import held
from ..optim import Adam, move_average, step_down
from ..regularisers import REGULARISERS
from .config import PIXEL_CONTENT, PRESETS
from .health import measure_discriminator, measure_images

STAGES = ("pretrain", "gan")


class Trainer:
    """G, D, their optimisers and the crops that they see. Each step returns what it measured, by name.

    photos   a PhotoSet with the configuration's crop and scale
    The state is a function of the configuration, the photos, the device and the number of steps alone.
    """

    def __init__(self, config, photos, device):
        self.config, self.photos, self.device = config, photos, device
        init_g, init_d, self.crop_rng, noise = (np.random.default_rng([config.seed, i]) for i in range(4))
        self.generator = Generator(config.generator, init_g).to(device)
        self.discriminator = Discriminator(config.discriminator, init_d).to(device)
        self.averaged = Generator(config.generator, init_g).to(device)  # used in the GAN stage, if `ema` says so
        self.game, self.regulariser = ADVERSARIAL[config.adversarial], REGULARISERS[config.regulariser](noise)
        self.start_stage("pretrain")
        self.rollbacks = 0
        self.measured = {}

    def pretrain_step(self):
        """G towards HR: one step down the pixel MSE."""
        hr = self.sample_hr()
        lr = self.downsample()
        sr = self.generate(lr)
        slope = self.slope(sr, {"pixel": (1, lambda sr: PixelMSE(sr, hr))})
        self.update_generator(sr, slope)
        return self.finish_step()

    def gan_step(self):
        """D and G, a step each, on the same crops and the same SR."""
        hr = self.sample_hr()
        lr = self.downsample()
        sr = self.generate(lr)
        loss_d = self.discriminator_loss(hr, sr)
        self.update_discriminator(loss_d)
        slope_g = self.generator_loss(hr, sr)
        self.update_generator(sr, slope_g)
        self.measured |= measure_images(hr.data, lr, sr.data)
        return self.finish_step()

    def start_stage(self, stage):
        """Begin `stage`; its optimisers start afresh, and the average of G's weights at G's."""
        self.stage, self.step = stage, 0
        self.adam_g = Adam(self.generator.named_parameters())
        self.adam_d = Adam(self.discriminator.named_parameters())
        if self.averages:
            self.averaged.load_state(self.generator.state())

    @property
    def averages(self):
        """Whether the average of G's weights is kept, and stands for G."""
        return self.stage == "gan" and self.config.ema > 0

    @property
    def best(self):
        """The generator to show, to measure and to keep."""
        return self.averaged if self.averages else self.generator

    def start_from(self, generator):
        """Take on a trained generator's weights. Raises WeightsError for one of another configuration."""
        if generator.config != self.generator.config:
            theirs, ours = asdict(generator.config), asdict(self.generator.config)
            differing = [
                f"{name} {theirs[name]}, this training {ours[name]}" for name in ours if theirs[name] != ours[name]
            ]
            fitting = [name for name, preset in PRESETS.items() if preset.generator == generator.config]
            advice = f"train with --preset {fitting[0]}" if fitting else "name weights of the same preset"
            raise WeightsError(f"the weights are of another generator ({'; '.join(differing)}): {advice}")
        self.generator.load_state(generator.state())

    def sample_hr(self):
        """Random crops of distinct photos, turned and mirrored: (batch, crop, crop, 3) in [-1, 1]."""
        self.measured = {}
        self.crops = self.photos.choose(self.crop_rng, self.config.batch)
        return Tensor(to_device(hr_from_uint8(self.photos.hr(self.crops)), self.device))

    def downsample(self):
        """The same crops of the photos' bicubic reductions: (batch, crop/scale, crop/scale, 3) in [0, 1]."""
        return Tensor(to_device(lr_from_uint8(self.photos.lr(self.crops)), self.device))

    def generate(self, lr):
        """SR = G(LR), once a step: D is shown it without its graph, G's loss with it."""
        return self.generator(lr)

    def discriminator_loss(self, hr, sr):
        """L_D and the regulariser's penalty, of what D says of HR and of SR. No gradient goes on to G."""
        hr, sr = self.disturb(hr), self.disturb(sr.detach())
        real, fake = self.discriminator(hr), self.discriminator(sr)
        self.measured |= measure_discriminator(self.config.adversarial, real.data, fake.data)
        loss = self.game.discriminator(real, fake)
        penalty = self.regulariser.penalty(self.discriminator, hr, sr, real, fake)
        self.measure("loss_d", loss.item())
        self.measure("penalty", penalty.item())
        return loss + penalty

    def generator_loss(self, hr, sr):
        """∂L_G/∂SR, with a D that only judges; L_G and its terms are measured."""
        weights = self.config.weights
        return self.slope(
            sr,
            {
                "content": (weights["content"], lambda sr: self.content_loss(sr, hr)),
                "pixel": (weights["pixel"], lambda sr: PixelMSE(sr, hr)),
                "adversarial": (weights["adversarial"], lambda sr: self.adversarial_loss(hr, sr)),
                "tv": (weights["tv"], total_variation),
            },
        )

    @cached_property
    def content_loss(self):
        """(SR, HR) → L_content. Raises WeightsError where its VGG is not to be had."""
        config = self.config
        if config.content in PIXEL_CONTENT:
            return PIXEL_CONTENT[config.content]
        return partial(feature_mse, load_content(config.content, config.vgg, config.family).to(self.device))

    def adversarial_loss(self, hr, sr):
        """L_adv: what it costs G that D sees through SR."""
        with held(self.discriminator):
            return self.game.generator_loss(self.discriminator, self.disturb(hr), self.disturb(sr))

    def disturb(self, images):
        """The images as D is to see them."""
        return self.regulariser.disturb(images, self.step / getattr(self.config, self.stage).steps)

    def slope(self, sr, terms):
        """∂/∂SR of Σ weight·L over `terms`, {name: (weight, SR → L)}: a sum of slopes. A weight of 0 costs nothing.

        Measured: each L, and the length of its share weight·∂L/∂SR of the slope.
        """
        here = Tensor(sr.data, requires_grad=True)  # without its graph: each walk back ends at SR
        total, slopes = 0.0, []
        for name, (weight, term) in terms.items():
            if weight:
                loss = term(here)
                slopes.append(weight * grad(loss, here)[0])
                total += weight * self.measure(f"loss_{name}", loss.item())
                self.measure(f"slope_{name}", norm(slopes[-1:]))
        self.measure("loss_g", total)
        return sum(slopes[1:], slopes[0])

    def update_discriminator(self, loss):
        self.update(self.adam_d, "grad_d", loss)

    def update_generator(self, sr, slope):
        """G a step down the slope at SR, which G's part of the chain rule carries on to its parameters."""
        self.update(self.adam_g, "grad_g", sr, slope)
        if self.averages:
            move_average(self.averaged, self.generator, self.config.ema)

    def update(self, adam, name, output, cotangent=None):
        """A step of Adam down the gradient of `output` in that optimiser's parameters, and in no others."""
        gradients = grad(output, adam.parameters.values(), cotangent)
        self.measure(name, norm(gradients))
        adam.step(gradients, self.rate)

    @property
    def rate(self):
        """The learning rate of this step: half of what it should be for each time that the training was rolled back."""
        stage = getattr(self.config, self.stage)
        return step_down(stage.rate, self.step, stage.drop_step) / 2**self.rollbacks

    def roll_back(self, rollbacks):
        """From a state just restored go on in another way than before: by smaller steps, on other crops."""
        self.rollbacks = rollbacks
        self.crop_rng = np.random.default_rng([self.config.seed, 2, rollbacks])

    def measure(self, name, value):
        """Remember a number. Raises DivergedError for one that is not finite: no step is taken with it."""
        if not math.isfinite(value):
            raise DivergedError(
                f"step {self.step + 1} of stage {self.stage}: {name} is {value}, no longer finite; "
                "the run's folder keeps the state that was last saved. Train with smaller --rates, or with "
                "--on-nan rollback"
            )
        self.measured[name] = float(value)
        return self.measured[name]

    def finish_step(self):
        self.measured["rate"] = self.rate
        self.step += 1
        return self.measured


def norm(gradients):
    """The length of all of them together as one vector."""
    return math.sqrt(sum(float((g.data * g.data).sum()) for g in gradients))
