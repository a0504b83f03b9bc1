"""Both gradients against their definitions, term by term."""

import numpy as np

from lessons.course.checking import Wrong, check_function

CASES = {  # image, weights, stride, padding; "odd": no patch reads the last rows or columns
    "stride 1": ((2, 6, 5, 3), (3, 3, 3, 3), 1, 1),
    "a 3×2 kernel without padding": ((2, 5, 6, 2), (3, 2, 2, 4), 1, 0),
    "stride 2": ((3, 7, 5, 2), (3, 3, 2, 4), 2, 1),
    "a 4×5 kernel at stride 3": ((2, 9, 7, 3), (4, 5, 3, 2), 3, 2),
    "odd sizes at stride 2, where a row and a column are left over": ((2, 8, 6, 3), (3, 3, 3, 4), 2, 1),
    "odd sizes at stride 3, where a row and a column are left over": ((2, 10, 8, 2), (3, 4, 2, 3), 3, 0),
}

SHAPE = {
    "spread": "Put stride - 1 rows of zeros between two rows, and none after the last; columns likewise.",
    "input_gradient": "Count: `correlate` returns H rows if it gets H + kh - 1 rows, including those of ĝ.",
    "weight_gradient": "Which array is the image, which is the kernel, and over which axis is the sum?",
}
ODD = {
    "input_gradient": "A stride may leave rows at the bottom that no patch reads. Where do they get their zeros?",
    "weight_gradient": "A stride may leave rows at the bottom that no patch reads. What do they add to the result?",
}


def patches(x, g, kernel, stride, padding):
    """(p, q, the slices of the padded x that output pixel (p, q) reads) for every output pixel."""
    for p in range(g.shape[1]):
        for q in range(g.shape[2]):
            yield p, q, tuple(slice(stride * at, stride * at + k) for at, k in zip((p, q), kernel))


def padded(x, padding):
    return np.pad(x, [(0, 0), (padding, padding), (padding, padding), (0, 0)])


def reference_spread(g, stride):
    n, rows, columns, channels = g.shape
    out = np.zeros((n, stride * rows - stride + 1, stride * columns - stride + 1, channels))
    for p in range(rows):
        for q in range(columns):
            out[:, stride * p, stride * q] = g[:, p, q]
    return out


def reference_input_gradient(g, w, size, stride, padding):
    """The share of each output pixel, added to the pixels that it read."""
    out = padded(np.zeros((len(g), *size, w.shape[2])), padding)
    for p, q, (rows, columns) in patches(out, g, w.shape[:2], stride, padding):
        out[:, rows, columns] += np.einsum("no,ijco->nijc", g[:, p, q], w)
    return out[:, padding : padding + size[0], padding : padding + size[1]]


def reference_weight_gradient(x, g, kernel, stride, padding):
    out = np.zeros((*kernel, x.shape[3], g.shape[3]))
    x = padded(x, padding)
    for p, q, (rows, columns) in patches(x, g, kernel, stride, padding):
        out += np.einsum("nijc,no->ijco", x[:, rows, columns], g[:, p, q])
    return out


def turned(array, axes):
    return np.flip(array, axes)


def padded_otherwise(g, w, size, stride, before):
    """The input gradient as a convolution of ĝ, with `before` rows and columns of zeros before ĝ, the rest after."""
    kh, kw, cin, _ = w.shape
    g = reference_spread(g, stride)
    cotangent = np.zeros((len(g), size[0] + kh - 1, size[1] + kw - 1, g.shape[3]))
    place = cotangent[:, before[0] : before[0] + g.shape[1], before[1] : before[1] + g.shape[2]]
    place[...] = g[:, : place.shape[1], : place.shape[2]]
    out = np.zeros((len(g), *size, cin))
    for i in range(kh):
        for j in range(kw):
            out += cotangent[:, i : i + size[0], j : j + size[1]] @ w[kh - 1 - i, kw - 1 - j].T
    return out


NOT_SPREAD = "the cotangent has no zeros between its rows and columns: is `spread` called?"

