"""A training step as a GPU is asked for it, on the stand-in for CuPy: how much, and what if a number is not finite."""

import json

import pytest
from test_acts_like_cupy import on_stand_in, pytestmark, snippet  # noqa: F401

TRAINER = """
import json
from pathlib import Path

import cupy
import numpy as np

import minisrgan.device
from minisrgan.errors import DivergedError
from minisrgan.imaging.patches import PhotoSet
from minisrgan.models.discriminator import DiscriminatorConfig
from minisrgan.models.generator import GeneratorConfig
from minisrgan.models.vgg import VGG, VGGConfig, VGGFeatures
from minisrgan.training import trainer as training
from minisrgan.training.config import Stage, TrainConfig


def build(device="cuda", **changes):
    models = GeneratorConfig(channels=8, blocks=1, edge_kernel=3), DiscriminatorConfig(channels=4, dense=8, crop=16)
    stages = dict(pretrain=Stage(40, 1e-3), gan=Stage(40, 1e-3, ema=0.5))
    config = TrainConfig(**dict(zip(("generator", "discriminator"), models)) | dict(batch=2) | stages | changes)
    pixels = np.random.default_rng(0).integers(256, size=(3, 48, 48, 3), dtype=np.uint8)
    photos = PhotoSet([(f"photo {i}", each) for i, each in enumerate(pixels)], 4, config.discriminator.crop)
    return training.Trainer(config, photos, device)
"""
PAPER = """
vgg = VGGConfig(((16,) * 2, (16,) * 2, (16,) * 4, (16,) * 4, (16,) * 4))
vgg = VGGFeatures(vgg, VGG(vgg, np.random.default_rng(0)).state(), "vgg54")
training.load_content = lambda *_: vgg
models = dict(generator=GeneratorConfig(channels=16), discriminator=DiscriminatorConfig(channels=16, dense=16, crop=32))
t = build(content="vgg54", pretrain=Stage(9, 1e-3), gan=Stage(9, 1e-3), **models)
found = {}
for stage, step in (("pretrain", t.pretrain_step), ("gan", t.gan_step)):
    t.start_stage(stage)
    step()["loss_g"]  # what is made once is made here
    cupy.COUNT.clear()
    measured = step()
    found[stage] = dict(cupy.COUNT)
    before = cupy.COUNT["synchronisations"]
    assert all(map(np.isfinite, measured.values())) and len(measured) == (5 if stage == "pretrain" else 17)
    found[stage]["synchronisations to read"] = cupy.COUNT["synchronisations"] - before
print(json.dumps(found))
"""
MOST_LAUNCHES = {"pretrain": 310, "gan": 590}


@pytest.fixture(scope="module")
def counted():
    return json.loads(snippet(TRAINER + PAPER))


@pytest.mark.parametrize("stage", MOST_LAUNCHES)
def test_a_step_waits_for_nothing_and_is_few_launches(counted, stage):
    """The paper's networks, with fewer channels. Only HR and LR are copied to the device."""
    count = counted[stage]
    assert count.get("synchronisations", 0) == 0 and count["to device"] == 2
    assert count["synchronisations to read"] == 1
    assert count["launches"] + count["elementwise"] + count.get("products", 0) <= MOST_LAUNCHES[stage], count


