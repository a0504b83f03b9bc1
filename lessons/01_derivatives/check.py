"""Does the learner's check tell right vjps from wrong ones, and in the right way? Is the learner's vjp right?"""

import numpy as np

from lessons.course.checking import Wrong, check_function, compare

RNG = np.random.default_rng(7)
WEIGHTS, SQUARE = RNG.standard_normal((4, 6)), RNG.standard_normal((5, 5))


def curved(x):
    """(3, 4) → (3, 6)."""
    return np.tanh(x @ WEIGHTS)


def curved_vjp(g, x):
    return (g / np.cosh(x @ WEIGHTS) ** 2) @ WEIGHTS.T


def product(x):
    """(5,) → (5,), linear."""
    return SQUARE @ x


def one_off(g, x):
    right = curved_vjp(g, x)
    right[1, 2] *= 1.01
    return right


WRONG_VJPS = [  # what is wrong with it, the function, the vjp, x
    ("has 1 % too much in one element", curved, one_off, (3, 4)),
    ("is reversed along its rows", curved, lambda g, x: curved_vjp(g, x)[:, ::-1], (3, 4)),
    ("is reversed along the batch", curved, lambda g, x: curved_vjp(g, x)[::-1], (3, 4)),
    ("gives each image the cotangent of another image", curved, lambda g, x: curved_vjp(g[::-1], x), (3, 4)),
    ("is Jg instead of Jᵀg", product, lambda g, x: SQUARE @ g, (5,)),
]


def check(exercise):
    check_means(exercise.gradient_error)
    check_results(exercise.gradient_error)
    check_differences(exercise.differences_vjp)


# ---- The learner's check ------------------------------------------------------------------------------


class Spy:
    """A function and its vjp; both note their arguments."""

    def __init__(self):
        self.points, self.cotangents, self.at = [], [], []

    def f(self, x):
        self.points.append(np.array(x))
        return curved(x)

    def vjp(self, g, x):
        if np.shape(g) != (3, 6) or np.shape(x) != (3, 4):
            shapes = f"g of shape {np.shape(g)} and x of shape {np.shape(x)}"
            raise Wrong("shape", f"vjp(g, x) is called with {shapes}, but f(x) has shape (3, 6) and x has (3, 4).")
        self.at.append(np.array(x))
        self.cotangents.append(np.array(g))
        return curved_vjp(g, x)


def watch(gradient_error, seed):
    """What gradient_error uses and returns: the direction times the step, the cotangent, and the result."""
    spy, x = Spy(), np.random.default_rng(1).standard_normal((3, 4))
    before = x.copy()
    result = gradient_error(spy.f, spy.vjp, x, np.random.default_rng(seed))
    if not np.array_equal(x, before):
        raise Wrong("input changed", "gradient_error changes x: make a new array, x + H * d.")
    if not spy.cotangents:
        raise Wrong("wrong", "gradient_error never calls vjp, so it checks nothing.")
    if spy.at[0].dtype != x.dtype:
        raise Wrong("dtype", f"vjp gets x as {spy.at[0].dtype}, but x is {x.dtype}: check in the type of x.")
    if not np.array_equal(spy.at[0], x):
        raise Wrong("another point", "vjp is not called at x, but x is the middle of the difference quotient.")
    moves = [point - x for point in spy.points if not np.array_equal(point, x)]
    if not moves:
        raise Wrong("wrong", "gradient_error calls f only at x: move x along d, by H.")
    step = moves[0]
    if not any(np.allclose(move, -step, rtol=1e-6, atol=1e-12) for move in moves):
        message = "f is evaluated on one side of x only. The error of such a difference is proportional to H, that of "
        raise Wrong("one-sided", message + "a central difference to H²: use x + H * d and x - H * d.")
    return step, spy.cotangents[0], result


