from lessons.course.exercises import Mistake

CENTRAL = "(f(x + H * d) - f(x - H * d))) / (2 * H)"
RELATIVE = "abs(predicted - measured) / max(abs(predicted), abs(measured))"

MISTAKES = [
    Mistake("one-sided", CENTRAL, "(f(x + H * d) - f(x))) / H"),
    Mistake("constant factor", CENTRAL, "(f(x + H * d) - f(x - H * d))) / H"),
    Mistake("constant factor", CENTRAL, "(f(x + H * d) - f(x - H * d))) / 2 * H"),
    Mistake("constant direction", "d = rng.standard_normal(x.shape)", "d = np.ones_like(x)"),
    Mistake(
        "part of the direction",
        "d = rng.standard_normal(x.shape)",
        "d = np.zeros(x.shape)\n    d.flat[rng.integers(d.size)] = 1",
    ),
    Mistake("constant cotangent", "v = rng.standard_normal(f(x).shape)", "v = np.ones_like(f(x))"),
    Mistake("fixed direction", "d = rng.standard_normal(x.shape)", "d = np.random.default_rng(0).normal(size=x.shape)"),
    Mistake(
        "input changed",
        "measured = np.sum(v * (f(x + H * d) - f(x - H * d))) / (2 * H)",
        "x += H * d\n    ahead = f(x)\n    x -= 2 * H * d\n    measured = np.sum(v * (ahead - f(x))) / (2 * H)",
    ),
    Mistake("false alarm", "vjp(v, x) * d", "vjp(v, x)"),
    Mistake("dtype", "vjp(v, x)", "vjp(v, x.astype(np.float32))"),
    Mistake("another point", "vjp(v, x)", "vjp(v, x + H * d)"),
    Mistake("sign", RELATIVE, "(predicted - measured) / max(abs(predicted), abs(measured))"),
    Mistake("not relative", RELATIVE, "abs(predicted - measured)"),
    Mistake("constant factor", RELATIVE, "abs(predicted - measured) / abs(measured)"),
    Mistake("one share", "\n    dx[:, :, :-1] -= g", ""),
    Mistake("overwritten", "dx[:, :, :-1] -= g", "dx[:, :, :-1] = -g"),
    Mistake("sign", "dx[:, :, 1:] += g\n    dx[:, :, :-1] -= g", "dx[:, :, 1:] -= g\n    dx[:, :, :-1] += g"),
    Mistake(
        "border",
        "dx[:, :, 1:] += g\n    dx[:, :, :-1] -= g",
        "dx[:, :, 1:-1] = g[:, :, :-1] - g[:, :, 1:]",
    ),
    Mistake(
        "shape",
        "dx = np.zeros_like(x)\n    dx[:, :, 1:] += g\n    dx[:, :, :-1] -= g\n    return dx",
        "return g[:, :, :-1] - g[:, :, 1:]",
    ),
]
