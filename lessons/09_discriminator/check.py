"""Are L_D and L_adv right: near zero, where a wrong formula shows, and far out, where rounding shows?"""

import numpy as np

from lessons.course.checking import Wrong, compare

TOLERANCE = {np.float64: 1e-6, np.float32: 1e-5}

SWAPPED = "takes HR for fake and SR for real: -ln D belongs to `real`, -ln(1 - D) to `fake`."
SATURATING = (
    "is the mean of ln(1 - D(SR)), the minimax loss. Its derivative vanishes where D is sure that the image is fake. "
    "Return the mean of -ln D(SR) instead."
)
AGAINST_D = (
    "is D's loss on SR, the mean of -ln(1 - D(SR)). A G that minimises it helps D. Return the mean of -ln D(SR) "
    "instead."
)
NEGATIVE = (
    "has the wrong sign. The logarithm of a probability is negative, and both losses are minus its mean: they are "
    "positive, and an optimiser minimises them."
)
SUMMED = "is a sum over the images. The E in the formula is a mean."
NOT_DIVIDED = "is the derivative of a sum. The loss is a mean over n images, so each derivative has the factor 1/n."
OTHER_N = "is divided by the wrong number of images. HR and SR each have a mean of their own, over their own n."
AT_PROBABILITY = (
    "is the derivative with respect to D, such as -1/D. The exercise asks for the derivative at the logit. D = σ(z), "
    "so multiply by σ'(z) = D(1 - D). Most of it cancels."
)
UPHILL = (
    "has the wrong sign. The derivative of softplus(-z) is -σ(-z): the inner minus counts too. As a test: a step "
    "against the derivative must make the loss smaller."
)
ONE_MEAN = "is one mean over all images. HR and SR each have a mean of their own, and the two are added."
OTHER_TAIL = (
    "has σ(z) where σ(-z) belongs, or the other way round. The derivative of D's loss must vanish where D is right: "
    "for an HR with a large z, for an SR with a large -z. That of G's loss must be large where D(SR) is small."
)
OTHER_LABEL = "is D minus the wrong label. D's labels are 1 for HR and 0 for SR; G's label for SR is 1."
SIGMOID_SLOPE = "has the derivative of σ, σ(z)σ(-z). Differentiate softplus instead: its derivative is σ."
CLIPPED = (
    "Clipping the probability, or adding a small number to it, bounds the loss. So far out the loss is constant and "
    "its derivative is 0. The softplus of the logit needs no such help."
)
LOG_OF_ZERO = (
    "is infinite or NaN: σ(50) is rounded to 1, and ln(1 - 1) is -∞. Take no logarithm of a probability: -ln σ(z) = "
    "softplus(-z), -ln(1 - σ(z)) = softplus(z)."
)
OVERFLOW = (
    "is infinite or NaN: e to the power of a large number is too large for a float. Never call exp with a number above "
    "0: use e^-|z|."
)


def check(exercise):
    rng = np.random.default_rng(0)
    real, fake = 2 * rng.standard_normal(5) + 0.5, 2 * rng.standard_normal(7) - 0.5
    check_loss("discriminator_loss(real, fake)", exercise.discriminator_loss, discriminator, (real, fake))
    check_loss("adversarial_loss(fake)", exercise.adversarial_loss, adversarial, (fake,))
    for dtype in (np.float64, np.float32):
        for size in (50, 200, 1000):
            real, fake = (around(size, n, dtype, rng) for n in (6, 8))
            what = f"with logits of about ±{size} in {dtype.__name__}"
            check_far_out(
                f"discriminator_loss(real, fake) {what}", exercise.discriminator_loss, discriminator, (real, fake), size
            )
            check_far_out(f"adversarial_loss(fake) {what}", exercise.adversarial_loss, adversarial, (fake,), size)


# ---- The losses from their definition, and their derivatives by central differences ---------------------


def log_sigmoid(z):
    """ln D = -ln(e⁰ + e⁻ᶻ)."""
    return -np.logaddexp(0, -z)


def discriminator(real, fake, mean=np.mean):
    return -(mean(log_sigmoid(real)) + mean(log_sigmoid(-fake)))


def adversarial(fake, mean=np.mean):
    return -mean(log_sigmoid(fake))


def minimax(fake):
    return np.mean(log_sigmoid(-fake))


def with_slopes(loss, logits, h=1e-4, **options):
    """(the loss, its derivative with respect to each array of logits), in float64."""
    logits = [z.astype(np.float64) for z in logits]
    slopes = [np.empty(z.size) for z in logits]
    for z, slope in zip(logits, slopes):
        for i, here in enumerate(z.copy()):
            values = []
            for z[i] in (here + h, here - h):
                values.append(loss(*logits, **options))
            z[i] = here
            slope[i] = (values[0] - values[1]) / (2 * h)
    return loss(*logits, **options), *slopes


