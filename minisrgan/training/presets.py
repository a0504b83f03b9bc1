"""The presets: settings of a training that have names."""

from dataclasses import asdict

from ..errors import WeightsError
from ..models.architectures import Config, name_of
from ..models.compact import CompactConfig
from ..models.discriminator import DiscriminatorConfig
from ..models.generator import GeneratorConfig
from .config import Stage, TrainConfig

VISIBLE_GAN = dict(  # settings with a visible effect of the GAN stage. docs/training.md has the trials that led to it
    pretrain_loss="l1",
    content="vgg-small",
    adversarial="relativistic",
    adversarial_weight=0.0,
    adversarial_share=1.5,
    grid_share=0.8,
)
PRESETS = {
    # minutes on a laptop's CPU: no batch norm, and a bicubic skip to start from
    "tiny": TrainConfig(
        GeneratorConfig(channels=32, blocks=7, edge_kernel=3, batch_norm=False, bicubic_skip=True, direct=True),
        DiscriminatorConfig(channels=16, dense=128, crop=64),
        batch=8,
        pretrain=Stage(4_000, 1e-3, "cosine", ema=0.99),
        gan=Stage(2_000, 2e-4, "cosine", ema=0.99),
        **VISIBLE_GAN,
    ),
    # an hour or two on a core of a CPU
    "small": TrainConfig(
        GeneratorConfig(channels=64, blocks=12, edge_kernel=3, batch_norm=False, bicubic_skip=True, direct=True),
        DiscriminatorConfig(channels=32, dense=512),
        batch=8,
        pretrain=Stage(40_000, 5e-4, "cosine", ema=0.999),
        gan=Stage(2_000, 2e-4, "cosine", ema=0.99),
        copies=3,
        **VISIBLE_GAN,
    ),
    # ten minutes on a GPU: `small` with more blocks, and batches that fill the GPU
    "gpu": TrainConfig(
        GeneratorConfig(channels=64, blocks=16, edge_kernel=3, batch_norm=False, bicubic_skip=True, direct=True),
        DiscriminatorConfig(channels=32, dense=512, crop=128),
        batch=32,
        pretrain=Stage(0, 5e-4, "cosine", ema=0.999, minutes=8),
        gan=Stage(0, 1e-4, "cosine", ema=0.995, minutes=2),
        copies=3,
        **VISIBLE_GAN,
    ),
    # SRVGGNetCompact, in the size of realesr-animevideov3: what most programs read
    "compact": TrainConfig(
        CompactConfig(),
        DiscriminatorConfig(channels=32, dense=512),
        batch=8,
        pretrain=Stage(40_000, 5e-4, "cosine", ema=0.999),
        gan=Stage(2_000, 1e-4, "cosine", ema=0.99),
        copies=3,
        **VISIBLE_GAN,
    ),
    # Ledig et al. 2017, section 3.2
    "paper": TrainConfig(
        GeneratorConfig(),
        DiscriminatorConfig(),
        batch=16,
        pretrain=Stage(1_000_000, 1e-4),
        gan=Stage(200_000, 1e-4, "drop"),
        content="vgg54",
    ),
}


def of_another(theirs: Config, ours: Config) -> WeightsError:
    """The error that weights are of a generator of another configuration: how they differ, and what fits them."""
    before, here = ({"architecture": name_of(config)} | asdict(config) for config in (theirs, ours))
    if before["architecture"] != here["architecture"]:
        here = {"architecture": here["architecture"]}
    differing = [f"{name} {before[name]}, this training {here[name]}" for name in here if before[name] != here[name]]
    fitting = [name for name, preset in PRESETS.items() if preset.generator == theirs]
    advice = f"train with --preset {fitting[0]}" if fitting else "name weights of the same preset"
    return WeightsError(f"the weights are of another generator ({'; '.join(differing)}): {advice}")
