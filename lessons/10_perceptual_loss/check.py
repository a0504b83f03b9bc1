"""Features, content loss and its derivative, against the engine's convolutions."""

import numpy as np

from lessons.course.checking import Wrong, compare
from minisrgan.models.vgg import MEAN, STD
from minisrgan.models.vgg import normalise as as_expected
from minisrgan.ops import Conv2d, Conv2dBias, MaxPool, ReLU
from minisrgan.tensor import Tensor, grad

TOLERANCE = 1e-9

NOT_NORMALISED = "takes the images as they are. The weights were trained on normalised images."
RANGE = "treats the images as if they were in [0, 1]. HR and SR are in [-1, 1]: first compute (x + 1)/2."
BGR = "has red and blue exchanged, in the images or in MEAN and STD. BGR is Caffe's; torchvision's weights take RGB."
CAFFE = (
    "is the input for Caffe's weights. These are of torchvision's family: RGB in [0, 1], minus MEAN, divided by STD."
)
NOT_STANDARD = "is in [0, 1]: now subtract MEAN and divide by STD."
NOT_HALVED = "lacks the division by 2: (x + 1)/2 brings [-1, 1] to [0, 1]."
NOT_DIVIDED_BY_STD = "is not divided by STD, or is multiplied by it."
NO_BIAS = "is right except for the bias. Add it before the ReLU."
NO_RECTIFIER = "is right except for the ReLU, which comes between the convolution and the pooling."
POOLED_FIRST = "is right for a ReLU after the pooling. The mean of rectified numbers is not the rectified mean."
NO_MASK = (
    "passes through the ReLU as if it were not there. Where the ReLU gave 0, its derivative is 0, and nothing passes "
    "back."
)
AT_HR = "has the ReLU's mask of HR. J is the Jacobian at SR, so the mask is 1 where the convolution of SR is positive."
THROUGH_HR = (
    "contains HR's part of the gradient too. HR is a photo, a constant: changing SR does not change φ(HR), so HR has "
    "no part in the derivative."
)
INPUT_SLOPE = (
    "lacks the derivative of the normalisation, or multiplies where it should divide. Each channel was divided by 2 "
    "and by its own deviation, so divide its derivative by both too."
)
SUMMED = "is a sum over the features. It should be their mean."
NOT_DIVIDED = "is the derivative of a sum. The loss is a mean over N features; N is the size of φ, not of SR."
FEWER = (
    "is divided by too small a number: N counts all numbers in φ(SR), its pixels times its channels times the images."
)
BY_IMAGE = "is divided by the number of SR's samples. N is the number of features, the size of φ(SR)."
POOLING = (
    "is 4 times too large. A feature is a mean of 4 numbers, so each of these gets a quarter of the feature's "
    "derivative. Or you have multiplied by 2 where the normalisation divides by 2."
)
TWICE = "is twice what it should be: the normalisation's 1/2 is missing, or the pooling has 1/2 instead of 1/4."
MASKED_GRADIENT = (
    "is masked by the sign of the gradient itself. What the ReLU lets pass depends on its input: it passes g, of "
    "either sign, where the result of the convolution is positive, and 0 elsewhere."
)
MASKED_LATE = (
    "has a mask of φ's shape, one value for four numbers. The ReLU comes before the pooling, so each of the four needs "
    "a value of its own."
)
MAXIMUM = "takes the largest of 2×2. VGG's pooling does that; take their mean here."
POOLED_SUM = "takes the sum of 2×2. Take their mean."
HALF = "is half of what it should be: the derivative of a square brings a factor of 2."
INEXACT = "is right to about three digits, like a finite difference. Compute the exact derivative, by the chain rule."


