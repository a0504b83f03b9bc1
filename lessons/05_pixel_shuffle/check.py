"""Pixel shuffle and its vjp by their definition, number by number; ICNR by what it does."""

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
    "constant factor": "Nothing is added or averaged: each number only moves.",
    "shape": "Nothing is lost or added: (N, H, W, r²C) and (N, rH, rW, C) have as many numbers.",
}


def places(shape, r):
    """(where in x, where in y) for every number of an x of that shape."""
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


# What learners really do: (kind, what to say, what the shuffle would be, and the vjp)
def other_order(x, r):
    """Channels (C, r, r) to channels (r, r, C)."""
    return np.moveaxis(x.reshape(*x.shape[:3], -1, r, r), 3, -1).reshape(x.shape)


def other_order_back(x, r):
    return np.moveaxis(x.reshape(*x.shape[:3], r, r, -1), -1, 3).reshape(x.shape)


def exchanged(x, r):
    """i and j exchanged."""
    return np.swapaxes(x.reshape(*x.shape[:3], r, r, -1), 3, 4).reshape(x.shape)


def side_by_side(x, r):
    """The r² small images whole, beside and below each other."""
    n, h, w, _ = x.shape
    return x.reshape(n, h, w, r, r, -1).transpose(0, 3, 1, 4, 2, 5).reshape(n, r * h, r * w, -1)