# ---- Near zero: is the formula right? -------------------------------------------------------------------


def check_loss(what, function, loss, logits):
    given = [z.copy() for z in logits]
    made = function(*given)
    if not all(np.array_equal(before, after) for before, after in zip(logits, given)):
        raise Wrong("input changed", f"{what} changes its argument: make a new array.")
    wanted = with_slopes(loss, logits)
    if isinstance(made, tuple | list) and len(made) == len(wanted):
        check_value(f"{what}[0]", made[0], loss, logits)
        if len(logits) == 2 and close(made[1], wanted[2]) and close(made[2], wanted[1]):
            raise Wrong("swapped", f"{what} has its two derivatives exchanged: ∂L_D/∂real comes first.")
        for i, logits_i in enumerate(logits, 1):
            check_slope(f"{what}[{i}]", made[i], wanted[i], logits_i, sum(z.size for z in logits))
    compare(what, made, wanted, TOLERANCE[np.float64])


def check_value(what, made, loss, logits):
    """Raise the diagnosis if it is one of the known mistakes."""
    if loss is discriminator and close(made, discriminator(*logits[::-1])):
        raise Wrong("labels swapped", f"{what} {SWAPPED}")
    if loss is adversarial and close(made, minimax(*logits)):
        raise Wrong("saturating", f"{what} {SATURATING}")
    if loss is adversarial and close(made, -minimax(*logits)):
        raise Wrong("D's side", f"{what} {AGAINST_D}")
    if close(made, -loss(*logits)):
        raise Wrong("sign", f"{what} {NEGATIVE}")
    if close(made, loss(*logits, mean=np.sum)):
        raise Wrong("sum instead of mean", f"{what} {SUMMED}")
    if loss is discriminator and close(made, loss(*logits, mean=np.sum) / sum(z.size for z in logits)):
        raise Wrong("one mean", f"{what} {ONE_MEAN}")


def check_slope(what, made, wanted, z, all_images):
    if close(made, wanted):
        return
    if close(made, -wanted):
        raise Wrong("sign", f"{what} {UPHILL}")
    if close(made, z.size * wanted):
        raise Wrong("not divided by n", f"{what} {NOT_DIVIDED}")
    others = all_images - z.size
    if any(close(made, z.size / n * wanted) for n in (all_images, others) if n not in (0, z.size)):
        raise Wrong("divided by another n", f"{what} {OTHER_N}")
    at_probability = wanted * (2 + np.exp(z) + np.exp(-z))  # ∂L/∂D, since 1/(D(1 - D)) = (1 + e^z)(1 + e^-z)
    if any(close(made, factor * at_probability) for factor in (1, -1, z.size, -z.size)):
        raise Wrong("at the probability", f"{what} {AT_PROBABILITY}")
    if any(close(made, side / z.size - wanted) for side in (1, -1)):
        raise Wrong("wrong tail", f"{what} {OTHER_TAIL}")
    if any(close(made, wanted + side / z.size) for side in (1, -1)):
        raise Wrong("other label", f"{what} {OTHER_LABEL}")
    if any(close(made, side / z.size * np.exp(z) / (1 + np.exp(z)) ** 2) for side in (1, -1)):
        raise Wrong("derivative of σ", f"{what} {SIGMOID_SLOPE}")


def close(made, wanted):
    return np.shape(made) == np.shape(wanted) and np.allclose(np.asarray(made, float), wanted, rtol=1e-6, atol=1e-9)


# ---- Far out: is it right in numbers that are rounded? --------------------------------------------------


def around(size, n, dtype, rng):
    """Logits of about ±size, half of them of each sign, so that the mean has both large and small terms."""
    return (np.resize([1, -1], n) * size + rng.standard_normal(n)).astype(dtype)


def check_far_out(what, function, loss, logits, size):
    dtype = logits[0].dtype
    with np.errstate(all="ignore"):
        made = function(*[z.copy() for z in logits])
    value, *slopes = with_slopes(loss, logits)
    wanted = value, *(slope.astype(dtype) for slope in slopes)
    for i, each in enumerate(made):
        if not np.isfinite(each).all():
            kind, why = ("log of zero", LOG_OF_ZERO) if size == 50 else ("overflow", OVERFLOW)
            raise Wrong(kind, f"{what}: its result {i} {why}")
    if made[0] < 0.99 * value:
        raise Wrong("clipped", f"{what}: the loss is {made[0]:.4g} instead of {value:.4g}. {CLIPPED}")
    for i, (one, other) in enumerate(zip(made, wanted)):
        because = {"dtype": "The results must have the dtype of the logits."}
        compare(f"{what}: its result {i}", one, other, TOLERANCE[dtype.type], because)
