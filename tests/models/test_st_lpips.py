"""ST-LPIPS: its pooling compared with loops, its network with random weights, its figures with its own package's."""

import zipfile
from functools import partial

import numpy as np
import pytest

from minisrgan.cli import main as cli
from minisrgan.errors import ConfigError, ShapeError, WeightsError
from minisrgan.imaging.resize import downsample, upsample
from minisrgan.models.st_lpips import ALEX, STLPIPS, expected_shapes
from minisrgan.models.vgg import ST_LPIPS, VGG, VGG16, VGGConfig
from minisrgan.ops import blur_pool, max_neighbours
from minisrgan.studies import evaluate
from minisrgan.tensor import Tensor
from minisrgan.training.photos import HELD_OUT, named, packaged
from minisrgan.weights import fetch_st_lpips as st_lpips_fetch
from minisrgan.weights import st_lpips
from minisrgan.weights.st_lpips import load_st_lpips, save_st_lpips
from minisrgan.weights.torch_files import Lazy
from minisrgan.weights.vgg import knows_content, load_content, load_vgg, save_vgg, st_fetched


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("size", [(3, 3), (4, 7), (9, 6)])
def test_blur_pooling_by_its_definition(size):
    x = rng().standard_normal((2, *size, 3))
    mirrored = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    weights = np.outer([1, 2, 1], [1, 2, 1]) / 16
    rows, columns = (range(0, n + 4 - 2, 2) for n in size)
    expected = [[np.einsum("nijc,ij->nc", mirrored[:, i : i + 3, j : j + 3], weights) for j in columns] for i in rows]
    found = blur_pool(Tensor(x)).data
    assert found.shape == (2, (size[0] + 3) // 2, (size[1] + 3) // 2, 3)
    np.testing.assert_allclose(found, np.array(expected).transpose(2, 0, 1, 3), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_largest_of_neighbours_by_its_definition(size):
    x = rng().standard_normal((2, 5, 4, 3))
    expected = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2)).max((-2, -1))
    np.testing.assert_array_equal(max_neighbours(Tensor(x), size).data, expected)


def test_an_image_too_small_to_pool():
    with pytest.raises(ShapeError, match="at least 3 x 3, not 2 x 5"):
        blur_pool(Tensor(np.zeros((1, 2, 5, 1))))
    with pytest.raises(ShapeError, match="no 3×3 square fits into 2×5"):
        max_neighbours(Tensor(np.zeros((1, 2, 5, 1))), 3)


@pytest.fixture(scope="module")
def random_network():
    """{name: array} of the AlexNet with random weights."""
    shapes = expected_shapes().items()
    return {name: np.abs(rng(len(name)).standard_normal(shape) * 0.05).astype(np.float32) if name.startswith("lin") else
            (rng(len(name)).standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))).astype(np.float32)
            for name, shape in shapes}  # fmt: skip


def test_the_distance_is_none_to_itself_and_the_same_both_ways(random_network):
    network = STLPIPS(random_network, "numpy")
    a, b = (Tensor(rng(seed).uniform(-1, 1, (2, 26, 31, 3)).astype(np.float32)) for seed in (1, 2))
    assert network.distance(a, a) == 0
    assert network.distance(a, b) == pytest.approx(network.distance(b, a), rel=1e-6) and network.distance(a, b) > 0
    maps = network.maps(a)
    assert [each.shape[-1] for each in maps] == [cout for *_, cout in ALEX]
    lengths = (maps[0].data.astype(float) ** 2).sum(-1)
    np.testing.assert_allclose(lengths[lengths > 0], 1, rtol=1e-4)


def test_the_distance_by_its_formula(random_network):
    network = STLPIPS(random_network, "numpy")
    a, b = (Tensor(rng(seed).uniform(-1, 1, (1, 24, 24, 3)).astype(np.float32)) for seed in (1, 2))
    expected = 0
    for k, (x, y) in enumerate(zip(network.maps(a), network.maps(b))):
        pixels = zip(x.data.reshape(-1, x.shape[-1]), y.data.reshape(-1, y.shape[-1]))
        expected += np.mean([(random_network[f"lin{k}"] * (u - v) ** 2).sum() for u, v in pixels])
    assert network.distance(a, b) == pytest.approx(expected, rel=1e-5)


