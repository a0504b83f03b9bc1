"""A step on several ranks is the step on one: the same gradients, weights and numbers, but for the rounding."""

import numpy as np
import pytest
from ranks.threads import on_ranks

from minisrgan.errors import ConfigError, DivergedError
from minisrgan.imaging.patches import PhotoSet
from minisrgan.losses import ADVERSARIAL
from minisrgan.models.discriminator import DiscriminatorConfig
from minisrgan.regularisers import REGULARISERS
from minisrgan.tensor import Tensor
from minisrgan.training.ranked import RankTrainer
from minisrgan.training.trainer import Trainer

# What is smaller is 0 but for the rounding, as a bias before batch norm, which Adam moves by its gradient's rounding
LEAST_GRADIENT, LEAST_WEIGHT = 1e-6, 1e-3


class In64:
    """A trainer that computes in float64, and remembers the gradients of its last step."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        for module in (self.generator, self.discriminator, self.averaged):
            module.to(dtype=np.float64)
        self.start_stage("pretrain")

    def sample_hr(self, crops):
        return Tensor(super().sample_hr(crops).data.astype(np.float64))

    def downsample(self, crops):
        return Tensor(super().downsample(crops).data.astype(np.float64))

    def start_stage(self, stage):
        super().start_stage(stage)
        for adam in (self.adam_g, self.adam_d):
            remember(adam)


class One(In64, Trainer): ...


class Many(In64, RankTrainer): ...


def remember(adam):
    step = adam.step

    def stepping(gradients, rate, fault=None):
        adam.last = [each.data.copy() for each in gradients]
        step(gradients, rate, fault)

    adam.step = stepping


@pytest.fixture
def photos(smooth_photo):
    return PhotoSet([(str(i), smooth_photo(36 + 4 * i, 40, seed=i)) for i in range(3)], 4, 16)


@pytest.fixture
def lived(photos):
    """A function that gives what a trainer is after some steps of both stages: {name: array}, and {name: number}."""

    def live(trainer, steps=2):
        arrays, numbers = {}, {}
        for stage in ("pretrain", "gan"):
            trainer.start_stage(stage)
            for step in range(steps):
                measured = {"pretrain": trainer.pretrain_step, "gan": trainer.gan_step}[stage]()
                numbers |= {f"{stage} {step} {name}": value for name, value in measured.items()}
                if not step:
                    arrays |= {f"{stage}: gradient {i} of G": each for i, each in enumerate(trainer.adam_g.last)}
        arrays |= {f"gradient {i} of D": each for i, each in enumerate(trainer.adam_d.last)}
        arrays |= {f"G's {name}": array for name, array in trainer.generator.state().items()}
        arrays |= {f"D's {name}": array for name, array in trainer.discriminator.state().items()}
        arrays |= {f"Ḡ's {name}": array for name, array in trainer.averaged.state().items()}
        return arrays, numbers

    return live


def compare(one, other, bound, but=()):
    """The two are the same, up to `bound` times the largest number of each array."""
    assert one[0].keys() == other[0].keys() and one[1].keys() == other[1].keys()
    for name, array in one[0].items():
        if any(each in name for each in but):
            continue
        least = LEAST_GRADIENT if "gradient" in name else LEAST_WEIGHT
        far = np.abs(other[0][name] - array).max()
        assert far <= bound * max(np.abs(array).max(), least), name
    for name, value in one[1].items():
        assert other[1][name] == pytest.approx(value, rel=bound, abs=bound), name


CASES = {
    "batch norm in both": dict(),
    **{name: dict(adversarial=name) for name in ADVERSARIAL if name not in ("non-saturating", "wasserstein")},
    "wasserstein": dict(adversarial="wasserstein", regulariser="gradient-penalty"),
    **{name: dict(regulariser=name) for name in REGULARISERS if name not in ("none", "gradient-penalty")},
    "shares": dict(adversarial_share=1.5, grid_share=0.8, tv_share=0.1, pixel_share=0.3, content="l1"),
    "averaged": dict(ema=0.9, schedule="cosine"),
}


def config_of(tiny_config, **changes):
    changes = dict(batch=4, adversarial_weight=0.5, tv_weight=0.1) | changes
    needs = REGULARISERS[changes.get("regulariser", "none")].needs
    d = DiscriminatorConfig(channels=2, dense=4, crop=16, **needs)
    return tiny_config(discriminator=d, **changes)


SIZES = [("batch norm in both", 2), *((case, (4, 2)[i % 2]) for i, case in enumerate(CASES))]


@pytest.mark.parametrize("case, size", SIZES)
def test_ranks_take_the_steps_of_one(case, size, tiny_config, photos, lived):
    config = config_of(tiny_config, **CASES[case])
    one = lived(One(config, photos, "numpy"))
    all_of_them = on_ranks(size, lambda ranks: lived(Many(config, photos, "numpy", ranks, synchronised=True)))
    for other in all_of_them:
        compare(one, other, 1e-6)
    for other in all_of_them[1:]:  # to the bit
        compare(all_of_them[0], other, 0)


def test_without_batch_norm_nothing_has_to_be_synchronised(tiny_config, photos, lived):
    config = config_of(tiny_config, batch_norm=False, regulariser="r1", adversarial="relativistic")
    one = lived(One(config, photos, "numpy"))
    for other in on_ranks(2, lambda ranks: lived(Many(config, photos, "numpy", ranks))):
        compare(one, other, 1e-6)


def test_batch_norm_of_its_own_differs_and_the_weights_stay_alike(tiny_config, photos, lived):
    config = config_of(tiny_config)
    (own,) = on_ranks(1, lambda ranks: RankTrainer(config, photos, "numpy", ranks))
    (whole,) = on_ranks(1, lambda ranks: RankTrainer(config, photos, "numpy", ranks, synchronised=True))
    assert own.has_own_batch_norm() and not whole.has_own_batch_norm()
    one = lived(One(config, photos, "numpy"))
    first, second = on_ranks(2, lambda ranks: lived(Many(config, photos, "numpy", ranks)))
    with pytest.raises(AssertionError):
        compare(one, first, 1e-3)
    compare(first, second, 0, but=["running_"])  # the averages of a batch norm are each rank's own


def test_in_float32_the_ranks_differ_by_the_rounding(tiny_config, photos, lived):
    config = config_of(tiny_config, batch_norm=False, regulariser="gradient-penalty", adversarial="wasserstein")
    firsts = []
    for gradients in ([], *on_ranks(2, lambda ranks: first_gradients(RankTrainer(config, photos, "numpy", ranks)))):
        firsts.append(gradients or first_gradients(Trainer(config, photos, "numpy")))
    for gradients in firsts[1:]:
        for ours, theirs in zip(firsts[0], gradients, strict=True):
            assert np.abs(ours - theirs).max() <= 1e-5 * max(np.abs(ours).max(), LEAST_GRADIENT)


def first_gradients(trainer):
    """Of D and G, in the first step of the GAN stage."""
    trainer.start_stage("gan")
    for adam in (trainer.adam_d, trainer.adam_g):
        remember(adam)
    trainer.gan_step()
    return trainer.adam_d.last + trainer.adam_g.last


def test_a_number_that_is_not_finite_on_one_rank_is_noticed_by_all(tiny_config, photos):
    config = config_of(tiny_config)

    def work(ranks):
        trainer = RankTrainer(config, photos, "numpy", ranks)
        if ranks.rank:
            sample = trainer.sample_hr
            trainer.sample_hr = lambda crops: sample(crops) * float("nan")
        with pytest.raises(DivergedError, match="loss_pixel is nan"):
            trainer.pretrain_step()
        return trainer.adam_g.t

    assert on_ranks(4, work) == [0] * 4


@pytest.mark.parametrize("batch, size, advice", [(8, 3, "start 2, 4, 8 ranks, or give"), (1, 2, "ranks: give")])
def test_a_batch_that_cannot_be_shared_is_refused(batch, size, advice, tiny_config, photos):
    with pytest.raises(ConfigError, match=advice):
        on_ranks(size, lambda ranks: RankTrainer(tiny_config(batch=batch), photos, "numpy", ranks))


def test_each_rank_has_its_part_of_the_crops_and_of_the_noise(tiny_config, photos):
    config = tiny_config(batch=4, regulariser="instance-noise")

    def drawn(trainer):
        size = 4 // getattr(trainer, "ranks", type("", (), {"size": 1})).size
        noise = trainer.adversary.regulariser.rng.standard_normal((size, 2), np.float32)
        return trainer.choose_crops(), noise.tolist()

    crops, noise = drawn(Trainer(config, photos, "numpy"))
    parts = on_ranks(4, lambda ranks: drawn(RankTrainer(config, photos, "numpy", ranks)))
    assert [crop for part, _ in parts for crop in part] == crops
    assert [row for _, part in parts for row in part] == noise
