"""Batch norm, the activation after it and a residual as one operation, by the kernels of channels.cu."""

from typing import Any

from ..ops.batch_norm import BatchNorm
from ..ops.elementwise import LeakyReLU, PReLU
from ..tensor import Op, Tensor, grad, recording
from .channels import map_channels, norm_gradients


class NormActivation(Op):
    """act(γ·(x - μ)/√(var + ε) + β) + residual, in one pass: BatchNorm and what follows it.

    more    PReLU's slope if `learned`, then the residual if `added`
    leak    of the activation where no slope is learned: 1 for none
    """

    def forward(x, gamma, beta, *more, statistics, eps, leak, learned, added):
        slope, residual = more[0] if learned else None, more[-1] if added else None
        inputs = x, gamma, beta, *statistics, slope, residual, eps, leak
        return map_channels("batch_norm_forward", *inputs)

    def vjp(g: Any, out, x, gamma, beta, *more, statistics, eps, leak, learned, added):
        if recording():
            return composed_vjp(g, (x, gamma, beta, *more), statistics, eps, leak, learned, added)
        slope = more[0].data if learned else None
        gradients = norm_gradients(g.data, x.data, gamma.data, beta.data, statistics, eps, slope, leak)
        functions = [lambda gradient=gradient: Tensor(gradient) for gradient in gradients if gradient is not None]
        return (*functions, lambda: g) if added else tuple(functions)


def composed_vjp(
    g: Tensor, inputs: tuple[Tensor, ...], statistics: Any, eps: float, leak: float, learned: bool, added: bool
) -> tuple[Any, ...]:
    """The same as functions of Tensors, which can be differentiated again."""
    # each under a new name: x may depend on the residual, and a walk back to that one must not go on through x
    inputs = tuple(each.reshape(each.shape) for each in inputs)
    x, gamma, beta, *more = inputs
    y = BatchNorm(x, gamma, beta, statistics=statistics, eps=eps)
    y = PReLU(y, more[0]) if learned else LeakyReLU(y, slope=leak)
    y = y + more[-1] if added else y
    wanted = [each for each in inputs if each.requires_grad]
    found = dict(zip(wanted, grad(y, wanted, g, create_graph=True)))
    return tuple((lambda each=each: found[each]) if each.requires_grad else None for each in inputs)
