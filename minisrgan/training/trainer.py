"""The training of an SRGAN, step by step.

    min_G max_D  E[ln D(HR)] + E[ln(1 - D(G(LR)))]

Stage 1, `pretrain_step`, teaches G alone to be near HR. Stage 2, `gan_step`, is the game: D on L_D, then G on

    L_G = L_content + 10⁻³·L_adversarial
"""

import math
from dataclasses import asdict

import numpy as np

from ..arrays import to_device
from ..autodiff import Sigmoid, Tensor, grad
from ..errors import DivergedError, WeightsError
from ..imaging.pixels import hr_from_uint8, lr_from_uint8
from ..losses import DiscriminatorLoss, NonSaturatingLoss, PixelMSE
from ..models.discriminator import Discriminator
from ..models.generator import Generator
from ..nn import held
from ..optim import Adam, step_down
from .config import PRESETS

STAGES = ("pretrain", "gan")


class Trainer:
    """G, D, their optimisers and the crops that they see. Each step returns what it measured, by name.

    photos   a PhotoSet with the configuration's crop and scale
    The state is a function of the configuration, the photos, the device and the number of steps alone.
    """

    def __init__(self, config, photos, device):
        self.config, self.photos, self.device = config, photos, device
        init_g, init_d, self.crop_rng = (np.random.default_rng([config.seed, i]) for i in range(3))
        self.generator = Generator(config.generator, init_g).to(device)
        self.discriminator = Discriminator(config.discriminator, init_d).to(device)
        self.start_stage("pretrain")
        self.measured = {}

    def pretrain_step(self):
        """G towards HR: one step down the pixel MSE."""
        hr = self.sample_hr()
        lr = self.downsample()
        sr = self.generate(lr)
        loss = self.measure("loss_content", PixelMSE(sr, hr))
        self.update_generator(self.measure("loss_g", loss))
        return self.finish_step()

    def gan_step(self):
        """D and G, a step each, on the same crops and the same SR."""
        hr = self.sample_hr()
        lr = self.downsample()
        sr = self.generate(lr)
        loss_d = self.discriminator_loss(hr, sr)
        self.update_discriminator(loss_d)
        loss_g = self.generator_loss(hr, sr)
        self.update_generator(loss_g)
        return self.finish_step()

    def start_stage(self, stage):
        """Begin `stage`; its optimisers start afresh."""
        self.stage, self.step = stage, 0
        self.adam_g = Adam(self.generator.named_parameters())
        self.adam_d = Adam(self.discriminator.named_parameters())

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
        """L_D = -(E[ln D(HR)] + E[ln(1 - D(SR))]). No gradient goes on to G."""
        real, fake = self.discriminator(hr), self.discriminator(sr.detach())
        self.measured["d_real"] = float(Sigmoid(real.detach()).mean().item())
        self.measured["d_fake"] = float(Sigmoid(fake.detach()).mean().item())
        return self.measure("loss_d", DiscriminatorLoss(real, fake))

    def generator_loss(self, hr, sr):
        """L_G = L_content + weight·L_adversarial, with a D that only judges."""
        content = self.measure("loss_content", PixelMSE(sr, hr))
        with held(self.discriminator):
            adversarial = self.measure("loss_adversarial", NonSaturatingLoss(self.discriminator(sr)))
        return self.measure("loss_g", content + self.config.adversarial_weight * adversarial)

    def update_discriminator(self, loss):
        self.update(self.adam_d, loss, "grad_d")

    def update_generator(self, loss):
        self.update(self.adam_g, loss, "grad_g")

    def update(self, adam, loss, name):
        """A step of Adam down the gradient of `loss` in that optimiser's parameters, and in no others."""
        gradients = grad(loss, adam.parameters.values())
        self.measured[name] = math.sqrt(sum(float((g.data * g.data).sum()) for g in gradients))
        if not math.isfinite(self.measured[name]):
            raise DivergedError(
                f"step {self.step + 1} of stage {self.stage}: the gradient {name} is no longer finite; "
                "the run's folder keeps the state that was last saved"
            )
        adam.step(gradients, self.rate)

    @property
    def rate(self):
        """The learning rate of this step."""
        stage = getattr(self.config, self.stage)
        return step_down(stage.rate, self.step, stage.drop_step)

    def measure(self, name, loss):
        self.measured[name] = float(loss.item())
        return loss

    def finish_step(self):
        self.measured["rate"] = self.rate
        self.step += 1
        return self.measured
