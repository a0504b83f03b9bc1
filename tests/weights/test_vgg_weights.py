"""VGG's weights from every kind of file, and one line for every file that is not a VGG's."""

import json
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from minisrgan.errors import ConfigError, WeightsError
from minisrgan.models.vgg import PAPER_SCALE, SMALL, VGG16, VGG19, VGGConfig
from minisrgan.tensor import Tensor
from minisrgan.weights import vgg as vgg_weights
from minisrgan.weights.vgg import EMBEDDED, fetched, identify, load_content, load_vgg, open_vgg, save_vgg, shapes

THIN16 = ((2,) * 2, (2,) * 2, (3,) * 3, (3,) * 3, (4,) * 3)
THIN19 = ((2,) * 2, (2,) * 2, (3,) * 4, (3,) * 4, (4,) * 4)


@pytest.fixture(autouse=True)
def thin(monkeypatch):
    """VGG16 and VGG19 with few channels, so that files are small. They still differ in their layers."""
    monkeypatch.setattr(vgg_weights, "VGG16", THIN16)
    monkeypatch.setattr(vgg_weights, "VGG19", THIN19)
    monkeypatch.setattr(vgg_weights, "NAMES", {THIN16: "VGG16", THIN19: "VGG19", SMALL: "VGG small"})


def state(blocks=THIN19, dtype=np.float32):
    """Weights under torchvision's names and in its layout."""
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes(blocks).items()}


def written(path, arrays, variant="caffe"):
    save_file(arrays, path, {"variant": variant} if variant else None)
    return path


def refused(path, family=None):
    """Check that a file is refused in one line that names it; return the line."""
    with pytest.raises(WeightsError) as caught:
        load_vgg(path, family=family)
    line = str(caught.value)
    assert str(path) in line and "\n" not in line and (";" in line or ":" in line.replace(str(path) + ":", ""))
    return line


def same_weights(vgg, arrays):
    for name, own in vgg.state().items():
        theirs = arrays[name].astype(np.float32)
        np.testing.assert_array_equal(own, theirs.transpose(2, 3, 1, 0) if theirs.ndim == 4 else theirs)
    return True


# safetensors


@pytest.mark.parametrize("blocks", [THIN16, THIN19])
@pytest.mark.parametrize("before", ["", "module."])
def test_torchvisions_names_and_whatever_else_is_in_the_file(tmp_path, blocks, before):
    arrays = {before + name: array for name, array in state(blocks).items()}
    others = {"classifier.0.weight": np.ones((3, 3), np.float32), "pre_logits.fc1.weight": np.ones(3, np.float32)}
    vgg = load_vgg(written(tmp_path / "v.safetensors", arrays | others))
    assert vgg.config == VGGConfig(blocks, "caffe") and same_weights(vgg, state(blocks))
    assert len(vgg.features) == vgg.config.index() + 1 == {THIN16: 30, THIN19: 36}[blocks]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_every_floating_point_type(tmp_path, dtype):
    path = written(tmp_path / "v.safetensors", state(dtype=dtype))
    vgg = load_vgg(path)
    assert same_weights(vgg, state(dtype=dtype)) and vgg.features[0].weight.dtype == np.float32


def test_bfloat16(tmp_path):
    bits = {name: (array.view(np.uint32) >> 16).astype(np.uint16) for name, array in state().items()}
    path = written(tmp_path / "v.safetensors", bits)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    for name in bits:
        header[name]["dtype"] = "BF16"
    packed = json.dumps(header).encode()
    path.write_bytes(len(packed).to_bytes(8, "little") + packed + data[8 + length :])
    shortened = {name: (array.view(np.uint32) & 0xFFFF0000).view(np.float32) for name, array in state().items()}
    assert same_weights(load_vgg(path), shortened)


def test_whole_numbers_are_refused_by_name(tmp_path):
    arrays = state()
    arrays["features.2.bias"] = np.ones(2, np.int64)
    assert "'features.2.bias' holds I64 numbers" in refused(written(tmp_path / "v.safetensors", arrays))


