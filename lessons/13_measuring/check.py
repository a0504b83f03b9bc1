"""Do the learner's PSNR and SSIM agree with the tables? If not, which other convention do they follow?"""

import inspect
from copy import deepcopy

import numpy as np

from lessons.course.checking import Wrong, compare, is_close

TOLERANCE = 1e-9


def check(exercise):
    refuse_loans(exercise)
    check_psnr(exercise.psnr_y)
    check_mean(exercise.mean_psnr)
    check_ssim(exercise.ssim_map)


def refuse_loans(exercise):
    text = inspect.getsource(exercise)
    for module in ("minisrgan", "skimage", "cv2"):
        if f"import {module}" in text or f"from {module}" in text:
            raise Wrong("borrowed", f"your file imports {module}, which already has all this: use only NumPy.")


# ---- PSNR ---------------------------------------------------------------------------------------------


def photos(seed, height, width):
    """(SR, HR), uint8, bright and dark, with errors of both signs that are larger at the border and in red."""
    rng = np.random.default_rng(seed)
    hr = rng.integers(0, 256, (height, width, 3))
    error = rng.normal(3, 9, hr.shape) + rng.normal(0, [25, 4, 12], hr.shape)
    error[[0, 1, -2, -1]] *= 2
    error[:, [0, 1, -2, -1]] *= 1.5
    sr, hr = (hr + error).round().clip(0, 255).astype(np.uint8), hr.astype(np.uint8)
    for each in (sr, hr):  # no Y exactly half-way between whole numbers: formulas differ in how they round it
        each[(weighted(each) % 255_000) == 127_500] += 1
    return sr, hr


def weighted(rgb):
    """255,000 (Y - 16), exactly."""
    return rgb.astype(np.int64) @ [65_481, 128_553, 24_966]


def exact_y(rgb):
    """Rounded Y, computed in whole numbers only."""
    return 16 + (weighted(rgb) + 127_500) // 255_000


def unrounded_y(rgb):
    return 16 + weighted(rgb) / 255_000


JPEG = [0.299, 0.587, 0.114]


def cut(x, top, bottom, left, right):
    return x[max(top, 0) : x.shape[0] - max(bottom, 0), max(left, 0) : x.shape[1] - max(right, 0)]


def error_of(sr, hr, border, y=exact_y):
    return cut(y(sr).astype(float) - y(hr), *[border] * 4)


def decibel(error, peak=255):
    return 20 * np.log10(peak) - 10 * np.log10(np.sum(np.square(error, dtype=float)) / error.size)


def psnr_of(y, peak=255):
    """A way to measure: with this function for Y, and this peak."""
    return lambda sr, hr, border: decibel(error_of(sr, hr, border, y), peak)


def psnr_cut(sides):
    """A way to measure: `sides` says how much to cut off the top, bottom, left and right for a border."""
    return lambda sr, hr, border: decibel(cut(exact_y(sr) - exact_y(hr), *sides(border)))


def overflowed(y, squares):
    """A way to measure: with the difference in uint8, and its squares in the dtype `squares`."""

    def measure(sr, hr, border):
        error = cut(y(sr).astype(np.uint8) - y(hr).astype(np.uint8), *[border] * 4)
        return 10 * np.log10(255**2 / np.mean(error.astype(squares) ** 2))

    return measure


def itself(rgb):
    return rgb


