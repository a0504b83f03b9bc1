"""A network's arrays as PyTorch has them: their names, and the order of their axes and channels.

          here                       in PyTorch
weights   (kh, kw, Cin, Cout)        (Cout, Cin, kh, kw)
a PReLU   slope                      weight
shuffle   channel k·C + c            channel c·r² + k      for the k-th of r² pixels
"""

import numpy as np

from ..models.architectures import Network
from ..models.esrgan import RRDB
from ..nn import SubpixelConv


def torch_name(name: str) -> str:
    """PyTorch's name for an array."""
    return name.removesuffix("slope") + "weight" if name.endswith(".slope") else name


def our_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape here of an array that has this shape in PyTorch."""
    return (*shape[2:], shape[1], shape[0]) if len(shape) == 4 else shape


def from_torch(network: Network, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The network's arrays, {our name: array}, from those in PyTorch's order."""
    moved = {name: array.transpose(2, 3, 1, 0) if array.ndim == 4 else array for name, array in arrays.items()}
    for name, (axis, order) in orders(network).items():
        moved[name] = moved[name].take(order, axis)
    return moved


def to_torch(network: Network, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The opposite of `from_torch`, with PyTorch's names."""
    moved = dict(arrays)
    for name, (axis, order) in orders(network).items():
        moved[name] = moved[name].take(np.argsort(order), axis)
    return {
        torch_name(name): np.ascontiguousarray(array.transpose(3, 2, 0, 1) if array.ndim == 4 else array)
        for name, array in moved.items()
    }


def orders(network: Network) -> dict[str, tuple[int, np.ndarray]]:
    """{our name of an array: (an axis of it, where PyTorch has each of the channels along this axis)}."""
    found = {}
    for prefix, module in network.modules():
        if isinstance(module, SubpixelConv):
            order = shuffled(len(module.bias.data), module.shuffle)
            found |= {f"{prefix}weight": (3, order), f"{prefix}bias": (0, order)}
    if isinstance(network, RRDB) and (r := network.config.fold) > 1:
        found["conv_first.weight"] = (2, shuffled(3 * r * r, r))
    return found


def shuffled(channels: int, r: int) -> np.ndarray:
    """Where PyTorch's pixel shuffle by r reads what ours reads from channel 0, 1, 2, …"""
    return np.arange(channels).reshape(-1, r * r).T.ravel()