def test_no_more_is_read_than_the_layer_needs(tmp_path):
    arrays = state()
    arrays["features.10.weight"][0, 0, 0, 0] = np.nan
    path = written(tmp_path / "v.safetensors", arrays)
    assert load_vgg(path, "vgg22").features[-1]
    with pytest.raises(WeightsError, match="'features.10.weight' holds NaN or infinity; the file is spoilt"):
        load_vgg(path, "vgg31")


def test_a_layer_of_either_name_from_a_file(tmp_path):
    path = written(tmp_path / "v.safetensors", state())
    x = Tensor(np.random.default_rng(1).uniform(-1, 1, (1, 8, 8, 3)).astype(np.float32))
    by_number, by_name = load_vgg(path, "features.8", scale=1.0)(x), load_vgg(path, "vgg22")(x)
    np.testing.assert_allclose(by_number.data * PAPER_SCALE, by_name.data, rtol=1e-6)
    assert load_vgg(path, "features.7")(x).data.min() < 0 == by_name.data.min()
    with pytest.raises(ConfigError, match="no layer 'vgg99'"):
        load_vgg(path, "vgg99")


# families


def test_the_family_is_what_the_file_says_or_else_the_user(tmp_path):
    silent, says = (written(tmp_path / f"{name}.safetensors", state(), name) for name in ("", "torchvision"))
    assert open_vgg(says)[0].family == open_vgg(says, "torchvision")[0].family == "torchvision"
    assert [open_vgg(silent, family)[0].family for family in ("torchvision", "caffe")] == ["torchvision", "caffe"]
    assert "--family" in refused(silent)
    assert "family torchvision, not caffe" in refused(says, "caffe")
    assert identify(silent)[1] is None
    odd = written(tmp_path / "odd.safetensors", state(), "quantized")
    assert "--family" in refused(odd)


def test_torchvisions_own_file_is_known_by_its_hash(tmp_path, monkeypatch):
    path = written(tmp_path / "v.safetensors", state(), None)
    monkeypatch.setattr(vgg_weights, "TORCHVISION", (vgg_weights.sha256(path)[:8],))
    assert open_vgg(path)[0].family == "torchvision"


def test_torchvisions_hashes():
    assert vgg_weights.TORCHVISION == ("397923af", "dcbb9e9d")  # vgg16-397923af.pth, vgg19-dcbb9e9d.pth


# PyTorch's files


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_of_pytorch(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    tensors = {name: torch.nn.Parameter(torch.from_numpy(array)) for name, array in state(THIN16).items()}
    tensors["classifier.0.weight"] = torch.ones(2, 2)
    path = tmp_path / "vgg16.pth"
    torch.save(tensors, path, _use_new_zipfile_serialization=zipped)
    assert same_weights(load_vgg(path, family="torchvision"), state(THIN16))
    assert "--family" in refused(path)


def test_a_model_instead_of_its_state_dict_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Conv2d(3, 4, 3), tmp_path / "model.pth")
    assert "names 'torch.nn.modules.conv.Conv2d'" in refused(tmp_path / "model.pth")


# Keras' files


@pytest.fixture
def keras_file(tmp_path):
    """A function that writes weights as the Keras of 2016 did, or that of today."""
    h5py = pytest.importorskip("h5py")

    def write(blocks=THIN19, names="{0}_W_1:0 {0}_b_1:0", change=lambda file: None):
        arrays = state(blocks)
        with h5py.File(tmp_path / "vgg_notop.h5", "w") as file:
            file.create_group("input_1")
            for (i, j), (index, _, _) in VGGConfig(blocks).convolutions().items():
                layer = f"block{i}_conv{j}"
                group = file.create_group(layer)
                weight, bias = names.format(layer).split()
                group[weight] = arrays[f"features.{index}.weight"].transpose(2, 3, 1, 0)
                group[bias] = arrays[f"features.{index}.bias"]
                file.require_group(f"block{i}_pool")
            change(file)
        return tmp_path / "vgg_notop.h5"

    return write


@pytest.mark.parametrize("blocks", [THIN16, THIN19])
@pytest.mark.parametrize("names", ["{0}_W_1:0 {0}_b_1:0", "{0}/kernel:0 {0}/bias:0"])
def test_a_file_of_keras(keras_file, blocks, names):
    vgg = load_vgg(keras_file(blocks, names))
    assert vgg.config == VGGConfig(blocks, "caffe") and same_weights(vgg, state(blocks))