def check(exercise):
    rng = np.random.default_rng(0)
    weight, bias = rng.standard_normal((3, 7)), rng.standard_normal(7)
    sr, hr = rng.uniform(-1, 1, (2, 3, 10, 18, 3))  # sizes that tell one mistake's factor from another's
    check_normalise(exercise.normalise, sr)
    check_features(exercise.features, sr, weight, bias)
    check_loss(exercise.content_loss, sr, hr, weight, bias)
    for height, width in ((7, 8), (6, 9), (5, 11)):
        check_odd(exercise, rng.uniform(-1, 1, (2, 2, height, width, 3)), weight, bias)


# ---- φ, in the engine's operations ----------------------------------------------------------------------


def phi(images, weight, bias, rectified=True, pooled=True):
    x = as_expected(images, "torchvision")
    x = Conv2dBias(x, Tensor(weight.reshape(1, 1, *weight.shape)), Tensor(bias))
    x = ReLU(x) if rectified else x
    mean = np.zeros((2, 2, len(bias), len(bias)))
    mean[:, :] = np.eye(len(bias)) / 4
    return Conv2d(x, Tensor(mean), stride=2) if pooled else x


def transposed_jacobian(at, g, weight, bias, **options):
    """J_φᵀ g, with J taken at the images `at`."""
    x = Tensor(at, requires_grad=True)
    return grad(phi(x, weight, bias, **options), x, Tensor(g))[0].data


# ---- The three functions, in turn -----------------------------------------------------------------------


def check_normalise(function, images):
    made, what = unchanged(function, images), "normalise(images)"
    right, exchanged = (as_expected(Tensor(each), "torchvision").data for each in (images, images[..., ::-1]))
    wrong = [
        ("not normalised", NOT_NORMALISED, images),
        ("range", RANGE, (images - MEAN) / STD),
        ("BGR", BGR, exchanged),
        ("BGR", BGR, exchanged[..., ::-1]),
        ("BGR", BGR, right[..., ::-1]),
        ("wrong family", CAFFE, as_expected(Tensor(images), "caffe").data),
        ("wrong", NOT_STANDARD, (images + 1) / 2),
        ("range", NOT_HALVED, (images + 1 - MEAN) / STD),
        ("deviation", NOT_DIVIDED_BY_STD, right * STD),
        ("deviation", NOT_DIVIDED_BY_STD, right * np.square(STD)),
    ]
    known(what, made, wrong)
    compare(what, made, right, TOLERANCE)


def check_features(function, images, weight, bias):
    made, what = unchanged(function, images, weight, bias), "features(images, weight, bias)"
    as_they_are = 2 * (images * STD + MEAN) - 1  # the normalisation turns these into `images`
    linear = phi(Tensor(images), weight, bias, rectified=False).data
    wrong = [
        ("not normalised", NOT_NORMALISED, phi(Tensor(as_they_are), weight, bias).data),
        ("no rectifier", NO_RECTIFIER, linear),
        ("pooled first", POOLED_FIRST, np.maximum(linear, 0)),
        ("no bias", NO_BIAS, phi(Tensor(images), weight, 0 * bias).data),
        ("wrong pooling", POOLED_SUM, 4 * phi(Tensor(images), weight, bias).data),
        ("wrong pooling", MAXIMUM, MaxPool(phi(Tensor(images), weight, bias, pooled=False)).data),
    ]
    known(what, made, wrong)
    compare(what, made, phi(Tensor(images), weight, bias).data, TOLERANCE)


