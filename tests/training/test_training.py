"""The seven steps: their order, which network learns from which, and that the same seed gives the same run."""

import numpy as np
import pytest

from minisrgan.errors import ConfigError, DivergedError, WeightsError
from minisrgan.imaging.patches import PhotoSet
from minisrgan.imaging.resize import downsample
from minisrgan.losses import ADVERSARIAL, NonSaturatingLoss, PixelL1, PixelMSE, total_variation
from minisrgan.models.discriminator import DiscriminatorConfig
from minisrgan.models.generator import Generator, GeneratorConfig
from minisrgan.models.vgg import VGG, VGGConfig, VGGFeatures
from minisrgan.nn import held
from minisrgan.ops import Conv2dBias
from minisrgan.regularisers import REGULARISERS
from minisrgan.tensor import Tensor, grad
from minisrgan.training.config import Stage
from minisrgan.training.presets import PRESETS
from minisrgan.training.trainer import Trainer

SEVEN = [
    "sample_hr",
    "downsample",
    "generate",
    "discriminator_loss",
    "update_discriminator",
    "generator_loss",
    "update_generator",
]


@pytest.fixture
def trainer(tiny_config, smooth_photo):
    """A function that gives a trainer of `tiny_config` with changes, on two photos."""

    def build(photos=2, stage="pretrain", **changes):
        config = tiny_config(**changes)
        pictures = [(str(i), smooth_photo(36 + 4 * i, 40, seed=i)) for i in range(photos)]
        made = Trainer(config, PhotoSet(pictures, config.generator.scale, config.discriminator.crop), "numpy")
        made.start_stage(stage)
        return made

    return build


def frozen(module):
    return {name: array.copy() for name, array in module.state().items()}


def unchanged(module, before):
    return all(np.array_equal(array, before[name]) for name, array in module.state().items())


def record_calls(monkeypatch, trainer, names=SEVEN):
    calls = []

    def recorded(name, method):
        def call(*args):
            calls.append(name)
            return method(*args)

        return call

    for name in names:
        monkeypatch.setattr(trainer, name, recorded(name, getattr(trainer, name)))
    return calls


def batch_of(trainer):
    """(HR, SR) of a step."""
    crops = trainer.choose_crops()
    return trainer.sample_hr(crops), trainer.generate(trainer.downsample(crops))


def test_a_gan_step_is_the_seven_steps_in_order(monkeypatch, trainer):
    t = trainer(stage="gan")
    calls = record_calls(monkeypatch, t)
    t.gan_step()
    assert calls == SEVEN


def test_a_pretraining_step_leaves_d_out(monkeypatch, trainer):
    t = trainer()
    d = frozen(t.discriminator)
    calls = record_calls(monkeypatch, t)
    t.pretrain_step()
    assert calls == ["sample_hr", "downsample", "generate", "update_generator"]
    assert unchanged(t.discriminator, d)


def test_the_steps_hand_on_the_same_hr_and_the_same_sr(monkeypatch, trainer):
    t = trainer(stage="gan")
    seen = []
    for name in ("discriminator_loss", "generator_loss"):
        method = getattr(t, name)
        monkeypatch.setattr(t, name, lambda hr, sr, method=method: seen.append((hr, sr)) or method(hr, sr))
    t.gan_step()
    assert seen[0][0] is seen[1][0] and seen[0][1] is seen[1][1]


@pytest.mark.parametrize("stage, in_d", [("pretrain", 0), ("gan", 3)])
def test_sr_is_generated_once_a_step(monkeypatch, trainer, stage, in_d):
    t = trainer(stage=stage)
    forwards = [record_calls(monkeypatch, model, ["forward"]) for model in (t.generator, t.discriminator)]
    {"pretrain": t.pretrain_step, "gan": t.gan_step}[stage]()
    assert [len(calls) for calls in forwards] == [1, in_d]  # D judges HR, SR, and for G's loss SR again


def test_a_step_of_d_leaves_g_as_it_was(trainer):
    t = trainer(stage="gan")
    hr, sr = batch_of(t)
    g, d, adam = frozen(t.generator), frozen(t.discriminator), frozen(t.adam_g)
    t.update_discriminator(t.discriminator_loss(hr, sr))
    assert unchanged(t.generator, g) and unchanged(t.adam_g, adam) and t.adam_g.t == 0
    after = t.discriminator.state()
    assert all(not np.array_equal(after[name], d[name]) for name in d)  # statistics too