right = psnr_of(exact_y)
FLOATS = "uint8 has no negative numbers: there 3 - 5 is 254. Take the difference of floats."
BT601 = "BT.601's Y is in 16…235: its weights are 65.481, 128.553, 24.966, divided by 255."
EYE = "Y weights the three differently, as the eye does."
WAYS = [  # (kind, the end of the message, a function that measures in this way)
    ("overflow", f"of a difference of uint8 numbers. {FLOATS}", overflowed(exact_y, float)),
    ("overflow", f"of a difference and squares in uint8. {FLOATS}", overflowed(exact_y, np.uint8)),
    ("overflow", f"of R, G and B, and of a difference of uint8 numbers. {FLOATS}", overflowed(itself, float)),
    ("overflow", f"of R, G and B, and of a difference and squares in uint8. {FLOATS}", overflowed(itself, np.uint8)),
    ("RGB", "of all samples of R, G and B. The tables measure Y alone.", psnr_of(itself)),
    ("RGB", f"of the mean of R, G and B. {EYE}", psnr_of(lambda x: x.mean(axis=-1))),
    ("RGB", f"of the rounded mean of R, G and B. {EYE}", psnr_of(lambda x: np.floor(x.mean(axis=-1) + 0.5))),
    ("rounding", "of a Y that is not rounded.", psnr_of(unrounded_y)),
    ("rounding", "of a Y that is rounded down, as astype(int) does. Use floor(Y + 1/2).",
     psnr_of(lambda x: np.floor(unrounded_y(x)))),
    ("range", f"of a Y in 0…255, as in JPEG files. {BT601}", psnr_of(lambda x: np.floor(x @ JPEG + 0.5))),
    ("range", f"of a Y in 0…255, not rounded. {BT601}", psnr_of(lambda x: x @ JPEG)),
    ("channels", "of photos in BGR: the order of the weights is wrong.", psnr_of(lambda x: exact_y(x[..., ::-1]))),
    ("peak", "with a peak of 1. That is for photos in 0…1; these are in 0…255.", psnr_of(exact_y, peak=1)),
    ("peak", "with a peak of 219, the span of Y. The tables use 255 all the same.", psnr_of(exact_y, peak=219)),
    ("peak", "with a peak of 235, the largest Y. The tables use 255 all the same.", psnr_of(exact_y, peak=235)),
    ("peak", "with a peak of 256. The largest sample is 255.", psnr_of(exact_y, peak=256)),
    ("peak", "with a peak that is not squared: it should be 255².", psnr_of(exact_y, peak=255**0.5)),
    ("border", "of the whole image: nothing is cut off.", psnr_cut(lambda b: (0, 0, 0, 0))),
    ("border", "of an image with a border one pixel too narrow on each side.", psnr_cut(lambda b: [b - 1] * 4)),
    ("border", "of an image with a border one pixel too wide on each side.", psnr_cut(lambda b: [b + 1] * 4)),
    ("border", "of an image whose bottom and right are not cut off.", psnr_cut(lambda b: (b, 0, b, 0))),
    ("border", "of an image whose top and left are not cut off.", psnr_cut(lambda b: (0, b, 0, b))),
    ("border", "of an image with one pixel too many at its bottom and right.",
     psnr_cut(lambda b: (b, b - 1, b, b - 1))),
    ("border", "of an image with one pixel too few at its bottom and right.", psnr_cut(lambda b: (b, b + 1, b, b + 1))),
    ("border", "of an image that is cut only at its left and right.", psnr_cut(lambda b: (0, 0, b, b))),
    ("border", "of an image that is cut only at its top and bottom.", psnr_cut(lambda b: (b, b, 0, 0))),
    ("logarithm", "with a natural logarithm. dB take 10 times the logarithm to base 10.",
     lambda *p: right(*p) * np.log(10)),
    ("logarithm", "with a logarithm to base 2. dB take 10 times the logarithm to base 10.",
     lambda *p: right(*p) * np.log2(10)),
    ("sign", "with the wrong sign: a smaller error must give a larger figure.", lambda *p: -right(*p)),
    ("square", "with 10 log10 of 255/RMSE. It is 20 log10 of that, or 10 log10 of 255²/MSE.",
     lambda *p: right(*p) / 2),
    ("constant factor", "times 2. It is 10 log10 of 255²/MSE; 20 log10 would be right for 255/RMSE.",
     lambda *p: right(*p) * 2),
    ("square", "of the mean absolute error. Take the mean square.",
     lambda *p: 10 * np.log10(255**2 / abs(error_of(*p)).mean())),
    ("square", "of the mean absolute error. Take the mean square.",
     lambda *p: 20 * np.log10(255 / abs(error_of(*p)).mean())),
    ("square", "of the sum of squares. Take their mean.",
     lambda *p: 10 * np.log10(255**2 / (error_of(*p) ** 2).sum())),
]  # fmt: skip


def check_psnr(function):
    cases = [(*photos(1, 22, 17), 4), (*photos(2, 13, 20), 3), (*photos(3, 9, 11), 1), (*photos(4, 8, 12), 0)]
    made = [call(function, case) for case in cases]
    wanted = [right(*case) for case in cases]
    if all(map(is_near, made, wanted)):
        return
    with np.errstate(all="ignore"):
        for kind, text, way in WAYS:
            if all(map(is_near, made, [way(*case) for case in cases])):
                raise Wrong(kind, f"psnr_y(sr, hr, border) is the PSNR {text}{figures(made, wanted)}")
    if all(map(is_near, made[:3], wanted[:3])):
        raise Wrong(
            "border", "psnr_y(sr, hr, 0) is wrong. A border of 0 cuts off nothing, but `0:-0` is an empty slice."
        )
    if all(is_near(way, want) for way, want in zip(made[3:], wanted[3:])):
        raise Wrong("border", f"psnr_y is right only for a border of 0.{figures(made, wanted)}")
    if np.allclose(made, wanted, rtol=1e-5):
        raise Wrong("dtype", "psnr_y is right only to a few digits: compute in float64, not in float32.")
    shift = made[0] - wanted[0]
    if all(is_near(one - shift, other) for one, other in zip(made, wanted)):
        raise Wrong(
            "offset", f"psnr_y is off by {shift:+.4f} dB for all photos: look at the peak, and at constant factors."
        )
    for case, one, other in zip(cases, made, wanted):
        compare(f"psnr_y(sr, hr, {case[2]}) of photos of {case[0].shape[0]}×{case[0].shape[1]}", one, other, TOLERANCE)


