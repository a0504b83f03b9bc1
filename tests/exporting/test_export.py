"""Exported generators make the same pixels in the programs that read them, and the sketch of them does in NumPy."""

import importlib
import io
import keyword
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from minisrgan.errors import ConfigError, WeightsError
from minisrgan.exporting import export as exporting
from minisrgan.exporting import ncnn, onnx, torch
from minisrgan.exporting.export import FORMATS, check, check_name, export
from minisrgan.exporting.sketch import sketch
from minisrgan.models.architectures import build
from minisrgan.models.compact import CompactConfig
from minisrgan.models.esrgan import MSRResNetConfig, RRDBConfig
from minisrgan.models.generator import GeneratorConfig
from minisrgan.ops import Concatenate, Conv2dBias, PixelShuffle
from minisrgan.tensor import Tensor, no_grad
from minisrgan.weights.generators import load_generator
from minisrgan.weights.torch_files import read_torch

PLAIN = dict(batch_norm=False, bicubic_skip=True, edge_kernel=3, direct=True)
CONFIGS = [
    GeneratorConfig(8, 2, **PLAIN),
    GeneratorConfig(6, 1, **PLAIN | {"scale": 3}),
    GeneratorConfig(6, 1, **PLAIN | {"scale": 8}),
    GeneratorConfig(6, 2, edge_kernel=9),  # the paper's: batch norm, two doublings
    GeneratorConfig(6, 1, edge_kernel=5, scale=2, bicubic_skip=True),
    GeneratorConfig(6, 0, scale=3),
    CompactConfig(8, 2),
    CompactConfig(6, 1, scale=3),
    CompactConfig(6, 1, scale=1),
    RRDBConfig(6, 1, growth=4),
    RRDBConfig(6, 1, growth=4, scale=2, fold=2),
    RRDBConfig(6, 1, growth=4, scale=1, fold=4),
    MSRResNetConfig(6, 2),
    MSRResNetConfig(6, 1, scale=3),
]
configs = pytest.mark.parametrize("config", CONFIGS, ids=str)


