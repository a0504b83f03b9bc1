from lessons.course.exercises import Mistake

NORMALISED = "((images + 1) / 2 - MEAN) / STD"
RECTIFIED = "np.maximum(normalise(images) @ weight + bias, 0)"
MASK = "mask = normalise(sr) @ weight + bias > 0"
MASK_OF_POOLED = "mask = (features(sr, weight, bias) > 0).repeat(2, axis=1).repeat(2, axis=2)"
MASK_OF_BOTH = "mask = 1.0 * (normalise(sr) @ weight + bias > 0) - (normalise(hr) @ weight + bias > 0)"

MISTAKES = [
    Mistake("not normalised", NORMALISED, "images"),
    Mistake("range", NORMALISED, "(images - MEAN) / STD"),
    Mistake("BGR", NORMALISED, "((images[..., ::-1] + 1) / 2 - MEAN) / STD"),
    Mistake("BGR", NORMALISED, "((images + 1) / 2 - MEAN[::-1]) / STD[::-1]"),
    Mistake("range", NORMALISED, "(images + 1 - MEAN) / STD"),
    Mistake("deviation", NORMALISED, "(images + 1) / 2 - MEAN"),
    Mistake("no bias", RECTIFIED, "np.maximum(normalise(images) @ weight, 0)"),
    Mistake("wrong pooling", "2, c).mean(", "2, c).sum("),
    Mistake("no rectifier", RECTIFIED, "normalise(images) @ weight + bias"),
    Mistake("not normalised", RECTIFIED, "np.maximum(images @ weight + bias, 0)"),
    Mistake("odd sizes", "x = x[:, : height // 2 * 2, : width // 2 * 2]\n    ", ""),
    Mistake("sum instead of mean", "np.mean(difference**2)", "np.sum(difference**2)"),
    Mistake("not divided by N", "g = 2 / difference.size * difference", "g = 2 * difference"),
    Mistake("wrong N", "g = 2 / difference.size * difference", "g = 2 / sr.size * difference"),
    Mistake("wrong N", "g = 2 / difference.size * difference", "g = 2 / difference[0].size * difference"),
    Mistake("wrong N", "np.mean(difference**2)", "np.sum(difference**2) / difference[0, ..., 0].size"),
    Mistake("sign", "g = 2 / difference.size * difference", "g = -2 / difference.size * difference"),
    Mistake("pooling's share", ".repeat(2, axis=2) / 4", ".repeat(2, axis=2)"),
    Mistake("twice", "weight.T / (2 * STD)", "weight.T / STD"),
    Mistake("factor of the square", "g = 2 / difference.size", "g = 1 / difference.size"),
    Mistake("wrong pooling", "2, c).mean(", "2, c).max("),
    Mistake("rectifier ignored", "(mask * at_rectifier) @", "at_rectifier @"),
    Mistake("mask of the gradient", MASK, "mask = at_rectifier > 0"),
    Mistake("mask of the features", MASK, MASK_OF_POOLED),
    Mistake("Jacobian at HR", MASK, "mask = normalise(hr) @ weight + bias > 0"),
    Mistake("gradient through HR", MASK, MASK_OF_BOTH),
    Mistake("normalisation's derivative", "weight.T / (2 * STD)", "weight.T"),
    Mistake("normalisation's derivative", "weight.T / (2 * STD)", "weight.T / 2"),
    Mistake("normalisation's derivative", "weight.T / (2 * STD)", "weight.T / 2 * STD"),
]
