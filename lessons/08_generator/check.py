"""Is it what the MSE asks for? Compared with the definition in plain loops, and with central differences."""

import numpy as np

from lessons.course.checking import Wrong, check_function, copies, is_close

TOLERANCE = 1e-9
H = 1e-4  # the central difference of a quadratic is exact but for rounding


def check(exercise):
    for label, (sr, candidates, weights) in cases().items():
        find_loss_slip(exercise.expected_mse(*copies((sr, candidates, weights))), sr, candidates, weights, label)
    check_function(exercise.expected_mse, expected_mse, cases(), TOLERANCE)
    for label, (sr, candidates, weights) in cases().items():
        find_slope_slip(exercise.expected_slope(*copies((sr, candidates, weights))), sr, candidates, weights, label)
    because = {
        "constant factor": "The derivative of the square brings a 2, the mean over one image's samples a 1/(H·W·3)."
    }
    check_function(exercise.expected_slope, central_difference, cases(), 1e-6, because)
    for label, (_, candidates, weights) in cases().items():
        find_answer_slip(exercise.best_answer(*copies((candidates, weights))), candidates, weights, label)
    check_function(exercise.best_answer, best_answer, {name: case[1:] for name, case in cases().items()}, TOLERANCE)


# ---- References ---------------------------------------------------------------------------------------


def expected_mse(sr, candidates, weights):
    return sum(w * np.mean((sr - hr) ** 2) for w, hr in zip(weights, candidates)) / sum(weights)


def central_difference(sr, candidates, weights):
    """∂expected_mse/∂sr, by moving each sample in turn."""
    slope = np.empty_like(sr)
    for index in np.ndindex(sr.shape):
        step = np.zeros_like(sr)
        step[index] = H
        ahead, behind = (expected_mse(sr + each, candidates, weights) for each in (step, -step))
        slope[index] = (ahead - behind) / (2 * H)
    return slope


def best_answer(candidates, weights):
    """One Newton step from 0, which is exact for a quadratic whose second derivative is 2/N."""
    zero = np.zeros(candidates.shape[1:])
    return -central_difference(zero, candidates, weights) * zero.size / 2


# ---- The usual slips ----------------------------------------------------------------------------------


DIVIDED_TWICE = (
    "it is also divided by the number of candidates, though dividing by the sum of the weights makes it a mean already."
)


def find_loss_slip(made, sr, candidates, weights, label):
    mean = np.average(candidates, axis=0, weights=weights)
    errors = ((sr - candidates) ** 2).mean(axis=(1, 2, 3))
    slips = [
        ("weights not normalised", weights @ errors,
         "the weights do not add up to 1: divide by their sum, so that it is a mean."),
        ("weights ignored", errors.mean(),
         "all candidates count the same: a candidate seen twice as often should count twice."),
        ("weights not normalised", (weights * errors).mean(),
         "it is divided by the number of candidates: divide by the sum of the weights instead."),
        ("mean first", np.mean((sr - mean) ** 2),
         "this is the loss against the mean of the candidates. Average the losses, not the images: the differences "
         "between the candidates are part of the loss."),
        ("not squared", np.average(abs(sr - candidates).mean(axis=(1, 2, 3)), weights=weights),
         "this is the expected L1: square the differences."),
        ("root", np.sqrt(expected_mse(sr, candidates, weights)), "this is the root of the loss: leave out the root."),
        ("best case", errors.min(), "this is the loss against the nearest candidate. G does not know which that is."),
    ]  # fmt: skip
    wanted = expected_mse(sr, candidates, weights)
    twice = ("constant factor", wanted / len(weights), DIVIDED_TWICE)
    summed = ("constant factor", wanted * sr.size, f"it is {sr.size} times what it should be. An image has {sr.size} "
              "samples, and the pixel MSE is a mean over them, not a sum.")  # fmt: skip
    raise_if_close("expected_mse", made, wanted, [twice, summed, *slips], label)