def test_a_file_of_keras_that_is_of_another_network(keras_file):
    def lacking(file):
        del file["block5_conv4"]

    assert "VGG19 it lacks 'features.34.bias'" in refused(keras_file(change=lacking))


def test_a_cut_file_of_keras(keras_file):
    path = keras_file()
    path.write_bytes(path.read_bytes()[:3000])
    assert "damaged or cut HDF5 file" in refused(path)


def elsewhere(file, group, h5py, tmp_path):
    """Numbers in other files are not read, whichever of HDF5's ways points to them."""
    with h5py.File(tmp_path / "private.h5", "w") as private:
        private["kernel"], private["bias"] = file[f"{group}/kernel"][()], np.ones(2, np.float32)
    (tmp_path / "private.raw").write_bytes(bytes(8))


def linked(file, group, h5py, tmp_path):
    elsewhere(file, group, h5py, tmp_path)
    del file[group]
    file[group] = h5py.ExternalLink("private.h5", "/")
    return "it lacks 'features.2.bias'"


def raw(file, group, h5py, tmp_path):
    elsewhere(file, group, h5py, tmp_path)
    del file[f"{group}/bias"]
    file[group].create_dataset("bias", (2,), "f4", external=[(str(tmp_path / "private.raw"), 0, 8)])
    return "in another file"


def virtual(file, group, h5py, tmp_path):
    elsewhere(file, group, h5py, tmp_path)
    del file[f"{group}/bias"]
    layout = h5py.VirtualLayout((2,), "f4")
    layout[:] = h5py.VirtualSource("private.h5", "bias", (2,))
    file[group].create_virtual_dataset("bias", layout)
    return "in another file"


def of_text(file, group, h5py, tmp_path):
    del file[f"{group}/bias"]
    file[group].create_dataset("bias", (2,), "S30000000", chunks=(1,), compression="gzip")
    return "holds 'S' numbers"


def of_integers(file, group, h5py, tmp_path):
    del file[f"{group}/bias"]
    file[f"{group}/bias"] = np.ones(2, np.int32)
    return "holds 'i' numbers"


def in_large_chunks(file, group, h5py, tmp_path):
    del file[f"{group}/bias"]
    file[group].create_dataset("bias", (2,), "f4", chunks=(1 << 28,), maxshape=(None,), compression="gzip")
    return "too large to unpack safely"


def of_many_items(file, group, h5py, tmp_path):
    for i in range(100):
        file[group].create_group(str(i))
    return "holds more than a layer's weights"


@pytest.mark.parametrize("change", [linked, raw, virtual, of_text, of_integers, in_large_chunks, of_many_items])
def test_of_an_hdf5_file_only_its_own_weights_are_read(keras_file, tmp_path, change):
    h5py = pytest.importorskip("h5py")
    path = keras_file(names="kernel bias")
    with h5py.File(path, "a") as file:
        said = change(file, "block1_conv2", h5py, tmp_path)
    assert said in refused(path)


def test_without_h5py_its_name_is_given(tmp_path, monkeypatch):
    (tmp_path / "v.h5").write_bytes(vgg_weights.HDF5 + bytes(100))
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert "pip install h5py" in refused(tmp_path / "v.h5")


# files that are none


@pytest.mark.parametrize(
    "data, what",
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 574673361\n", "git lfs pull"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"\n <html>", "web page"),
        (b'{"error": "not found"}', "vgg fetch"),
        (b"\x80\x02}q", "damaged or cut file of PyTorch"),
        (b"PK\x03\x04 and no more", "damaged or cut file of PyTorch"),
        (b"\x1f\x8b gzip", "vgg fetch"),
        (bytes(1000), "vgg fetch"),
    ],
)
@pytest.mark.parametrize("name", ["vgg19.pth", "vgg19.safetensors"])
def test_a_file_that_is_something_else(tmp_path, data, what, name):
    (tmp_path / name).write_bytes(data)
    assert what in refused(tmp_path / name)


def test_no_file_and_a_folder(tmp_path):
    assert "no such file" in refused(tmp_path / "none.pth")
    assert "a folder" in refused(tmp_path)


