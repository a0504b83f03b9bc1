"""What a training is: the models, the batch, the two stages. Three of them have names."""

import math
from dataclasses import asdict, dataclass, fields, replace

from ..errors import ConfigError
from ..losses import ADVERSARIAL, PixelCharbonnier, PixelL1, PixelMSE
from ..models.discriminator import DiscriminatorConfig
from ..models.generator import GeneratorConfig
from ..models.vgg_weights import knows_content
from ..regularisers import REGULARISERS

PIXEL_CONTENT = {"pixel": PixelMSE, "l1": PixelL1, "charbonnier": PixelCharbonnier}
TERMS = ("content", "pixel", "adversarial", "tv")  # of L_G in the GAN stage
ON_NAN = ("stop", "rollback")


@dataclass(frozen=True)
class Stage:
    """`steps` at a learning `rate`, of which the part after the fraction `drop_at` (None: no part) is at a tenth."""

    steps: int
    rate: float
    drop_at: float | None = None

    def __post_init__(self):
        if self.steps < 0:
            raise ConfigError(f"a stage has 0 steps or more, not {self.steps}")
        if not 0 < self.rate < 1:
            raise ConfigError(f"a learning rate is between 0 and 1, not {self.rate}")
        if self.drop_at is not None and not 0 <= self.drop_at <= 1:
            raise ConfigError(f"a learning rate drops at a fraction of the steps, from 0 to 1, not at {self.drop_at}")

    @property
    def drop_step(self):
        return None if self.drop_at is None else round(self.steps * self.drop_at)


@dataclass(frozen=True)
class TrainConfig:
    """`discriminator.crop` is the side of the HR crops. In the GAN stage

    L_G = content_weight·L_content + pixel_weight·L_pixel + adversarial_weight·L_adv + tv_weight·L_tv

    content      what L_content compares: pixels ("pixel", "l1", "charbonnier"), or the features of a VGG: "vgg-small",
                 or a layer of VGG19, such as "vgg54", from the file `vgg` of the family `family`
    adversarial, regulariser   by their names in ADVERSARIAL and REGULARISERS
    ema          the decay of the average of G's weights, which is what is kept of the GAN stage; 0: G as it is
    on_nan       "stop" where a number is no longer finite, or "rollback" to the state last saved
    """

    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    batch: int
    pretrain: Stage
    gan: Stage
    content: str = "pixel"
    adversarial: str = "non-saturating"
    regulariser: str = "none"
    content_weight: float = 1.0
    pixel_weight: float = 0.0
    adversarial_weight: float = 1e-3
    tv_weight: float = 0.0
    vgg: str | None = None
    family: str | None = None
    ema: float = 0.0
    on_nan: str = "stop"
    seed: int = 0

    def __post_init__(self):
        if self.batch < 1 or self.seed < 0:
            raise ConfigError("a batch has at least one crop, and a seed is at least 0")
        if self.discriminator.crop % self.generator.scale:
            raise ConfigError(f"crops of {self.discriminator.crop} do not divide by the scale {self.generator.scale}")
        if self.content not in PIXEL_CONTENT and not knows_content(self.content):
            raise ConfigError(f"content is {', '.join(PIXEL_CONTENT)}, vgg-small or a layer of VGG19 such as vgg54, "
                              f"not {self.content!r}")  # fmt: skip
        for name, known in [("adversarial", ADVERSARIAL), ("regulariser", REGULARISERS), ("on_nan", ON_NAN)]:
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} is one of {', '.join(known)}, not {getattr(self, name)!r}")
        REGULARISERS[self.regulariser].check(self.adversarial)
        for name, value in REGULARISERS[self.regulariser].needs.items():
            if getattr(self.discriminator, name) != value:
                raise ConfigError(f"{self.regulariser} needs a discriminator with {name}={value}")
        if not all(0 <= weight < math.inf for weight in self.weights.values()) or not any(self.weights.values()):
            raise ConfigError("a loss's weight is 0 or more, and one of them at least is more")
        if not 0 <= self.ema < 1:
            raise ConfigError(f"the decay of an average is from 0 to below 1, not {self.ema}")

    @property
    def weights(self):
        """{term of L_G: its weight}."""
        return {term: getattr(self, f"{term}_weight") for term in TERMS}

    def with_steps(self, **steps):
        """The same training with another number of steps in the named stages."""
        return replace(self, **{name: replace(getattr(self, name), steps=n) for name, n in steps.items()})

    def with_rates(self, **rates):
        """The same training with another learning rate in the named stages."""
        return replace(self, **{name: replace(getattr(self, name), rate=rate) for name, rate in rates.items()})

    def with_weights(self, **weights):
        """The same training with other weights of the named terms."""
        if unknown := sorted(weights.keys() - {*TERMS}):
            raise ConfigError(f"L_G has no term {unknown[0]!r}: it has {', '.join(TERMS)}")
        return replace(self, **{f"{term}_weight": weight for term, weight in weights.items()})

    def with_regulariser(self, name):
        """The same training with that regulariser, and with a D as it needs it."""
        if name not in REGULARISERS:
            raise ConfigError(f"regulariser is one of {', '.join(REGULARISERS)}, not {name!r}")
        discriminator = replace(self.discriminator, **REGULARISERS[name].needs)
        return replace(self, regulariser=name, discriminator=discriminator)

    def to_dict(self):
        return asdict(self)

    @classmethod
    def from_dict(cls, values):
        """The configuration that `to_dict` wrote. Raises ConfigError for anything else."""
        parts = {"generator": GeneratorConfig, "discriminator": DiscriminatorConfig, "pretrain": Stage, "gan": Stage}
        try:
            return typed(cls, values | {name: typed(part, values[name]) for name, part in parts.items()})
        except (KeyError, TypeError) as error:
            raise ConfigError(f"not a training configuration ({error})") from None


def typed(cls, values):
    """A `cls` of these values. Raises TypeError for one that is not of its field's type; 1 will do for 1.0."""
    for field in fields(cls):
        kinds = field.type | int if field.type in (float, float | None) else field.type
        if field.name in values:
            value = values[field.name]
            if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):  # True is an int too
                raise TypeError(f"{field.name} cannot be {value!r}")
    return cls(**values)


PRESETS = {
    # minutes on a laptop's CPU: no batch norm, and a bicubic skip to start from
    "tiny": TrainConfig(
        GeneratorConfig(channels=32, blocks=4, edge_kernel=3, batch_norm=False, bicubic_skip=True),
        DiscriminatorConfig(channels=16, dense=128, crop=64),
        batch=8,
        pretrain=Stage(500, 5e-4, drop_at=0.7),
        gan=Stage(400, 5e-4, drop_at=0.7),
        content="vgg-small",
        pixel_weight=1.0,
        ema=0.98,
    ),
    # a night on a CPU
    "small": TrainConfig(
        GeneratorConfig(channels=64, blocks=8, batch_norm=False, bicubic_skip=True),
        DiscriminatorConfig(channels=32, dense=512),
        batch=16,
        pretrain=Stage(20_000, 3e-4, drop_at=0.7),
        gan=Stage(5_000, 1e-4, drop_at=0.5),
        content="vgg-small",
        pixel_weight=1.0,
        ema=0.999,
    ),
    # Ledig et al. 2017, section 3.2
    "paper": TrainConfig(
        GeneratorConfig(),
        DiscriminatorConfig(),
        batch=16,
        pretrain=Stage(1_000_000, 1e-4),
        gan=Stage(200_000, 1e-4, drop_at=0.5),
        content="vgg54",
    ),
}
