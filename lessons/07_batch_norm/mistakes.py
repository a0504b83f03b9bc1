"""Wrong solutions, each with the diagnosis that it must get."""

from lessons.course.exercises import Mistake

MISTAKES = [
    # conceptual: what depends on x, and when
    Mistake("mean held constant", "(h - h.mean(axes) - x_hat", "(h - x_hat"),
    Mistake("variance held constant", " - x_hat * (h * x_hat).mean(axes)) / s", ") / s"),
    Mistake("statistics held constant", "    if training:\n", "    if False:\n"),
    Mistake("constants differentiated", "    if training:\n", "    if True:\n"),
    Mistake("running statistics in the gradient", "mean = x.mean(axes) if training else running_mean\n"
            "    var = x.var(axes) if training else running_var", "mean, var = running_mean, running_var"),
    Mistake("batch statistics after training", "mean = x.mean(axes) if training else running_mean\n"
            "    var = x.var(axes) if training else running_var", "mean, var = x.mean(axes), x.var(axes)"),
    Mistake("N - 1", "x.var(axes)", "x.var(axes, ddof=1)"),
    # a wrong formula
    Mistake("sign", "- x_hat * (h * x_hat)", "+ x_hat * (h * x_hat)"),
    Mistake("sum for mean", "(h - h.mean(axes) - x_hat * (h * x_hat).mean(axes))",
            "(h - h.sum(axes) - x_hat * (h * x_hat).sum(axes))"),
    Mistake("gamma missing", "h = g * gamma", "h = g"),
    Mistake("gamma twice", "dx = (h", "dx = gamma * (h"),
    Mistake("part along x̂", "- x_hat * (h * x_hat)", "- x_hat / 2 * (h * x_hat)"),
    Mistake("part along 1", "- h.mean(axes)", "- g.mean(axes)"),
    Mistake("no root", "s = np.sqrt(var + eps)", "s = var + eps"),
    Mistake("epsilon", "np.sqrt(var + eps)", "np.sqrt(var)"),
    Mistake("epsilon", "np.sqrt(var + eps)", "(np.sqrt(var) + eps)"),
    Mistake("not normalised", "(g * x_hat).sum(axes), g", "(g * x).sum(axes), g"),
    Mistake("not normalised", "(g * x_hat).sum(axes), g", "(g * x / s).sum(axes), g"),
    Mistake("not normalised", "- x_hat * (h * x_hat)", "- (x - mean) * (h * x_hat)"),
    Mistake("not divided", ".mean(axes)) / s", ".mean(axes))"),
    Mistake("h for g", "(g * x_hat).sum(axes), g", "(h * x_hat).sum(axes), g"),
    Mistake("h for g", ", g.sum(axes)", ", h.sum(axes)"),
    Mistake("not finite", "(g * x_hat).sum(axes), g", "(g * x_hat).sum(axes) / 0, g"),
    Mistake("constant factor", "(g * x_hat).sum(axes), g", "(g * x_hat).mean(axes), g"),
    # shapes and axes
    Mistake("wrong axes", "axes = (0, 1, 2)", "axes = None"),
    Mistake("wrong axes", "axes = (0, 1, 2)", "axes = (0, 1)"),
    Mistake("shape", "(g * x_hat).sum(axes), g.sum(axes)", "(g * x_hat).sum(), g.sum()"),
    Mistake("swapped", "(g * x_hat).sum(axes), g.sum(axes)", "g.sum(axes), (g * x_hat).sum(axes)"),
    Mistake("wrong axes", "    if training:\n", "    if training:\n        axes = (0, 1, 2, 3)\n"),
    Mistake("input changed", "h = g * gamma", "h = g\n    h *= gamma"),
]  # fmt: skip