def network(config):
    """A network whose arrays are all random, batch norm's averages too, and whose SR is about from -1 to 1."""
    made, rng = build(config, np.random.default_rng(0)), np.random.default_rng(1)
    for name, array in made.arrays().items():
        if "weight" in name:
            array[...] = rng.standard_normal(array.shape) / (array.size // array.shape[-1]) ** 0.5
        else:
            array[...] = rng.uniform(0.5, 1.5, array.shape) if "gamma" in name or "var" in name else (
                rng.uniform(-0.2, 0.3, array.shape)
            )  # fmt: skip
    return made.eval()


def lr_of(config, n=1):
    """LR with odd sides, which a network that folds pixels has to pad."""
    return np.random.default_rng(2).random((n, 3, 13, 9), dtype=np.float32)


def sr_of(generator, lr):
    with no_grad():
        return generator(Tensor(lr.transpose(0, 2, 3, 1))).data.transpose(0, 3, 1, 2) / 2 + 0.5


def in_numpy(layers, lr):
    """What the layers of a sketch compute."""
    found = [Tensor(lr.transpose(0, 2, 3, 1))]
    for layer in layers[1:]:
        x, *others = (found[n] for n in layer.inputs)
        about = layer.about
        match layer.kind:
            case "conv":
                at = {name: about[name] for name in ("stride", "padding", "shuffle")}
                x = Conv2dBias(x, Tensor(about["weight"]), Tensor(np.float32(about["bias"])), **at)
            case "prelu":
                x = Tensor(np.where(x.data > 0, x.data, about["slope"] * x.data))
            case "leaky":
                x = Tensor(np.where(x.data > 0, x.data, np.float32(about["slope"]) * x.data))
            case "add":
                x = x + others[0]
            case "times":
                x = x * about["factor"]
            case "join":
                x = Concatenate(x, *others, axis=3)
            case "nearest":
                x = PixelShuffle(Concatenate(*[x] * about["scale"] ** 2, axis=3), r=about["scale"])
            case "edge":
                sides = (about["lines"], about["lines"])
                x = Tensor(np.pad(x.data, [(0, 0), sides, sides, (0, 0)], mode="edge"))
            case "mirror":
                ends = (0, about["lines"])
                x = Tensor(np.pad(x.data, [(0, 0), ends, ends, (0, 0)], mode="reflect"))
            case "crop":
                x = x[:, : others[0].shape[1], : others[0].shape[2]]
        found.append(x)
    return found[-1].data.transpose(0, 3, 1, 2)


@configs
def test_a_sketch_makes_the_same_pixels(config):
    g, lr = network(config), lr_of(config, 2)
    assert np.abs(in_numpy(sketch(g), lr) - sr_of(g, lr)).max() < 1e-5


def test_a_sketch_has_no_layer_twice_and_none_in_vain():
    layers = sketch(network(RRDBConfig(6, 2, growth=4)))
    kinds = [layer.kind for layer in layers]
    assert kinds.count("conv") == 2 * 3 * 5 + 6 and kinds.count("leaky") == 2 * 3 * 4 + 3
    assert kinds.count("times") == 2 and kinds.count("add") == 2 * 3 + 2 + 1
    assert {n for layer in layers for n in layer.inputs} == {*range(len(layers) - 1)}


# ---- What other programs make of the files -----------------------------------------------------------------


@pytest.mark.parametrize("suffix", FORMATS)
@configs
def test_a_program_that_reads_it_makes_the_same_pixels(tmp_path, config, suffix):
    peer = FORMATS[suffix].peer
    pytest.importorskip(peer, reason=f"{peer} is not installed: make peers")
    g, path = network(config), tmp_path / f"g{suffix}"
    export(g, path, {"trained": "not at all"})
    said = check(g, path)
    if peer == "torch" and not (tmp_path / "g.py").exists():  # ESRGAN's and MSRResNet's code is elsewhere
        assert "spandrel" in said
        return
    assert said.startswith(f"{peer} makes the same pixels")
    lr = lr_of(config, 2)
    difference = np.abs(FORMATS[suffix].run(path, lr) - sr_of(g, lr)).max()
    assert difference < FORMATS[suffix].tolerance


@configs
def test_onnx_is_valid_and_says_what_it_is(config):
    package = pytest.importorskip("onnx", reason="onnx is not installed: make peers")
    model = package.load_from_string(onnx.model(sketch(network(config)), {"trained": "on birds", "license": "MIT"}))
    package.checker.check_model(model, full_check=True)
    assert {each.key: each.value for each in model.metadata_props} == {"trained": "on birds", "license": "MIT"}
    (lr,), (sr,) = model.graph.input, model.graph.output
    sides = [[side.dim_param or side.dim_value for side in each.type.tensor_type.shape.dim] for each in (lr, sr)]
    assert sides == [["batch", 3, "height", "width"], ["batch", 3, "scaled_height", "scaled_width"]]


@pytest.mark.parametrize("config", [config for config in CONFIGS if not isinstance(config, GeneratorConfig)], ids=str)
def test_spandrel_recognises_it(tmp_path, config):
    spandrel = pytest.importorskip("spandrel", reason="spandrel is not installed: make peers")
    peer = importlib.import_module("torch")
    if isinstance(config, MSRResNetConfig):
        pytest.skip("spandrel knows no MSRResNet")
    if isinstance(config, RRDBConfig):
        config = RRDBConfig(config.channels, config.blocks, 32, config.scale, config.fold)  # the growth it reads
    g, lr = network(config), lr_of(config)
    for suffix in (".pth", ".safetensors"):
        export(g, tmp_path / f"g{suffix}", {})
        model = spandrel.ModelLoader().load_from_file(tmp_path / f"g{suffix}")
        assert model.scale == config.scale
        with peer.no_grad():
            theirs = model.model.eval()(peer.from_numpy(lr)).numpy()
        assert np.abs(theirs - sr_of(g, lr)).max() < 1e-5


def test_an_image_of_any_size_can_be_folded(tmp_path):
    """Also one of the least size, and one that needs no padding."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: make peers")
    config = RRDBConfig(6, 1, growth=4, scale=1, fold=4)
    g = network(config)
    export(g, tmp_path / "g.onnx", {})
    for height, width in [(4, 5), (8, 12), (10, 11)]:
        lr = np.random.default_rng(2).random((1, 3, height, width), dtype=np.float32)
        assert np.abs(FORMATS[".onnx"].run(tmp_path / "g.onnx", lr) - sr_of(g, lr)).max() < 1e-5


# ---- The files themselves ----------------------------------------------------------------------------------


def test_ncnn_takes_each_blob_once_and_counts_them():
    text, numbers = ncnn.model(sketch(network(CONFIGS[0])))
    magic, counts, *lines = text.splitlines()
    made, read, parameters = [], [], 0
    for line in lines:
        kind, _, inputs, outputs, *words = line.split()
        read += words[: int(inputs)]
        made += words[int(inputs) :][: int(outputs)]
        settings = dict(word.split("=") for word in words if "=" in word)
        if kind == "Convolution":
            parameters += 1 + int(settings["6"]) + int(settings["0"])
        parameters += int(settings["0"]) if kind == "PReLU" else 0
    assert magic == "7767517" and counts == f"{len(lines)} {len(made)}"
    assert len({*made}) == len(made) and sorted([*read, "output"]) == sorted(made) and made[0] == "data"
    assert len(numbers) == 4 * parameters


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("config", [config for config in CONFIGS if not isinstance(config, GeneratorConfig)], ids=str)
def test_what_is_exported_for_pytorch_is_read_back(tmp_path, config, suffix):
    g = network(config)
    export(g, tmp_path / f"g{suffix}", {})
    back = load_generator(tmp_path / f"g{suffix}")
    assert back.config == config
    assert all((array == g.state()[name]).all() for name, array in back.state().items())


def test_a_pth_has_nothing_but_arrays(tmp_path):
    data = torch.pth({"a.weight": np.arange(6, dtype=np.float32).reshape(1, 2, 3), "ä": np.ones((), np.float32)})
    (tmp_path / "a.pth").write_bytes(data)
    read = read_torch(tmp_path / "a.pth")
    np.testing.assert_array_equal(read["a.weight"].read(), [[[0, 1, 2], [3, 4, 5]]])
    assert read["ä"].shape == () and read["ä"].read() == 1
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert {name.partition("/")[2] for name in archive.namelist()} == {"data/0", "data/1", "data.pkl", "version",
                                                                          "byteorder"}  # fmt: skip


def test_torch_loads_a_pth_without_running_it(tmp_path):
    peer = pytest.importorskip("torch", reason="torch is not installed: make peers")
    state = torch.state_dict(network(CONFIGS[0]))
    (tmp_path / "g.pth").write_bytes(torch.pth(state))
    loaded = peer.load(tmp_path / "g.pth", weights_only=True)
    assert loaded.keys() == state.keys() and all((loaded[name].numpy() == state[name]).all() for name in state)


def test_the_model_file_is_short_and_compiles(tmp_path):
    for i, config in enumerate(CONFIGS[:9]):
        export(network(config), tmp_path / f"g{i}.pth", {})
        text = (tmp_path / f"g{i}.py").read_text(encoding="utf-8")
        compile(text, "g.py", "exec")
        assert len(text.splitlines()) < 65 and max(map(len, text.splitlines())) <= 120


# ---- What goes wrong ---------------------------------------------------------------------------------------


def test_other_pixels_are_noticed(tmp_path, monkeypatch):
    g, path = network(CONFIGS[0]), tmp_path / "g.onnx"
    export(g, path, {})
    for shift, shape in [(2e-4, slice(None)), (np.nan, slice(None)), (0, slice(1))]:
        wrong = FORMATS[".onnx"]._replace(
            peer="numpy", run=lambda _, lr, shift=shift, shape=shape: sr_of(g, lr)[:, :, shape] + shift
        )
        monkeypatch.setitem(FORMATS, ".onnx", wrong)
        with pytest.raises(WeightsError, match="g.onnx: numpy makes other pixels"):
            check(g, path)
    monkeypatch.setitem(FORMATS, ".onnx", wrong._replace(run=lambda _, lr: sr_of(g, lr) + 5e-5))
    assert "numpy makes the same pixels" in check(g, path)


def test_without_the_program_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting.importlib.util, "find_spec", lambda name: None)
    assert "pip install onnxruntime" in check(network(CONFIGS[0]), tmp_path / "g.onnx")


def test_the_model_file_can_be_imported():
    names = [exporting.module(Path(name)).name for name in ("mine-x4.pth", "a/4x-b.c.safetensors")]
    assert names == ["mine_x4.py", "_4x_b_c.py"]


@pytest.mark.parametrize("name", ["torch", "json", "class", "2²", "a²", "ä", "back\\Nslash", 'we"""ird', "_"])
def test_any_name_gets_a_model_file_that_works(tmp_path, name):
    g = network(CONFIGS[0])
    _, made = export(g, tmp_path / f"{name}.pth", {})
    assert made.stem.isidentifier() and made.stem not in {*keyword.kwlist, *sys.stdlib_module_names, "torch"}
    compile(made.read_text(encoding="utf-8"), made, "exec")


def test_two_files_may_share_a_model_file(tmp_path):
    for name in ("a-x4.pth", "a_x4.safetensors"):
        assert export(network(CONFIGS[0]), tmp_path / name, {})[1] == tmp_path / "a_x4.py"


def test_names_that_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="g.txt: a name ends in .onnx, .param, .safetensors or .pth"):
        check_name(tmp_path / "g.txt")
    (tmp_path / "g.onnx").touch()
    with pytest.raises(ConfigError, match="g.onnx is there already"):
        check_name(tmp_path / "g.onnx")
    (tmp_path / "g.py").write_text("mine")
    with pytest.raises(ConfigError, match="g.py is there already"):
        export(network(CONFIGS[0]), tmp_path / "g.pth", {})
    assert not (tmp_path / "g.pth").exists() and (tmp_path / "g.py").read_text() == "mine"
