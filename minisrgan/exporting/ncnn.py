"""ncnn's pair of files: NAME.param, a text with a line for each layer, and NAME.bin, the numbers of one after another.

    Convolution  conv_3  1 1  x2 x3  0=64 1=3 4=1 5=1 6=36864
    kind         name    numbers of inputs and outputs, their names, and the layer's settings by number

The blobs are `data` and `output`, as Real-ESRGAN's ncnn programs name them (realesrgan-ncnn-vulkan, upscayl,
realsr-ncnn-vulkan). They are RGB in [0, 1]; these programs clip SR. ncnn takes each blob once, so one that is read more
often is split first. A `.bin` is all float32.
"""

from collections.abc import Sequence

import numpy as np

from ..weights.torch_layout import shuffled
from .sketch import Layer, readers

MAGIC = 7767517
FLOAT32 = bytes(4)  # the tag before a convolution's weights


def model(layers: Sequence[Layer]) -> tuple[str, bytes]:
    """(the text of the .param file, the bytes of the .bin file) of a network."""
    lines, numbers = [], []
    waiting: dict[int, list[str]] = {}  # the names under which a layer's result can still be read
    for n, (layer, count) in enumerate(zip(layers, readers(layers))):
        inputs = [waiting[i].pop() for i in layer.inputs]
        out = "output" if n == len(layers) - 1 else "data" if n == 0 else f"x{n}"
        for kind, settings in written(layer, numbers):
            name = f"{kind.lower()}_{len(lines)}"
            made = out if kind != "Convolution" or layer.about["shuffle"] == 1 else f"{out}_channels"
            lines.append(line(kind, name, inputs, [made], settings))
            inputs = [made]
        waiting[n] = [out]
        if count > 1:
            waiting[n] = [f"{out}_{i}" for i in range(count)]
            lines.append(line("Split", f"split_{len(lines)}", [out], waiting[n], {}))
    blobs = sum(int(each.split()[3]) for each in lines)
    return "\n".join([str(MAGIC), f"{len(lines)} {blobs}", *lines, ""]), b"".join(numbers)


def written(layer: Layer, numbers: list[bytes]) -> list[tuple[str, dict[int, float]]]:
    """[(kind, settings)] for a layer, one or two of ncnn's. Its arrays are appended to `numbers`."""
    about = layer.about

    def store(*arrays):
        numbers.extend(np.ascontiguousarray(array, "<f4").tobytes() for array in arrays)

    match layer.kind:
        case "input":
            return [("Input", {})]
        case "conv":
            weight, bias, r = about["weight"], about["bias"], about["shuffle"]
            order = np.argsort(shuffled(len(bias), r))  # ncnn shuffles as PyTorch does
            numbers.append(FLOAT32)
            store(weight.take(order, 3).transpose(3, 2, 0, 1), bias[order])
            settings = {0: len(bias), 1: weight.shape[1], 11: weight.shape[0], 3: about["stride"], 4: about["padding"]}
            shuffle = [("PixelShuffle", {0: r})] if r > 1 else []
            return [("Convolution", settings | {5: 1, 6: weight.size}), *shuffle]
        case "prelu":
            store(about["slope"])
            return [("PReLU", {0: len(about["slope"])})]
        case "leaky":
            return [("ReLU", {0: float(about["slope"])})]
        case "add":
            return [("BinaryOp", {0: 0})]
        case "times":
            return [("BinaryOp", {0: 2, 1: 1, 2: float(about["factor"])})]
        case "join":
            return [("Concat", {0: 0})]
        case "nearest":
            return [("Interp", {0: 1, 1: float(about["scale"]), 2: float(about["scale"])})]
        case "edge":
            return [("Padding", dict.fromkeys(range(4), about["lines"]) | {4: 1})]
        case "mirror":
            return [("Padding", {0: 0, 1: about["lines"], 2: 0, 3: about["lines"], 4: 2})]
        case "crop":
            return [("Crop", {})]
    raise TypeError(f"ncnn has no layer {layer.kind}")


def line(kind: str, name: str, inputs: list[str], outputs: list[str], settings: dict[int, float]) -> str:
    # a number with a point or an exponent is a float to ncnn
    words = [kind, name, len(inputs), len(outputs), *inputs, *outputs, *(f"{key}={v}" for key, v in settings.items())]
    return " ".join(map(str, words))