def test_a_step_of_g_leaves_d_as_it_was(trainer):
    t = trainer(stage="gan")
    hr, sr = batch_of(t)
    t.update_discriminator(t.discriminator_loss(hr, sr))
    g, d, adam = frozen(t.generator), frozen(t.discriminator), frozen(t.adam_d)
    t.update_generator(sr, t.generator_loss(hr, sr))
    assert unchanged(t.discriminator, d) and unchanged(t.adam_d, adam) and t.adam_d.t == 1
    assert not np.array_equal(t.generator.head.layers[0].weight.data, g["head.layers.0.weight"])


def test_g_is_judged_by_the_d_that_has_just_learned(trainer):
    t = trainer(stage="gan")
    hr, sr = batch_of(t)
    t.generator_loss(hr, sr)
    before = t.measured["loss_adversarial"]
    t.update_discriminator(t.discriminator_loss(hr, sr))
    t.generator_loss(hr, sr)
    assert t.measured["loss_adversarial"] != before


def test_no_gradient_of_ds_loss_reaches_g(trainer):
    t = trainer(stage="gan")
    gradients = grad(t.discriminator_loss(*batch_of(t)), t.generator.parameters())
    assert all((g.data == 0).all() for g in gradients)


def test_every_parameter_of_d_learns_from_ds_loss(trainer):
    t = trainer(stage="gan")
    gradients = grad(t.discriminator_loss(*batch_of(t)), t.discriminator.parameters(), retain_graph=True)
    silent = [name for name, g in zip(t.discriminator.named_parameters(), gradients) if not np.abs(g.data).max()]
    assert not silent


TERMS = [dict(zip(("content", "pixel", "adversarial", "tv"), weights)) for weights in
         [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (1, 0.5, 0.3, 0.1)]]  # fmt: skip


def weighted(weights):
    return {f"{term}_weight": weight for term, weight in weights.items()}


def plain_loss(t, hr, sr, weights):
    """L_G as one number with one graph, by the formulas."""
    with held(t.discriminator):
        logits = t.discriminator(sr)
    return (
        PixelL1(sr, hr) * weights["content"]
        + PixelMSE(sr, hr) * weights["pixel"]
        + NonSaturatingLoss(logits) * weights["adversarial"]
        + total_variation(sr) * weights["tv"]
    )


@pytest.mark.parametrize("weights", TERMS, ids=str)
def test_the_gradients_at_sr_carried_on_are_the_gradient_of_gs_loss(trainer, weights):
    t = trainer(stage="gan", content="l1", **weighted(weights))
    for model in (t.generator, t.discriminator):
        model.to(dtype=np.float64)
    crops = t.choose_crops()
    hr, lr = (Tensor(each.data.astype(np.float64)) for each in (t.sample_hr(crops), t.downsample(crops)))
    sr = t.generate(lr)
    parameters = t.generator.parameters()
    loss = plain_loss(t, hr, sr, weights)
    wanted = grad(loss, parameters, retain_graph=True)
    got = grad(sr, parameters, t.generator_loss(hr, sr))
    for a, b in zip(got, wanted):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-9, atol=1e-12)
    assert t.measured["loss_g"] == pytest.approx(loss.item(), rel=1e-12)
    assert {name for name in t.measured if name.startswith("grad_")} == {f"grad_{n}" for n, w in weights.items() if w}


def test_a_terms_gradient_norm_is_that_of_its_share(trainer):
    weights = TERMS[-1]
    t = trainer(stage="gan", content="l1", **weighted(weights))
    hr, sr = batch_of(t)
    t.generator_loss(hr, sr)
    for term, weight in weights.items():
        here = Tensor(sr.data, requires_grad=True)
        (alone,) = grad(plain_loss(t, hr, here, weighted_alone(term)), here)
        assert t.measured[f"grad_{term}"] == pytest.approx(weight * np.sqrt((alone.data**2).sum()), rel=1e-4), term


