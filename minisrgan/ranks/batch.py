"""Operations on a batch whose images are spread over the ranks, each of which has an equal part.

What is a function of the whole batch, such as a loss, is computed alike on every rank, and each rank takes the
derivative in what it has itself. So a rank's gradient of a shared weight is the part of its own images, and the sum
over the ranks is the whole.
"""

from typing import Any

from ..arrays import Array, array_module
from ..errors import GraphError
from ..nn import BatchNorm, Module
from ..ops.batch_norm import BatchNorm as BatchNormOp
from ..ops.batch_norm import batch_norm_gradients, batch_statistics, follow
from ..tensor import Op, Tensor, dispatch, recording
from .communicator import Communicator


class OfAllRanks(Op):
    """The rows of all ranks, in the order of the ranks: x_0, x_1, …

    ∂/∂x_r: the rows of g that belong to rank r
    """

    def forward(x: Any, ranks: Any):
        rows = ranks.gather(x)
        return rows.reshape(-1, *x.shape[1:])

    def vjp(g: Any, out, x, ranks: Any):
        part = len(x.data)
        return (lambda: g[ranks.rank * part : (ranks.rank + 1) * part],)


class MeanOfRanks(Op):
    """Σ x_r/N over N ranks: a mean over the whole batch, from the means x_r over the parts of the ranks.

    ∂/∂x_r = g/N
    """

    def forward(x: Any, ranks: Any):
        return ranks.total(x) / ranks.size

    def vjp(g: Any, out, x, ranks: Any):
        return (lambda: g / ranks.size,)


class BatchNormOfRanks(Op):
    """ops.BatchNorm with `statistics` of the whole batch. So its derivative has the sums over the whole batch too:

    ∂x = (γ/σ)·(g - ∂β/M - x̂·∂γ/M)        M, ∂β = Σ g and ∂γ = Σ g·x̂: of all ranks

    The ∂β and ∂γ that it returns are this rank's parts of them.
    """

    def forward(x: Any, gamma, beta, statistics, eps, ranks):
        return dispatch(BatchNormOp, BatchNormOp.forward, (x, gamma, beta), {"statistics": statistics, "eps": eps})

    def vjp(g: Any, out, x, gamma, beta, statistics, eps, ranks):
        if recording():
            raise GraphError("batch norm over several ranks has no second derivative")
        dx, dgamma, dbeta = batch_norm_gradients(g.data, x.data, gamma.data, statistics, eps)
        mean_dgamma, mean_dbeta = (each / ranks.size for each in ranks.totals([dgamma, dbeta]))
        mean, var = statistics
        inverse_std = 1 / array_module(var).sqrt(var + eps)
        scale = gamma.data * inverse_std / (x.size // x.shape[-1])
        slope = scale * inverse_std * (dgamma - mean_dgamma)
        dx = dx + (x.data * slope + (scale * (dbeta - mean_dbeta) - mean * slope))
        return lambda: Tensor(dx), lambda: Tensor(dgamma), lambda: Tensor(dbeta)


class SynchronisedBatchNorm(BatchNorm):
    """Batch norm by the statistics of the whole batch."""

    ranks: Communicator

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        mean, var = statistics = whole_statistics(x.data, self.ranks)
        if running := self.running():
            follow(*running, mean, var, self.ranks.size * x.size // x.shape[-1])
        return BatchNormOfRanks(x, self.gamma, self.beta, statistics=statistics, eps=self.eps, ranks=self.ranks)


def whole_statistics(x: Array, ranks: Communicator) -> tuple[Array, Array]:
    """(μ, var) of each channel over all ranks. var is the mean of the ranks' own, and what their means vary by."""
    channels = x.shape[-1]
    both = ranks.gather(array_module(x).concatenate(batch_statistics(x)))
    means, variances = both[:, :channels], both[:, channels:]
    mean = means.mean(0)
    return mean, (variances + (means - mean) ** 2).mean(0)


def synchronise(module: Module, ranks: Communicator) -> None:
    """Let every batch norm within the module take the statistics of the whole batch."""
    for _, each in module.modules():
        if type(each) is BatchNorm:
            each.__class__ = SynchronisedBatchNorm
            vars(each)["ranks"] = ranks
