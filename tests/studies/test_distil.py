"""The small VGG: the distortions of photos, its distances, and that it learned to see as VGG19 does."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minisrgan.check import first_order_error
from minisrgan.cli import main as cli
from minisrgan.errors import ConfigError, ImageError
from minisrgan.imaging.files import find_photos
from minisrgan.imaging.patches import PhotoSet
from minisrgan.imaging.pixels import hr_from_uint8
from minisrgan.losses import PixelMSE, feature_mse
from minisrgan.models.generator import Generator, GeneratorConfig
from minisrgan.models.vgg import PAPER_SCALE, SMALL, ST_LPIPS, VGG, VGGConfig, VGGFeatures
from minisrgan.names import FAMILIES
from minisrgan.nn import Conv, ReLU
from minisrgan.studies import distil as vgg_distil
from minisrgan.studies import distortions, vgg_inspect
from minisrgan.studies.distil import FOURFOLD, Distiller, compare, distil, fit, least_squares, most_telling
from minisrgan.studies.distortions import (
    KINDS,
    MARGIN,
    DistortedCrops,
    enlarge,
    features_of,
    rightly_ordered,
    without_margin,
)
from minisrgan.studies.vgg_inspect import inspect, rank
from minisrgan.tensor import Tensor, grad, no_grad
from minisrgan.training.photos import HELD_OUT, Photos, named, packaged, training_photos
from minisrgan.weights.array_files import read_arrays
from minisrgan.weights.generators import load_generator
from minisrgan.weights.vgg import EMBEDDED, load_vgg, open_vgg, save_vgg

LEAST = vgg_distil.LEAST_SIDE


@pytest.fixture(scope="module")
def held_out():
    """The photos that the package's VGG has never seen."""
    return list(map(named, packaged(HELD_OUT)))


@pytest.fixture
def patch(smooth_photo):
    return smooth_photo(LEAST, LEAST)


# distortions


@pytest.mark.parametrize("name", KINDS)
def test_a_distortion_grows_with_its_strength_and_never_reaches_the_inside_from_the_edge(name, patch):
    kind = KINDS[name]

    def at(strength, image=patch):
        return kind(image, strength, np.random.default_rng(0))

    images = (without_margin(at(s)).astype(float) for s in (0.0, 0.25, 0.5, 0.75))
    errors = [((image - without_margin(patch)) ** 2).mean() for image in images]
    assert errors == sorted(errors) and errors[0] > 0
    assert at(1.0).shape == patch.shape and at(1.0).dtype == np.uint8
    assert np.array_equal(at(0.5), at(0.5))
    if name in ("blur", "shift"):
        framed = np.pad(patch, ((9, 9), (9, 9), (0, 0)), mode="reflect")
        inside = without_margin(at(0.9, framed)[9:-9, 9:-9])
        if name == "blur":
            assert abs(inside.astype(int) - without_margin(at(0.9))).max() <= 2


def test_a_shift_is_one():
    row = np.arange(LEAST, dtype=np.uint8)
    ramp = np.broadcast_to((row[:, None] + 2 * row)[..., None], (LEAST, LEAST, 3))
    moved = {int(without_margin(distortions.shift(ramp, 1.0, np.random.default_rng(i)))[0, 0, 0]) for i in range(20)}
    start = 3 * MARGIN
    assert moved == {start - 10, start + 10, start - 20, start + 20}


