"""PyTorch's files: a state_dict, and a small model that is built of it.

Compact, ESRGAN and MSRResNet get the names of their public code, so that other programs recognise them. A generator of
this project has the names that it has here. LR and SR are both in [0, 1]: that, and batch norm, are worked into its
weights.

A .pth is a zip with a pickle, which is a program that puts the state_dict together. This one names OrderedDict,
FloatStorage and the function that makes a tensor, and nothing else. So `torch.load` reads it with weights_only=True.
"""

import io
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..device.fusion import fold, layers_of
from ..models.architectures import Network
from ..models.compact import Compact
from ..models.generator import SHUFFLES, Generator, GeneratorConfig, bicubic_weights
from ..nn import Conv
from ..weights.torch_layout import to_torch

HEAD = '''"""A network for PyTorch, exported by minisrgan. Its weights are in the .pth or .safetensors of its name.

RGB in [0, 1], NCHW, in and out; SR is {scale} times as large, and is to be clipped.

    sr = load(path)(lr).clamp(0, 1)
"""

import torch
from torch import nn
from torch.nn import functional as F

'''
LOAD = """

def load(path):
    if path.endswith(".safetensors"):
        from safetensors.torch import load_file as read
    else:
        read = torch.load
    net = Net().eval()
    net.load_state_dict(read(path))
    return net
"""
COMPACT = '''
class Net(nn.Module):
    """SRVGGNetCompact."""

    def __init__(self):
        super().__init__()
        layers = []
        for cin in [3] + [{channels}] * {blocks}:
            layers += [nn.Conv2d(cin, {channels}, 3, padding=1), nn.PReLU({channels})]
        self.body = nn.Sequential(*layers, nn.Conv2d({channels}, {shuffled}, 3, padding=1))

    def forward(self, lr):
        return F.pixel_shuffle(self.body(lr), {scale}) + F.interpolate(lr, scale_factor={scale}, mode="nearest")
'''
SRRESNET = '''
def conv(cin, cout, side=3):
    return nn.Conv2d(cin, cout, side, padding=side // 2)


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv1, self.prelu, self.conv2 = conv(c, c), nn.PReLU(c), conv(c, c)

    def forward(self, x):
        return x + self.conv2(self.prelu(self.conv1(x)))


class Net(nn.Module):
    """SRResNet{how}."""

    shuffles = {shuffles}  # of the enlargements before the last layer

    def __init__(self):
        super().__init__()
        c = {channels}
        self.head = nn.Sequential(conv(3, c, {edge_kernel}), nn.PReLU(c))
        self.blocks = nn.Sequential(*[Block(c) for _ in range({blocks})])
        self.trunk = conv(c, c)
        self.upsample = nn.ModuleList([nn.Sequential(conv(c, c * r * r), nn.PReLU(c)) for r in self.shuffles])
        self.tail = conv(c, {shuffled}, {end})
{buffer}
    def forward(self, lr):
        x = self.head(lr)
        x = x + self.trunk(self.blocks(x))
        for (up, prelu), r in zip(self.upsample, self.shuffles):
            x = prelu(F.pixel_shuffle(up(x), r))
        x = F.pixel_shuffle(self.tail(x), {last})
        return x{added}
'''
BUFFER = """        self.register_buffer("bicubic", torch.empty({kernels}, 1, 5, 5))
"""
ADDED = """ + F.pixel_shuffle(
            F.conv2d(F.pad(lr, (2, 2, 2, 2), mode="replicate"), self.bicubic, groups=3), {scale}
        )"""


def state_dict(generator: Network) -> dict[str, np.ndarray]:
    """{PyTorch's name: array}."""
    if not isinstance(generator, Generator):
        return to_torch(generator, generator.state())
    config, plain = generator.config, without_batch_norm(generator)
    state = {name.replace(".layers.", "."): array for name, array in to_torch(plain, plain.state()).items()}
    state = {name: 0.5 * array if name.startswith("tail.") else array for name, array in state.items()}
    if not config.bicubic_skip:
        return state | {"tail.bias": state["tail.bias"] + np.float32(0.5)}
    kernels = bicubic_weights(1, config.scale).transpose(3, 2, 0, 1)
    return state | {"bicubic": np.tile(kernels, (3, 1, 1, 1)).astype(np.float32)}


def without_batch_norm(generator: Generator) -> Generator:
    """The same generator, whose convolutions have the frozen batch norm after them in their weights."""
    config = GeneratorConfig(**vars(generator.config) | {"batch_norm": False})
    plain = Generator(config, np.random.default_rng(0))
    theirs: dict[str, Any] = dict(generator.modules())
    folded = {}
    for prefix, module in plain.modules():
        other = theirs[prefix]
        if isinstance(module, Conv):
            layers: list[Any] = layers_of([other])
            weight, bias = fold(*layers) if len(layers) == 2 else (other.weight, other.bias)
            folded |= {f"{prefix}weight": weight.data, f"{prefix}bias": bias.data}
        elif hasattr(module, "slope"):
            folded[f"{prefix}slope"] = other.slope.data
    plain.load_state(folded)
    return plain


def code(generator: Network) -> str | None:
    """A Python file that builds the network and loads its weights; None if PyTorch's users have it already. No file's
    name is in it, so that it is the same beside several, and a name cannot become a part of the program."""
    if isinstance(generator, Compact):
        config = generator.config
        body = COMPACT.format(**vars(config), shuffled=3 * config.scale**2)
    elif isinstance(generator, Generator):
        config = generator.config
        last = config.scale if config.direct else 1
        body = SRRESNET.format(
            **vars(config),
            how=", and the bicubic enlargement added" if config.bicubic_skip else "",
            shuffles=() if config.direct else SHUFFLES[config.scale],
            end=3 if config.direct else config.edge_kernel,
            shuffled=3 * last**2,
            last=last,
            buffer=BUFFER.format(kernels=3 * config.scale**2) if config.bicubic_skip else "",
            added=ADDED.format(scale=config.scale) if config.bicubic_skip else "",
        )
    else:
        return None
    return HEAD.format(scale=config.scale) + body + LOAD


# ---- A .pth file -----------------------------------------------------------------------------------------

ORDERED_DICT = b"ccollections\nOrderedDict\n)R"  # a name, no arguments, and the call


def pth(state: Mapping[str, np.ndarray]) -> bytes:
    """The file that torch.save would write of {name: float32 array}."""
    made, file = [b"\x80\x02", ORDERED_DICT, b"("], io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for key, (name, array) in enumerate(state.items()):
            archive.writestr(f"archive/data/{key}", np.ascontiguousarray(array, "<f4").tobytes())
            strides = [int(np.prod(array.shape[i + 1 :])) for i in range(array.ndim)]
            storage = b"(" + b"".join([text("storage"), b"ctorch\nFloatStorage\n", text(str(key)), text("cpu")])
            storage += number(array.size) + b"tQ"
            tensor = [storage, number(0), numbers(array.shape), numbers(strides), b"\x89", ORDERED_DICT]
            made += [text(name), b"ctorch._utils\n_rebuild_tensor_v2\n(", *tensor, b"tR"]
        archive.writestr("archive/data.pkl", b"".join([*made, b"u."]))
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3\n")
    return file.getvalue()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def numbers(values: tuple[int, ...] | list[int]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"
