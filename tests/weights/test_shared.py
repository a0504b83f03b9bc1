"""Files of other programs: recognised by names and shapes, and the same pixels as there."""

import io
import pickle
import re
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file

from minisrgan.errors import WeightsError
from minisrgan.exporting.torch import pth, text
from minisrgan.models.architectures import build
from minisrgan.models.compact import CompactConfig
from minisrgan.models.esrgan import MSRResNetConfig, RRDBConfig
from minisrgan.tensor import Tensor, no_grad
from minisrgan.weights.generators import load_generator
from minisrgan.weights.torch_layout import to_torch

CONFIGS = [
    CompactConfig(5, 2),
    CompactConfig(5, 0, scale=2),
    CompactConfig(5, 1, scale=1),
    RRDBConfig(5, 2, growth=3),
    RRDBConfig(5, 1, growth=3, scale=2, fold=2),
    RRDBConfig(5, 1, growth=3, scale=1, fold=4),
    RRDBConfig(5, 1, growth=3, scale=8),
    RRDBConfig(5, 1, growth=3, scale=1),
    MSRResNetConfig(5, 2),
    MSRResNetConfig(5, 1, scale=3),
    MSRResNetConfig(5, 1, scale=2),
]


def network(config):
    made, rng = build(config, np.random.default_rng(0)), np.random.default_rng(1)
    for parameter in made.parameters():
        parameter.data[...] = rng.uniform(-0.3, 0.3, parameter.shape)
    return made


def state_of(config):
    """{name in BasicSR's code: array}."""
    made = network(config)
    return to_torch(made, made.state())


def first_esrgan(state):
    """The names of ESRGAN's first code, which numbers its layers."""
    ups = sum(re.fullmatch(r"conv_up\d\.weight", name) is not None for name in state)
    blocks = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("body."))
    names = {"conv_first": 0, "conv_hr": 3 * ups + 2, "conv_last": 3 * ups + 4}
    names |= {f"conv_up{i}": 3 * i for i in range(1, ups + 1)}

    def renamed(name):
        if name.startswith("body."):
            return re.sub(r"body\.(\d+)\.rdb(\d)\.conv(\d)", r"model.1.sub.\1.RDB\2.conv\3.0", name)
        title, kind = name.split(".")
        return f"model.1.sub.{blocks}.{kind}" if title == "conv_body" else f"model.{names[title]}.{kind}"

    return {renamed(name): array for name, array in state.items()}


def second_esrgan(state):
    """The names of ESRGAN's second code."""
    pairs = [(r"^body\.(\d+)\.rdb", r"RRDB_trunk.\1.RDB"), ("^conv_body", "trunk_conv"), ("^conv_up", "upconv"),
             ("^conv_hr", "HRconv")]  # fmt: skip
    renamed = {}
    for name, array in state.items():
        for old, new in pairs:
            name = re.sub(old, new, name)
        renamed[name] = array
    return renamed


def same(generator, config):
    state = network(config).state()
    return generator.config == config and all((a == state[name]).all() for name, a in generator.state().items())


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_the_network_is_recognised(tmp_path, config):
    (tmp_path / "a.pth").write_bytes(pth(state_of(config)))
    save_file(state_of(config), tmp_path / "a.safetensors")
    assert same(load_generator(tmp_path / "a.pth"), config) and same(load_generator(tmp_path / "a.safetensors"), config)


@pytest.mark.parametrize("names", [first_esrgan, second_esrgan])
@pytest.mark.parametrize("config", [config for config in CONFIGS if isinstance(config, RRDBConfig)], ids=str)
def test_names_of_earlier_code(tmp_path, names, config):
    (tmp_path / "a.pth").write_bytes(pth(names(state_of(config))))
    assert same(load_generator(tmp_path / "a.pth"), config)


@pytest.mark.parametrize("prefix", ["module.", "netG."])
def test_a_prefix_before_each_name(tmp_path, prefix):
    (tmp_path / "a.pth").write_bytes(pth({prefix + name: a for name, a in state_of(CONFIGS[3]).items()}))
    assert same(load_generator(tmp_path / "a.pth"), CONFIGS[3])


