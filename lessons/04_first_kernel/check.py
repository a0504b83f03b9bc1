"""Is it the derivative of PReLU, and is it right in any order of the threads? See lessons/course/kernel_check.py."""

import re

import numpy as np

from lessons.course.checking import Wrong, compare
from lessons.course.kernel_check import Launch, all_written, code_of, run_kernels

THREADS = 32
TOLERANCE = 1e-5  # float32
ROWS_AND_CHANNELS = [(15, 7), (22, 3), (75, 5), (7, 4), (1, 1)]


def check(exercise):
    cases = {f"{rows} rows of {channels}": case(rows, channels) for rows, channels in ROWS_AND_CHANNELS}
    launches = {}
    for label, (g, x, a) in cases.items():
        rows, channels = x.shape
        nothing = np.full(x.size, np.nan, np.float32)
        launches[f"prelu_backward, {label}"] = Launch(
            "prelu_backward", -(-x.size // 8), 8, g.ravel(), x.ravel(), a, nothing, x.size, channels
        )
        launches[f"slope_gradient, {label}"] = Launch(
            "slope_gradient", channels, THREADS, g, x, np.full(channels, np.nan, np.float32), rows, channels
        )
    made = run_kernels(exercise, launches)
    for label, (g, x, a) in cases.items():
        check_dx(f"dx of {label}", made[f"prelu_backward, {label}"]["dx"].reshape(x.shape), g, x, a)
    for label, (g, x, _) in cases.items():
        check_da(f"da of {label}", made[f"slope_gradient, {label}"]["da"], g, x)
    if not re.search("__syncthreads|__shfl", code_of(exercise)):
        raise Wrong("one thread", "the sums are right, but the threads of a block must share the work, as a tree.")
    if "atomic" in code_of(exercise):
        raise Wrong("atomics", "right, but atomics add in an order that changes from run to run. Use a tree instead.")


def case(rows, channels):
    """g, x and a, all different. x has zeros of both signs."""
    rng = np.random.default_rng(rows)
    g, x = rng.standard_normal((2, rows, channels), np.float32)
    x.flat[2::9], x.flat[5::9] = 0, -0.0
    return g, x, rng.uniform(-0.5, 0.9, channels).astype(np.float32)


def check_dx(what, made, g, x, a):
    """Compare with the definition: on either side of 0, y is linear in x, so its slope is the y of a step from 0."""
    slopes = np.where(x > 0, np.float32(1), a)
    others = {
        "branch": [
            (np.where(x > 0, a, np.float32(1)) * g, "the two sides of 0 are exchanged."),
            (np.where(x < 0, np.float32(1), a) * g, "the two sides of 0 are exchanged."),
        ],
        "at zero": (np.where(x >= 0, np.float32(1), a) * g, "an x of 0 counts as not positive."),
        "channels": (np.where(x > 0, np.float32(1), a[0]) * g, "all elements use a[0]. Which channel is element i in?"),
        "cotangent": (np.where(x > 0, x, a * x), "this is y. A vjp multiplies g by the derivative of y."),
        "no cotangent": (slopes, "this is the derivative of y with respect to x. A vjp multiplies g by it."),
        "half a cotangent": [
            (np.where(x > 0, np.float32(1), a * g), "g is missing where x is positive."),
            (np.where(x > 0, g, a), "g is missing where x is not positive."),
        ],
        "x for g": (np.where(x > 0, g, a * x), "where x is not positive, it is the negative slope times g, not x."),
    }
    diagnose(what, made, slopes * g, others)


def check_da(what, made, g, x):
    """Compare with the central difference of the loss. It is exact, since the loss is linear in a."""

    def loss(a):
        x64 = x.astype(float)
        return (g * np.where(x > 0, x64, a * x64)).sum(axis=0)

    wanted = ((loss(1.0) - loss(-1.0)) / 2).astype(np.float32)
    parts = np.where(x > 0, 0, g * x)
    left_out, too_often = "some rows are missing from the sum:", "some rows are in the sum more than once:"
    times = np.minimum(np.arange(len(x)) + 1, THREADS)  # how many threads begin at a row or before it
    others = {
        "branch": [(np.where(x > 0, g * x, 0).sum(0), "it adds up rows where x is positive, but there y has no a.")],
        "every row": [((g * x).sum(0), "it adds up all rows, but where x is positive, y has no a.")],
        "factor x": [(np.where(x > 0, 0, g).sum(0), "the derivative of a x with respect to a is x: multiply g by it.")],
        "no cotangent": [(np.where(x > 0, 0, x).sum(0), "g is missing. A vjp multiplies g by the derivative.")],
        "rows": [
            (parts[:THREADS].sum(0), f"{left_out} there may be more rows than threads."),
            (parts[: len(x) // THREADS * THREADS].sum(0), f"{left_out} the last few, fewer than there are threads."),
            (parts[np.arange(len(x)) % 2 == 0].sum(0), f"{left_out} the tree lacks its last step."),
            (parts[np.arange(len(x)) % THREADS < THREADS // 2].sum(0), f"{left_out} `half` begins too small."),
            (parts[::THREADS].sum(0), f"{left_out} it has only the rows of thread 0."),
        ],
        "shares": [
            (THREADS * parts.sum(0), f"{too_often} every thread adds up all rows."),
            (times @ parts, f"{too_often} each thread takes every row from row t on, also those of other threads."),
        ],
        "index": [
            (parts.reshape(-1, len(x)).sum(1), "element [r, c] is at r * channels + c: a row has `channels` numbers."),
        ],
    }  # fmt: skip
    diagnose(what, made, wanted, others)


def diagnose(what, made, wanted, others):
    """compare, but first look for known mistakes. `others` is a dict: kind -> (its result, the message), or a list."""
    all_written(what, made)
    try:
        compare(what, made, wanted, TOLERANCE)
    except Wrong as wrong:
        for kind, found in others.items():
            for other, message in found if isinstance(found, list) else [found]:
                if np.allclose(made, other, rtol=0, atol=TOLERANCE) and not np.allclose(
                    other, wanted, rtol=0, atol=1e-3
                ):
                    raise Wrong(kind, f"{what}: {message}") from None
        raise wrong from None
