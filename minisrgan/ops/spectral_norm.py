"""Spectral normalisation: weights divided by their largest singular value σ, and its derivative. Miyato et al. 2018.

Seen as a matrix, (everything but the outputs) × outputs, W stretches no vector by more than σ. With u and v the unit
vectors on the left and on the right that it stretches most,

    W̄ = W/σ,   σ = uᵀWv

With u and v held fixed, dσ = uᵀ dW v = ⟨uvᵀ, dW⟩, so dW̄ = dW/σ - W·dσ/σ² = (dW - W̄·⟨uvᵀ, dW⟩)/σ. What is linear in
dW gives, for a cotangent G of W̄,

    ⟨G, dW̄⟩ = ⟨(G - ⟨G, W̄⟩·uvᵀ)/σ, dW⟩        ∂W = (G - ⟨G, W̄⟩·uvᵀ)/σ

To hold them fixed is no approximation where they are the exact singular vectors: uᵀWv is largest there, so their own
movement changes it by nothing to first order.
"""

from ..arrays import Array, array_module
from ..tensor import Op, Tensor


def as_matrix(w: Array) -> Array:
    return w.reshape(-1, w.shape[-1])


def unit(vector: Array) -> Array:
    return vector / (array_module(vector).linalg.norm(vector) + 1e-12)


def power_iteration(w: Array, v: Array, times: int = 1) -> tuple[Array, Array]:
    """(u, v) after so many rounds of u ← Wv/‖Wv‖, v ← Wᵀu/‖Wᵀu‖. Each round brings them nearer."""
    matrix, u = as_matrix(w), v
    for _ in range(times):
        u = unit(matrix @ v)
        v = unit(u @ matrix)
    return u, v


class SpectralNorm(Op):
    """W/(uᵀWv) for constant vectors u and v."""

    def forward(w, u, v):
        return w / (u @ as_matrix(w) @ v)

    def vjp(g, out, w, u, v):
        uv = Tensor(array_module(u).outer(u, v).reshape(w.shape))
        return lambda: (g - (g * out).sum() * uv) / (w * uv).sum()