def check_means(gradient_error):
    """Are the direction and the cotangent random, every element of them, and the step H?"""
    step, v, result = watch(gradient_error, 1)
    if isinstance(result, bool | np.bool_):
        raise Wrong("type", f"gradient_error returns {result}. It must return a number: how large is the error?")
    compare("gradient_error(f, vjp, x, rng)", result, 0.0, 1e100)  # any number
    names = [("d", "direction", step), ("v", "cotangent", v)]
    for name, what, array in names:
        if np.count_nonzero(array) < array.size:
            message = f"{name} has zeros: a fault in an element where {name} is zero is never seen."
            raise Wrong(f"part of the {what}", message)
        if np.ptp(abs(array)) <= 1e-6 * abs(array).max():
            message = f"the elements of {name} are all equal except for their signs. {SUM_ONLY}"
            raise Wrong(f"constant {what}", message)
    for (name, what, array), other in zip(names, watch(gradient_error, 2)):
        if np.array_equal(array, other):
            message = f"{name} is the same for every rng, so it misses the same faults every time: draw it from rng."
            raise Wrong(f"fixed {what}", message)
    size = np.sqrt(np.mean(step**2))
    if not 1e-6 < size < 1e-4:
        raise Wrong("step", f"each element of x moves by about {size:.0e}: move x by H · d, with H = 1e-05.")


SUM_ONLY = "A fault that moves elements to other places, as a transpose does, may not change the sum: draw normal ones."


def check_results(gradient_error):
    """Does gradient_error return the right number?"""
    x = np.random.default_rng(2).standard_normal((3, 4))
    for seed in range(5):
        rng = np.random.default_rng(seed)
        check_right(gradient_error(curved, curved_vjp, x, rng))
        check_twice([gradient_error(*twice_too_large(size), x, rng) for size in (1e8, 1e-8)])
        half = gradient_error(curved, lambda g, x: curved_vjp(g, x) / 2, x, rng)
        compare("the error of a vjp that is half of what it should be", half, 0.5, 1e-4, ERROR)
        opposite = gradient_error(curved, lambda g, x: -curved_vjp(g, x), x, rng)
        compare("the error of a vjp with the wrong sign", opposite, 2.0, 1e-4, ERROR)
        for fault, f, vjp, shape in WRONG_VJPS:
            error = gradient_error(f, vjp, np.random.default_rng(3).standard_normal(shape), rng)
            if not error > 1e-6:
                raise Wrong("blind", f"a vjp that {fault} gets the error {error:.1e}, as if it were right.")


ERROR = {
    "sign": "An error is never negative.",
    "constant factor": "The error is relative to the larger of the two sides.",
    "wrong": "The error is |a - b| relative to the larger of |a| and |b|.",
}


def twice_too_large(size):
    """A function of this size, and a vjp that is twice too large."""
    return lambda x: size * curved(x), lambda g, x: 2 * size * curved_vjp(g, x)


def check_right(error):
    """Is this a right vjp's error?"""
    if abs(abs(error) - 0.5) < 1e-4:
        message = "a right vjp gets the error 0.5, so one side is twice the other: how far apart are the points "
        raise Wrong("constant factor", message + "x + H * d and x - H * d?")
    if abs(abs(error) - 2) < 1e-4:
        raise Wrong("sign", "a right vjp gets the error 2, so one side is the other with the sign changed.")
    if abs(abs(error) - 1) < 1e-4:
        message = "a right vjp gets the error 1, so one side is tiny compared with the other. Is the difference of f "
        raise Wrong("constant factor", message + "divided by 2 and by H? / (2 * H) does this, / 2 * H does not.")
    if not abs(error) < 1e-6:
        raise Wrong("false alarm", f"a right vjp gets the error {error:.1e}. {SIDES}")


