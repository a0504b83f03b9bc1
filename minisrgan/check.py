"""Is a derivative right? Three checks, in float64, that a wrong derivative does not pass.

First order.  For φ(x) = ⟨v, f(x)⟩ with a random cotangent v, and a random direction d,

    ⟨∇φ(x), d⟩ = (φ(x + εd) - φ(x - εd))/2ε + O(ε²)

Second order.  The same for ∇φ as a function of x and v: its central difference, compared with what the engine gets
when it differentiates its own gradient.

Adjoint.  For an f that is linear in x, ⟨v, f(x)⟩ = ⟨∇φ, x⟩ up to rounding. This check needs no ε and is the sharpest.

A random direction mixes all elements, so a fault in any one of them shows. Errors are relative to the larger of the two
numbers that are compared; the adjoint's, to the product of the norms.
"""

from collections.abc import Callable, Sequence

import numpy as np

from .arrays import Array, array_module, to_numpy
from .tensor import Tensor, grad

EPSILON = 3e-7  # so small that few inputs of rectifiers change sign; in float64 the difference keeps nine digits
FIRST_ORDER_TOLERANCE = SECOND_ORDER_TOLERANCE = 1e-6
ADJOINT_TOLERANCE = 1e-13


def inner(xs: Sequence[Array], ys: Sequence[Array]) -> float:
    """⟨x, y⟩ summed over two lists of arrays."""
    return sum(float((x * y).sum()) for x, y in zip(xs, ys, strict=True))


def random_like(arrays: Sequence[Array], rng: np.random.Generator) -> list[Array]:
    """Normal random arrays with the shapes, dtypes and device of `arrays`."""
    return [array_module(x).asarray(rng.standard_normal(x.shape).astype(x.dtype)) for x in arrays]


def variables(arrays: Sequence[Array]) -> list[Tensor]:
    return [Tensor(x, requires_grad=True) for x in arrays]


def relative(a: float, b: float, scale: float = 0.0) -> float:
    """|a - b| relative to the largest of |a|, |b| and `scale`; 0 where both are 0."""
    size = max(abs(a), abs(b), scale)
    return abs(a - b) / (size or 1)  # NaN stays NaN


def gradients(f: Callable[..., Tensor], arrays: Sequence[Array], v: Array) -> list[Array]:
    """∇⟨v, f⟩ at the arrays, as arrays."""
    xs = variables(arrays)
    return [g.data for g in grad(f(*xs), xs, Tensor(v))]


def moved(arrays: Sequence[Array], directions: Sequence[Array], step: float) -> list[Array]:
    return [x + step * d for x, d in zip(arrays, directions, strict=True)]


def first_order_error(f: Callable[..., Tensor], arrays: Sequence[Array], rng: np.random.Generator) -> float:
    """Relative error of the gradients of f, a function of Tensors, at float64 `arrays`, all of them together."""
    value = lambda at: f(*map(Tensor, at)).data  # noqa: E731
    (v,) = random_like([value(arrays)], rng)
    d = random_like(arrays, rng)
    ahead, behind = (inner([v], [value(moved(arrays, d, step))]) for step in (EPSILON, -EPSILON))
    return relative(inner(gradients(f, arrays, v), d), (ahead - behind) / (2 * EPSILON))


def second_order_error(f: Callable[..., Tensor], arrays: Sequence[Array], rng: np.random.Generator) -> float:
    """Relative error of the gradient of ψ(x, v) = ⟨u, ∇⟨v, f(x)⟩⟩, for a random u, in x and v together."""
    (v,) = random_like([f(*map(Tensor, arrays)).data], rng)
    u = random_like(arrays, rng)
    at = [*arrays, v]
    d = random_like(at, rng)
    *xs, cotangent = variables(at)
    first = grad(f(*xs), xs, cotangent, create_graph=True)
    terms = [(g * Tensor(each)).sum() for g, each in zip(first, u, strict=True)]
    psi = sum(terms[1:], terms[0])
    exact = inner([g.data for g in grad(psi, [*xs, cotangent])], d)
    ahead, behind = (
        inner(gradients(f, where[:-1], where[-1]), u) for where in (moved(at, d, step) for step in (EPSILON, -EPSILON))
    )
    return relative(exact, (ahead - behind) / (2 * EPSILON))


def adjoint_error(f: Callable[..., Tensor], arrays: Sequence[Array], rng: np.random.Generator) -> float:
    """The largest error of ⟨v, f(x)⟩ = ⟨∂f/∂xᵢᵀ v, xᵢ⟩ over the inputs, relative to the norms; f linear in each."""
    out = f(*map(Tensor, arrays)).data
    (v,) = random_like([out], rng)
    forward = inner([v], [out])
    return max(
        relative(inner([g], [x]), forward, norm(v) * norm(out))
        for g, x in zip(gradients(f, arrays, v), arrays, strict=True)
    )


def norm(x: Array) -> float:
    return float(np.linalg.norm(to_numpy(x)))
