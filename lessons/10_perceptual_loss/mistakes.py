from lessons.exercises import Mistake

NORMALISED = "((images + 1) / 2 - MEAN) / STD"
RECTIFIED = "np.maximum(normalise(images) @ weight + bias, 0)"
MASK = "mask = normalise(sr) @ weight + bias > 0"
MASK_OF_BOTH = "mask = 1.0 * (normalise(sr) @ weight + bias > 0) - (normalise(hr) @ weight + bias > 0)"

MISTAKES = [
    Mistake("not normalised", NORMALISED, "images"),
    Mistake("range", NORMALISED, "(images - MEAN) / STD"),
    Mistake("BGR", NORMALISED, "((images[..., ::-1] + 1) / 2 - MEAN) / STD"),
    Mistake("BGR", NORMALISED, "((images + 1) / 2 - MEAN[::-1]) / STD[::-1]"),
    Mistake("no rectifier", RECTIFIED, "normalise(images) @ weight + bias"),
    Mistake("not normalised", RECTIFIED, "np.maximum(images @ weight + bias, 0)"),
    Mistake("odd sizes", "x = x[:, : height // 2 * 2, : width // 2 * 2]\n    ", ""),
    Mistake("sum instead of mean", "np.mean(difference**2)", "np.sum(difference**2)"),
    Mistake("not divided by N", "g = 2 / difference.size * difference", "g = 2 * difference"),
    Mistake("wrong N", "g = 2 / difference.size * difference", "g = 2 / sr.size * difference"),
    Mistake("sign", "g = 2 / difference.size * difference", "g = -2 / difference.size * difference"),
    Mistake("pooling's share", ".repeat(2, axis=2) / 4", ".repeat(2, axis=2)"),
    Mistake("factor of the square", "g = 2 / difference.size", "g = 1 / difference.size"),
    Mistake("wrong pooling", "2, c).mean(", "2, c).max("),
    Mistake("rectifier ignored", "(mask * at_rectifier) @", "at_rectifier @"),
    Mistake("slope at HR", MASK, "mask = normalise(hr) @ weight + bias > 0"),
    Mistake("gradient through HR", MASK, MASK_OF_BOTH),
    Mistake("normalisation's slope", "weight.T / (2 * STD)", "weight.T"),
    Mistake("normalisation's slope", "weight.T / (2 * STD)", "weight.T / 2"),
]
