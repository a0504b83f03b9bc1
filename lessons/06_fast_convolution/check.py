"""Does the kernel compute the engine's convolution, in every checked build? See lessons/course/kernel_check.py."""

import re

import numpy as np

from lessons.course.checking import Wrong, compare
from lessons.course.kernel_check import Launch, all_written, code_of, run_kernels

TILE = 8
TOLERANCE = 1e-5  # float32
SHAPES = [(1, 8, 8, 1, 1), (1, 8, 16, 3, 2), (2, 9, 11, 2, 3), (1, 3, 5, 4, 2)]  # n, height, width, cin, cout
BECAUSE = {
    "border": "The halo reaches beyond the image, where x must be 0.",
    "shift": "The halo begins one pixel above and to the left of the tile.",
}


def check(exercise):
    cases = {label(*shape): case(*shape) for shape in SHAPES}
    made = run_kernels(exercise, {name: launch(*each) for name, each in cases.items()})
    for name, (x, w) in cases.items():
        check_y(f"y of {name}", made[name]["y"], x, w)
    code = code_of(exercise)
    if not re.search(r"\bhalo\s*\[", code.partition("halo, [")[2]) or "__syncthreads" not in code:
        raise Wrong("no shared memory", "right, but each thread loads all of its numbers itself, as in step 1.")
    if len(re.findall(r"\bx\s*\[", code)) > 1:
        raise Wrong("no shared memory", "right, but x is read in more than one place: load it once, then use `halo`.")


def label(n, height, width, cin, cout):
    return f"{n} image{'s' if n > 1 else ''} of {height}×{width}, {cin} → {cout} channels"


def launch(x, w):
    n, height, width, cin = x.shape
    cout = w.shape[3]
    grid = (n * -(-height // TILE) * -(-width // TILE), cout)
    y = np.full((n, height, width, cout), np.nan, np.float32)
    return Launch("conv3x3", grid, TILE * TILE, x, w, y, n, height, width, cin, cout)


def case(n, height, width, cin, cout):
    rng = np.random.default_rng(height * width)
    x = rng.standard_normal((n, height, width, cin), np.float32)
    return x, rng.standard_normal((3, 3, cin, cout), np.float32)


def convolution(x, w, before=1):
    """The definition, tap by tap. `before`: the number of rows and columns of zeros above and to the left."""
    padded = np.pad(x, ((0, 0), (before, 2 - before), (before, 2 - before), (0, 0))).astype(float)
    height, width = x.shape[1:3]
    taps = [padded[:, i : i + height, j : j + width] @ w[i, j] for i in range(3) for j in range(3)]
    return sum(taps).astype(np.float32)


def check_y(what, made, x, w):
    all_written(what, made)
    wanted = convolution(x, w)
    cin, cout = w.shape[2:]
    n, height, width, _ = x.shape
    last, corner = np.zeros_like(x), np.zeros_like(w)
    last[..., -1], corner[2, 2] = x[..., -1], w[2, 2]
    channels_first = x.reshape(n, cin, height, width).transpose(0, 2, 3, 1)
    others = [
        (
            "flipped",
            convolution(x, w[::-1, ::-1]),
            "the taps are turned: tap i of pixel p reads p + i - 1. In the input gradient it reads p - i + 1.",
        ),
        ("transposed", convolution(x, w.transpose(1, 0, 2, 3)), "rows and columns of the taps are exchanged."),
        (
            "weights",
            convolution(x, w.reshape(3, 3, cout, cin).transpose(0, 1, 3, 2)),
            "w is (3, 3, cin, cout): the number after w[i, j, c, o] belongs to the next output channel.",
        ),
        ("one channel", convolution(last, w), "only the last input channel is in the sum. Where is `sum` set to 0?"),
        ("one channel", convolution(np.broadcast_to(x[..., :1], x.shape), w), "it uses only the first channel of x."),
        (
            "one tap",
            convolution(x, np.pad(w[1:2, 1:2], ((1, 1), (1, 1), (0, 0), (0, 0)))),
            "it has only the middle tap.",
        ),
        ("one tap", convolution(last, corner), "it is only the last product: is each product added to the sum?"),
        ("one image", convolution(np.broadcast_to(x[:1], x.shape), w), "every image has the result of the first."),
        ("shift", convolution(x, w, before=0), f"it is shifted by a pixel along both axes. {BECAUSE['shift']}"),
        (
            "layout",
            convolution(channels_first, w),
            "x is NHWC: the number after x[n, row, column, c] belongs to the next channel.",
        ),
    ]
    swapped = wanted.transpose(0, 3, 1, 2).reshape(wanted.shape)
    others.append(("layout", swapped, "y is NHWC: the number after y[n, row, column, o] belongs to the next channel."))
    if height == width == TILE:  # a single tile, with zeros all around it
        exchanged = convolution(x.transpose(0, 2, 1, 3), w)
        others.append(("transposed", exchanged, "rows and columns of the halo are exchanged."))
    try:
        compare(what, made, wanted, TOLERANCE, BECAUSE)
    except Wrong as wrong:
        for kind, other, message in others:
            if near(made, other, TOLERANCE * 10) and not near(other, wanted, 1e-2):
                raise Wrong(kind, f"{what}: {message}") from None
        raise wrong from None


def near(a, b, tolerance):
    return np.allclose(a, b, rtol=0, atol=tolerance)
