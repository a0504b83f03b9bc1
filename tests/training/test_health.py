"""The monitor: it reports each state if it holds and never otherwise, for made-up figures and for real trainings."""

import numpy as np
import pytest

from minisrgan.imaging.patches import PhotoSet
from minisrgan.imaging.pixels import hr_from_uint8, lr_from_uint8
from minisrgan.imaging.resize import downsample, upsample
from minisrgan.losses import ADVERSARIAL
from minisrgan.models.discriminator import DiscriminatorConfig
from minisrgan.models.generator import GeneratorConfig
from minisrgan.tensor import Tensor
from minisrgan.training import health
from minisrgan.training.config import Stage
from minisrgan.training.health import KEPT, STATES, UNSURE, WINDOW, Monitor, diagnose
from minisrgan.training.trainer import Trainer

SOUND = dict(loss_g=0.02, loss_d=1.2, penalty=0.0, grad_g=0.01, grad_d=5.0, grad_adversarial=0.001, d_right=0.7,
             d_doubt=0.8, detail=0.8, sameness=0.01, drift=0.3)  # fmt: skip


def rows(n=WINDOW, **changed):
    """Sound rows but for what is changed: a number, or a function of the step."""
    return [SOUND | {k: v(i) if callable(v) else v for k, v in changed.items()} for i in range(n)]


# figures made up


@pytest.mark.parametrize(
    "name, bad, well",
    [
        ("not-finite", dict(loss_d=float("nan")), dict(loss_d=1e9)),
        ("not-finite", dict(penalty=float("inf")), dict(penalty=0.0)),
        ("d-winning", dict(d_doubt=0.019), dict(d_doubt=0.021)),
        ("g-winning", dict(d_right=0.39), dict(d_right=0.41)),
        ("vanishing-gradient", dict(grad_d=0.0049), dict(grad_d=0.0051)),
        ("vanishing-gradient", dict(grad_adversarial=0.9e-6), dict(grad_adversarial=1.1e-6)),
        ("exploding-gradient", dict(grad_g=1.01), dict(grad_g=0.99)),
        ("exploding-gradient", dict(grad_d=501.0), dict(grad_d=499.0)),
        ("no-diversity", dict(sameness=0.51), dict(sameness=0.49)),
        ("no-diversity", dict(detail=0.049), dict(detail=0.051)),
        ("colour-drift", dict(drift=5.1), dict(drift=4.9)),
    ],
)
def test_a_state_holds_beyond_its_threshold_and_not_before(name, bad, well):
    assert diagnose(rows(**bad), rows()) == [name]
    assert diagnose(rows(**well), rows()) == []


def test_a_few_odd_steps_raise_no_alarm():
    changed = {k: lambda i, v=v: 1e5 if i % 3 == 0 else v for k, v in SOUND.items()}
    assert diagnose(rows(**changed), rows()) == []


def test_turns_of_luck_are_an_oscillation_and_chance_is_none():
    def swinging(period, size):
        return rows(KEPT, d_right=lambda i: 0.5 + size * np.sign(np.sin(2 * np.pi * (i + 0.5) / period)))

    assert "oscillation" in diagnose(swinging(80, 0.4), rows())
    assert "oscillation" not in diagnose(swinging(400, 0.4), rows())  # once round is no rhythm
    assert "oscillation" not in diagnose(swinging(80, 0.2), rows())  # no more than a lead
    chance = np.random.default_rng(0).uniform(0, 1, KEPT)
    assert diagnose(rows(KEPT, d_right=lambda i: chance[i]), rows()) == []


def test_it_is_too_early_to_say_before_a_window_is_full():
    assert diagnose(rows(WINDOW - 1, d_doubt=0.0), rows(WINDOW - 1)) is None


def test_what_is_not_measured_is_not_judged():
    bare = [{"loss_g": 0.1, "grad_g": 0.1}] * WINDOW
    assert diagnose(bare, bare) == []
    assert diagnose([{"loss_g": 0.1, "grad_g": 11.0}] * WINDOW, bare) == ["exploding-gradient"]
    without_adversarial = [{k: v for k, v in row.items() if k != "grad_adversarial"} for row in rows(grad_d=0.001)]
    assert diagnose(without_adversarial, rows()) == ["vanishing-gradient"]


def test_the_monitor_compares_with_the_first_steps_and_tells_each_state_once():
    monitor = Monitor(rows(WINDOW))
    found = [monitor.add(row) for row in rows(2 * KEPT, grad_g=2.0)]
    assert found[0] == [] and found[-1] == ["exploding-gradient"] and len(monitor.recent) == KEPT
    assert monitor.news(found[-1]) == [
        f"{STATES['exploding-gradient'].says}. Try {STATES['exploding-gradient'].remedy}."
    ]
    assert monitor.news(found[-1]) == monitor.news(None) == []


def test_a_monitor_of_the_logs_rows_is_the_monitor_that_saw_them_all():
    told = rows(WINDOW) + rows(3 * KEPT, d_doubt=0.01, grad_g=2.0)
    whole, again = Monitor(told), Monitor(told[:WINDOW] + told[-KEPT:])
    assert whole.add(SOUND) == again.add(SOUND) == ["d-winning", "exploding-gradient"]