def test_images_that_cannot_be_compared(random_network):
    network = STLPIPS(random_network, "numpy")
    for shapes in ([(1, 23, 40, 3)] * 2, [(1, 24, 24, 3), (1, 24, 25, 3)]):
        with pytest.raises(ShapeError, match="24 x 24"):
            network.distance(*(Tensor(np.zeros(shape, np.float32)) for shape in shapes))


def test_a_photo_too_small_for_it_has_none_and_ends_no_evaluation(random_network):
    network = STLPIPS(random_network, "numpy")
    measured_by = {evaluate.ST_LPIPS: partial(evaluate.st_lpips_distance, network)}
    small, large = (rng(side).integers(0, 256, (side, side, 3), np.uint8) for side in (20, 28))
    qualities = [evaluate.judge(255 - photo, photo, 4, measured_by) for photo in (small, large)]
    found = [quality.distances[evaluate.ST_LPIPS] for quality in qualities]
    assert np.isnan(found[0]) and found[1] > 0
    assert evaluate.mean_quality(qualities).distances[evaluate.ST_LPIPS] == found[1]


def lazy(array):
    return Lazy(array.shape, lambda: array)


def as_in_the_wheel(arrays):
    """{the wheel's name: Lazy}, in its layout."""
    found = {}
    for name, array in arrays.items():
        if name.startswith("lin"):
            found[f"{name}.model.1.weight"] = lazy(array.reshape(1, -1, 1, 1))
        else:
            found[f"net.{name}"] = lazy(array.transpose(3, 2, 0, 1) if array.ndim == 4 else array)
    return found


def test_the_network_is_kept_in_our_layout(random_network, tmp_path):
    save_st_lpips(tmp_path / "alex.safetensors", as_in_the_wheel(random_network))
    kept = load_st_lpips("numpy", tmp_path / "alex.safetensors").arrays
    assert kept.keys() == random_network.keys()
    assert all(np.array_equal(kept[name].data, array) for name, array in random_network.items())


def test_another_file_is_no_network(random_network, tmp_path, generator_file):
    with pytest.raises(WeightsError, match="no such file.*fetch --st-lpips"):
        load_st_lpips("numpy", tmp_path / "none.safetensors")
    with pytest.raises(WeightsError, match="is not the AlexNet"):
        load_st_lpips("numpy", generator_file)
    stored = as_in_the_wheel(random_network)
    with pytest.raises(WeightsError, match="other shapes"):
        save_st_lpips(tmp_path / "x", stored | {"net.slice1.0.bias": lazy(np.zeros(3))})
    del stored["lin3.model.1.weight"]
    with pytest.raises(WeightsError, match="has no 'lin3"):
        save_st_lpips(tmp_path / "x", stored)
    assert not (tmp_path / "x").exists()


# the VGG16, as a content loss


def test_its_vgg_is_a_content_loss_by_name(monkeypatch, tmp_path):
    monkeypatch.setenv("MINISRGAN_CACHE", str(tmp_path))
    assert knows_content("st-vgg33") and not knows_content("st-vgg34") and not knows_content("st-vgg-small")
    assert not knows_content("") and not knows_content("st-")
    with pytest.raises(WeightsError, match="fetch --st-lpips"):
        load_content("st-vgg22")
    config = VGGConfig(VGG16, ST_LPIPS)
    save_vgg(st_fetched(), config, VGG(config, rng()).state(), dtype=np.float16)
    features = load_content("st-vgg22")
    assert features.config.family == ST_LPIPS
    assert features(Tensor(np.zeros((1, 16, 20, 3), np.float32))).shape == (1, 9, 11, 128)
    with pytest.raises(ConfigError, match="no layer 'vgg34'"):
        load_vgg(st_fetched(), "vgg34")


# getting it