def test_what_is_read_late_is_what_is_read_at_once_and_what_a_cpu_measures():
    """With shares too, whose means stay on the device: 18 steps, which are more than the board has rows."""
    snippet(
        TRAINER
        + """
from minisrgan.device.precision import use_precision

changes = dict(content="l1", adversarial_share=1.5, tv_share=0.5)
at_once, late, on_cpu = build(**changes), build(**changes), build("cpu", **changes)
rows = {}
with minisrgan.device.use_device("cpu"), use_precision("float32"):
    for t in (at_once, late, on_cpu):
        t.start_stage("gan")
        rows[t] = [dict(row) if t is at_once else row for row in [t.gan_step()]]
    rows[at_once] += [dict(at_once.gan_step()) for _ in range(17)]
    rows[late] += [late.gan_step() for _ in range(17)]
    assert [dict(row) for row in rows[late]] == rows[at_once]
row, wanted = rows[late][0], rows[on_cpu][0]
assert row.keys() == wanted.keys() >= {"weight_tv", "weight_adversarial", "d_doubt", "sameness", "rate"}
for name in wanted:  # Adam makes small differences larger
    np.testing.assert_allclose(row[name], wanted[name], rtol=1e-2, atol=1e-4, err_msg=name)
assert late.shares.state() == at_once.shares.state() and late.shares.state()["tv"][2] == 18
"""
    )


SPOILED = """
def spoil(t, step, factor):
    # from this step on, SR is what G makes times the factor
    generate = t.generate
    t.generate = lambda lr: generate(lr) * factor if t.step >= step - 1 else generate(lr)


def weights(t):
    found = {}
    for kind, module, adam in (("g", t.generator, t.adam_g), ("d", t.discriminator, t.adam_d)):
        found |= {f"{kind}.{name}": p.data.get() for name, p in module.named_parameters().items()}
        found |= {f"{kind} {name}": moment for name, moment in adam.state().items()}
    return found


def moved(before, after):
    return {name for name in before if not np.array_equal(before[name], after[name])}
"""


@pytest.mark.parametrize("stage", ["pretrain", "gan"])
@pytest.mark.parametrize("factor", ["nan", "1e30"])  # 1e30: loss_pixel is inf, its gradient is finite
def test_a_number_that_is_not_finite_moves_no_weight_and_is_named_when_it_is_read(stage, factor):
    snippet(
        f"""{TRAINER}{SPOILED}
t = build(content="pixel")
t.start_stage("{stage}")
take_step = t.{stage}_step
rows = [take_step() for _ in range(3)]
before = weights(t)
spoil(t, 4, float("{factor}"))
rows += [take_step() for _ in range(4)]  # nobody has noticed yet
after = weights(t)
if "{stage}" == "gan" and "{factor}" == "1e30":  # D took its step before G's loss was infinite
    before, after = ({{name: a for name, a in each.items() if name[0] == "g"}} for each in (before, after))
assert not moved(before, after)
assert all(np.isfinite(rows[i]["loss_g"]) for i in (2, 0, 1))
for late in rows[3:]:
    try:
        late["rate"]
    except DivergedError as error:
        assert str(error).startswith("step 4 of stage {stage}: "), error
        assert "no longer finite" in str(error) and "last saved" in str(error)
    else:
        raise SystemExit("not noticed")
t.start_stage("{stage}")  # as a roll-back does
t.generate = t.generator
assert take_step()["loss_g"] > 0 and moved(before, weights(t))
"""
    )


@pytest.mark.parametrize("on_nan", ["stop", "rollback"])
def test_a_run_that_diverges_has_its_rows_and_its_last_good_state(tmp_path, on_nan, monkeypatch):
    monkeypatch.setenv("MINISRGAN_GRAPH", "off")  # so that Python calls t.generate in each step
    said = snippet(
        f"""{TRAINER}
from minisrgan.training import loop
from minisrgan.training.run import Run

loop.draw_curves = loop.draw_comparison = lambda *_: None
t = build(content="pixel", on_nan="{on_nan}", pretrain=Stage(2, 1e-3), gan=Stage(20, 1e-3))
run = Run.create("{tmp_path}/run", t.config, t)
generate, times = t.generate, iter(range(1))
t.generate = lambda lr: (
    generate(lr) * float("nan") if t.stage == "gan" and t.step == 13 and next(times, None) == 0 else generate(lr)
)
try:
    loop.train(run, t, [np.zeros((32, 32, 3), np.uint8)], ["pretrain", "gan"], bar=False)
except DivergedError as error:
    print(error)
rows = [(row["stage"], int(row["step"])) for row in run.rows()]
print(json.dumps([len(rows), rows[-1], run.position(), t.rollbacks]))
assert rows == [("pretrain", i + 1) for i in range(2)] + [("gan", i + 1) for i in range(len(rows) - 2)]
"""
    )
    *_, last = said.splitlines()
    if on_nan == "stop":
        assert "step 14 of stage gan: loss_d is nan" in said
        assert json.loads(last) == [15, ["gan", 13], ["gan", 12], 0]  # LOOKS: a state is saved every 2 steps
    else:
        assert json.loads(last) == [22, ["gan", 20], ["gan", 20], 1]