# what is measured


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_doubt_is_1_where_d_cannot_tell(name):
    middle = np.full(6, 0.5 if name == "least-squares" else 0.0)
    measured = health.measure_discriminator(name, middle, middle)
    assert measured["d_doubt"] == pytest.approx(1) and measured["d_right"] == 0.5
    assert measured["d_real"] == measured["d_fake"] == {"hinge": 0, "wasserstein": 0}.get(name, 0.5)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_doubt_goes_where_d_is_sure_but_for_the_critic(name):
    far = 1 if name == "least-squares" else 40
    measured = health.measure_discriminator(name, np.full(4, far), np.full(4, 0 if far == 1 else -far))
    assert measured["d_doubt"] == pytest.approx(float(name == "wasserstein"), abs=1e-9) and measured["d_right"] == 1
    assert UNSURE.keys() < ADVERSARIAL.keys()


def test_d_is_right_as_often_as_a_real_image_is_taken_for_more_real():
    measured = health.measure_discriminator("non-saturating", np.array([0.0, 2.0]), np.array([1.0, 0.0, -1.0]))
    assert measured["d_right"] == pytest.approx((0 + 0.5 + 1 + 3) / 6)
    assert measured["d_fake"] == pytest.approx(np.mean(1 / (1 + np.exp([-1.0, 0.0, 1.0]))))


@pytest.fixture
def images(smooth_photo):
    """(HR, LR) of six crops, and their bicubic enlargement, as arrays."""
    photos = [smooth_photo(64, 64, seed=i)[4 * i : 4 * i + 32, 5 * i : 5 * i + 32] for i in range(6)]
    low = [downsample(photo, 4) for photo in photos]
    return (
        hr_from_uint8(np.array(photos)),
        lr_from_uint8(np.array(low)),
        hr_from_uint8(np.array([upsample(x, 4) for x in low])),
    )


def measure(hr, lr, sr):
    return health.measure_images(len(sr), *health.image_moments(hr, Tensor(lr), sr.astype(np.float32)))


def test_the_original_has_all_the_detail_and_no_sameness(images):
    hr, lr, bicubic = images
    measured = measure(hr, lr, hr)
    assert measured["detail"] == pytest.approx(1) and abs(measured["sameness"]) < 0.25 and measured["drift"] < 2
    assert measure(hr, lr, bicubic)["detail"] < 0.05
    assert measure(hr, lr, bicubic + (hr - bicubic) / 2)["detail"] == pytest.approx(0.5, abs=0.02)


def test_one_pattern_for_all_is_the_same(images):
    hr, lr, bicubic = images
    pattern = np.indices((32, 32)).sum(0)[None, :, :, None] % 2 * 0.2
    assert measure(hr, lr, bicubic + pattern)["sameness"] > 0.9
    signs = np.array([1, -1, 1, -1, 1, -1])[:, None, None, None]
    assert measure(hr, lr, bicubic + signs * pattern)["sameness"] == pytest.approx(-1 / 5, abs=0.03)


def test_a_colour_that_drifts_is_measured_in_levels_and_is_no_pattern(images):
    hr, lr, _ = images
    measured, shifted = measure(hr, lr, hr), measure(hr, lr, hr + np.array([0, 0, 10 / 127.5]))
    assert shifted["drift"] == pytest.approx(10, abs=measured["drift"] + 0.01)
    assert shifted["sameness"] == pytest.approx(measured["sameness"], abs=1e-4)


def test_what_cannot_be_said_is_left_out(images):
    _, lr, _ = images
    flat = np.full((1, 32, 32, 3), 0.5, np.float32)
    measured = measure(flat, np.full((1, 8, 8, 3), 0.75, np.float32), flat + np.float32(0.1))
    assert "sameness" not in measured and measured.keys() <= {"drift", "detail"}


# real trainings


@pytest.fixture
def states(tiny_config, smooth_photo):
    """A function that runs a real GAN stage and gives the states found in each of its last 50 steps."""

    def train(steps, pretrain=0, channels=8, blocks=1, rate=1e-3, d_norm=True, **changes):
        config = tiny_config(
            generator=GeneratorConfig(channels, blocks, edge_kernel=3, batch_norm=False, bicubic_skip=True),
            discriminator=DiscriminatorConfig(channels=8, dense=32, crop=16, batch_norm=d_norm),
            batch=4,
            pretrain=Stage(pretrain, 2e-3),
            gan=Stage(steps, rate),
            **changes,
        )
        photos = [(str(i), smooth_photo(48, 48, seed=i)) for i in range(4)]
        trainer = Trainer(config, PhotoSet(photos, 4, 16), "numpy")
        for _ in range(pretrain):
            trainer.pretrain_step()
        trainer.start_stage("gan")
        monitor = Monitor()
        return [monitor.add(dict(trainer.gan_step())) for _ in range(steps)][-50:]

    return train


def test_a_d_against_a_g_that_does_not_answer_wins_and_it_is_told(states):
    found = states(220, channels=2, blocks=0, rate=2e-3, d_norm=False, adversarial_weight=1e-7)
    assert all(names == ["d-winning"] for names in found[-30:]), found[-30:]


def test_a_g_that_only_has_to_please_d_collapses_and_it_is_told(states):
    found = states(120, rate=5e-3, content_weight=0.0, adversarial_weight=1.0)
    assert all({"no-diversity", "colour-drift"} <= set(names) for names in found), found[-1]


def test_a_sound_training_raises_no_alarm(states):
    assert states(150, pretrain=100) == [[]] * 50


def test_an_explosion_is_seen_at_once_and_stands_for_a_while():
    """It is seen before there are enough rows for a median. The alarm stands, since a dead network has no gradient."""
    monitor = Monitor()
    for gradient in [1.0, 30.0, 2000.0, *[0.0] * WINDOW]:
        monitor.add({"grad_g": gradient})
        assert monitor.explodes == (2000.0 in [row["grad_g"] for row in [*monitor.recent][-WINDOW:]])
    assert not monitor.explodes