def check_loss(function, sr, hr, weight, bias):
    made, what = unchanged(function, sr, hr, weight, bias), "content_loss(sr, hr, weight, bias)"
    difference = phi(Tensor(sr), weight, bias).data - phi(Tensor(hr), weight, bias).data
    g = 2 / difference.size * difference
    loss, slope = np.mean(difference**2), transposed_jacobian(sr, g, weight, bias)
    if isinstance(made, tuple | list) and len(made) == 2:
        n, c = len(sr), len(bias)
        wrong = [("sum instead of mean", SUMMED, np.sum(difference**2))]
        wrong += [("wrong N", FEWER, loss * fewer) for fewer in (n, c, n * c)]
        known(f"{what}[0]", made[0], wrong)
        compare(f"{what}[0]", made[0], loss, TOLERANCE)
        at_hr = transposed_jacobian(hr, g, weight, bias)
        of_linear = {"weight": weight, "bias": bias, "rectified": False}  # the chain without its ReLU
        masked_gradient = transposed_jacobian(sr, np.maximum(g, 0), **of_linear)
        masked_late = transposed_jacobian(sr, g * (phi(Tensor(sr), weight, bias).data > 0), **of_linear)
        wrong = [
            ("gradient through HR", THROUGH_HR, slope - at_hr),
            ("Jacobian at HR", AT_HR, at_hr),
            ("rectifier ignored", NO_MASK, transposed_jacobian(sr, g, weight, bias, rectified=False)),
            ("normalisation's derivative", INPUT_SLOPE, slope * 2 * np.array(STD)),
            ("normalisation's derivative", INPUT_SLOPE, slope * np.array(STD)),
            ("normalisation's derivative", INPUT_SLOPE, slope * np.square(STD)),
            ("normalisation's derivative", INPUT_SLOPE, slope * 4 * np.square(STD)),
            ("not divided by N", NOT_DIVIDED, slope * difference.size),
            ("not divided by N", NOT_DIVIDED, slope * difference.size / n),
            *(("wrong N", FEWER, slope * fewer) for fewer in (n, c, n * c)),
            ("pooling's share", POOLING, 4 * slope),
            ("twice", TWICE, 2 * slope),
            ("mask of the gradient", MASKED_GRADIENT, masked_gradient),
            ("mask of the features", MASKED_LATE, masked_late),
            ("factor of the square", HALF, slope / 2),
            ("wrong N", BY_IMAGE, slope * difference.size / sr.size),
        ]
        known(f"{what}[1]", made[1], wrong)
        if near(made[1], slope, 1e-3) and not near(made[1], slope, TOLERANCE):
            raise Wrong("not exact", f"{what}[1] {INEXACT}")
    compare(what, made, (loss, slope), TOLERANCE)


def check_odd(exercise, pair, weight, bias):
    sr, hr = pair
    height, width = sr.shape[1:3]
    wanted = phi(Tensor(sr), weight, bias).data
    difference = wanted - phi(Tensor(hr), weight, bias).data
    slope = transposed_jacobian(sr, 2 / difference.size * difference, weight, bias)
    try:
        compare("features(images, weight, bias)", exercise.features(sr, weight, bias), wanted, TOLERANCE)
        made = exercise.content_loss(sr, hr, weight, bias)
        compare("content_loss(sr, hr, weight, bias)", made, (np.mean(difference**2), slope), TOLERANCE)
    except (Wrong, ValueError, IndexError) as error:
        where = f"right for even sizes, but wrong for {height}×{width}"
        why = error.message if isinstance(error, Wrong) else f"{type(error).__name__}: {error}"
        raise Wrong("odd sizes", f"{where}: {why} The row or column that pooling leaves out has no feature, so its "
                    "derivative is 0.") from None  # fmt: skip


def unchanged(function, *arrays):
    """The result of the function. Raises a diagnosis if the function changed one of its arguments."""
    given = [array.copy() for array in arrays]
    made = function(*given)
    if not all(np.array_equal(before, after) for before, after in zip(arrays, given)):
        raise Wrong("input changed", f"{function.__name__} changes its argument: make a new array.")
    return made


def known(what, made, wrong_answers):
    """Raise the diagnosis if `made` is one of the known wrong answers: [(kind, why, the answer)]."""
    for kind, why, wrong in wrong_answers:
        if near(made, wrong, TOLERANCE):
            raise Wrong(kind, f"{what} {why}")


def near(made, wanted, tolerance):
    if np.shape(made) != np.shape(wanted):
        return False
    return np.allclose(np.asarray(made, float), wanted, rtol=0, atol=tolerance * np.abs(wanted).max())