def side_by_side_back(g, r):
    n, h, w, _ = g.shape
    return g.reshape(n, r, h // r, r, w // r, -1).transpose(0, 2, 4, 1, 3, 5).reshape(n, h // r, w // r, -1)


MISTAKES = [
    ("channel order", "the channels are taken as (C, r, r), which is PyTorch's order. Here they are (r, r, C)",
     lambda x, r: reference_shuffle(other_order(x, r), r), lambda g, r: other_order_back(reference_vjp(g, r), r)),
    ("rows and columns", "i and j are exchanged: of (i·r + j), i counts rows and j columns",
     lambda x, r: reference_shuffle(exchanged(x, r), r), lambda g, r: exchanged(reference_vjp(g, r), r)),
    ("reshape only", "that is a reshape alone, which spreads a pixel's numbers along a row. Put the axes in order "
     "before they are joined",
     lambda x, r: x.reshape(len(x), r * x.shape[1], r * x.shape[2], -1),
     lambda g, r: g.reshape(len(g), g.shape[1] // r, g.shape[2] // r, -1)),
    ("side by side", "the r² images stand whole beside each other. A row is r·h + i: h counts slowly, i fast",
     side_by_side, side_by_side_back),
]  # fmt: skip


def diagnose(function, which, reference, arguments):
    """Raise Wrong where the result is what a well-known mistake gives."""
    array, r = arguments
    try:
        made = np.asarray(function(array.copy(), r))
    except ValueError:
        return  # which check_function will meet again
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
        raise Wrong("another way", "the library has these functions already: write them with NumPy alone.")
    rng = np.random.default_rng(0)
    cases = {label: (rng.standard_normal(shape), r) for label, (shape, r) in CASES.items()}
    slopes = {label: (rng.standard_normal(reference_shuffle(x, r).shape), r) for label, (x, r) in cases.items()}
    for which, (function, reference, inputs) in enumerate(
        [(exercise.shuffle, reference_shuffle, cases), (exercise.shuffle_vjp, reference_vjp, slopes)]
    ):
        for arguments in reversed(inputs.values()):  # the largest first: there, no two mistakes look alike
            diagnose(function, which, reference, arguments)
        check_function(function, reference, inputs, 0, BECAUSE)
    for x, g in zip(cases.values(), slopes.values()):
        difference = (exercise.shuffle(*x) * g[0]).sum() - (exercise.shuffle_vjp(*g) * x[0]).sum()
        if abs(difference) > 1e-13 * np.linalg.norm(x[0]) * np.linalg.norm(g[0]):
            raise Wrong("wrong", "⟨g, shuffle(x)⟩ is not ⟨shuffle_vjp(g), x⟩: the vjp is not that of this shuffle.")
    check_icnr(exercise.icnr)


def check_icnr(icnr):
    for kernel, cin, c, r in ((3, 12, 16, 2), (5, 7, 10, 3)):
        call = f"icnr(rng, {kernel}, {cin}, {c * r**2}, {r})"
        w = icnr(np.random.default_rng(1), kernel, cin, c * r**2, r)
        if not isinstance(w, np.ndarray) or w.dtype.kind != "f":
            raise Wrong("type", f"{call} is not an array of floating-point numbers: is a `return` missing?")
        if w.shape != (wanted := (kernel, kernel, cin, c * r**2)):
            raise Wrong("shape", f"{call} has the shape {w.shape}, where {wanted} is wanted.")
        if not np.array_equal(w, icnr(np.random.default_rng(1), kernel, cin, c * r**2, r)):
            raise Wrong("not repeatable", f"{call} is not the same for two generators of one seed: draw from `rng`.")
        if np.array_equal(w, icnr(np.random.default_rng(2), kernel, cin, c * r**2, r)):
            raise Wrong("not random", f"{call} is the same for generators of different seeds: draw from `rng`.")
        check_phases(call, w, c, r)
        check_spread(call, w[..., :c], kernel, cin, c, r)


def check_phases(call, w, c, r):
    """Does the shuffled convolution enlarge by nearest neighbour?"""
    x = np.random.default_rng(3).standard_normal((2, w.shape[0] + 2, w.shape[1] + 1, w.shape[2]))
    w = w.astype(float)
    y = reference_shuffle(Conv2d(x, w).data, r)
    nearest = y[:, ::r, ::r].repeat(r, axis=1).repeat(r, axis=2)
    if np.allclose(y, nearest):
        return
    copies = w.reshape(*w.shape[:3], c, r**2)
    if np.allclose(copies, copies[..., :1]):
        message = "The copies stand next to each other, which suits PyTorch's order of channels, not (r, r, C)."
        raise Wrong("channel order", f"{call}: {message}")
    worst = abs(y - nearest).max() / y.std()
    message = f"pixels of one square differ by up to {worst:.1f} times the image's deviation, and should not at all"
    raise Wrong("phases differ", f"{call}, convolved and shuffled: {message}.")


def check_spread(call, one, kernel, cin, c, r):
    """He's variance; and every element a draw of its own."""
    if len(np.unique(one)) < one.size:
        alike = next((name for axis, name in enumerate(("rows", "columns", "input channels", "output channels"))
                      if one.shape[axis] > 1 and np.array_equal(one, np.roll(one, 1, axis))), "elements")  # fmt: skip
        raise Wrong(f"{alike} alike", f"{call}: within one offset, {alike} have the same weights. Only offsets should.")
    wanted = np.sqrt(2 / (kernel**2 * cin))
    if abs(one.mean()) > 5 * one.std() / np.sqrt(one.size):
        raise Wrong("offset", f"{call} has the mean {one.mean():.3g}, where 0 is wanted.")
    if abs(one.std() / wanted - 1) > 0.08:
        fan_ins = {
            "k²·Cin·r²": (kernel**2 * cin * r**2, "a copy is not another input"),
            "k²·Cout": (kernel**2 * c * r**2, "it is the inputs that are summed over"),
            "k²·C": (kernel**2 * c, "it is the inputs that are summed over"),
            "Cin": (cin, "the kernel has k² taps"),
            "k²": (kernel**2, "a tap sums over Cin inputs"),
            "k·Cin": (kernel * cin, "the kernel has k² taps"),
        }
        candidates = [f" It looks like √(2/({text})), but {why}." for text, (n, why) in fan_ins.items()
                      if abs(one.std() / np.sqrt(2 / n) - 1) < 0.08]  # fmt: skip
        if abs(one.std() / wanted**2 - 1) < 0.08:
            candidates = [" That is the variance; the deviation is its square root."]
        if abs(one.std() / wanted * np.sqrt(2) - 1) < 0.08:
            candidates = [" The 2 is missing: half of what a rectifier gets is lost."]
        message = f"{call} has the standard deviation {one.std():.4f}, where √(2/(k²·Cin)) is {wanted:.4f}."
        raise Wrong("constant factor", message + "".join(candidates[:1]))
