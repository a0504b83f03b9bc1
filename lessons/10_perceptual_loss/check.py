"""Features, content loss and its derivative, against the engine's convolutions."""

import numpy as np

from lessons.checking import Wrong, compare
from minisrgan.autodiff import Conv2d, Conv2dBias, MaxPool, ReLU, Tensor, grad
from minisrgan.models.vgg import MEAN, STD
from minisrgan.models.vgg import normalise as as_expected

TOLERANCE = 1e-9

NOT_NORMALISED = "takes the images as they are, and the weights see what they were not trained on."
RANGE = "is as if the images were in [0, 1]. HR and SR are in [-1, 1]: first (x + 1)/2."
BGR = "has red and blue exchanged, in the images or in MEAN and STD. BGR is Caffe's; torchvision's weights take RGB."
CAFFE = "is what Caffe's weights take. These are of torchvision's family: RGB in [0, 1], less MEAN, divided by STD."
NOT_STANDARD = "is in [0, 1], and still to be less MEAN and divided by STD."
NO_RECTIFIER = "is right but for the ReLU, which comes between the convolution and the pooling."
POOLED_FIRST = "is right for a ReLU after the pooling. The mean of rectified numbers is not the rectified mean."
NO_MASK = (
    "passes through the ReLU as if it were not there. Where it gave 0, its derivative is 0: a unit that is off has no "
    "say."
)
AT_HR = "has the ReLU's mask of HR. J is the Jacobian at SR: which units are on at SR decides."
THROUGH_HR = (
    "has a share of HR's too. HR is a photo, a constant: nothing that is done to SR changes φ(HR), so it has no part "
    "in the derivative."
)
INPUT_SLOPE = (
    "lacks the derivative of the normalisation, or half of it. Each channel was divided by 2 and by its own deviation, "
    "and so must its derivative be."
)
SUMMED = "is a sum over the features, where it should be their mean."
NOT_DIVIDED = "is the derivative of a sum. The loss is a mean over N features, N being the size of φ and not SR's."
BY_IMAGE = "is divided by the number of SR's samples. N counts the features, the size of φ(SR)."
POOLING = "lacks the pooling's 1/4: a feature is a mean of 4 numbers, each of which gets a quarter of its derivative."
MAXIMUM = "has the largest of 2×2. VGG's pooling does that; here it is their mean."
HALF = "is half of what it should be: the derivative of a square is twice what is squared."
INEXACT = "is right to three digits or so, like a finite difference. Wanted is the exact derivative, by the chain rule."


def check(exercise):
    rng = np.random.default_rng(0)
    weight, bias = rng.standard_normal((3, 5)), rng.standard_normal(5)
    sr, hr = rng.uniform(-1, 1, (2, 2, 6, 8, 3))
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
    """J_φᵀ g, J at the images `at`."""
    x = Tensor(at, requires_grad=True)
    return grad(phi(x, weight, bias, **options), x, Tensor(g))[0].data


# ---- One after another ----------------------------------------------------------------------------------


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
    ]
    known(what, made, wrong)
    compare(what, made, right, TOLERANCE)


def check_features(function, images, weight, bias):
    made, what = unchanged(function, images, weight, bias), "features(images, weight, bias)"
    as_they_are = 2 * (images * STD + MEAN) - 1  # of which the normalisation makes the images again
    linear = phi(Tensor(images), weight, bias, rectified=False).data
    wrong = [
        ("not normalised", NOT_NORMALISED, phi(Tensor(as_they_are), weight, bias).data),
        ("no rectifier", NO_RECTIFIER, linear),
        ("pooled first", POOLED_FIRST, np.maximum(linear, 0)),
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
        known(f"{what}[0]", made[0], [("sum instead of mean", SUMMED, np.sum(difference**2))])
        compare(f"{what}[0]", made[0], loss, TOLERANCE)
        at_hr = transposed_jacobian(hr, g, weight, bias)
        wrong = [
            ("gradient through HR", THROUGH_HR, slope - at_hr),
            ("slope at HR", AT_HR, at_hr),
            ("rectifier ignored", NO_MASK, transposed_jacobian(sr, g, weight, bias, rectified=False)),
            ("normalisation's slope", INPUT_SLOPE, slope * 2 * np.array(STD)),
            ("normalisation's slope", INPUT_SLOPE, slope * np.array(STD)),
            ("not divided by N", NOT_DIVIDED, slope * difference.size),
            ("not divided by N", NOT_DIVIDED, slope * difference.size / len(sr)),
            ("pooling's share", POOLING, 4 * slope),
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
        where = f"right for even sizes, but not for {height}×{width}"
        why = error.message if isinstance(error, Wrong) else f"{type(error).__name__}: {error}"
        raise Wrong("odd sizes", f"{where}: {why} The row or column that pooling leaves out has no feature, and the "
                    "derivative 0.") from None  # fmt: skip


def unchanged(function, *arrays):
    """The function's result. Raises a diagnosis if it changed an array that it was given."""
    given = [array.copy() for array in arrays]
    made = function(*given)
    if not all(np.array_equal(before, after) for before, after in zip(arrays, given)):
        raise Wrong("input changed", f"{function.__name__} changes its argument: make a new array.")
    return made


def known(what, made, wrong_answers):
    """Raise the diagnosis of a mistake that is known, if it is one: [(kind, why, what it gives)]."""
    for kind, why, wrong in wrong_answers:
        if near(made, wrong, TOLERANCE):
            raise Wrong(kind, f"{what} {why}")


def near(made, wanted, tolerance):
    if np.shape(made) != np.shape(wanted):
        return False
    return np.allclose(np.asarray(made, float), wanted, rtol=0, atol=tolerance * np.abs(wanted).max())
