"""The engine: which gradient reaches which tensor, what is recorded and released, and the errors."""

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

from minisrgan.errors import GraphError, MinisrganError, ShapeError
from minisrgan.ops import Conv2d, PixelShuffle
from minisrgan.ops.elementwise import Add, Div, Mul, Sub
from minisrgan.studies.gradcheck import op_cases
from minisrgan.tensor import Op, Tensor, grad, no_grad, recording

DEEP = 20_000
CASES = op_cases(np.random.default_rng(0))


def leaf(*values, dtype=np.float64):
    return Tensor(np.array(values, dtype), requires_grad=True)


@pytest.fixture
def no_collector():
    """Memory must be freed by reference counts alone, without the garbage collector."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


# What reaches which tensor


def test_a_node_used_twice_passes_on_the_sum_of_both_uses_once():
    a = leaf(3.0, -2.0)
    b = a + a
    c = b * b  # 4a²
    (da,) = grad(c.sum(), a)
    np.testing.assert_array_equal(da.data, 8 * a.data)


def test_a_diamond_with_arms_of_different_lengths():
    a = leaf(0.7)
    short = a * 3
    long = (a.exp() + 1).exp()
    (da,) = grad((short * long).sum(), a)
    e = np.exp(0.7)
    np.testing.assert_allclose(da.data, [3 * np.exp(e + 1) * (1 + 0.7 * e)], rtol=1e-14)


def test_a_ladder_of_diamonds_is_walked_once_for_each_node_not_once_for_each_path():
    a = leaf(1.0)
    x = a
    for _ in range(60):
        x = x + x
    assert grad(x, a)[0].item() == 2.0**60


def test_backward_adds_to_the_grad_of_leaves_and_of_leaves_alone():
    a, frozen = leaf(2.0, 5.0), Tensor(np.array([3.0, 4.0]))
    for _ in range(2):
        middle = a * frozen
        middle.sum().backward()
    np.testing.assert_array_equal(a.grad.data, [6.0, 8.0])
    assert frozen.grad is None and middle.grad is None


def test_backward_from_a_cotangent_and_twice_over_a_retained_graph():
    a = leaf(2.0, 5.0)
    y = a * a
    y.backward(Tensor(np.array([1.0, 10.0])), retain_graph=True)
    np.testing.assert_array_equal(a.grad.data, [4.0, 100.0])
    y.backward(Tensor(np.array([1.0, 0.0])))
    np.testing.assert_array_equal(a.grad.data, [8.0, 100.0])


def test_several_outputs_are_weighted_by_their_cotangents():
    x, y = leaf(2.0, 3.0), leaf(5.0, 7.0)
    u, v = x * y, x + y
    dx, dy = grad([u, v], [x, y], [Tensor(np.array([1.0, 10.0])), Tensor(np.array([100.0, 1000.0]))])
    np.testing.assert_array_equal(dx.data, [1 * 5 + 100, 10 * 7 + 1000])
    np.testing.assert_array_equal(dy.data, [1 * 2 + 100, 10 * 3 + 1000])


def test_an_output_that_another_output_depends_on_gets_both_shares():
    x = leaf(3.0)
    u = x * 2
    v = u * u
    dx, du = grad([u, v], [x, u], [Tensor(np.array([1.0])), Tensor(np.array([1.0]))])
    assert du.item() == 1 + 2 * 6
    assert dx.item() == 2 * du.item()


def test_the_gradient_at_a_tensor_in_the_middle_walks_and_releases_nothing_below_it():
    class Bottom(Op):
        def forward(x):
            return x * 1

        def vjp(g, out, x):
            raise AssertionError("walked below the tensor that was asked for")

    middle = Bottom(leaf(3.0))
    (d,) = grad(middle * middle, middle)
    assert d.item() == 6
    assert middle.op is Bottom


def test_the_gradient_of_an_output_at_itself_is_its_cotangent():
    y = leaf(3.0) * 2
    assert grad(y, y)[0].item() == 1


def test_zeros_for_an_input_that_nothing_depends_on():
    x, other = leaf(1.0, 2.0), Tensor(np.ones((3, 2), np.float32), requires_grad=True)
    _, zero = grad(x.sum(), [x, other])
    np.testing.assert_array_equal(zero.data, np.zeros((3, 2)))
    assert zero.dtype == np.float32


def test_a_detached_tensor_stops_the_gradient():
    x = leaf(3.0)
    assert grad(x * (x * x).detach(), x)[0].item() == 9


@settings(deadline=None)
@given(mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3), st.sampled_from([Add, Sub, Mul, Div]))
def test_a_cotangent_is_summed_back_to_what_was_broadcast(shapes, op):
    rng = np.random.default_rng(1)
    x, y = (Tensor(rng.uniform(1, 2, shape), requires_grad=True) for shape in shapes.input_shapes)
    g = rng.standard_normal(shapes.result_shape)
    expected = {"x": np.zeros(x.shape), "y": np.zeros(y.shape)}
    xs, ys = (np.broadcast_to(t.data, g.shape) for t in (x, y))
    partials = {Add: lambda a, b: (1, 1), Sub: lambda a, b: (1, -1), Mul: lambda a, b: (b, a)}
    partials[Div] = lambda a, b: (1 / b, -a / b**2)
    for index in np.ndindex(g.shape):
        for name, t, partial in zip("xy", (x, y), partials[op](xs[index], ys[index])):
            own = index[len(index) - t.ndim :]
            own = tuple(0 if size == 1 else i for i, size in zip(own, t.shape))
            expected[name][own] += g[index] * partial
    for gradient, array in zip(grad(op(x, y), [x, y], Tensor(g)), expected.values()):
        assert gradient.shape == array.shape
        np.testing.assert_allclose(gradient.data, array, rtol=1e-12, atol=1e-13)


# What is asked for


@pytest.fixture
def product():
    """An Op x·w whose `asked` lists the gradients that were computed."""

    class Product(Op):
        asked = []

        def forward(x, w):
            return x * w

        def vjp(g, out, x, w):
            def dx():
                Product.asked.append("x")
                return g * w

            def dw():
                Product.asked.append("w")
                return g * x

            return dx, dw

    return Product


def test_a_frozen_input_is_never_asked_for(product):
    x, w = leaf(2.0), Tensor(np.array([5.0]))
    product(x, w).backward()
    assert product.asked == ["x"] and x.grad.item() == 5


def test_grad_towards_x_asks_no_layer_for_its_weights(product):
    x, w1, w2 = leaf(2.0), leaf(3.0), leaf(5.0)
    grad(product(product(x, w1), w2), x)
    assert product.asked == ["x", "x"]


def test_grad_towards_the_last_weights_asks_nothing_of_what_comes_before(product):
    x, w1, w2 = leaf(2.0), leaf(3.0), leaf(5.0)
    grad(product(product(x, w1), w2), w2)
    assert product.asked == ["w"]


# What is recorded


def test_the_first_four_derivatives_of_the_fourth_power():
    x = leaf(-1.5, 0.0, 2.0)
    y = x**4
    for derivative in (4 * x.data**3, 12 * x.data**2, 24 * x.data, [24.0] * 3):
        (y,) = grad(y.sum(), x, create_graph=True)
        np.testing.assert_allclose(y.data, derivative, rtol=1e-14)


def test_a_gradient_penalty_is_differentiated_through_the_gradient():
    x, w = leaf(0.3, -0.8), leaf(1.2, 0.5)
    (dx,) = grad((x * w).exp().sum(), x, create_graph=True)  # w·e^(xw)
    (dw,) = grad((dx**2).sum(), w)
    e = np.exp(x.data * w.data)
    np.testing.assert_allclose(dw.data, 2 * w.data * e * (e + w.data * x.data * e), rtol=1e-14)


def test_without_create_graph_a_gradient_has_no_history():
    x = leaf(3.0)
    (d,) = grad(x**3, x)
    assert d.op is None and not d.requires_grad


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_vjp_runs_with_recording_on_only_to_create_a_graph(create_graph):
    class Witness(Op):
        seen = []

        def forward(x):
            return x * 2

        def vjp(g, out, x):
            Witness.seen.append(recording())
            return lambda: (Witness.seen.append(recording()), g * 2)[1]

    x = leaf(1.0)
    with no_grad():
        assert not Witness(x).requires_grad
    y = Witness(x)
    with no_grad():
        grad(y, x, create_graph=create_graph)
        assert not recording()
    assert Witness.seen == [create_graph] * 2
    assert recording()


def test_no_grad_forgets_and_ends_even_by_an_error():
    x = leaf(1.0)
    with pytest.raises(ZeroDivisionError), no_grad():
        y = x * 2
        raise ZeroDivisionError
    assert (y.op, y.inputs, y.requires_grad) == (None, (), False)
    assert (x * 2).requires_grad


def test_an_op_of_frozen_inputs_is_not_remembered():
    y = Tensor(np.ones(2)) * Tensor(np.ones(2))
    assert y.op is None and y.inputs == ()


# What cannot be


def test_nothing_to_differentiate():
    with pytest.raises(GraphError, match="no output depends on a tensor that requires a gradient"):
        Tensor(np.ones(())).backward()


def test_a_released_graph_says_so_and_what_to_do():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    y.backward()
    for again in (y.backward, lambda: grad(y, x)):
        with pytest.raises(GraphError, match=r"shape \(\) was released by an earlier backward walk.*retain_graph=True"):
            again()


def test_a_graph_released_in_its_lower_part_refuses_a_second_loss():
    x = leaf(1.0, 2.0)
    shared = x * x
    (shared * 2).sum().backward()
    with pytest.raises(GraphError, match=r"shape \(2,\) was released"):
        shared.sum().backward()


def test_a_retained_graph_gives_the_same_again():
    x = leaf(3.0)
    y = x**3
    assert [grad(y, x, retain_graph=True)[0].item() for _ in range(2)] == [27, 27]


def test_an_image_of_losses_needs_a_cotangent():
    with pytest.raises(GraphError, match=r"shape \(2, 3\) needs a cotangent"):
        Tensor(np.ones((2, 3)), requires_grad=True).backward()


def test_a_cotangent_of_another_shape_or_dtype():
    y = leaf(1.0, 2.0) * 2
    for wrong in (np.ones(3), np.ones(2, np.float32)):
        with pytest.raises(ShapeError, match=r"the cotangent is .* where the output is \(2,\) float64"):
            y.backward(Tensor(wrong))


def test_a_vjp_of_the_wrong_shape_is_named():
    class Bent(Op):
        def forward(x):
            return x * 1

        def vjp(g, out, x):
            return lambda: g.sum()

    with pytest.raises(ShapeError, match=r"vjp of Bent gave a cotangent \(\) float64 for an input \(2,\) float64"):
        Bent(leaf(1.0, 2.0)).backward(Tensor(np.ones(2)))


@pytest.mark.parametrize("other", [np.ones(2, np.float32), np.ones(2, np.int64)])
def test_dtypes_are_not_mixed(other):
    with pytest.raises(ShapeError, match=rf"Mul\(\(2,\) float64, \(2,\) {other.dtype}\).*one floating-point type"):
        leaf(1.0, 2.0) * Tensor(other)


def test_integers_are_not_differentiated():
    with pytest.raises(ShapeError, match=r"Add\(\(3,\) int64, 1\)"):
        Tensor(np.arange(3)) + 1


@pytest.mark.parametrize("number", [2, 2.5, np.float64(2.5), True])
def test_python_and_numpy_scalars_take_on_the_tensors_dtype(number):
    x = leaf(1.0, 2.0, dtype=np.float32)
    for y in (x + number, number - x, number / x, x * number, number * x, x / number):
        assert isinstance(y, Tensor) and y.dtype == np.float32


def test_an_array_from_the_left_asks_the_tensor():
    y = np.array([1.0, 2.0]) - leaf(5.0, 5.0)
    assert isinstance(y, Tensor)
    np.testing.assert_array_equal(y.data, [-4, -3])


def zeros(*shape):
    return Tensor(np.zeros(shape))


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: Conv2d(zeros(1, 5, 5, 3), zeros(3, 3, 4, 2)),
            r"Conv2d\(\(1, 5, 5, 3\) float64, \(3, 3, 4, 2\) float64\): the image has 3 channels .* weights take 4",
        ),
        (lambda: Conv2d(zeros(1, 2, 5, 3), zeros(3, 3, 3, 2)), r"Conv2d\(\(1, 2, 5, 3\).*kernel is larger than"),
        (lambda: zeros(2, 3) @ zeros(4, 5), r"MatMul\(\(2, 3\) float64, \(4, 5\) float64\)"),
        (lambda: zeros(3) @ zeros(3, 5), r"MatMul\(\(3,\).*at least two axes"),
        (lambda: PixelShuffle(zeros(1, 2, 2, 6), r=2), r"PixelShuffle\(\(1, 2, 2, 6\).*6 channels .* 2×2"),
        (lambda: zeros(2, 3)[5], r"Slice\(\(2, 3\) float64\).*out of bounds"),
        (lambda: zeros(2, 3)[0, 0, 0], r"Slice\(\(2, 3\) float64\).*too many indices"),
        (lambda: zeros(2, 3)[[0, 0]], r"Slice\(\(2, 3\) float64\).*an array could name an element twice"),
        (lambda: zeros(2, 3).reshape((4,)), r"Reshape\(\(2, 3\) float64\)"),
        (lambda: zeros(2, 3) + zeros(2, 4), r"Add\(\(2, 3\) float64, \(2, 4\) float64\)"),
    ],
)
def test_an_op_that_cannot_take_its_inputs_names_itself_and_their_shapes(call, message):
    with pytest.raises(ShapeError, match=message) as caught:
        call()
    assert isinstance(caught.value, MinisrganError) and isinstance(caught.value, ValueError)


# Depth and memory


def deep_chain(x):
    y = x
    for _ in range(DEEP):
        y = y + 1
    return y


def test_a_deep_graph_goes_forward_and_backward(no_collector):
    x = leaf(1.0)
    deep_chain(x).backward()
    assert x.grad.item() == 1


def test_a_deep_graph_is_dropped_without_a_walk(no_collector):
    x = leaf(1.0)
    y = deep_chain(x)
    first = weakref.ref(y.inputs[0])
    del y
    assert first() is None


def test_a_deep_gradient_graph_is_differentiated_again():
    x = leaf(1.0)
    y = x
    for _ in range(DEEP):
        y = y * x  # x^(n + 1)
    (first,) = grad(y, x, create_graph=True)
    assert first.item() == DEEP + 1
    assert grad(first, x)[0].item() == DEEP * (DEEP + 1)


def test_intermediate_tensors_are_gone_after_backward_though_the_loss_lives(no_collector):
    x = leaf(1.0, 2.0)
    a = x * 2
    b = a.exp()
    loss = b.sum()
    gone = [weakref.ref(each) for each in (a, b)]
    del a, b
    loss.backward()
    assert [ref() for ref in gone] == [None, None]


def test_the_walk_releases_each_tensor_as_it_goes(no_collector):
    class Census(Op):
        made, alive = [], []

        def forward(x):
            return x * 1

        def vjp(g, out, x):
            Census.alive.append(sum(ref() is not None for ref in Census.made))
            return lambda: g * 1

    y = leaf(1.0)
    for _ in range(10):
        y = Census(y)
        Census.made.append(weakref.ref(y))
    loss = y.sum()
    del y
    loss.backward()
    assert Census.alive == list(range(10, 0, -1))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_reference_cycles(case, no_collector):
    """A dropped graph leaves nothing to the garbage collector, whether it was walked never, once or twice."""
    xs = [Tensor(array, requires_grad=True) for array in case.arrays]
    case.function(*xs)
    out = case.function(*xs)
    gradients = grad(out, xs, Tensor(np.ones(out.shape)))
    out = case.function(*xs)
    gradients = grad((out * out).sum(), xs, create_graph=True)
    gradients = grad(sum((g * g).sum() for g in gradients), xs)
    del out, gradients, xs
    assert gc.collect() == 0


def test_an_input_that_was_not_remembered_is_refused():
    frozen, w = Tensor(np.ones(3)), Tensor(np.ones(3), requires_grad=True)
    loss = ((frozen * 2) * w).sum()
    with pytest.raises(GraphError, match="requires_grad"):
        grad(loss, [w, frozen])


def test_a_tensor_is_no_sequence_to_iterate():
    with pytest.raises(TypeError, match="iter"):
        list(Tensor(np.ones(3)))