def test_what_a_step_asks_for_is_counted():
    """By benchmarks/count_step.py, for its page; here with the smallest preset."""
    environment = {"FAKE_CUPY_DRY": "1", "MINISRGAN_GRAPH": "off"}
    lines = on_stand_in("benchmarks/count_step.py", "tiny", **environment).splitlines()
    rows = {line[:24].strip(): [float(number) for number in line[24:].split()] for line in lines[1:-1]}
    total = rows.pop("together")
    assert sum(row[0] for row in rows.values()) == total[0]
    convolutions = sum(row[1] for name, row in rows.items() if name.endswith("_mma"))
    assert 0.9 * total[1] < convolutions <= total[1]
    assert lines[-1] == "copies to the device: 2; the host waits: 0 times"


def test_d_sees_hr_and_sr_side_by_side_and_tells_of_each_what_it_would_alone():
    """Logits, gradients and running averages; the last layer's parts of rows have images of both."""
    snippet(
        """
import cupy
import numpy as np

import minisrgan.device
from minisrgan.device.precision import use_precision
from minisrgan.models.discriminator import Discriminator, DiscriminatorConfig
from minisrgan.nn import both
from minisrgan.tensor import Tensor, grad

rng, shape = np.random.default_rng(0), (2, 32, 32, 3)
hr, sr = (Tensor(cupy.asarray(rng.uniform(low, 1, shape).astype(np.float32))) for low in (-1, 0))
found = []
with use_precision("3xtf32"):
    for judge in (both, lambda a, b, d: (d(a), d(b))):
        d = Discriminator(DiscriminatorConfig(channels=16, dense=16, crop=32), np.random.default_rng(1)).to("cuda")
        cupy.COUNT.clear()
        real, fake = judge(hr, sr, d)
        gradients = grad((real**2).sum() + (fake * 3).sum(), d.parameters())
        found.append(([real, fake, *gradients], d.state(), cupy.COUNT["launches"]))
(tensors, state, launches), (alone, state_alone, launches_alone) = found
assert launches < 0.8 * launches_alone
for name, a, b in zip(["real", "fake", *d.named_parameters()], tensors, alone):
    a, b = a.data.get(), b.data.get()
    np.testing.assert_allclose(a, b, rtol=0, atol=2e-5 * max(abs(b).max(), 1), err_msg=name)
for name in state:
    np.testing.assert_allclose(state[name], state_alone[name], rtol=1e-5, atol=1e-6, err_msg=name)
"""
    )


def test_power_iteration_is_its_definition():
    """And its vectors stay where they are, which a recorded step needs."""
    snippet(
        """
import cupy
import numpy as np

import minisrgan.device
from minisrgan.nn import Conv, SpectralNormed
from minisrgan.ops.spectral_norm import power_iteration
from minisrgan.tensor import Tensor

for shape in ((3, 3, 5, 40), (700, 600), (4, 1)):
    rng = np.random.default_rng(0)
    w, v = (rng.standard_normal(size).astype(np.float32) for size in (shape, shape[-1]))
    for made, wanted in zip(power_iteration(cupy.asarray(w), cupy.asarray(v), 3), power_iteration(w, v, 3)):
        np.testing.assert_allclose(made.get(), wanted, rtol=0, atol=1e-5)

layer = SpectralNormed(np.random.default_rng(0), Conv(np.random.default_rng(1), 3, 4)).to("cuda")
u, v, before = layer.u, layer.v, layer.u.get()
layer(Tensor(cupy.ones((1, 4, 4, 3), np.float32)))
assert layer.u is u and layer.v is v and (u.get() != before).any()
"""
    )