def nested(state, key, beside):
    """A .pth in which the state_dict lies under a key, beside another one."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(pth(state))) as archive, zipfile.ZipFile(out, "w") as other:
        for name in archive.namelist():
            data = archive.read(name)
            if name.endswith("data.pkl"):
                inner = data.removeprefix(b"\x80\x02").removesuffix(b".")
                empty = b"}" + b"(" + text("step") + b"K\x07u"
                data = b"\x80\x02}(" + text(beside) + empty + text(key) + inner + b"u."
            other.writestr(name, data)
    return out.getvalue()


@pytest.mark.parametrize("key", ["params", "params_ema", "state_dict"])
def test_a_state_dict_beside_other_things(tmp_path, key):
    (tmp_path / "a.pth").write_bytes(nested(state_of(CONFIGS[0]), key, "optimizer"))
    assert same(load_generator(tmp_path / "a.pth"), CONFIGS[0])


def test_the_average_is_taken_where_there_is_one(tmp_path):
    (tmp_path / "a.pth").write_bytes(nested(state_of(CONFIGS[0]), "params_ema", "params"))
    assert same(load_generator(tmp_path / "a.pth"), CONFIGS[0])


def changed(config=CONFIGS[3], drop=(), **more):
    return {name: array for name, array in state_of(config).items() if name not in drop} | more


def compact_of(colours, last=None):
    """A Compact of scale 4 for photos of so many colours."""
    shapes = {"0.weight": (5, colours, 3, 3), "1.weight": (5,), "2.bias": (16 * colours if last is None else last,)}
    return {f"body.{name}": np.ones(shape, np.float32) for name, shape in shapes.items()}


def grey_that_folds():
    first, last = np.ones((5, 4, 3, 3), np.float32), np.ones((1, 5, 3, 3), np.float32)
    return changed(**{"conv_first.weight": first, "conv_last.weight": last})


ONE = np.ones((1, 1), np.float32)
REFUSED = {
    "SwinIR": ({"layers.0.residual_group.blocks.0.attn.qkv.weight": ONE}, "seems to be a transformer, such as SwinIR"),
    "RCAN": ({"body.0.body.0.body.3.conv_du.0.weight": ONE}, "seems to be RCAN"),
    "EDSR": ({"conv_first.weight": ONE, "conv_after_body.weight": ONE}, "seems to be EDSR"),
    "VGG": ({"features.0.weight": ONE}, "seems to be VGG"),
    "ours": ({"head.0.weight": ONE, "trunk.weight": ONE}, "exported from minisrgan"),
    "ESRGAN+": (changed(**{"body.0.rdb1.conv1x1.weight": ONE}), r"seems to be rrdb, but .*conv1x1.* in only one"),
    "unknown": ({"a": ONE, "b": ONE, "c": ONE}, r"3 arrays of an unknown network \('a', 'b'\)"),
    "nothing": ({}, "0 arrays of an unknown network"),
    "missing": (changed(drop=["conv_hr.bias"]), "seems to be rrdb, but .*'conv_hr.bias' is in only one"),
    "no end": (changed(drop=["conv_last.weight"]), "there is no 'conv_last.weight'"),
    "another shape": (changed(**{"conv_hr.bias": np.ones(4, np.float32)}), r"'conv_hr.bias' is \(4,\), not \(5,\)"),
    "grey": (changed(**{"conv_first.weight": np.ones((5, 1, 3, 3), np.float32)}), "takes 1 channels and gives 3"),
    "grey Compact": (compact_of(1), "takes 1 channels and gives 1,"),
    "Compact of four channels": (compact_of(4), "takes 4 channels and gives 4,"),
    "Compact of no channels": (compact_of(0, 16), "takes 0 channels and gives 16,"),
    "grey that folds": (grey_that_folds(), "takes 1 channels and gives 1,"),
    "no shape": (changed(**{"conv_first.weight": np.ones(1, np.float32)}), "fit no network"),
    "NaN": (changed(**{"conv_hr.bias": np.full(5, np.nan, np.float32)}), "'conv_hr.bias' holds NaN"),
    "blocks without end": (changed(**{f"body.{10**9}.rdb1.conv1.bias": ONE}), "seems to be rrdb, but .*only one"),
    "more digits than Python reads": (changed(**{f"body.{'9' * 5000}.rdb1.conv1.bias": ONE}), "fit no network"),
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_gets_one_line(tmp_path, kind, suffix):
    arrays, said = REFUSED[kind]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(pth(arrays)) if suffix == ".pth" else save_file(arrays, path)
    with pytest.raises(WeightsError, match=said) as caught:
        load_generator(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_a_pickle_that_calls_something_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (pytest.fail, ("it was run",))

    (tmp_path / "a.pth").write_bytes(pickle.dumps({"a": Evil()}, protocol=2))
    with pytest.raises(WeightsError, match="nothing in it was run"):
        load_generator(tmp_path / "a.pth")


def test_pytorch_has_a_colours_pixels_side_by_side_and_we_a_pixels_colours():
    g = build(RRDBConfig(5, 0, scale=2, fold=2), np.random.default_rng(0))
    theirs = to_torch(g, g.state())["conv_first.weight"]
    compact = build(CompactConfig(5, 0, scale=2), np.random.default_rng(0))
    shuffled = to_torch(compact, compact.state())["body.2.weight"]
    for colour in range(3):
        for pixel in range(4):
            ours = g.state()["conv_first.weight"][:, :, 3 * pixel + colour]
            np.testing.assert_array_equal(theirs[:, 4 * colour + pixel], ours.transpose(2, 0, 1))
            ours = compact.state()["body.2.weight"][..., 3 * pixel + colour]
            np.testing.assert_array_equal(shuffled[4 * colour + pixel], ours.transpose(2, 0, 1))


# ---- The same pixels as in PyTorch -------------------------------------------------------------------------


def compared(path, model, size=(11, 7)):
    """The largest difference between PyTorch's pixels and ours, and the configuration that was recognised."""
    import torch

    torch.save(model.state_dict(), path)
    lr = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs = model.eval()(lr).numpy()
    generator = load_generator(path)
    with no_grad():
        ours = generator(Tensor(lr.numpy().transpose(0, 2, 3, 1).copy())).data.transpose(0, 3, 1, 2) / 2 + 0.5
    assert ours.shape == theirs.shape
    return np.abs(ours - theirs).max() / np.abs(theirs).max(), generator.config