# The mistakes that learners make: (kind, the message, the result of the mistake)
INPUT_MISTAKES = [
    ("flip", "the weights are not turned", lambda g, w, *at: reference_input_gradient(g, turned(w, (0, 1)), *at)),
    ("flip", "only the columns are reversed", lambda g, w, *at: reference_input_gradient(g, turned(w, 0), *at)),
    ("flip", "only the rows are reversed", lambda g, w, *at: reference_input_gradient(g, turned(w, 1), *at)),
    ("channels", "the weights' input and output channels are not exchanged, or only by a reshape", lambda g, w, *at:
     reference_input_gradient(g, w.reshape(*w.shape[:2], w.shape[3], w.shape[2]).transpose(0, 1, 3, 2), *at)),
    ("channels", "the channels are in reverse order: turn rows and columns only", lambda g, w, *at:
     reference_input_gradient(g, turned(w, 3), *at)),
    ("channels", "the channels are in reverse order: turn rows and columns only", lambda g, w, *at:
     reference_input_gradient(g, turned(w, (2, 3)), *at)),
    ("not spread", NOT_SPREAD, lambda g, w, size, stride, padding:
     reference_input_gradient(g, w, size, 1, padding)),
    ("padding", "ĝ has P zeros before it, as x has in the forward pass, but it needs k - 1 - P",
     lambda g, w, size, stride, padding: padded_otherwise(g, w, size, stride, (padding, padding))),
    ("rows and columns", "the number of zeros before the rows is computed from kw, and before the columns from kh",
     lambda g, w, size, stride, padding:
     padded_otherwise(g, w, size, stride, (w.shape[1] - 1 - padding, w.shape[0] - 1 - padding))),
]  # fmt: skip
WEIGHT_MISTAKES = [
    ("flip", "the cotangent is turned, but nothing must be turned here", lambda x, g, *at:
     reference_weight_gradient(x, turned(g, (1, 2)), *at)),
    ("not spread", NOT_SPREAD, lambda x, g, kernel, stride, padding:
     reference_weight_gradient(x, g, kernel, 1, padding)),
    ("images mixed", "each image is combined with the cotangent of another image", lambda x, g, *at:
     reference_weight_gradient(turned(x, 0), g, *at)),
]  # fmt: skip


def diagnose(function, reference, mistakes, arguments):
    """Raise Wrong if the result is that of a well-known mistake."""
    try:
        made = np.asarray(function(*arguments))
    except ValueError:
        return  # check_function will meet this error again
    wanted = reference(*arguments)
    for kind, message, mistaken in mistakes:
        guess = mistaken(*arguments)
        if guess.shape == made.shape and np.allclose(guess, made) and not np.allclose(guess, wanted):
            raise Wrong(kind, f"{function.__name__}: {message}{'' if message.endswith('?') else '.'}")


class Counted:
    """A function that counts its calls."""

    def __init__(self, function):
        self.function, self.calls = function, 0

    def __call__(self, *arguments):
        self.calls += 1
        return self.function(*arguments)


def check(exercise):
    rng = np.random.default_rng(0)
    spreads, inputs, weights = {}, {}, {}
    for label, (x_shape, w_shape, stride, padding) in CASES.items():
        x, w = rng.standard_normal(x_shape), rng.standard_normal(w_shape)
        ho, wo = ((size + 2 * padding - k) // stride + 1 for size, k in zip(x_shape[1:3], w_shape))
        g = rng.standard_normal((len(x), ho, wo, w_shape[3]))
        spreads[f"stride {stride}, {ho}×{wo}"] = g, stride
        inputs[label] = g, w, x_shape[1:3], stride, padding
        weights[label] = x, g, w_shape[:2], stride, padding

    for arguments in spreads.values():
        g, stride = arguments
        repeated = lambda g, s: g.repeat(s, 1).repeat(s, 2)[:, : s * g.shape[1] - s + 1, : s * g.shape[2] - s + 1]  # noqa: E731
        mistakes = [("repeated", "the rows and columns are repeated; put zeros between them instead", repeated)]
        diagnose(exercise.spread, reference_spread, mistakes if stride > 1 else [], arguments)
    check_function(exercise.spread, reference_spread, spreads, 1e-12, {"shape": SHAPE["spread"]})

    for function, reference, mistakes, cases in (
        (exercise.input_gradient, reference_input_gradient, INPUT_MISTAKES, inputs),
        (exercise.weight_gradient, reference_weight_gradient, WEIGHT_MISTAKES, weights),
    ):
        name = function.__name__
        for arguments in cases.values():
            diagnose(function, reference, mistakes, arguments)
        because = {"shape": SHAPE[name], "odd sizes": ODD[name]}
        exercise.correlate = counted = Counted(exercise.correlate)
        first = dict([next(iter(cases.items()))])
        check_function(function, reference, first, 1e-12, because)  # before another case fails with an error
        check_function(function, reference, cases, 1e-12, because)
        if not counted.calls:
            raise Wrong("another way", f"{name} is right, but it is not a convolution: use `correlate`.")
