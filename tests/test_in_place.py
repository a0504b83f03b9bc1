"""If an array was changed in place after an op read it, its gradient is refused, never silently wrong."""

import numpy as np
import pytest

from minisrgan import in_place as versions
from minisrgan.device import use_device
from minisrgan.device.cpu import cpu_problem
from minisrgan.errors import GraphError
from minisrgan.imaging.patches import PhotoSet
from minisrgan.in_place import mark_changed
from minisrgan.nn import Dense, Parameter, held
from minisrgan.ops import Softplus
from minisrgan.optim import Adam, move_average
from minisrgan.studies.gradcheck import op_cases
from minisrgan.tensor import Op, Tensor, grad
from minisrgan.training.trainer import Trainer

CASES = op_cases(np.random.default_rng(0))


def normal(*shape, seed=0):
    return Tensor(np.random.default_rng([seed, *shape]).standard_normal(shape), requires_grad=True)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_the_classic_mistake_of_a_gan_is_refused_and_named(device):
    """Both losses, D's step, then G's gradient, through weights of D that did not make the loss."""
    if device == "cpu" and cpu_problem():
        pytest.skip(cpu_problem())
    with use_device(device):
        g, d, z, real = normal(3, 4), normal(4, 1), normal(8, 3), normal(8, 4)
        adam = Adam({"logit.weight": d})
        fake = z @ g
        loss_d = (Softplus(-(real @ d)) + Softplus(fake.detach() @ d)).mean()
        loss_g = Softplus(-(fake @ d)).mean()
        adam.step(grad(loss_d, [d]), 0.5)
        refused = (
            r"MatMul\(\(8, 4\) float64, \(4, 1\) float64\): input 2 was changed in place since by Adam.step, "
            "which moved the parameter logit.weight.*take it before the change, or compute the output again"
        )
        with pytest.raises(GraphError, match=refused):
            grad(loss_g, g)
        grad(Softplus(-(z @ g @ d)).mean(), g)  # computed again, as the message says


def weight_changed_by(change):
    """The gradient of y = x·w + x at x, after `change(w)`."""
    x, w = normal(4, 3), Parameter(normal(3, 3, seed=1).data)
    y = x @ w + x
    change(w)
    return grad(y.sum(), x)[0]


def half(w):
    w.data *= 0.5


def other(w):
    w.data = w.data * 0.5


def by_hand(w):
    w.data[...] = 1


def through_a_view(w):
    view = w.data.T[1:]
    view[...] = 1
    mark_changed(view, "a test")


def averaged(w):
    layers = Dense(np.random.default_rng(0), 3, 3), Dense(np.random.default_rng(0), 3, 3)
    for layer, weight in zip(layers, (w, Parameter(w.data + 1))):
        layer.to(dtype=np.float64).weight = weight
    move_average(*layers, 0.5)


def loaded(w):
    layer = Dense(np.random.default_rng(0), 3, 3)
    state = layer.state()
    layer.weight = w
    layer.load_state(state)


def cast(w):
    layer = Dense(np.random.default_rng(0), 3, 3)
    layer.weight = w
    layer.to(dtype=np.float32)


@pytest.mark.parametrize("change", [half, other, by_hand, through_a_view, averaged, loaded, cast])
def test_whatever_changes_a_weight_is_noticed(change):
    with pytest.raises(GraphError, match=r"MatMul\(.*: input 2 was .* since.*would be wrong"):
        weight_changed_by(change)
    weight_changed_by(lambda w: None)


@pytest.mark.parametrize(
    "read", [Tensor.detach, lambda w: w.reshape((9, 1)), lambda w: w.transpose((1, 0)), lambda w: Tensor(w.data[1:])]
)
def test_all_that_shares_the_memory_counts_as_changed(read):
    x, w = normal(5, 3), normal(3, 3, seed=1)
    y = x.sum() * read(w)
    Adam({"w": w}).step([Tensor(np.ones((3, 3)))], 0.1)
    with pytest.raises(GraphError, match="moved the parameter w,"):
        grad(y.sum(), x)