def wheel(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def test_a_file_that_is_not_the_wheel_is_refused(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MINISRGAN_CACHE", str(tmp_path / "cache"))
    wheel(tmp_path / "other.whl", {"x": b""})
    for name in ("other.whl", "none.whl"):
        assert cli.main(["vgg", "fetch", "--st-lpips", "--from", str(tmp_path / name)]) == 2
        assert "is not the wheel stlpips-pytorch 0.0.2, by its SHA-256" in capsys.readouterr().err
    monkeypatch.setattr(st_lpips_fetch, "sha256", lambda path: st_lpips_fetch.SHA256)
    with pytest.raises(WeightsError, match="is not the wheel stlpips-pytorch"):
        st_lpips_fetch.fetch_st_lpips(tmp_path / "other.whl")
    (tmp_path / "no.whl").write_bytes(b"no zip")
    with pytest.raises(WeightsError, match="is not the wheel stlpips-pytorch"):
        st_lpips_fetch.fetch_st_lpips(tmp_path / "no.whl")
    assert not (tmp_path / "cache").exists()


def test_without_a_network_pip_says_why(monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(WeightsError, match="pip could not get stlpips-pytorch 0.0.2: ERROR.*--from"):
        st_lpips_fetch.fetch_st_lpips()


def test_without_pip_it_says_so(monkeypatch, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'python: No module named pip' >&2; exit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    with pytest.raises(WeightsError, match="No module named pip"):
        st_lpips_fetch.fetch_st_lpips()


@pytest.mark.parametrize("option", [("--url", "https://example.com/x"), ("--family", "caffe")])
def test_options_that_do_not_go_together(option, capsys):
    assert cli.main(["vgg", "fetch", "--st-lpips", *option]) == 2
    assert "leave out" in capsys.readouterr().err


def test_the_wheels_vgg_is_numbered_as_torchvisions():
    config = VGGConfig(VGG16, ST_LPIPS)
    numbers = [0, 2, 6, 8, 12, 14, 16, 20, 22, 24, 28, 30, 32]  # two poolings where torchvision has one
    stored = {f"net.slice1.{n}.{kind}": f"{n} {kind}" for n in numbers for kind in ("weight", "bias")}
    found = st_lpips_fetch.vgg_names(stored | {"net.slice2.5.filt": "blur", "lin0.model.1.weight": "w"}, config)
    assert found["features.0.weight"] == "0 weight" and found["features.5.bias"] == "6 bias"
    assert found["features.28.weight"] == "32 weight" and len(found) == 26
    with pytest.raises(WeightsError, match="12 convolutions"):
        st_lpips_fetch.vgg_names({name: x for name, x in stored.items() if ".32." not in name}, config)


# the genuine one, where it was fetched


def test_the_figures_of_its_own_package():
    """For photos reduced and enlarged by bicubic; the figures are from stlpips-pytorch 0.0.2 with PyTorch 2.13."""
    if not st_lpips.fetched().exists():
        pytest.skip("the networks of ST-LPIPS were not fetched: `minisrgan vgg fetch --st-lpips` gets them")
    network, found = load_st_lpips("numpy"), {}
    for path in packaged(HELD_OUT):
        name, hr = named(path)
        hr = hr[40:200, 120:296]
        pair = (upsample(downsample(hr, 4), 4), hr)
        found[name] = network.distance(*(Tensor(each[None].astype(np.float32) / 127.5 - 1) for each in pair))
    assert found == pytest.approx(FIGURES, abs=1e-4)


FIGURES = {"chelsea.png": 0.42304, "coffee.png": 0.26413}


def test_the_maps_of_its_vgg():
    """The means of relu1_2 … relu5_3 in the same package's VGG16, for a piece of a photo."""
    if not st_fetched().exists():
        pytest.skip("the networks of ST-LPIPS were not fetched: `minisrgan vgg fetch --st-lpips` gets them")
    vgg, photos = load_vgg(st_fetched(), scale=1), dict(named(path) for path in packaged(HELD_OUT))
    piece = photos["chelsea.png"][40:104, 120:191]
    maps = dict(vgg.maps(Tensor(piece[None].astype(np.float32) / 127.5 - 1)))
    found = [maps[vgg.config.index(layer)].data.mean() for layer in ("vgg12", "vgg22", "vgg33", "vgg43", "vgg53")]
    assert found == pytest.approx([0.021636, 0.011211, 0.008165, 0.075569, 5.01255], rel=1e-3)
