"""Batch norm, the activation after it and a residual as one operation, by the kernels of channels.cu.

A batch may be of several groups of images, each with statistics of its own: what D sees of HR and of SR, for example,
goes through its convolutions at once, but batch norm must not mix them (`side_by_side` in fusion.py).
"""

from functools import reduce
from operator import add
from typing import Any

from ..ops.batch_norm import BatchNorm
from ..ops.elementwise import LeakyReLU, PReLU
from ..ops.linear import Concatenate
from ..tensor import Op, Tensor, grad, recording
from .channels import map_channels, norm_gradients
from .cuts import contiguous, empty_like


def cut(array: Any, groups: int) -> list[Any]:
    """Equal parts of an array, or a Tensor, along its first axis; of None, None each."""
    if groups == 1 or array is None:
        return [array] * groups
    size = array.shape[0] // groups
    return [array[i * size : (i + 1) * size] for i in range(groups)]


class NormActivation(Op):
    """act(γ·(x - μ)/√(var + ε) + β) + residual, in one pass: BatchNorm and what follows it.

    more        PReLU's slope if `learned`, then the residual if `added`
    statistics  (μ, var) of each group of images
    leak        of the activation where no slope is learned: 1 for none
    """

    def forward(x: Any, gamma, beta, *more, statistics, eps, leak, learned, added):
        slope, residual = more[0] if learned else None, more[-1] if added else None
        out = empty_like(x)
        arrays = (cut(each, len(statistics)) for each in (contiguous(x), residual, out))
        for part, added_part, to, pair in zip(*arrays, statistics):
            map_channels("batch_norm_forward", part, gamma, beta, *pair, slope, added_part, eps, leak, out=to)
        return out

    def vjp(g: Any, out, x, gamma, beta, *more, statistics, eps, leak, learned, added):
        if recording():
            return composed_vjp(g, (x, gamma, beta, *more), statistics, eps, leak, learned, added)
        slope, dx = more[0].data if learned else None, empty_like(x.data)
        arrays = (cut(each, len(statistics)) for each in (contiguous(g.data), contiguous(x.data), dx))
        sums = [
            norm_gradients(part_g, part_x, gamma.data, beta.data, pair, eps, slope, leak, out=to)
            for part_g, part_x, to, pair in zip(*arrays, statistics)
        ]
        gradients = [dx, *(reduce(add, each) for each in zip(*sums) if each[0] is not None)]
        functions = [lambda gradient=gradient: Tensor(gradient) for gradient in gradients]
        return (*functions, lambda: g) if added else tuple(functions)


def composed_vjp(
    g: Tensor, inputs: tuple[Tensor, ...], statistics: Any, eps: float, leak: float, learned: bool, added: bool
) -> tuple[Any, ...]:
    """The same as functions of Tensors, which can be differentiated again."""
    # each under a new name: x may depend on the residual, and a walk back to that one must not go on through x
    inputs = tuple(each.reshape(each.shape) for each in inputs)
    x, gamma, beta, *more = inputs
    parts = zip(cut(x, len(statistics)), statistics)
    y = [BatchNorm(part, gamma, beta, statistics=pair, eps=eps) for part, pair in parts]
    y = y[0] if len(y) == 1 else Concatenate(*y)
    y = PReLU(y, more[0]) if learned else LeakyReLU(y, slope=leak)
    y = y + more[-1] if added else y
    wanted = [each for each in inputs if each.requires_grad]
    found = dict(zip(wanted, grad(y, wanted, g, create_graph=True)))
    return tuple((lambda each=each: found[each]) if each.requires_grad else None for each in inputs)