def test_a_change_before_the_op_read_it_or_of_another_array_is_nothing():
    x, w, unused = normal(4, 3), normal(3, 3, seed=1), normal(3, 3, seed=2)
    half(w)
    y = (x @ w).exp()
    half(unused)
    (dx,) = grad(y.sum(), x)
    np.testing.assert_allclose(dx.data, y.data @ w.data.T)


def test_a_nan_is_no_change():
    x = Tensor(np.array([np.nan, 1.0]), requires_grad=True)
    assert np.isnan(grad((x * x).sum(), x)[0].data[0])


def test_a_retained_graph_is_not_walked_again_after_a_step():
    x, w = normal(4, 3), normal(3, 2)
    y = (x @ w).sum()
    adam = Adam({"w": w})
    adam.step(grad(y, w, retain_graph=True), 0.1)
    with pytest.raises(GraphError, match="moved the parameter w"):
        grad(y, x)


def test_a_gradient_that_is_to_be_differentiated_counts_too():
    x, w = normal(4, 3), normal(3, 2)
    (dx,) = grad((x @ w).exp().sum(), x, create_graph=True)
    half(w)
    with pytest.raises(GraphError, match="x.data -= y"):
        grad((dx**2).sum(), w)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_op_gives_another_gradient_after_a_change(case):
    """Either it is refused, or it was a constant: an op that is not linear, or not in one input alone, refuses."""

    def gradients(change):
        xs = [Tensor(array.copy(), requires_grad=True) for array in case.arrays]
        out = case.function(*xs)
        if change:
            for x in xs:
                x.data += 1
        return grad(out, xs, Tensor(np.ones(out.shape)))

    try:
        after = gradients(change=True)
    except GraphError:
        return
    assert case.linear and len(case.arrays) == 1
    for a, b in zip(gradients(change=False), after, strict=True):
        np.testing.assert_array_equal(a.data, b.data)


def test_the_trainers_losses_first_and_steps_last_are_refused(tiny_config, smooth_photo):
    """Its own order is D's loss, D's step, G's loss, G's step; every other test of a training shows that it works."""
    config = tiny_config(batch_norm=False)
    trainer = Trainer(config, PhotoSet([("a", smooth_photo(36, 40))], config.generator.scale, crop=16), "numpy")
    crops = trainer.choose_crops()
    hr, lr = trainer.sample_hr(crops), trainer.downsample(crops)
    sr = trainer.generate(lr)
    loss_d = trainer.discriminator_loss(hr, sr)
    with held(trainer.discriminator):
        loss_g = trainer.adversarial_loss(hr, sr)
    trainer.update_discriminator(loss_d)
    with pytest.raises(GraphError, match="Adam.step, which moved the parameter"):
        grad(loss_g, sr)


def test_what_was_changed_is_forgotten_with_it():
    before = len(versions._changes)
    x = np.ones(3)
    mark_changed(x[1:], "a test")
    mark_changed(x, "a test")
    assert len(versions._changes) == before + 1
    del x
    assert len(versions._changes) == before


def test_a_linear_op_of_one_input_needs_no_snapshot():
    class Doubled(Op):
        linear = True

        def forward(x):
            return 2 * x

        def vjp(g, out, x):
            return lambda: 2 * g

    x = normal(3)
    y = Doubled(x)
    assert y.snapshot is None
    half(x)
    np.testing.assert_array_equal(grad(y.sum(), x)[0].data, [2, 2, 2])


@pytest.mark.parametrize("size", [1, 5, 64])
def test_a_change_by_hand_of_any_number_of_a_small_array_is_noticed(size):
    for i in range(size):
        x = Tensor(np.ones(size), requires_grad=True)
        y = (x * x).sum()
        x.data[i] = 5
        with pytest.raises(GraphError, match="was changed in place since"):
            grad(y, x)
