"""The settings of a training: models, batch, stages and losses. presets.py has some with names."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from ..errors import ConfigError
from ..losses import ADVERSARIAL, PIXEL_CONTENT
from ..models.architectures import Config
from ..models.discriminator import DiscriminatorConfig
from ..names import ON_NAN
from ..optim import SCHEDULES
from ..regularisers import REGULARISERS
from ..weights.generators import typed, typed_config
from ..weights.vgg import knows_content

TERMS = ("content", "pixel", "adversarial", "tv", "grid")  # of L_G in the GAN stage


@dataclass(frozen=True)
class Stage:
    """`steps` at a learning `rate`, which follows a `schedule` of optim.SCHEDULES.

    ema       the decay of the average of G's weights. The stage keeps this average; or, if ema is 0, G as it is
    minutes   by the clock, if this is not 0: the stage ends, and the rate falls, by the time instead of by the steps
    """

    steps: int
    rate: float
    schedule: str = "constant"
    ema: float = 0.0
    minutes: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ConfigError(f"a stage has 0 steps or more, not {self.steps}")
        if not 0 <= self.minutes < math.inf:
            raise ConfigError(f"a stage by the clock lasts for more than 0 minutes, not {self.minutes}")
        if not 0 < self.rate < 1:
            raise ConfigError(f"a learning rate is between 0 and 1, not {self.rate}")
        if self.schedule not in SCHEDULES:
            raise ConfigError(f"a learning rate's schedule is one of {', '.join(SCHEDULES)}, not {self.schedule!r}")
        if not 0 <= self.ema < 1:
            raise ConfigError(f"the decay of an average is from 0 to below 1, not {self.ema}")

    def progress(self, step: int, seconds: float) -> float:
        """How much of the stage is done after so many steps and seconds; 1 or more: all of it."""
        if self.minutes:
            return seconds / (60 * self.minutes)
        return step / self.steps if self.steps else 1.0

    def rate_at(self, progress: float) -> float:
        """The learning rate when that much of the stage is done."""
        return self.rate * SCHEDULES[self.schedule](progress)


@dataclass(frozen=True)
class TrainConfig:
    """`discriminator.crop` is the side of the HR crops. Stage 1 minimises `pretrain_loss`, the GAN stage

    L_G = content_weight·L_content + pixel_weight·L_pixel + adversarial_weight·L_adv + tv_weight·L_tv
        + grid_weight·L_grid

    pretrain_loss   "pixel" (the MSE), "l1" or "charbonnier"
    content         what L_content compares: one of these, or the features of a VGG: "vgg-small", or a layer of VGG19,
                    such as "vgg54", from the file `vgg` of the family `family`, or of ST-LPIPS' VGG16: "st-vgg33"
    …_share         in place of the term's weight: the norm of its gradient at SR, relative to the content's (shares.py)
    adversarial, regulariser   their names in ADVERSARIAL and REGULARISERS
    strength        of the regulariser; None: its default
    d_rate, d_beta1 D's learning rate, on the stage's schedule, and D's β₁ of Adam; None: the same as G's
    copies          how many smaller copies of each photo to add, each 0.8 times the one before
    on_nan          what to do if a number is no longer finite: "stop", or "rollback" to a saved state
    """

    generator: Config
    discriminator: DiscriminatorConfig
    batch: int
    pretrain: Stage
    gan: Stage
    pretrain_loss: str = "pixel"
    content: str = "pixel"
    adversarial: str = "non-saturating"
    regulariser: str = "none"
    strength: float | None = None
    content_weight: float = 1.0
    pixel_weight: float = 0.0
    adversarial_weight: float = 1e-3
    tv_weight: float = 0.0
    grid_weight: float = 0.0
    pixel_share: float | None = None
    adversarial_share: float | None = None
    tv_share: float | None = None
    grid_share: float | None = None
    beta1: float = 0.9
    d_rate: float | None = None
    d_beta1: float | None = None
    vgg: str | None = None
    family: str | None = None
    copies: int = 0
    on_nan: str = "stop"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.batch < 1 or self.seed < 0 or self.copies < 0:
            raise ConfigError("a batch has at least one crop, and a seed and the copies of a photo are at least 0")
        if self.discriminator.crop % self.generator.scale:
            raise ConfigError(f"crops of {self.discriminator.crop} do not divide by the scale {self.generator.scale}")
        if self.content not in PIXEL_CONTENT and not knows_content(self.content):
            raise ConfigError(f"content is {', '.join(PIXEL_CONTENT)}, vgg-small, a layer of VGG19 such as vgg54 or "
                              f"one of ST-LPIPS' VGG16 such as st-vgg33, not {self.content!r}")  # fmt: skip
        for name, known in [("pretrain_loss", PIXEL_CONTENT), ("adversarial", ADVERSARIAL),
                            ("regulariser", REGULARISERS), ("on_nan", ON_NAN)]:  # fmt: skip
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} is one of {', '.join(known)}, not {getattr(self, name)!r}")
        REGULARISERS[self.regulariser].check(self.adversarial, self.strength)
        for name, value in REGULARISERS[self.regulariser].needs.items():
            if getattr(self.discriminator, name) != value:
                raise ConfigError(f"{self.regulariser} needs a discriminator with {name}={value}")
        if not all(0 <= weight < math.inf for weight in self.weights.values()) or not any(self.weights.values()):
            raise ConfigError("a loss's weight is 0 or more, and one of them at least is more")
        if not all(0 <= share < math.inf for share in self.shares.values()):
            raise ConfigError("a term's share of the gradient is 0 or more")
        if self.shares and not self.content_weight:
            raise ConfigError("a share is measured against the content's gradient: give the content loss a weight")
        if self.d_rate is not None and not 0 < self.d_rate < 1:
            raise ConfigError(f"a learning rate is between 0 and 1, not {self.d_rate}")
        if not all(0 <= beta < 1 for beta in (self.beta1, self.d_beta1 or 0.0)):
            raise ConfigError("Adam's β₁ is from 0 to below 1")

    @property
    def weights(self) -> dict[str, float]:
        """{term of L_G: its weight}."""
        return {term: getattr(self, f"{term}_weight") for term in TERMS}

    @property
    def shares(self) -> dict[str, float]:
        """{term of L_G: its share}, for the terms that have a share in place of a weight."""
        shares = {term: getattr(self, f"{term}_share") for term in TERMS[1:]}
        return {term: share for term, share in shares.items() if share is not None}

    def with_stages(self, field: str, **values: Any) -> Self:
        """The same training with other values of a Stage's field in the named stages: with_stages("steps", gan=9).
        Steps take the place of minutes."""
        other = {"minutes": 0.0} if field == "steps" else {}
        changed = {stage: replace(getattr(self, stage), **other, **{field: v}) for stage, v in values.items()}
        return replace(self, **changed)

    def with_crops(self, side: int) -> Self:
        """The same training with another side of the HR crops."""
        return replace(self, discriminator=replace(self.discriminator, crop=side))

    def with_weights(self, **weights: float) -> Self:
        """The same training with these weights. A named term loses its share."""
        if unknown := sorted(weights.keys() - {*TERMS}):
            raise ConfigError(f"L_G has no term {unknown[0]!r}: it has {', '.join(TERMS)}")
        unshared = {f"{term}_share": None for term in weights if term != "content"}
        return replace(self, **unshared, **{f"{term}_weight": weight for term, weight in weights.items()})

    def with_shares(self, **shares: float) -> Self:
        """The same training with these shares, from which the weights of the named terms follow."""
        if unknown := sorted(shares.keys() - {*TERMS[1:]}):
            raise ConfigError(
                f"{unknown[0]!r} has no share: {', '.join(TERMS[1:])} have one, relative to the content's gradient"
            )
        return replace(self, **{f"{term}_share": share for term, share in shares.items()})

    def with_terms(self, weights: dict[str, float], shares: dict[str, float]) -> Self:
        """The same training with weights for some terms and shares for others."""
        if both := sorted(weights.keys() & shares.keys()):
            raise ConfigError(f"{both[0]} has a weight or a share, not both: leave one of them out")
        return self.with_weights(**weights).with_shares(**shares)

    def with_regulariser(self, name: str) -> Self:
        """The same training with this regulariser, and with the D that it needs."""
        if name not in REGULARISERS:
            raise ConfigError(f"regulariser is one of {', '.join(REGULARISERS)}, not {name!r}")
        discriminator = replace(self.discriminator, **REGULARISERS[name].needs)
        return replace(self, regulariser=name, discriminator=discriminator)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The configuration that `to_dict` wrote. Raises ConfigError for anything else."""
        parts = {"discriminator": DiscriminatorConfig, "pretrain": Stage, "gan": Stage}
        try:
            read = {name: typed(part, values[name]) for name, part in parts.items()}
            return typed(cls, values | read | {"generator": typed_config(values["generator"])})
        except (KeyError, TypeError) as error:
            raise ConfigError(f"not a training configuration ({error})") from None