@pytest.mark.parametrize("length", [0.1, 0.5, 0.99])
def test_a_cut_file(tmp_path, length):
    path = written(tmp_path / "v.safetensors", state())
    data = path.read_bytes()
    path.write_bytes(data[: int(length * len(data))])
    assert "damaged" in refused(path)


def changed(**changes):
    return {name: array for name, array in (state() | changes).items() if array is not None}


def normed():
    arrays = state()
    return arrays | {f"features.1.{kind}": np.ones(2, np.float32) for kind in ("weight", "bias", "running_mean")}


@pytest.mark.parametrize(
    "arrays, what",
    [
        ({"conv1.weight": np.ones(3, np.float32)}, "has no array named like a VGG's, such as features.0.weight"),
        ({f"features.{n}.weight": np.ones((2, 2), np.float32) for n in (0, 3)}, "is no VGG16 or VGG19"),
        (changed(**{"features.34.weight": None}), "VGG19 it lacks 'features.34.weight'"),
        (changed(**{"features.36.bias": np.ones(4, np.float32)}), "VGG19 it has in addition 'features.36.bias'"),
        (
            changed(**{"features.28.weight": np.ones((4, 4, 3, 3), np.float32)}),
            "'features.28.weight' is (4, 4, 3, 3), not",
        ),
        (changed(**{"features.0.weight": np.ones((2, 1, 3, 3), np.float32)}), "is (2, 1, 3, 3), not (2, 3, 3, 3)"),
        (changed(**{"features.0.weight": np.ones((3, 3, 3, 2), np.float32)}), "is (3, 3, 3, 2), not (2, 3, 3, 3)"),
        (changed(**{"features.0.bias": np.ones((1, 2), np.float32)}), "is (1, 2), not (2,)"),
        (normed(), "batch norm"),
        (changed(**{"features.21.bias": np.full(3, np.inf, np.float32)}), "'features.21.bias' holds NaN or infinity"),
    ],
)
def test_weights_of_something_else(tmp_path, arrays, what):
    assert what in refused(written(tmp_path / "v.safetensors", arrays))


# ours


def test_what_is_saved_comes_back_and_is_torchvisions_to_others(tmp_path):
    path, arrays = tmp_path / "v.safetensors", state()
    vgg = load_vgg(written(tmp_path / "other.safetensors", arrays))
    save_vgg(path, vgg.config, vgg.state(), source="somewhere")
    assert same_weights(load_vgg(path), arrays) and open_vgg(path)[0].family == "caffe"
    for name, array in load_file(path).items():
        np.testing.assert_array_equal(array, arrays[name])


def test_content_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("MINISRGAN_CACHE", str(tmp_path / "cache"))
    assert fetched(THIN19) == tmp_path / "cache" / "vgg19.safetensors"
    monkeypatch.setattr(vgg_weights.fetched, "__defaults__", (THIN19,))
    with pytest.raises(WeightsError, match="vgg54 needs VGG19's weights: `minisrgan vgg fetch` gets them"):
        load_content("vgg54")
    given = written(tmp_path / "v.safetensors", state())
    assert len(load_content("vgg22", given).features) == 9
    (tmp_path / "cache").mkdir()
    written(fetched(THIN19), state(), "torchvision")
    assert load_content("vgg54").config == VGGConfig(THIN19, "torchvision")
    assert load_content("vgg22", given).config.family == "caffe"  # what is named goes first
    with pytest.raises(ConfigError):
        load_content("vgg99")


def test_the_packages_own():
    vgg = load_vgg()
    assert vgg.config == VGGConfig(SMALL) and len(vgg.features) == VGGConfig(SMALL).index() + 1
    content = load_content("vgg-small")
    assert len(content.features) == VGGConfig(SMALL).index("vgg34") + 1 and content.scale == PAPER_SCALE
    assert all(np.array_equal(vgg.state()[name], array) for name, array in content.state().items())
    assert EMBEDDED.stat().st_size < 1_000_000


def test_the_real_architectures():
    assert shapes(VGG19)["features.34.weight"] == shapes(VGG16)["features.28.weight"] == (512, 512, 3, 3)
    assert sum(np.prod(shape) for shape in shapes(VGG19).values()) == 20_024_384
    assert sum(np.prod(shape) for shape in shapes(VGG16).values()) == 14_714_688
