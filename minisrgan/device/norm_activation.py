"""Batch norm, the activation after it and a residual as one operation, by the kernels of channels.cu.

A batch may be of several groups of images, each with statistics of its own: what D sees of HR and of SR, for example,
goes through its convolutions at once, but batch norm must not mix them (`side_by_side` in fusion.py).
"""

from typing import Any

from ..ops.batch_norm import BatchNorm
from ..ops.elementwise import LeakyReLU, PReLU
from ..ops.linear import Concatenate
from ..tensor import Op, Tensor, grad, recording
from .channels import norm_gradients, normalise


def cut(tensor: Any, groups: int) -> list[Any]:
    """Equal parts along the first axis."""
    size = tensor.shape[0] // groups
    return [tensor[i * size : (i + 1) * size] for i in range(groups)]


class NormActivation(Op):
    """act(γ·(x - μ)/√(var + ε) + β) + residual, in one pass: BatchNorm and what follows it.

    more        PReLU's slope if `learned`, then the residual if `added`
    statistics  (μ, var), one after another for each group of images
    leak        of the activation where no slope is learned: 1 for none
    """

    def forward(x: Any, gamma, beta, *more, statistics, eps, leak, learned, added, groups):
        slope, residual = more[0] if learned else None, more[-1] if added else None
        return normalise(x, gamma, beta, statistics, eps, slope, leak, residual, groups)

    def vjp(g: Any, out, x, gamma, beta, *more, statistics, eps, leak, learned, added, groups):
        if recording():
            return composed_vjp(g, (x, gamma, beta, *more), statistics, eps, leak, learned, added, groups)
        slope = more[0].data if learned else None
        gradients = norm_gradients(g.data, x.data, gamma.data, beta.data, statistics, eps, slope, leak, groups)
        functions = [lambda gradient=gradient: Tensor(gradient) for gradient in gradients if gradient is not None]
        return (*functions, lambda: g) if added else tuple(functions)


def composed_vjp(
    g: Tensor,
    inputs: tuple[Tensor, ...],
    statistics: Any,
    eps: float,
    leak: float,
    learned: bool,
    added: bool,
    groups: int,
) -> tuple[Any, ...]:
    """The same as functions of Tensors, which can be differentiated again."""
    # each under a new name: x may depend on the residual, and a walk back to that one must not go on through x
    inputs = tuple(each.reshape(each.shape) for each in inputs)
    x, gamma, beta, *more = inputs
    pairs = zip(*(cut(each, groups) for each in statistics))
    parts = zip(cut(x, groups), pairs)
    y = Concatenate(*(BatchNorm(part, gamma, beta, statistics=pair, eps=eps) for part, pair in parts))
    y = PReLU(y, more[0]) if learned else LeakyReLU(y, slope=leak)
    y = y + more[-1] if added else y
    wanted = [each for each in inputs if each.requires_grad]
    found = dict(zip(wanted, grad(y, wanted, g, create_graph=True)))
    return tuple((lambda each=each: found[each]) if each.requires_grad else None for each in inputs)