def weighted_alone(term):
    return dict.fromkeys(TERMS[0], 0) | {term: 1}


def test_a_step_of_g_walks_once_through_each_network(monkeypatch, trainer):
    t = trainer(stage="gan", pixel_weight=1.0, tv_weight=1.0)
    hr, sr = batch_of(t)
    walks = []
    real = Conv2dBias.vjp
    monkeypatch.setattr(Conv2dBias, "vjp", lambda *args, **params: walks.append(args[3]) or real(*args, **params))
    t.update_generator(sr, t.generator_loss(hr, sr))
    assert len(walks) == len(set(walks)) == 8 + 7  # D's convolutions; G's head, block (2), trunk, upsampling (2), tail


@pytest.mark.parametrize("weights", TERMS, ids=str)
def test_every_term_of_gs_loss_reaches_gs_first_layer(trainer, weights):
    t = trainer(stage="gan", **weighted(weights))
    hr, sr = batch_of(t)
    (gradient,) = grad(sr, [t.generator.head.layers[0].weight], t.generator_loss(hr, sr))
    assert (np.abs(gradient.data).max(axis=(0, 1, 2)) > 1e-6).all()


def test_gs_loss_is_content_and_a_thousandth_of_adversarial(trainer):
    t = trainer(stage="gan")
    assert t.config.adversarial_weight == 1e-3
    hr, sr = batch_of(t)
    t.generator_loss(hr, sr)
    z = t.discriminator(sr).data.astype(float)
    content = np.mean((sr.data.astype(float) - hr.data) ** 2)
    assert t.measured["loss_g"] == pytest.approx(content + 1e-3 * np.mean(np.log1p(np.exp(-z))), rel=1e-5)
    assert t.measured["loss_content"] == pytest.approx(content, rel=1e-5)


def test_a_term_of_no_weight_is_not_computed(trainer):
    t = trainer(stage="gan", adversarial_weight=0.0)
    t.gan_step()
    assert "loss_adversarial" not in t.measured and "grad_tv" not in t.measured and t.measured["loss_d"] > 0


@pytest.mark.parametrize("game", ADVERSARIAL)
@pytest.mark.parametrize("regulariser", REGULARISERS)
def test_every_game_and_regulariser_trains_both(trainer, tiny_config, game, regulariser):
    if game not in REGULARISERS[regulariser].games:
        return
    t = trainer(stage="gan", adversarial=game, regulariser=regulariser,
                discriminator=tiny_config().with_regulariser(regulariser).discriminator)  # fmt: skip
    g, d = frozen(t.generator), frozen(t.discriminator)
    for _ in range(2):
        measured = t.gan_step()
    assert not unchanged(t.generator, g) and not unchanged(t.discriminator, d)
    assert (measured["penalty"] != 0) == (regulariser in ("r1", "gradient-penalty", "label-smoothing"))


def test_ds_gradient_has_the_penalty_in_it(trainer, tiny_config):
    gradients = {}
    for regulariser in ("none", "r1"):
        d = tiny_config().with_regulariser("r1").discriminator
        t = trainer(stage="gan", regulariser=regulariser, discriminator=d)
        t.update_discriminator(t.discriminator_loss(*batch_of(t)))
        gradients[regulariser] = t.measured["grad_d"]
    assert gradients["r1"] > 1.01 * gradients["none"]


def test_instance_noise_fades(trainer):
    t = trainer(stage="gan", regulariser="instance-noise", gan=Stage(4, 1e-3))
    hr, _ = batch_of(t)
    spread = []
    for t.step in range(5):
        spread.append(float((t.disturb(hr).data - hr.data).std()))
    assert spread == pytest.approx([0.1, 0.075, 0.05, 0.025, 0], rel=0.05)


