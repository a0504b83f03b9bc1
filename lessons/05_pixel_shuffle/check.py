"""Compare pixel shuffle and its vjp with their definition, number by number; test ICNR by its effect."""

import re
from pathlib import Path

import numpy as np

from lessons.course.checking import Wrong, check_function
from minisrgan.ops import Conv2d

CASES = {  # (N, H, W, r²C), r: no two sizes alike
    "r = 2, one channel": ((1, 2, 3, 4), 2),
    "r = 2, three channels": ((2, 4, 5, 12), 2),
    "r = 3, two channels, three images": ((3, 2, 4, 18), 3),
    "r = 1": ((2, 3, 4, 5), 1),
}
BECAUSE = {
    "constant factor": "Nothing is added up or averaged: each number only moves.",
    "shape": "No number is lost or added: (N, H, W, r²C) and (N, rH, rW, C) have equally many.",
}


def places(shape, r):
    """(its place in x, its place in y) for every number of an x of this shape."""
    c = shape[3] // r**2
    for n, h, w, channel in np.ndindex(shape):
        i, j = divmod(channel // c, r)
        yield (n, h, w, channel), (n, r * h + i, r * w + j, channel % c)


def reference_shuffle(x, r):
    y = np.empty((len(x), r * x.shape[1], r * x.shape[2], x.shape[3] // r**2))
    for here, there in places(x.shape, r):
        y[there] = x[here]
    return y


def reference_vjp(g, r):
    x = np.empty((len(g), g.shape[1] // r, g.shape[2] // r, r**2 * g.shape[3]))
    for here, there in places(x.shape, r):
        x[here] = g[there]
    return x


# The mistakes that learners make: (kind, the message, the mistaken shuffle, the mistaken vjp)
def other_order(x, r):
    """Channels (C, r, r) to channels (r, r, C)."""
    return np.moveaxis(x.reshape(*x.shape[:3], -1, r, r), 3, -1).reshape(x.shape)


def other_order_back(x, r):
    return np.moveaxis(x.reshape(*x.shape[:3], r, r, -1), -1, 3).reshape(x.shape)


def exchanged(x, r):
    """x with i and j exchanged in its channels."""
    return np.swapaxes(x.reshape(*x.shape[:3], r, r, -1), 3, 4).reshape(x.shape)


def side_by_side(x, r):
    """The r² small images, each in one piece, beside and below each other."""
    n, h, w, _ = x.shape
    return x.reshape(n, h, w, r, r, -1).transpose(0, 3, 1, 4, 2, 5).reshape(n, r * h, r * w, -1)


def side_by_side_back(g, r):
    n, h, w, _ = g.shape
    return g.reshape(n, r, h // r, r, w // r, -1).transpose(0, 2, 4, 1, 3, 5).reshape(n, h // r, w // r, -1)


MISTAKES = [
    ("channel order", "the channels are read as (C, r, r), which is PyTorch's order. Here they are (r, r, C)",
     lambda x, r: reference_shuffle(other_order(x, r), r), lambda g, r: other_order_back(reference_vjp(g, r), r)),
    ("rows and columns", "i and j are exchanged: in (i·r + j), i counts rows and j columns",
     lambda x, r: reference_shuffle(exchanged(x, r), r), lambda g, r: exchanged(reference_vjp(g, r), r)),
    ("reshape only", "this is only a reshape, which spreads the numbers of a pixel along a row. Put the axes into the "
     "right order before you join them",
     lambda x, r: x.reshape(len(x), r * x.shape[1], r * x.shape[2], -1),
     lambda g, r: g.reshape(len(g), g.shape[1] // r, g.shape[2] // r, -1)),
    ("side by side", "the r² small images stand beside each other. A row is r·h + i, so i must run faster than h",
     side_by_side, side_by_side_back),
]  # fmt: skip


def diagnose(function, which, reference, arguments):
    """Raise Wrong if the result is that of a well-known mistake."""
    array, r = arguments
    try:
        made = np.asarray(function(array.copy(), r))
    except ValueError:
        return  # check_function will meet this error again
    wanted = reference(array, r)
    for kind, message, *mistaken in MISTAKES:
        try:
            guess = mistaken[which](array, r)
        except ValueError:
            continue
        if guess.shape == made.shape and np.allclose(guess, made) and not np.array_equal(guess, wanted):
            raise Wrong(kind, f"{function.__name__}: {message}.")


def check(exercise):
    if re.search(r"^\s*(from|import) +minisrgan", Path(exercise.__file__).read_text(encoding="utf-8"), re.MULTILINE):
        raise Wrong("another way", "the library already has these functions: write them with NumPy alone.")
    rng = np.random.default_rng(0)
    cases = {label: (rng.standard_normal(shape), r) for label, (shape, r) in CASES.items()}
    slopes = {label: (rng.standard_normal(reference_shuffle(x, r).shape), r) for label, (x, r) in cases.items()}
    for which, (function, reference, inputs) in enumerate(
        [(exercise.shuffle, reference_shuffle, cases), (exercise.shuffle_vjp, reference_vjp, slopes)]
    ):
        for arguments in reversed(inputs.values()):  # the largest first: there no two mistakes have the same result
            diagnose(function, which, reference, arguments)
        check_function(function, reference, inputs, 0, BECAUSE)
    for x, g in zip(cases.values(), slopes.values()):
        difference = (exercise.shuffle(*x) * g[0]).sum() - (exercise.shuffle_vjp(*g) * x[0]).sum()
        if abs(difference) > 1e-13 * np.linalg.norm(x[0]) * np.linalg.norm(g[0]):
            raise Wrong("wrong", "⟨g, shuffle(x)⟩ is not ⟨shuffle_vjp(g), x⟩: this is not the vjp of the shuffle.")
    check_icnr(exercise.icnr)


def check_icnr(icnr):
    for kernel, cin, c, r in ((3, 12, 16, 2), (5, 7, 10, 3)):
        call = f"icnr(rng, {kernel}, {cin}, {c * r**2}, {r})"
        w = icnr(np.random.default_rng(1), kernel, cin, c * r**2, r)
        if not isinstance(w, np.ndarray) or w.dtype.kind != "f":
            raise Wrong("type", f"{call} is not an array of floating-point numbers: is a `return` missing?")
        if w.shape != (wanted := (kernel, kernel, cin, c * r**2)):
            raise Wrong("shape", f"{call} has the shape {w.shape} instead of {wanted}.")
        if not np.array_equal(w, icnr(np.random.default_rng(1), kernel, cin, c * r**2, r)):
            raise Wrong("not repeatable", f"{call} differs for two generators with the same seed: draw from `rng`.")
        if np.array_equal(w, icnr(np.random.default_rng(2), kernel, cin, c * r**2, r)):
            raise Wrong("not random", f"{call} is the same for generators with different seeds: draw from `rng`.")
        check_phases(call, w, c, r)
        check_spread(call, w[..., :c], kernel, cin, c, r)


def check_phases(call, w, c, r):
    """Is the convolution with shuffle a nearest-neighbour enlargement?"""
    x = np.random.default_rng(3).standard_normal((2, w.shape[0] + 2, w.shape[1] + 1, w.shape[2]))
    w = w.astype(float)
    y = reference_shuffle(Conv2d(x, w).data, r)
    nearest = y[:, ::r, ::r].repeat(r, axis=1).repeat(r, axis=2)
    if np.allclose(y, nearest):
        return
    copies = w.reshape(*w.shape[:3], c, r**2)
    if np.allclose(copies, copies[..., :1]):
        message = "the copies are next to each other. This suits PyTorch's order of channels, not (r, r, C)."
        raise Wrong("channel order", f"{call}: {message}")
    worst = abs(y - nearest).max() / y.std()
    message = f"the pixels of one square must be equal, but differ by up to {worst:.1f} times the image's deviation"
    raise Wrong("phases differ", f"{call}, after convolution and shuffle: {message}.")


def check_spread(call, one, kernel, cin, c, r):
    """Is the variance He's, and is every element drawn by itself?"""
    if len(np.unique(one)) < one.size:
        alike = next((name for axis, name in enumerate(("rows", "columns", "input channels", "output channels"))
                      if one.shape[axis] > 1 and np.array_equal(one, np.roll(one, 1, axis))), "elements")  # fmt: skip
        raise Wrong(f"{alike} alike", f"{call}: in one offset, {alike} share weights. Only offsets should share them.")
    wanted = np.sqrt(2 / (kernel**2 * cin))
    if abs(one.mean()) > 5 * one.std() / np.sqrt(one.size):
        raise Wrong("offset", f"{call} has the mean {one.mean():.3g} instead of 0.")
    if abs(one.std() / wanted - 1) > 0.08:
        fan_ins = {
            "k²·Cin·r²": (kernel**2 * cin * r**2, "a copy is not another input"),
            "k²·Cout": (kernel**2 * c * r**2, "the sum runs over the inputs"),
            "k²·C": (kernel**2 * c, "the sum runs over the inputs"),
            "Cin": (cin, "the kernel has k² taps"),
            "k²": (kernel**2, "a tap sums over Cin inputs"),
            "k·Cin": (kernel * cin, "the kernel has k² taps"),
        }
        candidates = [f" It looks like √(2/({text})), but {why}." for text, (n, why) in fan_ins.items()
                      if abs(one.std() / np.sqrt(2 / n) - 1) < 0.08]  # fmt: skip
        if abs(one.std() / wanted**2 - 1) < 0.08:
            candidates = [" This is the variance; the standard deviation is its square root."]
        if abs(one.std() / wanted * np.sqrt(2) - 1) < 0.08:
            candidates = [" The 2 is missing. It is needed because a rectifier drops half of its input."]
        message = f"{call} has the standard deviation {one.std():.4f} instead of √(2/(k²·Cin)), which is {wanted:.4f}."
        raise Wrong("constant factor", message + "".join(candidates[:1]))