def test_the_moments_of_images_are_their_definitions():
    snippet(
        """
import cupy
import numpy as np

import minisrgan.device
from minisrgan.measures import moments_beyond

for shape in ((3, 20, 24, 3), (1, 3, 5, 3), (2, 64, 80, 1), (2, 4, 4, 5)):
    images = [np.random.default_rng(i).uniform(0, 1, shape).astype(np.float32) for i in range(3)]
    cupy.COUNT.clear()
    made = moments_beyond(*map(cupy.asarray, images))
    assert cupy.COUNT["launches"] == (shape[-1] != 5)  # which are the channels of no photo
    wanted = moments_beyond(*(image.astype(np.float64) for image in images))
    np.testing.assert_allclose([each.item() for each in made], wanted, rtol=1e-5)
"""
    )


def test_frozen_batch_norm_is_folded_into_the_weights_once_for_all_photos():
    """And once more when the weights have changed: by Adam, by a training step's statistics, by other weights."""
    snippet(
        """
import cupy
import numpy as np

import minisrgan.device
from minisrgan.losses import PixelMSE
from minisrgan.models.generator import Generator, GeneratorConfig
from minisrgan.optim import Adam
from minisrgan.tensor import Tensor, grad, no_grad

g = Generator(GeneratorConfig(channels=16, blocks=2), np.random.default_rng(0)).to("cuda")
fresh = Generator(g.config, np.random.default_rng(1)).to("cuda").eval()
lr, hr = (Tensor(cupy.full((1, side, side, 3), 0.5, np.float32)) for side in (8, 32))
adam = Adam(g.named_parameters())


def enlarge(g):
    with no_grad():
        return g.eval()(lr).data.get()


def by_adam():
    adam.step(grad(PixelMSE(g(lr), hr), g.parameters()), 1e-2)


def by_statistics():
    with no_grad():
        g.train()(lr)


def by_loading():
    g.load_state(Generator(g.config, np.random.default_rng(2)).state())


for change in (lambda: None, by_adam, by_statistics, by_loading):
    change()
    fresh.load_state(g.state())
    counts = []
    for _ in range(2):
        cupy.COUNT.clear()
        np.testing.assert_array_equal(enlarge(g), enlarge(fresh))
        counts.append(cupy.COUNT["launches"] + cupy.COUNT["elementwise"])
    assert counts[0] >= counts[1] + 8 * 5, counts
"""
    )


def test_a_norm_that_overflows_is_not_finite():
    """Or else Adam would take a step by its square."""
    snippet("""
import cupy, minisrgan.device
from minisrgan.measures import norm
for large, finite in ((1e18, True), (1e20, False)):
    gradients = [cupy.asarray([3.0], "f4"), cupy.asarray([large], "f4")]
    assert bool(cupy.isfinite(norm(gradients)).all()) == finite, large
""")


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_a_smooth_enlargement_is_in_float32(precision):
    code = """
import cupy, numpy as np, minisrgan.device
from minisrgan.models.enlarging import enlarge_bilinear
from minisrgan.models.generator import enlarge_bicubic
from minisrgan.tensor import Tensor
x = np.random.default_rng(0).random((1, 5, 6, 3), np.float32)
for enlarge in (enlarge_bicubic, enlarge_bilinear):
    exact, made = enlarge(Tensor(x.astype(float)), 4).data, enlarge(Tensor(cupy.asarray(x)), 4).data.get()
    assert abs(made - exact).max() < 1e-6, abs(made - exact).max()
"""
    on_stand_in("-c", code, precision=precision)
