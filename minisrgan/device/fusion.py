"""A chain of modules in one pass over memory.

A convolution and a ReLU or LeakyReLU are one at any time: the derivative needs only the output. Batch norm in training,
an activation and a residual are one too: the derivative computes what lies between once more. On tensor cores, the
convolution before it makes the moments that batch norm needs. More become one only where nothing is recorded, since a
derivative needs what lies between. There a convolution, batch norm with frozen statistics, PReLU and a residual become
one convolution with an epilogue. Batch norm goes into the weights,

    (x ⋆ w + b)·s + t = x ⋆ (w·s) + (b·s + t)

and PReLU and the residual into the convolution's epilogue (conv.py).
"""

from collections.abc import Iterable
from contextvars import ContextVar
from types import NotImplementedType
from typing import Any
from weakref import WeakKeyDictionary

from .. import ops
from ..arrays import Array, on_gpu
from ..in_place import Snapshot
from ..models.discriminator import Discriminator
from ..nn import BatchNorm, Conv, LeakyReLU, Module, PReLU, ReLU, Sequential, SubpixelConv, both, chain
from ..ops.batch_norm import batch_statistics
from ..tensor import Tensor, recording
from .channels import merged_moments, moments
from .choice import uses_kernels
from .conv import Epilogue, can_shuffle, convolve
from .conv_mma import moments_wanted
from .norm_activation import NormActivation, cut
from .register import register

FOLDED: WeakKeyDictionary[Conv, tuple[Snapshot, tuple[Tensor, Tensor]]] = WeakKeyDictionary()
GROUPS = ContextVar("groups", default=1)  # of images in a batch, which batch norm must not mix
CONVOLUTIONS = (Conv, SubpixelConv)  # and no subclass of somebody's, which may compute something else
FUSIBLE = [[], [BatchNorm], [PReLU], [BatchNorm, PReLU]]  # what may follow where nothing is recorded


def layers_of(modules: Iterable[Module]) -> list[Any]:
    """The layers of the modules, some of which are Sequential."""
    return [layer for module in modules for layer in getattr(module, "layers", [module])]


@register(chain, lambda x: isinstance(x, Tensor))
def fused_chain(x: Tensor, *modules: Module, residual: Tensor | None = None) -> Tensor | NotImplementedType:
    layers = layers_of(modules)
    convs = [i for i, layer in enumerate(layers) if type(layer) in CONVOLUTIONS]
    if not convs:
        return NotImplemented
    if convs != [0]:  # one part up to a convolution, and the rest
        end = convs[0] or convs[1]
        return chain(chain(x, *layers[:end]), *layers[end:], residual=residual)
    conv, *rest = layers
    if (slope := slope_of(rest)) is not None and uses_kernels(x.data):
        at = {"stride": conv.stride, "padding": conv.padding, "shuffle": conv.shuffle}
        y = ops.Conv2dBias(x, conv.weight, conv.bias, **at, slope=slope)
        return chain(y, *rest[1:], residual=residual)
    if rest and type(rest[0]) is BatchNorm and rest[0].training and uses_kernels(x.data):
        norm, *after = rest
        fused = 1 if after and type(after[0]) in (PReLU, LeakyReLU) else 0
        activation, after = after[:fused], after[fused:]
        y = normalised(*with_moments(x, conv, norm), norm, *activation, residual=None if after else residual)
        return chain(y, *after, residual=residual) if after else y
    if not fusible(rest):
        return NotImplemented
    return convolution_chain(x, conv, rest, residual, conv.padding)


def slope_of(layers: list[Any]) -> float | None:
    """The negative slope of the first layer, if it is a ReLU or a LeakyReLU whose input has its output's sign."""
    if not layers or type(layers[0]) not in (ReLU, LeakyReLU):
        return None
    slope = getattr(layers[0], "slope", 0.0)
    return slope if slope >= 0 else None


def with_moments(x: Tensor, conv: Conv, norm: BatchNorm) -> tuple[Tensor, tuple[Array, Array]]:
    """conv(x) and the statistics of each group of images, which the norm's running averages follow. On tensor cores,
    the convolution's kernel makes the moments of parts, if no part has images of two groups."""
    with moments_wanted() as found:
        y = conv(x)
    groups, parts = GROUPS.get(), found.get(id(y.data))
    rows = y.size // y.shape[-1] // groups
    if parts is None and groups == 1:
        return y, batch_statistics(y.data, norm.running())
    if parts is None or groups > 1 and rows % parts.rows_per_part:
        return y, moments(y.data, norm.running(), groups)
    return y, merged_moments(y.data, parts, norm.running(), groups)