@pytest.mark.parametrize("how", [{"_use_new_zipfile_serialization": False}, {}])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_what_torch_saves_is_read(tmp_path, how, dtype):
    torch = pytest.importorskip("torch", reason="torch is not installed: make peers")
    state = {name: torch.from_numpy(array).to(getattr(torch, dtype)) for name, array in state_of(CONFIGS[3]).items()}
    torch.save({"params_ema": state, "iter": 5}, tmp_path / "a.pth", **how)
    g = load_generator(tmp_path / "a.pth")
    back = to_torch(g, g.state())
    assert g.config == CONFIGS[3] and all((back[name] == state[name].float().numpy()).all() for name in state)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_compact_makes_the_pixels_of_spandrel(tmp_path, scale):
    pytest.importorskip("spandrel", reason="spandrel is not installed: make peers")
    from spandrel.architectures.Compact import Compact

    difference, config = compared(tmp_path / "a.pth", Compact(num_feat=12, num_conv=3, upscale=scale))
    assert difference < 1e-5 and config == CompactConfig(12, 3, scale)


@pytest.mark.parametrize(("scale", "fold"), [(1, None), (2, None), (4, None), (8, None), (4, 2), (4, 4)])
def test_esrgan_makes_the_pixels_of_spandrel(tmp_path, scale, fold):
    pytest.importorskip("spandrel", reason="spandrel is not installed: make peers")
    from spandrel.architectures.ESRGAN import ESRGAN

    model = ESRGAN(in_nc=3 * (fold or 1) ** 2, num_filters=12, num_blocks=2, scale=scale, shuffle_factor=fold)
    difference, config = compared(tmp_path / "a.pth", model)
    assert difference < 1e-5 and config == RRDBConfig(12, 2, 32, scale // (fold or 1), fold or 1)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_msrresnet_makes_the_pixels_of_pytorch(tmp_path, scale):
    torch = pytest.importorskip("torch", reason="torch is not installed: make peers")
    nn, functional = torch.nn, torch.nn.functional

    def conv(cin, cout):
        return nn.Conv2d(cin, cout, 3, padding=1)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = conv(12, 12), conv(12, 12)

        def forward(self, x):
            return x + self.conv2(torch.relu(self.conv1(x)))

    class MSRResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv_first, self.body = conv(3, 12), nn.Sequential(Block(), Block())
            self.upconv1 = conv(12, 12 * (9 if scale == 3 else 4))
            if scale == 4:
                self.upconv2 = conv(12, 48)
            self.conv_hr, self.conv_last = conv(12, 12), conv(12, 3)

        def forward(self, lr):
            def leaky(x):
                return functional.leaky_relu(x, 0.1)

            x = self.body(leaky(self.conv_first(lr)))
            x = leaky(functional.pixel_shuffle(self.upconv1(x), 3 if scale == 3 else 2))
            x = leaky(functional.pixel_shuffle(self.upconv2(x), 2)) if scale == 4 else x
            base = functional.interpolate(lr, scale_factor=scale, mode="bilinear", align_corners=False)
            return self.conv_last(leaky(self.conv_hr(x))) + base

    difference, config = compared(tmp_path / "a.pth", MSRResNet())
    assert difference < 1e-5 and config == MSRResNetConfig(12, 2, scale)
