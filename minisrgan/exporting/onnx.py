"""ONNX files, written directly. They are Protocol Buffers: a message is a row of (field's number, value).

    ModelProto      1 ir_version, 2 producer, 7 graph, 8 opset_import, 14 metadata
    GraphProto      1 node, 2 name, 5 initializer, 11 input, 12 output
    NodeProto       1 input, 2 output, 4 op_type, 5 attribute
    TensorProto     1 dims, 2 data_type, 8 name, 9 raw_data
    AttributeProto  1 name, 2 f, 3 i, 4 s, 8 ints, 20 type

The numbers are those of onnx.proto. The input is `input`, (batch, 3, height, width) in [0, 1], and the output is
`output`, of the same kind, `scale` times as large.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .sketch import Layer

OPSET, IR = 13, 7  # what ONNX 1.8 of 2020 reads, and all since
FLOAT, INT64 = 1, 7  # of TensorProto.data_type
AS_FLOAT, AS_INT, AS_TEXT, AS_INTS = 1, 2, 3, 7  # of AttributeProto.type


def model(layers: Sequence[Layer], metadata: Mapping[str, str]) -> bytes:
    """The file of a network, with {key: text} about it."""
    nodes, arrays = [], []
    for n, layer in enumerate(layers[1:], 1):
        add_nodes(nodes, arrays, layer, n, "output" if n == len(layers) - 1 else f"x{n}")
    graph = message(
        (1, nodes), (2, "minisrgan"), (5, arrays), (11, [image("input", "")]), (12, [image("output", "scaled_")])
    )
    opset = message((2, OPSET))
    entries = [message((1, key), (2, text)) for key, text in metadata.items()]
    return message((1, IR), (2, "minisrgan"), (7, graph), (8, opset), (14, entries))


def add_nodes(nodes: list[bytes], arrays: list[bytes], layer: Layer, n: int, out: str) -> None:
    """Append the nodes of the n-th layer, whose result is `out`, and the arrays that they need."""
    about, inputs = layer.about, ["input" if i == 0 else f"x{i}" for i in layer.inputs]

    def stored(name, array):
        arrays.append(tensor(f"{name}{n}", array))
        return f"{name}{n}"

    def node(kind, inputs, out=out, **attributes):
        listed = [attribute(name, value) for name, value in attributes.items()]
        nodes.append(message((1, inputs), (2, out), (4, kind), (5, listed)))

    match layer.kind:
        case "conv":
            weight, r = about["weight"].transpose(3, 2, 0, 1), about["shuffle"]
            read = [*inputs, stored("weight", weight), stored("bias", about["bias"])]
            convolved = out if r == 1 else f"{out}_channels"
            node("Conv", read, convolved, strides=[about["stride"]] * 2, pads=[about["padding"]] * 4)
            if r > 1:
                node("DepthToSpace", [convolved], blocksize=r, mode="DCR")
        case "prelu":
            node("PRelu", [*inputs, stored("slope", about["slope"].reshape(-1, 1, 1))])
        case "leaky":
            node("LeakyRelu", inputs, alpha=about["slope"])
        case "add":
            node("Add", inputs)
        case "times":
            node("Mul", [*inputs, stored("factor", np.float32(about["factor"]))])
        case "join":
            node("Concat", inputs, axis=1)
        case "nearest":
            scales = stored("scales", np.array([1, 1, about["scale"], about["scale"]], np.float32))
            mode = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
            node("Resize", [*inputs, "", scales], **mode)
        case "edge":
            lines = about["lines"]
            node("Pad", [*inputs, stored("pads", np.array([0, 0, lines, lines] * 2, np.int64))], mode="edge")
        case "mirror":
            ends = np.array([0] * 6 + [about["lines"]] * 2, np.int64)
            node("Pad", [*inputs, stored("pads", ends)], mode="reflect")
        case "crop":
            node("Shape", [inputs[1]], f"{out}_shape")
            node("Slice", [inputs[0], stored("starts", np.zeros(4, np.int64)), f"{out}_shape"])


def image(name: str, prefix: str) -> bytes:
    """A ValueInfoProto: (batch, 3, height, width) of floats, whose sides have names in place of numbers."""
    sides = [message((2, side) if isinstance(side, str) else (1, side)) for side in
             ("batch", 3, f"{prefix}height", f"{prefix}width")]  # fmt: skip
    tensor_type = message((1, FLOAT), (2, message((1, sides))))
    return message((1, name), (2, message((1, tensor_type))))


def tensor(name: str, array: np.ndarray) -> bytes:
    kind, dtype = (INT64, "<i8") if array.dtype == np.int64 else (FLOAT, "<f4")
    return message((1, list(array.shape)), (2, kind), (8, name), (9, np.ascontiguousarray(array, dtype).tobytes()))


def attribute(name: str, value: Any) -> bytes:
    fields = {float: (2, AS_FLOAT), int: (3, AS_INT), str: (4, AS_TEXT), list: (8, AS_INTS)}
    field, kind = fields[type(value)]
    return message((1, name), (field, value), (20, kind))


def message(*fields: tuple[int, Any]) -> bytes:
    """The bytes of a message, from (field's number, its value or a list of its values)."""
    parts = []
    for number, values in fields:
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, float):
                parts.append(varint(number << 3 | 5) + np.float32(value).tobytes())
            elif isinstance(value, int):
                parts.append(varint(number << 3) + varint(value))
            else:
                data = value.encode() if isinstance(value, str) else value
                parts.append(varint(number << 3 | 2) + varint(len(data)) + data)
    return b"".join(parts)


def varint(value: int) -> bytes:
    """A whole number in groups of seven bits, the lowest first; the top bit says that more follow."""
    groups = []
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])