def call(function, arguments):
    """The learner's number. Raises a diagnosis if it is not a number, or if the arguments were changed."""
    given = deepcopy(arguments)
    with np.errstate(all="ignore"):
        made = function(*given)
    if any(not np.array_equal(each, was) for each, was in zip(arrays_in(given), arrays_in(arguments))):
        raise Wrong("input changed", f"{function.__name__} changes its photos: make new arrays.")
    if made is None:
        raise Wrong("type", f"{function.__name__} returns None: is a `return` missing?")
    if np.ndim(made) or np.asarray(made).dtype.kind not in "iuf":
        shape = f"of shape {np.shape(made)}" if np.ndim(made) else f"a {type(made).__name__}"
        raise Wrong("shape", f"{function.__name__} returns something {shape}. Return one number, in dB.")
    return float(made)


def arrays_in(arguments):
    """All photos among the arguments, including those in pairs."""
    for each in arguments:
        if isinstance(each, np.ndarray):
            yield each
        elif isinstance(each, list | tuple):
            yield from arrays_in(each)


def is_near(made, wanted):
    return bool(np.isclose(made, wanted, rtol=TOLERANCE, atol=1e-8))


def figures(made, wanted):
    return f" (Here {made[0]:.3f} dB instead of {wanted[0]:.3f}.)"


def check_mean(function):
    two = [photos(5, 22, 17), spoilt(photos(6, 31, 26), 3)]
    five = [spoilt(photos(seed, 10 + 3 * seed, 30 - seed), seed) for seed in range(5)]
    for pairs in (two, five):
        made = call(function, (pairs, 4))
        each = np.array([right(*pair, 4) for pair in pairs])
        if is_near(made, each.mean()):
            continue
        errors = [error_of(*pair, 4) for pair in pairs]
        pixels = [error.size for error in errors]
        others = [
            ("mean of MSEs", "the PSNR of the mean MSE. A table shows the mean of the PSNRs, which is never lower.",
             decibel(np.array([np.sqrt(np.mean(error**2)) for error in errors]))),
            ("mean of MSEs", "the PSNR of the pixels of all photos together. A table shows the mean of the PSNRs.",
             decibel(np.concatenate([error.ravel() for error in errors]))),
            ("mean", "the median. A table shows the mean.", np.median(each)),
            ("mean", "the sum. A table shows the mean.", each.sum()),
            ("mean", "a mean weighted by pixels. In a table each photo counts once.", np.average(each, weights=pixels)),
            ("border", "the mean over whole photos: does it pass its border on to psnr_y?",
             np.mean([right(*pair, 0) for pair in pairs])),
        ]  # fmt: skip
        for kind, text, other in others:
            if is_near(made, other):
                raise Wrong(kind, f"mean_psnr(pairs, border) is {text} (Here {made:.3f} dB, not {each.mean():.3f}.)")
        compare(f"mean_psnr of {len(pairs)} photos", made, each.mean(), TOLERANCE)


def spoilt(pair, strength):
    """The same pair with larger errors, so that the photos of a set get different figures."""
    sr, hr = (each.astype(int) for each in pair)
    return (hr + (sr - hr) * (1 + strength) // 2).clip(0, 255).astype(np.uint8), pair[1]


# ---- SSIM ---------------------------------------------------------------------------------------------


def window_of(height, width, seed):
    """Uneven weights that sum to 1."""
    weights = np.random.default_rng(seed).uniform(0.2, 1, (height, width))
    return weights / weights.sum()


def windows(x, weights):
    return np.lib.stride_tricks.sliding_window_view(x, weights.shape)


def exact_parts(a, b, weights):
    """(2 means, 2 variances, covariance) of each window; a variance is the mean square after subtracting the mean."""

    def mean(views):
        return (views * weights).sum(axis=(2, 3))

    def centred(views):
        return views - mean(views)[..., None, None]

    a, b = windows(a, weights), windows(b, weights)
    ca, cb = centred(a), centred(b)
    return mean(a), mean(b), mean(ca * ca), mean(cb * cb), mean(ca * cb)


C1, C2 = 2.55**2, 7.65**2


def from_parts(ma, mb, va, vb, cov, c1=C1, c2=C2):
    return (2 * ma * mb + c1) * (2 * cov + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2))


