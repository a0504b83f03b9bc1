"""What a training is: the models, the batch, the two stages. Three of them have names."""

from dataclasses import asdict, dataclass, fields, replace

from ..errors import ConfigError
from ..models.discriminator import DiscriminatorConfig
from ..models.generator import GeneratorConfig


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
    """`discriminator.crop` is the side of the HR crops; `adversarial_weight` is L_adv's share in L_G."""

    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    batch: int
    pretrain: Stage
    gan: Stage
    adversarial_weight: float = 1e-3
    seed: int = 0

    def __post_init__(self):
        if self.batch < 1 or self.seed < 0:
            raise ConfigError("a batch has at least one crop, and a seed is at least 0")
        if self.discriminator.crop % self.generator.scale:
            raise ConfigError(f"crops of {self.discriminator.crop} do not divide by the scale {self.generator.scale}")

    def with_steps(self, **steps):
        """The same training with another number of steps in the named stages."""
        return replace(self, **{name: replace(getattr(self, name), steps=n) for name, n in steps.items()})

    def with_seed(self, seed):
        return replace(self, seed=seed)

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
        kinds = bool if field.type is bool else field.type | int
        if field.name in values and not isinstance(values[field.name], kinds):
            raise TypeError(f"{field.name} cannot be {values[field.name]!r}")
    return cls(**values)


PRESETS = {
    # minutes on a laptop's CPU: no batch norm, and a bicubic skip to start from
    "tiny": TrainConfig(
        GeneratorConfig(channels=32, blocks=4, edge_kernel=3, batch_norm=False, bicubic_skip=True),
        DiscriminatorConfig(channels=16, dense=128, crop=64),
        batch=8,
        pretrain=Stage(500, 5e-4, drop_at=0.7),
        gan=Stage(400, 5e-4, drop_at=0.7),
    ),
    # hours on a CPU, minutes on a GPU
    "small": TrainConfig(
        GeneratorConfig(channels=64, blocks=8, batch_norm=False, bicubic_skip=True),
        DiscriminatorConfig(channels=32, dense=512),
        batch=16,
        pretrain=Stage(20_000, 3e-4, drop_at=0.7),
        gan=Stage(5_000, 1e-4, drop_at=0.5),
    ),
    # Ledig et al. 2017, section 3.2
    "paper": TrainConfig(
        GeneratorConfig(),
        DiscriminatorConfig(),
        batch=16,
        pretrain=Stage(1_000_000, 1e-4),
        gan=Stage(200_000, 1e-4, drop_at=0.5),
    ),
}
