"""Wrong solutions, and the diagnosis that each must get."""

from lessons.course.exercises import Mistake

LOSS = """    errors = ((sr - candidates) ** 2).mean(axis=(1, 2, 3))
    return (p * errors).sum()"""
SLOPE = 'return 2 / sr.size * np.einsum("k,khwc->hwc", p, differences)'
BEST = 'return np.einsum("k,khwc->hwc", p, candidates)'

MISTAKES = [
    # what is expected?
    Mistake("mean first", LOSS, "    return ((sr - np.einsum('k,khwc->hwc', p, candidates)) ** 2).mean()"),
    Mistake("not squared", "((sr - candidates) ** 2)", "abs(sr - candidates)"),
    Mistake("root", "return (p * errors).sum()", "return np.sqrt((p * errors).sum())"),
    Mistake("best case", "(p * errors).sum()", "errors.min()"),
    Mistake("weights ignored", "(p * errors).sum()", "errors.mean()"),
    Mistake("weights not normalised", "(p * errors).sum()", "(weights * errors).sum()"),
    Mistake("constant factor", "** 2).mean(axis=(1, 2, 3))", "** 2).sum(axis=(1, 2, 3))"),
    # its derivative
    Mistake("constant factor", "return 2 / sr.size", "return 1 / sr.size"),
    Mistake("constant factor", "return 2 / sr.size", "return 2 / candidates.size"),
    Mistake("sign", "differences = sr - candidates", "differences = candidates - sr"),
    Mistake("one candidate", SLOPE, "return 2 / sr.size * differences[p.argmax()]"),
    Mistake("shape", SLOPE, "return 2 / sr.size * p[:, None, None, None] * differences"),
    Mistake("weights not normalised", SLOPE, 'return 2 / sr.size * np.einsum("k,khwc->hwc", weights, differences)'),
    Mistake("constant factor", "(p * errors).sum()", "(p * errors).mean()"),
    # its minimum
    Mistake("a candidate", BEST, "return candidates[p.argmax()]"),
    Mistake("a candidate", BEST, "return min(candidates, key=lambda each: expected_mse(each, candidates, weights))"),
    Mistake("median", BEST, "return np.median(candidates, axis=0)"),
    Mistake("weights ignored", BEST, "return candidates.mean(axis=0)"),
    Mistake("weights not normalised", BEST, 'return np.einsum("k,khwc->hwc", weights, candidates)'),
    Mistake("input changed", BEST, "weights /= weights.sum()\n    " + BEST.replace(" p,", " weights,")),
]
