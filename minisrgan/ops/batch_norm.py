"""Batch normalisation and its three-term derivative. Ioffe and Szegedy 2015.

    x̂ = (x - μ)/σ,   y = γ·x̂ + β,   μ and var over every axis but the last: M values a channel; σ² = var + ε

x moves y in three ways: itself, through μ, and through σ. With h = γ·g, the three terms are

    ∂x = (h - mean(h) - x̂·mean(h·x̂))/σ,   ∂γ = Σ g·x̂,   ∂β = Σ g
"""

from collections.abc import Callable

from ..arrays import Array, array_module
from ..errors import ShapeError
from ..tensor import Op, Tensor, definition, recording
from .reduce import sum_rows


@definition
def batch_statistics(x: Array, running: tuple[Array, Array, float] | None = None) -> tuple[Array, Array]:
    """(μ, var) of each channel of an array. var is taken about μ, since Σx²/M - μ² would cancel.

    running   averages of both, which `follow`, and their momentum

    Raises ShapeError for an empty one.
    """
    if not (x.ndim and x.size):
        raise ShapeError(f"a batch of shape {x.shape} has no mean and no variance")
    count = x.size // x.shape[-1]
    mean = sum_rows(x) / count
    centred = x - mean
    centred *= centred
    var = sum_rows(centred) / count
    if running:
        follow(*running, mean, var, count)
    return mean, var


def follow(running_mean: Array, running_var: Array, momentum: float, mean: Array, var: Array, count: int) -> None:
    """running ← running + momentum·(batch - running) in place; of the variance M/(M - 1) times, with M = `count`."""
    for running, of_batch in ((running_mean, mean), (running_var, var * (count / max(count - 1, 1)))):
        running += momentum * (of_batch - running)


class BatchNorm(Op):
    """γ·(x - μ)/√(var + ε) + β, with `statistics` = (μ, var) = batch_statistics(x).

    The derivative assumes that the statistics are x's own. They are a parameter because the layer keeps a running
    average of them too.
    """

    def forward(x, gamma, beta, statistics, eps):
        mean, var = statistics
        scale = gamma / array_module(x).sqrt(var + eps)
        out = x * scale
        out += beta - mean * scale
        return out

    def vjp(g, out, x, gamma, beta, statistics, eps):
        if recording():
            return composed_vjp(g, x, gamma, eps)
        gradients = batch_norm_gradients(g.data, x.data, gamma.data, statistics, eps)
        return tuple((lambda gradient=gradient: Tensor(gradient)) for gradient in gradients)


def composed_vjp(g: Tensor, x: Tensor, gamma: Tensor, eps: float) -> tuple[Callable[[], Tensor], ...]:
    """(∂x, ∂γ, ∂β) as functions, in Tensor operations from x alone, so that they can be differentiated."""
    axes = tuple(range(x.ndim - 1))
    centred = x - x.mean(axes)
    inverse_std = ((centred**2).mean(axes) + eps) ** -0.5
    x_hat = centred * inverse_std
    h = g * gamma
    return (
        lambda: (h - h.mean(axes) - x_hat * (h * x_hat).mean(axes)) * inverse_std,
        lambda: (g * x_hat).sum(axes),
        lambda: g.sum(axes),
    )


@definition
def batch_norm_gradients(
    g: Array, x: Array, gamma: Array, statistics: tuple[Array, Array], eps: float
) -> tuple[Array, Array, Array]:
    """(∂x, ∂γ, ∂β) as arrays, in few passes: ∂x is a weighted sum of g, x and 1 in each channel.

    mean(h) = γ·∂β/M and mean(h·x̂) = γ·∂γ/M, so ∂x = (γ/σ)·(g - ∂β/M - x̂·∂γ/M).
    """
    mean, var = statistics
    inverse_std = 1 / array_module(x).sqrt(var + eps)
    count = x.size // x.shape[-1]
    x_hat = x - mean
    x_hat *= inverse_std
    dgamma, dbeta = sum_rows(g * x_hat), sum_rows(g)
    dx = x_hat  # in the same memory: (γ/σ)·(g - ∂β/M - x̂·∂γ/M)
    dx *= -dgamma / count
    dx += g
    dx -= dbeta / count
    dx *= gamma * inverse_std
    return dx, dgamma, dbeta