def find_slope_slip(made, sr, candidates, weights, label):
    mean = np.average(candidates, axis=0, weights=weights)
    total, size = weights.sum(), sr.size
    errors = ((sr - candidates) ** 2).mean(axis=(1, 2, 3))
    slips = [
        ("weights not normalised", 2 / size * total * (sr - mean),
         "the weights do not add up to 1: divide by their sum."),
        ("weights not normalised", 2 / size * total / len(weights) * (sr - mean),
         "it is divided by the number of candidates: divide by the sum of the weights instead."),
        ("weights ignored", 2 / size * (sr - candidates.mean(0)),
         "all candidates count the same: one seen twice as often should pull twice as hard."),
        ("one candidate", 2 / size * (sr - candidates[weights.argmax()]),
         "only the likeliest candidate pulls. All of them should, each by its weight."),
        ("one candidate", 2 / size * (sr - candidates[errors.argmin()]),
         "only the nearest candidate pulls. All of them should, each by its weight."),
    ]  # fmt: skip
    wanted = 2 / size * (sr - mean)
    if np.shape(made) == candidates.shape:
        raise Wrong("shape", f"expected_slope ({label}) has one gradient for each candidate. There is only one sr, and "
                    "all candidates pull at it: sum over them.")  # fmt: skip
    twice = ("constant factor", wanted / len(weights), DIVIDED_TWICE)
    raise_if_close("expected_slope", made, wanted, [twice, *slips], label)


def find_answer_slip(made, candidates, weights, label):
    wanted = np.average(candidates, axis=0, weights=weights)
    costs = [expected_mse(each, candidates, weights) for each in candidates]
    slips = [
        ("weights not normalised", wanted * weights.sum(), "the weights do not add up to 1: divide by their sum."),
        ("weights not normalised", wanted * weights.sum() / len(weights),
         "it is divided by the number of candidates: divide by the sum of the weights instead."),
        ("weights ignored", candidates.mean(0),
         "all candidates count the same. The derivative is 0 at their weighted mean."),
        ("a candidate", candidates[weights.argmax()],
         f"this is the likeliest candidate. It costs {costs[weights.argmax()]:.3g}, and the best answer costs "
         f"{expected_mse(wanted, candidates, weights):.3g}: it need not be a candidate."),
        ("a candidate", candidates[np.argmin(costs)],
         f"this is the candidate that costs least, {min(costs):.3g}. The best answer need not be a candidate, and "
         f"costs {expected_mse(wanted, candidates, weights):.3g}."),
        ("median", np.median(candidates, axis=0), "this is the median, which is L1's answer, and without the weights."),
        ("median", weighted_median(candidates, weights), "this is the median, which is L1's answer."),
    ]  # fmt: skip
    twice = ("constant factor", wanted / len(weights), DIVIDED_TWICE)
    raise_if_close("best_answer", made, wanted, [twice, *slips], label)


def weighted_median(candidates, weights):
    order = np.argsort(candidates, axis=0)
    share = np.cumsum(weights[order], axis=0) / weights.sum()
    first = (share >= 0.5).argmax(axis=0)[None]
    return np.take_along_axis(np.take_along_axis(candidates, order, 0), first, 0)[0]


def raise_if_close(name, made, wanted, slips, label):
    if made is None or is_close(made, wanted, TOLERANCE):
        return
    for kind, wrong, message in slips:
        if is_close(made, wrong, TOLERANCE) and not is_close(wrong, wanted, 1e-6):
            raise Wrong(kind, f"{name} ({label}): {message}")


def cases():
    """Many candidates and few; weights that are counts or shares; an LR with only one candidate."""
    rng = np.random.default_rng(81)  # with this seed the likeliest of the five is not the one that costs least

    def case(k, height, width, weights):
        return rng.normal(size=(height, width, 3)), rng.normal(0.5, 1, (k, height, width, 3)), np.array(weights)

    return {
        "five candidates": case(5, 2, 4, [3.0, 1.0, 5.0, 2.0, 4.0]),
        "three, an odd size": case(3, 3, 5, [0.2, 0.1, 1.5]),
        "weights that add up to 1": case(4, 4, 3, [0.1, 0.4, 0.3, 0.2]),
        "a single candidate": case(1, 2, 3, [6.0]),
    }
