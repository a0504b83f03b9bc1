"""Messages and operations: sums in the order of the ranks, and each operation against the same on a whole batch."""

import numpy as np
import pytest
from ranks.threads import Shared, Threads, on_ranks

from minisrgan.errors import ConfigError, GraphError
from minisrgan.nn import BatchNorm, Sequential
from minisrgan.ranks.batch import MeanOfRanks, OfAllRanks, SynchronisedBatchNorm, synchronise
from minisrgan.ranks.communicator import SMALL
from minisrgan.ranks.sharing import shared_out
from minisrgan.tensor import Tensor, grad


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("length", [1, 7, SMALL, SMALL + 1, 3 * SMALL + 2])
@pytest.mark.parametrize("size", [2, 3])
def test_a_total_is_the_sum_in_the_order_of_the_ranks(length, size):
    arrays = [(normal(length, seed=rank) * 10.0**rank).astype(np.float32) for rank in range(size)]
    expected = arrays[0].copy()
    for each in arrays[1:]:
        expected += each
    for total in on_ranks(size, lambda ranks: ranks.total(arrays[ranks.rank])):
        assert total.dtype == np.float32 and np.array_equal(total, expected)


def test_totals_keep_shapes_and_go_in_two_messages():
    arrays = [[normal(60, 70, seed=rank), normal(3, seed=rank), normal(2, 2, seed=rank)] for rank in range(2)]

    def work(ranks):
        before = ranks.shared.messages[ranks.rank]
        return ranks.totals(arrays[ranks.rank]), ranks.shared.messages[ranks.rank] - before

    for totals, messages in on_ranks(2, work):
        assert messages == 2
        for total, first, second in zip(totals, *arrays, strict=True):
            assert total.shape == first.shape and np.array_equal(total, first + second)


def test_what_the_first_makes_all_have_and_its_error_too():
    made = on_ranks(3, lambda ranks: ranks.from_first(lambda: {"rank": ranks.rank}))
    assert made == [{"rank": 0}] * 3

    def refuse(ranks):
        def make():
            raise ConfigError("no such folder")

        with pytest.raises(ConfigError, match="no such folder"):
            ranks.from_first(make)
        return True

    assert on_ranks(3, refuse) == [True] * 3


def test_a_difference_is_named_on_every_rank():
    def work(ranks):
        with pytest.raises(ConfigError, match="rank 2 has another set of photos than rank 0: bb, not aaaa"):
            ranks.check_alike({"device": "cpu", "set of photos": "bb" if ranks.rank == 2 else "aaaa"})
        ranks.check_alike({"device": "cpu"})
        return True

    assert on_ranks(3, work) == [True] * 3


def test_rows_of_all_ranks_and_their_derivative():
    x = normal(4, 3)
    weights = Tensor(normal(4, 3, seed=1))

    def work(ranks):
        own = Tensor(ranks.own(x), requires_grad=True)
        (gradient,) = grad((OfAllRanks(own, ranks=ranks) ** 2 * weights).sum(), own)
        return gradient.data

    assert np.allclose(np.concatenate(on_ranks(2, work)), 2 * x * weights.data)


def test_the_mean_of_the_ranks_and_its_derivative():
    x = normal(4, 3)

    def work(ranks):
        own = Tensor(ranks.own(x), requires_grad=True)
        mean = MeanOfRanks((own**2).mean(), ranks=ranks)
        (gradient,) = grad(mean**2, own)
        return mean.item(), gradient.data

    means, gradients = zip(*on_ranks(4, work))
    assert np.allclose(means, (x**2).mean())
    assert np.allclose(np.concatenate(gradients), 2 * (x**2).mean() * 2 * x / x.size)


@pytest.mark.parametrize("size", [2, 4])
def test_synchronised_batch_norm_is_that_of_the_whole_batch(size):
    x, cotangent = 3 + normal(8, 5, 6, 3), normal(8, 5, 6, 3, seed=1)

    def made(ranks=None):
        norm = BatchNorm(3).to(dtype=np.float64)
        norm.gamma.data[...] = [1, 2, -0.5]
        if ranks:
            synchronise(Sequential(norm), ranks)
            assert type(norm) is SynchronisedBatchNorm
        return norm

    def results(norm, x, cotangent):
        x = Tensor(x, requires_grad=True)
        y = norm(x)
        return y.data, [each.data for each in grad(y, [x, norm.gamma, norm.beta], Tensor(cotangent))], norm.state()

    y, (dx, dgamma, dbeta), state = results(made(), x, cotangent)
    found = on_ranks(size, lambda ranks: results(made(ranks), ranks.own(x), ranks.own(cotangent)))
    assert np.allclose(np.concatenate([each[0] for each in found]), y, atol=1e-12)
    assert np.allclose(np.concatenate([each[1][0] for each in found]), dx, atol=1e-12)
    assert np.allclose(sum(each[1][1] for each in found), dgamma, atol=1e-11)
    assert np.allclose(sum(each[1][2] for each in found), dbeta, atol=1e-11)
    for _, _, theirs in found:
        assert all(np.allclose(theirs[name], array, atol=1e-12) for name, array in state.items())


def test_synchronised_batch_norm_has_no_second_derivative_and_is_itself_in_evaluation():
    ranks = Threads(0, Shared(1))
    norm = BatchNorm(3)
    plain = norm.eval()(Tensor(np.float32(normal(2, 3)))).data
    synchronise(norm, ranks)
    assert np.array_equal(norm(Tensor(np.float32(normal(2, 3)))).data, plain)
    x = Tensor(np.float32(normal(2, 3)), requires_grad=True)
    with pytest.raises(GraphError, match="no second derivative"):
        grad(norm.train()(x).sum(), x, create_graph=True)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("jobs", [0, 1, 5, 6])
def test_jobs_are_shared_out_and_come_back_in_their_order(size, jobs):
    def work_on(ranks):
        done = []

        def work(i):
            done.append(i)
            return {"job": i, "rank": ranks.rank}

        return list(shared_out(ranks, work, [(7 * i) % 5 for i in range(jobs)])), done

    (first, mine), *others = on_ranks(size, work_on)
    assert [each["job"] for each in first] == [*range(jobs)]
    assert sorted(mine + [i for _, done in others for i in done]) == [*range(jobs)]  # each once
    assert max([len(mine), *(len(done) for _, done in others)]) == -(-jobs // size)  # evenly
    assert all(answers == [] for answers, _ in others)


def test_texts_of_different_lengths():
    texts = ["", "ä long one", "b"]
    assert on_ranks(3, lambda ranks: ranks.texts(texts[ranks.rank])) == [texts] * 3
