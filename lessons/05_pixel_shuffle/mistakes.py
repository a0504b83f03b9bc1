from lessons.course.exercises import Mistake

MISTAKES = [
    # PyTorch's order of channels, the usual order elsewhere
    Mistake("channel order", "x.reshape(n, h, w, r, r, c)", "np.moveaxis(x.reshape(n, h, w, c, r, r), 3, 5)"),
    Mistake("rows and columns", "return x.transpose(0, 1, 3, 2, 4, 5)", "return x.transpose(0, 1, 4, 2, 3, 5)"),
    Mistake("reshape only", "return x.transpose(0, 1, 3, 2, 4, 5).reshape", "return x.reshape"),
    # i·H + h instead of h·r + i
    Mistake("side by side", "return x.transpose(0, 1, 3, 2, 4, 5)", "return x.transpose(0, 3, 1, 4, 2, 5)"),
    # a mean over the r² numbers of a square
    Mistake("constant factor", "h // r, w // r, r**2 * c)", "h // r, w // r, r**2 * c) / r**2"),
    Mistake("channel order", "return g.transpose(0, 1, 3, 2, 4, 5)", "return g.transpose(0, 1, 3, 5, 2, 4)"),
    Mistake("reshape only", "return g.transpose(0, 1, 3, 2, 4, 5).reshape", "return g.reshape"),
    # copies next to each other
    Mistake("channel order", "np.tile(one, r**2)", "np.repeat(one, r**2, axis=3)"),
    # He's weights without ICNR
    Mistake("phases differ", "return np.tile(one, r**2)", "return rng.permuted(np.tile(one, r**2), axis=3)"),
    Mistake("output channels alike", "return np.tile(one, r**2)", "return np.tile(one[..., :1], cout)"),
    Mistake("constant factor", "np.sqrt(2 / (kernel**2 * cin))", "np.sqrt(2 / (kernel**2 * cin * r**2))"),
    Mistake("constant factor", "np.sqrt(2 / (kernel**2 * cin))", "2 / (kernel**2 * cin)"),
    Mistake("not repeatable", "rng.standard_normal((", "np.random.standard_normal(("),
]  # fmt: skip