SSIM_WAYS = [  # (kind, the end of the message, a function of means, variances and covariance)
    ("constants", "with C1 = 0.01² and C2 = 0.03². They are (0.01·255)² and (0.03·255)²: the samples are in 0…255.",
     lambda *parts: from_parts(*parts, 1e-4, 9e-4)),
    ("constants", "with C1 and C2 exchanged: C1, the smaller one, belongs to the means.",
     lambda *parts: from_parts(*parts, C2, C1)),
    ("constants", "with constants that are not squared: they are (0.01·255)² and (0.03·255)².",
     lambda *parts: from_parts(*parts, 2.55, 7.65)),
    ("constants", "without C1 and C2, which prevent a division by 0 in a black or flat window.",
     lambda *parts: from_parts(*parts, 0, 0)),
    ("covariance", "with mean(a b) for the covariance: subtract the product of the means.",
     lambda ma, mb, va, vb, cov: from_parts(ma, mb, va, vb, cov + ma * mb)),
    ("variance", "with mean(a²) for the variance: subtract the square of the mean.",
     lambda ma, mb, va, vb, cov: from_parts(ma, mb, va + ma**2, vb + mb**2, cov)),
    ("variance", "with mean(a²), mean(b²) and mean(a b) throughout: subtract the products of the means.",
     lambda ma, mb, va, vb, cov: from_parts(ma, mb, va + ma**2, vb + mb**2, cov + ma * mb)),
    ("variance", "with standard deviations instead of variances: leave out the root.",
     lambda ma, mb, va, vb, cov: from_parts(ma, mb, np.sqrt(va), np.sqrt(vb), cov)),
    ("factor missing", "with the luminance factor alone: the factor of contrast and structure is missing.",
     lambda *p: from_parts(*p[:2], 1, 1, 1)),
    ("factor missing", "with contrast and structure alone: the luminance factor is missing.",
     lambda *p: from_parts(1, 1, *p[2:])),
    ("factor missing", "without the 2 of 2·cov.", lambda ma, mb, va, vb, cov: from_parts(ma, mb, va, vb, cov / 2)),
    ("factor missing", "without the 2 of 2·ma·mb.", lambda ma, mb, va, vb, cov: from_parts(ma, mb, va, vb, cov)
     * (ma * mb + C1) / (2 * ma * mb + C1)),
    ("sign", "with the sign of the covariance wrong: it is mean(a b) minus the product of the means.",
     lambda ma, mb, va, vb, cov: from_parts(ma, mb, va, vb, -cov)),
    ("contrast", "with 2·σa·σb instead of 2·cov, which is contrast without structure.",
     lambda ma, mb, va, vb, cov: from_parts(ma, mb, va, vb, np.sqrt(va * vb))),
    ("sum", "with the two factors added: multiply them.",
     lambda *p: from_parts(*p[:2], 1, 1, 1) + from_parts(1, 1, *p[2:])),
]  # fmt: skip


def check_ssim(function):
    rng = np.random.default_rng(7)
    cases = []
    for seed, (height, width), size in [(1, (17, 23), (5, 3)), (2, (14, 11), (4, 6)), (3, (21, 16), (1, 7))]:
        a = rng.uniform(0, 1, (height, width)).cumsum(axis=1) * 200 / width
        a[:6, :7] *= 0.02  # a dark, flat corner, where the constants matter
        cases.append((a, (0.6 * a + rng.normal(40, 9, a.shape)).clip(0, 255), window_of(*size, seed)))
    made, wanted = [], []
    for a, b, weights in cases:
        one, other = a.copy(), b.copy()
        with np.errstate(all="ignore"):
            made.append(function(one, other, lambda x, weights=weights: weighted_mean(x, weights)))
        if not (np.array_equal(one, a) and np.array_equal(other, b)):
            raise Wrong("input changed", "ssim_map changes its images: make new arrays.")
        wanted.append(from_parts(*exact_parts(a, b, weights)))
    if isinstance(made[0], np.ndarray | float) and np.ndim(made[0]) == 0:
        raise Wrong("shape", "ssim_map returns a single number. Return one number for every position of the window.")
    if all(is_close(one, other, 1e-8) for one, other in zip(made, wanted)):
        return
    with np.errstate(all="ignore"):
        for kind, text, way in SSIM_WAYS:
            if all(is_close(one, way(*exact_parts(*case)), 1e-8) for one, case in zip(made, cases)):
                raise Wrong(kind, f"ssim_map(a, b, mean) is SSIM {text}")
    for one, other in zip(made, wanted):
        compare("ssim_map(a, b, mean)", one, other, 1e-8)


def weighted_mean(x, weights):
    if np.shape(x) < weights.shape or np.ndim(x) != 2:
        raise Wrong("shape", f"mean(x) takes an image (H, W), but got an array of shape {np.shape(x)}.")
    return (windows(np.asarray(x, float), weights) * weights).sum(axis=(2, 3))