def check_twice(errors):
    """Are these the errors of a vjp that is twice too large, for a very large f and a very small one?"""
    what = "a vjp that is twice too large gets the error"
    if min(errors) < -1e-6:
        raise Wrong("sign", f"{what} {min(errors):.1e}: an error is never negative.")
    if not np.isclose(*errors, rtol=1e-3, atol=1e-6):
        message = f"where f is about 1e+08, {what} {errors[0]:.1e}, and where f is about 1e-08, {errors[1]:.1e}. "
        raise Wrong("not relative", message + "The size of f must not matter: divide by the larger of the two sides.")
    error = errors[0]
    if error < 1e-6:
        raise Wrong("blind", f"{what} {error:.1e}, as if it were right.")
    if abs(error - 0.5) > 1e-4:
        message = f"{what} {error:.3g} instead of 0.5: |a - b| relative to the larger of |a| and |b|."
        raise Wrong("constant factor", message)


SIDES = "One side is the sum of v times the difference quotient of f, the other the sum of vjp(v, x) times d."


# ---- The learner's vjp --------------------------------------------------------------------------------


def reference(g, x):
    """The vjp, from the matrix of the differences along a row: its row j has -1 in column j and 1 in column j + 1."""
    width = x.shape[2]
    matrix = np.eye(width - 1, width, 1) - np.eye(width - 1, width)
    return np.einsum("nhjc,jw->nhwc", g, matrix)


def check_differences(differences_vjp):
    rng = np.random.default_rng(4)
    check_shares(differences_vjp, rng)
    cases = {}
    for n, h, w, c in [(2, 3, 6, 4), (1, 2, 7, 3), (3, 1, 2, 5)]:
        g, x = rng.standard_normal((n, h, w - 1, c)), rng.standard_normal((n, h, w, c))
        cases[f"{'odd, ' if w % 2 else ''}{n}×{h}×{w}×{c}"] = g, x
    check_ends(differences_vjp, cases)
    check_function(differences_vjp, reference, cases, 1e-12, BECAUSE)


BECAUSE = {
    "sign": "Each difference is a right neighbour minus a pixel: which of the two gets +g?",
    "shape": "The result is the cotangent of x and has the shape of x. Its rows are one pixel longer than those of g.",
}


def pad(g, before):
    """g with a column of zeros before its rows, or after them."""
    return np.pad(g, ((0, 0), (0, 0), (before, 1 - before), (0, 0)))


def check_shares(differences_vjp, rng):
    g, x = rng.standard_normal((2, 3, 5, 4)), rng.standard_normal((2, 3, 6, 4))
    made = np.asarray(differences_vjp(g.copy(), x.copy()))
    right_wins, left_wins = pad(g, 1), -pad(g, 0)
    right_wins[:, :, :-1] = -g
    left_wins[:, :, 1:] = g
    for each, what in ((pad(g, 1), "left"), (-pad(g, 0), "right")):
        if made.shape == each.shape and np.allclose(made, each):
            message = f"each pixel has a share from the difference to its {what}, but none from the other side."
            raise Wrong("one share", message)
    for each in (right_wins, left_wins):
        if made.shape == each.shape and np.allclose(made, each):
            message = "a pixel is part of two differences, to its left and to its right. Here the second share "
            raise Wrong("overwritten", message + "overwrites the first: add the two.")


def check_ends(differences_vjp, cases):
    """The ends of a row take part in one difference only: is only this wrong?"""
    g, x = next(iter(cases.values()))
    made, wanted = np.asarray(differences_vjp(g.copy(), x.copy())), reference(g, x)
    if made.shape != wanted.shape:
        return
    wrong = np.flatnonzero(~np.isclose(made, wanted).all(axis=(0, 1, 3)))
    if wrong.size and set(wrong) <= {0, x.shape[2] - 1}:
        columns = f"column{'s' if wrong.size > 1 else ''} {' and '.join(map(str, wrong))} of 0 to {x.shape[2] - 1}"
        message = f"differences_vjp is right inside the rows, but wrong in {columns}. The first pixel of a row "
        raise Wrong("border", message + "has no left neighbour, the last has no right one: each is in one difference.")