def normalised(
    x: Tensor, statistics: tuple[Array, Array], norm: BatchNorm, *activation: Any, residual: Tensor | None
) -> Tensor:
    """Batch norm by these statistics of x, perhaps a PReLU or a LeakyReLU, perhaps a residual, in one pass."""
    learned = [each.slope for each in activation if type(each) is PReLU]
    more = learned + ([] if residual is None else [residual])
    leak = activation[0].slope if activation and not learned else 1.0
    return NormActivation(x, norm.gamma, norm.beta, *more, statistics=statistics, eps=norm.eps, leak=leak,
                          learned=bool(learned), added=residual is not None, groups=GROUPS.get())  # fmt: skip


def fusible(rest: list[Any]) -> bool:
    """Whether a convolution with these layers after it can be one pass now."""
    kinds = [type(layer) for layer in rest]
    return not recording() and kinds in FUSIBLE and not (BatchNorm in kinds and rest[0].training)


def fold(conv: Conv, norm: BatchNorm) -> tuple[Tensor, Tensor]:
    """The convolution's weights and bias with the norm's frozen statistics in them. On a GPU that is eight small
    launches; so there they are kept until one of the arrays that they are made from changes."""
    read = [conv.weight, conv.bias, norm.gamma, norm.beta, Tensor(norm.running_mean), Tensor(norm.running_var)]
    if (kept := FOLDED.get(conv)) and not kept[0].difference(read):
        return kept[1]
    scale, shift = norm.running_affine()
    made = conv.weight * scale, conv.bias * scale + shift
    if on_gpu(norm.running_mean):
        FOLDED[conv] = Snapshot(read, [each.data for each in read]), made
    return made


def convolution_chain(
    x: Tensor, conv: Conv, rest: list[Any], residual: Tensor | None, padding: int | tuple[int, int]
) -> Tensor:
    """The convolution with this padding, then the layers `rest`, then the residual added. In one pass if fusible."""
    if not fusible(rest):
        at = {"stride": conv.stride, "padding": padding, "shuffle": conv.shuffle}
        if (slope := slope_of(rest)) is not None and uses_kernels(x.data):
            y = Sequential(*rest[1:])(ops.Conv2dBias(x, conv.weight, conv.bias, **at, slope=slope))
        else:
            y = Sequential(*rest)(ops.Conv2dBias(x, conv.weight, conv.bias, **at))
        return y if residual is None else y + residual
    weight, bias, kinds = conv.weight, conv.bias, [type(layer) for layer in rest]
    if BatchNorm in kinds:
        weight, bias = fold(conv, rest[0])
    negative_slope = rest[-1].slope if PReLU in kinds else None
    if uses_kernels(x.data) and can_shuffle(weight, conv.shuffle):
        arrays = (None if each is None else each.data for each in (bias, negative_slope, residual))
        epilogue = Epilogue(*arrays, shuffle=conv.shuffle)
        return Tensor(convolve(x.data, weight.data, conv.stride, padding, epilogue))
    y = ops.Conv2dBias(x, weight, bias, stride=conv.stride, padding=padding, shuffle=conv.shuffle)
    y = y if negative_slope is None else ops.PReLU(y, negative_slope)
    return y if residual is None else y + residual


@register(both, lambda a: on_gpu(a.data))
def side_by_side(a: Tensor, b: Tensor, module: Module) -> tuple[Tensor, Tensor] | NotImplementedType:
    """(module(a), module(b)) from one pass of D: a GPU is fuller, and each weight is read once."""
    if (
        type(module) is not Discriminator
        or a.shape != b.shape
        or module.config.spectral_norm
        or module.config.channels % 4
    ):
        return NotImplemented  # spectral norm refines its vectors once a pass; parts must begin at 16 bytes
    token = GROUPS.set(2)
    try:
        first, second = cut(module(ops.Concatenate(a, b)), 2)
    finally:
        GROUPS.reset(token)
    return first, second
