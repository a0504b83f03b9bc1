"""Compares the three convolutions with the sum that defines them, at any geometry and in blocks of any size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minisrgan.device import blas
from minisrgan.errors import ShapeError
from minisrgan.ops import Conv2d, InputGrad, WeightGrad
from minisrgan.tensor import Tensor


def naive(x, w, g, stride, padding):
    """(x ⋆ w, ∂⟨g, x ⋆ w⟩/∂x, ∂⟨g, x ⋆ w⟩/∂w): the trilinear sum, an output pixel and a tap at a time."""
    (sy, sx), (py, px), (kh, kw) = stride, padding, w.shape[:2]
    (height, width), (ho, wo) = x.shape[1:3], g.shape[1:3]
    out, dx, dw = np.zeros(g.shape), np.zeros(x.shape), np.zeros(w.shape)
    for p, q, i, j in np.ndindex(ho, wo, kh, kw):
        row, column = sy * p + i - py, sx * q + j - px
        if 0 <= row < height and 0 <= column < width:
            out[:, p, q] += x[:, row, column] @ w[i, j]
            dx[:, row, column] += g[:, p, q] @ w[i, j].T
            dw[i, j] += x[:, row, column].T @ g[:, p, q]
    return out, dx, dw


DEFINITIONS = Conv2d.forward, InputGrad.forward, WeightGrad.forward
BY_BLAS = blas.conv2d, blas.input_grad, blas.weight_grad


def triple(x, w, g, stride, padding, functions=DEFINITIONS):
    """What `naive` computes, by the three ops' definitions, or as NumPy's devices do it."""
    at = {"stride": stride, "padding": padding}
    conv2d, input_grad, weight_grad = functions
    return conv2d(x, w, **at), input_grad(g, w, size=x.shape[1:3], **at), weight_grad(x, g, kernel=w.shape[:2], **at)


def random_triple(rng, images, size, kernel, cin, cout, stride, padding):
    ho, wo = ((n + 2 * p - k) // s + 1 for n, k, s, p in zip(size, kernel, stride, padding))
    shapes = (images, *size, cin), (*kernel, cin, cout), (images, ho, wo, cout)
    x, w, g = map(rng.standard_normal, shapes)
    return x, w, g, stride, padding


def assert_triple_is_naive(arguments):
    for functions in DEFINITIONS, BY_BLAS:
        for computed, expected in zip(triple(*arguments, functions), naive(*arguments), strict=True):
            assert computed.shape == expected.shape
            np.testing.assert_allclose(computed, expected, rtol=1e-12, atol=1e-12)


def test_the_definition_written_out_in_full():
    x, w, g, (sy, sx), (py, px) = random_triple(np.random.default_rng(3), 2, (5, 4), (3, 2), 3, 2, (2, 1), (1, 2))
    total = 0.0
    for n, p, q, o in np.ndindex(g.shape):
        for i, j, c, _ in np.ndindex(w.shape[:3] + (1,)):
            row, column = sy * p + i - py, sx * q + j - px
            if 0 <= row < 5 and 0 <= column < 4:
                total += g[n, p, q, o] * x[n, row, column, c] * w[i, j, c, o]
    out, dx, dw = triple(x, w, g, (sy, sx), (py, px))
    for inner in ((g * out).sum(), (x * dx).sum(), (w * dw).sum()):
        np.testing.assert_allclose(inner, total, rtol=1e-12)


CHANNELS = st.one_of(  # few outputs, few outputs of the input gradient, and neither
    st.tuples(st.integers(9, 10), st.integers(1, 8)),
    st.tuples(st.integers(1, 8), st.integers(9, 10)),
    st.tuples(st.integers(1, 8), st.integers(1, 8)),
)


@st.composite
def geometries(draw):
    """Arguments of `random_triple` in which the kernel fits at least once."""
    kernel, stride, padding = (draw(st.tuples(st.integers(*of), st.integers(*of))) for of in ((1, 5), (1, 3), (0, 3)))
    if draw(st.booleans()):
        stride = (1, 1)  # the paths of their own
    size = tuple(draw(st.integers(max(k - 2 * p, 1), 9)) for k, p in zip(kernel, padding))
    return draw(st.integers(1, 3)), size, kernel, *draw(CHANNELS), stride, padding


@settings(max_examples=300, deadline=None)
@given(geometries(), st.sampled_from([1, 40, 300, blas.AT_ONCE]), st.integers(0, 99))
def test_any_geometry_in_blocks_of_any_size(geometry, block, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blas, "AT_ONCE", block)
        assert_triple_is_naive(random_triple(np.random.default_rng(seed), *geometry))


@pytest.mark.parametrize("cin, cout", [(9, 8), (8, 9), (10, 1), (9, 9), (8, 8)])
@pytest.mark.parametrize("kernel", [(3, 3), (4, 1)])
def test_few_outputs_in_several_bands_of_a_tall_image(cin, cout, kernel, monkeypatch):
    monkeypatch.setattr(blas, "AT_ONCE", 4)
    assert len(blas.bands(2, 70, 1)) == 6
    assert_triple_is_naive(
        random_triple(np.random.default_rng(4), 2, (70, 5), kernel, cin, cout, (1, 1), (kernel[0] // 2, 1))
    )


@pytest.mark.parametrize(
    "cin, cout, stride, few",
    [(9, 8, 1, True), (9, 9, 1, False), (8, 8, 1, False), (9, 8, 2, False), (9, 8, (1, 2), False)],
)
def test_which_path_is_taken(cin, cout, stride, few, monkeypatch):
    taken = []
    monkeypatch.setattr(blas, "correlate_few_outputs", lambda x, w: taken.append("out") or np.zeros((1, 1, 1, cout)))
    monkeypatch.setattr(blas, "weight_gradient_few_outputs", lambda x, g, kh, kw: taken.append("dw") or g)
    x, w, g = np.zeros((1, 3, 3, cin)), np.zeros((3, 3, cin, cout)), np.zeros((1, 1, 1, cout))
    blas.conv2d(x, w, stride=stride)
    blas.weight_grad(x, g, kernel=(3, 3), stride=stride)
    assert taken == (["out", "dw"] if few else [])


@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 50), st.integers(1, 400))
def test_blocks_cover_every_row_of_every_image_once_and_keep_to_their_size(n, height, row_elements, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blas, "AT_ONCE", block)
        where = blas.blocks(n, height, row_elements)
    times = np.zeros((n, height), int)
    for each in where:
        times[each] += 1
        assert times[each].size * row_elements <= max(block, row_elements)
    assert (times == 1).all()


def test_an_uneven_geometry_must_fit_its_cotangent():
    x, w, g = (Tensor(np.zeros(shape)) for shape in ((1, 5, 5, 2), (3, 3, 2, 4), (1, 2, 2, 4)))
    with pytest.raises(ShapeError, match=r"InputGrad.*cotangent is \(1, 2, 2, 4\) where the output is \(1, 3, 3, 4\)"):
        InputGrad(g, w, size=(5, 5))
    with pytest.raises(ShapeError, match=r"WeightGrad.*cotangent is \(1, 2, 2, 4\) where the output is \(1, 3, 3, 4\)"):
        WeightGrad(x, g, kernel=(3, 3))


@pytest.mark.parametrize("wrong", [{"stride": 0}, {"padding": -1}, {"stride": (1, 0)}, {"padding": (0, -2)}])
def test_strides_and_paddings_that_are_none(wrong):
    with pytest.raises(ShapeError, match="must be at least"):
        Conv2d(Tensor(np.zeros((1, 5, 5, 2))), Tensor(np.zeros((3, 3, 2, 4))), **wrong)


def test_the_arrays_given_are_left_as_they_were():
    arguments = random_triple(np.random.default_rng(6), 2, (6, 5), (3, 3), 9, 2, (1, 1), (1, 1))
    before = [array.copy() for array in arguments[:3]]
    for functions in DEFINITIONS, BY_BLAS:
        triple(*arguments, functions)
    for array, copy in zip(arguments[:3], before):
        np.testing.assert_array_equal(array, copy)