def test_a_content_loss_of_features_is_the_frozen_vggs(monkeypatch, trainer):
    vgg = VGGFeatures(VGGConfig(((4,), (4,))), VGG(VGGConfig(((4,), (4,))), np.random.default_rng(0)).state())
    asked = []
    monkeypatch.setattr("minisrgan.training.trainer.load_content", lambda *args: asked.append(args) or vgg)
    t = trainer(stage="gan", content="vgg22", vgg="weights.pth", family="caffe")
    before = frozen(vgg)
    t.gan_step()
    t.gan_step()
    assert asked == [("vgg22", "weights.pth", "caffe")] and unchanged(vgg, before)
    hr, sr = batch_of(t)
    t.generator_loss(hr, sr)
    expected = np.mean((vgg(sr).data.astype(float) - vgg(hr).data) ** 2)
    assert t.measured["loss_content"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("stage", ["pretrain", "gan"])
def test_the_average_of_g_follows_it(trainer, stage):
    t = trainer(stage=stage, ema=0.25)
    wanted = frozen(t.generator)
    for step in range(1, 7):
        {"pretrain": t.pretrain_step, "gan": t.gan_step}[stage]()
        decay = min(0.25, step / (step + 9))  # 0.1, 0.18, 0.25, 0.25, ...
        for name, w in t.generator.state().items():
            wanted[name] = decay * wanted[name] + (1 - decay) * w
    assert t.best is t.averaged
    for name, average in t.averaged.state().items():
        np.testing.assert_allclose(average, wanted[name], rtol=1e-5, atol=1e-7, err_msg=name)


def test_the_average_of_g_takes_no_part_in_its_training(trainer):
    a, b = trainer(stage="gan", ema=0.9), trainer(stage="gan", ema=0.0)
    for t in (a, b):
        t.gan_step()
    assert unchanged(a.generator, b.generator.state()) and b.best is b.generator


def test_the_gan_stage_begins_with_the_average_of_the_first(trainer):
    t = trainer(ema=0.9)
    for _ in range(3):
        t.pretrain_step()
    average = frozen(t.averaged)
    assert not unchanged(t.generator, average)
    t.start_stage("gan")
    assert unchanged(t.generator, average) and unchanged(t.averaged, average)


@pytest.mark.parametrize(
    "change, problem",
    [
        (dict(content="vgg99"), "layer of VGG19.*not 'vgg99'"),
        (dict(adversarial="friendly"), "one of minimax, .*not 'friendly'"),
        (dict(regulariser="law"), "one of none, .*not 'law'"),
        (dict(regulariser="r1"), "r1 needs a discriminator with batch_norm=False"),
        (dict(regulariser="label-smoothing", adversarial="hinge"), "label-smoothing goes with"),
        (dict(content_weight=-1.0), "0 or more"),
        (dict(tv_weight=float("nan")), "0 or more"),
        (dict(content_weight=0.0, adversarial_weight=0.0), "one of them at least"),
        (dict(d_rate=0.0), "learning rate"),
        (dict(d_beta1=1.0), "below 1"),
        (dict(strength=1.0), "none has no strength"),
        (dict(pretrain_loss="vgg22"), "pretrain_loss is one of pixel, l1, charbonnier"),
        (dict(adversarial_share=-0.1), "share of the gradient is 0 or more"),
        (dict(adversarial_share=0.5, content_weight=0.0), "give the content loss a weight"),
        (dict(on_nan="panic"), "stop, rollback, not 'panic'"),
    ],
)
def test_a_training_that_makes_no_sense_is_refused(tiny_config, change, problem):
    with pytest.raises(ConfigError, match=problem):
        tiny_config(**change)


def test_a_term_that_gs_loss_does_not_have(tiny_config):
    with pytest.raises(ConfigError, match="no term 'style': it has content, pixel, adversarial, tv, grid"):
        tiny_config().with_weights(style=1.0)


def test_a_step_reports_what_it_measured(trainer):
    t = trainer(stage="gan")
    hr, sr = batch_of(t)
    loss = t.discriminator_loss(hr, sr)
    real, fake = (1 / (1 + np.exp(-t.discriminator(x).data.astype(float))) for x in (hr, sr))
    assert t.measured["d_real"] == pytest.approx(real.mean(), rel=1e-5)
    assert t.measured["d_fake"] == pytest.approx(fake.mean(), rel=1e-5)
    assert (
        loss.item() == t.measured["loss_d"] == pytest.approx(-np.log(real).mean() - np.log(1 - fake).mean(), rel=1e-5)
    )
    gradients = grad(loss, t.discriminator.parameters(), retain_graph=True)
    t.update_discriminator(loss)
    norm = np.sqrt(sum((g.data.astype(float) ** 2).sum() for g in gradients))
    assert t.measured["grad_d"] == pytest.approx(norm, rel=1e-5)


def run(trainer, **changes):
    """Three steps of each stage: (all weights, all that was measured)."""
    t = trainer(**changes)
    measured = [dict(t.pretrain_step()) for _ in range(3)]
    t.start_stage("gan")
    measured += [dict(t.gan_step()) for _ in range(3)]
    return {**t.generator.state(), **{f"d.{name}": a for name, a in t.discriminator.state().items()}}, measured


def test_one_seed_is_one_run_and_another_is_another(trainer):
    (weights, measured), (again, measured_again), (other, _) = run(trainer), run(trainer), run(trainer, seed=1)
    assert measured == measured_again
    assert all(np.array_equal(weights[name], again[name]) for name in weights)
    assert not any(np.array_equal(weights[name], other[name]) for name in weights)


def test_seeds_draw_other_weights_and_other_crops(trainer):
    a, b = trainer(seed=0), trainer(seed=1)
    assert not np.array_equal(a.generator.tail.weight.data, b.generator.tail.weight.data)
    assert not np.array_equal(a.discriminator.logit.weight.data, b.discriminator.logit.weight.data)
    assert a.choose_crops() != b.choose_crops()


def test_the_stages_share_one_stream_of_crops(trainer):
    t = trainer()
    first = t.choose_crops()
    t.start_stage("gan")
    assert t.choose_crops() != first


def test_the_learning_rate_follows_its_stages_schedule(monkeypatch, trainer):
    t = trainer(pretrain=Stage(6, 1e-3, "drop"), gan=Stage(4, 1e-4))
    used = []
    step = t.adam_g.step
    monkeypatch.setattr(t.adam_g, "step", lambda gradients, rate, *fault: used.append(rate) or step(gradients, rate))
    reported = [t.pretrain_step()["rate"] for _ in range(6)]
    assert reported == used == pytest.approx([1e-3] * 3 + [1e-4] * 3, rel=1e-12)
    t.start_stage("gan")
    assert [t.gan_step()["rate"] for _ in range(4)] == [1e-4] * 4


def test_a_new_stage_starts_its_optimiser_afresh(trainer):
    t = trainer()
    t.pretrain_step()
    t.start_stage("gan")
    assert (t.stage, t.step, t.adam_g.t) == ("gan", 0, 0)
    assert not any(array.any() for array in t.adam_g.state().values())
    assert t.adam_g.parameters == t.generator.named_parameters()


def test_crops_are_aligned_and_in_their_ranges(smooth_photo, tiny_config):
    photo = smooth_photo(40, 40)
    photo[0, 0], photo[1, 1] = 0, 255
    config = tiny_config(batch=8)
    t = Trainer(config, PhotoSet([("a", photo)], scale=4, crop=16), "numpy")
    crops = t.choose_crops()
    hr, lr = t.sample_hr(crops).data, t.downsample(crops).data
    assert hr.shape == (8, 16, 16, 3) and lr.shape == (8, 4, 4, 3) and hr.dtype == lr.dtype == np.float32
    assert -1 <= hr.min() < -0.4 and 0.4 < hr.max() <= 1 and 0 <= lr.min() and lr.max() <= 1
    for high, low in zip(hr, lr):
        shrunk = downsample(np.round((high + 1) * 127.5).astype(np.uint8), 4) / 255
        # the photo was shrunk as a whole: only beyond a crop's own edges do the two differ
        assert np.abs(shrunk - low)[1:-1, 1:-1].max() < 0.06
        assert np.corrcoef(shrunk.ravel(), low.ravel())[0, 1] > 0.98


def test_the_pixel_loss_of_one_photo_falls(trainer):
    t = trainer(photos=1, batch_norm=False, pretrain=Stage(240, 5e-3))
    losses = [t.pretrain_step()["loss_pixel"] for _ in range(240)]
    assert np.mean(losses[-10:]) < 0.3 * np.mean(losses[:3])


def test_d_alone_learns_to_tell_sr_from_hr(trainer):
    discriminator = DiscriminatorConfig(channels=4, dense=16, crop=32)
    t = trainer(stage="gan", batch=4, gan=Stage(1, 3e-3), discriminator=discriminator)
    for _ in range(40):
        t.update_discriminator(t.discriminator_loss(*batch_of(t)))
    assert t.measured["d_real"] > 0.9 and t.measured["d_fake"] < 0.1 and t.measured["loss_d"] < 0.2, t.measured


def test_each_time_that_it_is_rolled_back_it_goes_another_way(trainer):
    t, seen = trainer(), []
    for rollbacks in range(4):
        t.roll_back(rollbacks)
        seen.append(tuple(t.choose_crops()))
        assert t.rate == t.config.pretrain.rate / 2**rollbacks
    assert len(set(seen)) == 4


@pytest.mark.parametrize("stage", ["pretrain", "gan"])
def test_a_gradient_that_is_not_finite_moves_no_weight(monkeypatch, trainer, stage):
    t = trainer(stage=stage)
    generate = t.generate
    monkeypatch.setattr(t, "generate", lambda lr: generate(lr) * float("nan"))
    g, d = (dict(model.named_parameters()) for model in (t.generator, t.discriminator))
    before = {name: p.data.copy() for part in (g, d) for name, p in part.items()}
    with pytest.raises(DivergedError, match=f"step 1 of stage {stage}: .*no longer finite.*last saved"):
        {"pretrain": t.pretrain_step, "gan": t.gan_step}[stage]()
    assert all(np.array_equal(p.data, before[name]) for part in (g, d) for name, p in part.items())


def test_training_starts_from_a_trained_generator(trainer):
    t, other = trainer(), trainer(seed=5)
    t.start_from(other.generator)
    assert unchanged(t.generator, other.generator.state())
    other.pretrain_step()
    assert not unchanged(t.generator, other.generator.state())  # a copy, not the same arrays


@pytest.mark.parametrize(
    "values, problem",
    [((6, 1e-3, "up"), "one of constant, drop, cosine, not 'up'"), ((6, 1e-3, "drop", 1.0), "below 1"),
     ((-1, 1e-3), "0 steps or more"), ((6, 2.0), "between 0 and 1")],
)  # fmt: skip
def test_a_stage_that_makes_no_sense(values, problem):
    with pytest.raises(ConfigError, match=problem):
        Stage(*values)


def test_d_has_a_rate_and_a_momentum_of_its_own(monkeypatch, trainer):
    t = trainer(stage="gan", d_rate=4e-3, beta1=0.8, d_beta1=0.5, gan=Stage(4, 1e-3, "cosine"))
    used = {}
    for name in ("adam_g", "adam_d"):
        adam = getattr(t, name)
        monkeypatch.setattr(adam, "step", lambda gradients, rate, _, name=name: used.update({name: rate}))
    for expected in (1, 0.5 + 0.5**1.5, 0.5):
        t.gan_step()
        assert used == pytest.approx({"adam_g": 1e-3 * expected, "adam_d": 4e-3 * expected}, rel=1e-12)
    assert (t.adam_g.beta1, t.adam_d.beta1) == (0.8, 0.5)
    same = trainer(beta1=0.8)
    assert same.adam_d.beta1 == 0.8


def test_a_generator_of_another_preset_is_told_by_what_differs(trainer):
    t = trainer(batch_norm=False)
    with pytest.raises(WeightsError) as caught:
        t.start_from(Generator(PRESETS["tiny"].generator, np.random.default_rng(0)))
    differing = (
        "channels 32, this training 4; blocks 7, this training 1; bicubic_skip True, this training False; "
        "direct True, this training False"
    )
    assert f"({differing}): train with --preset tiny" in str(caught.value)


@pytest.mark.parametrize("change", [dict(channels=5), dict(blocks=2), dict(bicubic_skip=True)])
def test_a_generator_of_another_kind_is_no_start(trainer, change):
    t = trainer()
    before = frozen(t.generator)
    other = GeneratorConfig(**vars(t.config.generator) | change)
    with pytest.raises(WeightsError):
        t.start_from(Generator(other, np.random.default_rng(0)))
    assert unchanged(t.generator, before)