def test_brightness_moves_every_sample_alike_and_contrast_leaves_the_mean(patch):
    grey = (patch // 4 + 96).astype(np.uint8)  # so that nothing is clipped
    kinds = (KINDS["brightness"], KINDS["contrast"])
    brighter, starker = (kind(grey, 0.6, np.random.default_rng(0)).astype(int) for kind in kinds)
    assert len(np.unique(brighter - grey)) == 1
    ratio = (starker - starker.mean((0, 1))) / (grey - grey.mean((0, 1)))
    np.testing.assert_allclose(starker.mean((0, 1)), grey.mean((0, 1)), atol=0.5)
    factor = np.median(ratio)
    assert abs(np.log(factor)) == pytest.approx(np.log(1.05 * (2.5 / 1.05) ** 0.6), abs=0.1)


def test_four_times_is_four_times(patch):
    reduced = Image.fromarray(patch).resize((LEAST // 4, LEAST // 4), Image.Resampling.BICUBIC)
    expected = np.asarray(reduced.resize((LEAST, LEAST), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(enlarge(patch, FOURFOLD, None), expected)


# the measure


def test_the_share_of_pairs_in_the_right_order():
    distances = np.array([[1.0, 2.0], [3.0, 2.0]])  # (strengths, crops): 3 > 1, 3 > 2, 2 > 1, and a tie
    assert rightly_ordered(distances) == (3 + 0.5) / 4
    assert rightly_ordered(distances[::-1]) == 0.5 / 4
    assert rightly_ordered(np.arange(5.0)[:, None] + np.zeros(7)) == 1
    assert rightly_ordered(np.ones((4, 6))) == 0.5


def test_a_trial_asks_every_kind_and_says_a_row_for_each_distance(held_out):
    trial, lines = DistortedCrops(held_out, crops=2, side=16), []
    assert {name: batches.shape for name, batches in trial.distorted.items()} == {
        name: (5, 2, 16, 16, 3) for name in ("blur", "noise", "jpeg", "shift", "enlarge", "brightness", "contrast")
    }
    blind = distortions.say_ranking(trial, {"pixels": np.asarray, "blind": np.zeros_like}, lines.append)["blind"]
    assert set(blind.values()) == {0.5}
    assert [line.split()[0] for line in lines] == ["blur", "pixels", "blind", "2"] and "0.500" in lines[2]


# distillation


@pytest.fixture
def little(monkeypatch):
    """A small setting of everything, so that a step is quick."""
    less = {"LEAST_SIDE": 16 + 2 * MARGIN, "PAIRS": 1, "FITTED_ON": 4, "WINDOWS": 2000, "EVERY": 2, "RATE": 1e-4}
    for name, value in less.items():
        monkeypatch.setattr(vgg_distil, name, value)


def random_vgg(seed=0, blocks=SMALL):
    config = VGGConfig(blocks)
    return VGGFeatures(config, VGG(config, np.random.default_rng(seed)).state(), scale=1.0)


@pytest.fixture
def photos(smooth_photo):
    return Photos([(str(i), smooth_photo(80, 84, seed=i)) for i in range(3)], [], [])


THIN = ((2,), (3, 4))


def test_nothing_tells_a_teacher_from_itself_and_the_gradient_is_the_content_losss():
    rng = np.random.default_rng(1)
    x, made = (Tensor(rng.uniform(-1, 1, (2, 8, 8, 3))) for _ in range(2))
    one, other = (random_vgg(seed, THIN).to(dtype="float64") for seed in (2, 3))
    losses, gradient = compare(one, one, x, made)
    assert all(loss.shape == (2,) and abs(loss.data).max() < 1e-25 for loss in losses)
    here = Tensor(made.data, requires_grad=True)
    expected = grad(feature_mse(one, here, x), here)[0].data
    np.testing.assert_allclose(gradient.data * 2 / one(x).size, expected, rtol=1e-10, atol=1e-14)
    losses, _ = compare(other, one, x, made)
    of = [tensor.data for tensor in (one(x), one(made) - one(x))]
    apart = [(other(x).data - of[0]) ** 2, ((other(made) - other(x)).data - of[1]) ** 2]
    sizes = [((of[0] - of[0].mean((0, 1, 2))) ** 2).sum((1, 2, 3)), (of[1] ** 2).sum((1, 2, 3))]
    for loss, error, size in zip(losses, apart, sizes):
        np.testing.assert_allclose(loss.data, error.sum((1, 2, 3)) / (size + vgg_distil.SLIGHT * size.mean()))


def test_the_gradient_of_every_term_in_the_students_weights():
    """For the term of gradients, it is the gradient of a gradient."""
    rng = np.random.default_rng(4)
    x, made = (Tensor(rng.uniform(-1, 1, (2, 8, 8, 3))) for _ in range(2))
    teacher = random_vgg(2, THIN).to(dtype="float64")
    student = VGG(VGGConfig(THIN), np.random.default_rng(5), VGGConfig(THIN).index()).to(dtype="float64")
    names = [*student.named_parameters()]

    def term(which):
        def loss(*weights):
            for layer in range(len(names)):
                owner = student.features[int(names[layer].split(".")[1])]
                setattr(owner, names[layer].split(".")[2], weights[layer])
            return compare(student, teacher, x, made)[0][which].mean()

        return loss

    weights = [parameter.data for parameter in student.parameters()]
    for which in range(3):
        assert first_order_error(term(which), weights, rng) < 1e-6


def test_the_channels_that_tell_most_leave_nothing_untold():
    rng = np.random.default_rng(6)
    base = rng.standard_normal((5, 6, 6, 3)) * [1, 5, 2]
    x = np.concatenate([base @ rng.standard_normal((3, 2)) * 0.1, base, base[..., :1] * 0.5], axis=-1)
    flat = x.reshape(-1, 6)
    found = most_telling(x, 3)
    assert found == sorted(set(found))
    _, residual, *_ = np.linalg.lstsq(flat[:, found], flat, rcond=None)
    assert residual.sum() < 1e-12 * (flat**2).sum()
    assert most_telling(base * [1, 5, 2], 1) == [1]


def test_least_squares_find_a_convolution(monkeypatch):
    monkeypatch.setattr(vgg_distil, "RIDGE", 1e-12)
    rng = np.random.default_rng(7)
    conv = Conv(rng, 3, 5).to(dtype="float64")
    conv.bias.data += [1, 2, 3, 4, 5]
    x = rng.standard_normal((4, 9, 10, 3))
    found = least_squares(x, conv(Tensor(x)).data, rng)
    np.testing.assert_allclose(found[:-1].reshape(3, 3, 3, 5), conv.weight.data, atol=1e-8)
    np.testing.assert_allclose(found[-1], conv.bias.data, atol=1e-8)


def test_a_student_of_the_teachers_size_begins_as_the_teacher(smooth_photo):
    """Its features have the size 1 if the teacher's have the size that is returned."""
    blocks = ((4, 6), (8, 8))
    teacher = random_vgg(8, blocks)
    student = VGG(VGGConfig(blocks), np.random.default_rng(9), VGGConfig(blocks).index())
    images = Tensor(hr_from_uint8(np.array([smooth_photo(32, 32, seed=i) for i in range(6)])))
    size = fit(student, teacher, images, np.random.default_rng(10))
    assert size == pytest.approx(np.sqrt((teacher(images).data ** 2).mean()))
    error = student(images).data - teacher(images).data / size
    assert (error**2).mean() < 1e-2


def test_a_distillation_follows_from_its_seed_and_goes_on_from_where_it_was(little, photos, generator_file, tmp_path):
    def begin(seed=0):
        return Distiller(random_vgg(1), load_generator(generator_file), photos.training, "numpy", 3, seed)

    whole, again, other = begin(), begin(), begin(1)
    losses = [whole.train_step() for _ in range(3)]
    assert again.train_step() == losses[0] != other.train_step()
    again.save(tmp_path / "x.part", {"seed": 0})
    resumed = begin()
    resumed.restore(tmp_path / "x.part", {"seed": 0})
    assert [resumed.train_step() for _ in range(2)] == losses[1:]
    assert all(np.array_equal(whole.student.state()[name], a) for name, a in resumed.student.state().items())
    with pytest.raises(ConfigError, match="of another training"):
        begin().restore(tmp_path / "x.part", {"seed": 1})


def test_a_generator_whose_scale_does_not_fit_the_margin_is_refused(photos):
    eightfold = Generator(GeneratorConfig(channels=2, blocks=1, scale=8), np.random.default_rng(0))
    with pytest.raises(ConfigError, match="2 or 4 times, not 8"):
        Distiller(random_vgg(1), eightfold, photos.training, "numpy", 1)


def test_training_brings_the_student_nearer_and_the_generator_begins_again(little, photos, generator_file, monkeypatch):
    monkeypatch.setattr(vgg_distil, "ROUND", 4)
    distiller = Distiller(random_vgg(1), load_generator(generator_file), photos.training, "numpy", 100)
    distiller.rng = np.random.default_rng(0)
    _, pairs = distiller.batch()

    def measured():
        return [loss.mean().item() for loss in compare(distiller.student, distiller.teacher, *pairs)[0]]

    before = measured()
    for _ in range(4):
        distiller.rng = np.random.default_rng(0)  # the same crops each time
        distiller.train_step()
    assert sum(measured()) < sum(before)
    moved = distiller.generator.state()
    assert any(not np.array_equal(moved[name], a) for name, a in distiller.first.items())
    distiller.train_step()
    assert distiller.adam_g.t == 1


def content_against_pixels(vgg_of, photos, crops=12, seed=3):
    """MSE of a content loss's features over MSE of the pixels, for crops and the same enlarged four times."""
    photos = PhotoSet(photos, scale=1, crop=vgg_distil.LEAST_SIDE)
    patches = photos.hr(photos.choose(np.random.default_rng(seed), crops))
    enlarged = np.array([enlarge(patch, FOURFOLD, None) for patch in patches])
    a, b = (Tensor(hr_from_uint8(without_margin(each))) for each in (patches, enlarged))
    with no_grad():
        return PixelMSE(vgg_of(a), vgg_of(b)).item() / PixelMSE(a, b).item()


def test_calibration_gives_every_layer_the_size_of_the_pixels_and_changes_no_direction(little, photos, generator_file):
    distiller = Distiller(random_vgg(1), load_generator(generator_file), photos.training, "numpy", 1)
    images = Tensor(hr_from_uint8(photos.training[0][1][None]))
    before = [x.data for _, x in distiller.student.maps(images)]
    distiller.calibrate(4)
    after = [x.data for _, x in distiller.student.maps(images)]
    for x, y in zip(before, after):
        factor = (x * y).sum() / (x * x).sum()
        np.testing.assert_allclose(y, factor * x, atol=1e-4 * abs(y).max())
        assert factor > 0
    for index, layer in enumerate(distiller.student.features):
        if isinstance(layer, ReLU):

            def scaled(images, index=index):
                return dict(distiller.student.maps(images))[index] * PAPER_SCALE

            assert 0.4 < content_against_pixels(scaled, photos.training, crops=4) < 2.5


def test_the_command_distils_a_file_and_goes_on_when_stopped(little, photos, generator_file, tmp_path, monkeypatch):
    teacher = tmp_path / "t.safetensors"
    save_vgg(teacher, VGGConfig(SMALL), random_vgg(1).state())
    out, lines = tmp_path / "v.safetensors", []

    def run(name="v.safetensors", seed=0):
        distil(photos, teacher, generator_file, "numpy", 3, seed, tmp_path / name, say=lines.append)

    step = Distiller.train_step

    def stopped(self):
        if self.step == 2:
            raise KeyboardInterrupt
        return step(self)

    run("whole.safetensors")
    with monkeypatch.context() as patched:
        patched.setattr(Distiller, "train_step", stopped)
        with pytest.raises(KeyboardInterrupt):
            run()
    with pytest.raises(ConfigError, match="of another training"):
        run(seed=1)
    run()
    assert lines[-1] == f"{out}: 324,064 parameters, 0.65 MB" and not Path(f"{out}.part").exists()
    assert out.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    about = read_arrays(out)[1]["trained"]
    assert (about["seed"], about["steps"], about["photos"]) == (0, 3, ["0", "1", "2"])
    assert "Visual Geometry Group" in about["origin"] and "Creative Commons Attribution" in about["origin"]
    with pytest.raises(ConfigError, match="is there already"):
        run()


# the package's file


def test_the_package_ships_what_the_command_makes():
    about = read_arrays(EMBEDDED)[1]["trained"]
    args = cli.build_parser().parse_args(["vgg", "distil", "--teacher", "vgg19.safetensors"])
    assert (about["seed"], about["steps"]) == (args.seed, args.steps)
    assert about["origin"] == vgg_distil.ORIGIN and len(about["photos"]) == 259


def test_the_content_loss_has_the_size_of_the_pixels_mse(held_out):
    """That is the purpose of the paper's 1/12.75. It is measured on photos that the calibration did not see."""
    for layer in ("vgg12", "vgg22", "vgg32", "vgg34"):
        assert 0.4 < content_against_pixels(load_vgg(layer=layer), held_out) < 2.5


def test_hardly_a_channel_of_the_package_is_dead(held_out):
    crops = Tensor(hr_from_uint8(DistortedCrops(held_out, crops=12, side=48).originals))
    for layer in ("vgg12", "vgg22", "vgg32", "vgg34"):
        alive = load_vgg(layer=layer)(crops).data.max((0, 1, 2)) > 0
        assert alive.mean() > 0.9


def test_it_asks_for_what_vgg19_asks_for(genuine, measurement_data):
    """At bicubic enlargements of photos that it never saw, the gradients of both content losses point the same way."""
    photos = [named(path) for path in find_photos(measurement_data / "Set5")]
    patches = PhotoSet(photos, scale=1, crop=LEAST)
    patches = patches.hr(patches.choose(np.random.default_rng(11), 8))
    enlarged = np.array([enlarge(patch, FOURFOLD, None) for patch in patches])
    hr = Tensor(hr_from_uint8(without_margin(patches)))

    def gradient(vgg):
        sr = Tensor(hr_from_uint8(without_margin(enlarged)), requires_grad=True)
        return grad(feature_mse(vgg, sr, hr), sr)[0].data

    teacher = gradient(load_vgg(genuine, "vgg34"))

    def cosine(vgg):
        found = gradient(vgg)
        return (found * teacher).sum() / np.linalg.norm(found) / np.linalg.norm(teacher)

    assert cosine(load_vgg()) > 0.6 > cosine(random_vgg()) + 0.3


# the commands


@pytest.mark.parametrize("family", [*FAMILIES, ST_LPIPS])
def test_a_file_of_any_family_is_inspected(family, tmp_path):
    vgg, said = VGG(VGGConfig(SMALL, family), np.random.default_rng(0)), []
    save_vgg(tmp_path / "vgg.safetensors", vgg.config, vgg.state())
    inspect(tmp_path / "vgg.safetensors", say=said.append)
    assert said[1].startswith(f"family   {family}: the input is ")


def test_the_command_inspects_the_packages_own(capsys):
    assert cli.main(["vgg", "inspect"]) == 0
    out = capsys.readouterr().out
    assert "VGG small, 8 convolutions, 324,064 parameters" in out and "family   torchvision" in out
    rows = [line.split() for line in out.splitlines() if line.startswith("vgg")]
    assert [(row[0], row[1]) for row in rows][-1] == ("vgg34", "features.16") and len(rows) == 8
    w = open_vgg(EMBEDDED)[1]["features.16.weight"].read()
    assert f"{w.std():.2g}" in rows[-1] and f"{abs(w).max():.2g}" in rows[-1]


def test_rank_says_the_same_as_the_trial(held_out, monkeypatch, capsys):
    monkeypatch.setenv("MINISRGAN_DEVICE", "numpy")
    assert cli.main(["vgg", "inspect", "--layer", "vgg22"]) == 2
    assert "--rank" in capsys.readouterr().err
    monkeypatch.setattr(vgg_inspect, "DistortedCrops", partial(DistortedCrops, crops=2, side=32))
    lines = []
    results = rank(None, None, "vgg22", None, "numpy", lines.append)
    trial = DistortedCrops(held_out, crops=2, side=32)
    assert results["features.8"] == trial.scores(features_of(load_vgg(layer="vgg22"), "numpy"))
    assert results["random"] != results["features.8"]


def test_photos_that_cannot_be_read_are_left_out_of_the_ranking(photo_folder, monkeypatch, tmp_path):
    monkeypatch.setattr(vgg_inspect, "DistortedCrops", partial(DistortedCrops, crops=2, side=32))
    (tmp_path / "cut.png").write_bytes((photo_folder / "a.png").read_bytes()[:300])
    with pytest.raises(ImageError, match="none of the 1 photos here can be read, such as .*cut.png: "):
        rank(None, None, "vgg22", tmp_path, "numpy")
    (tmp_path / "deep").mkdir()
    Image.open(photo_folder / "a.png").resize((200, 200)).save(tmp_path / "deep" / "a.png")
    assert rank(None, None, "vgg22", tmp_path, "numpy", lambda line: None)


def test_the_command_says_what_photos_it_needs(monkeypatch, photo_folder, tmp_path, capsys):
    monkeypatch.setenv("MINISRGAN_DEVICE", "numpy")
    command = ["vgg", "distil", "--teacher", "t.safetensors", "--data", str(photo_folder), "--out", str(tmp_path / "v")]
    assert cli.main(command) == 2  # photos too small
    assert "at least 88 x 88 pixels" in capsys.readouterr().err
    assert training_photos(None).held_out
