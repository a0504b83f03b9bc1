"""Wrong solutions, and the diagnosis that each must get."""

from lessons.course.exercises import Mistake

MEAN_OF_PSNRS = "np.mean([psnr_y(sr, hr, border) for sr, hr in pairs])"
Y = "np.floor(16 + rgb @ [65.481, 128.553, 24.966] / 255 + 0.5)"

MISTAKES = [
    Mistake("RGB", Y, "np.floor(rgb.mean(axis=-1) + 0.5)"),
    Mistake("RGB", Y, "rgb.mean(axis=-1)"),
    Mistake("range", Y, "np.floor(rgb @ [0.299, 0.587, 0.114] + 0.5)"),
    Mistake("channels", "[65.481, 128.553, 24.966]", "[24.966, 128.553, 65.481]"),
    Mistake("rounding", Y, "16 + rgb @ [65.481, 128.553, 24.966] / 255"),
    Mistake("rounding", " / 255 + 0.5)", " / 255)"),
    Mistake("overflow", Y, Y + ".astype(np.uint8)"),
    Mistake("peak", "255**2 / np.mean", "1 / np.mean"),
    Mistake("border", "[border : height - border, border : width - border]", "[border:-border, border:-border]"),
    Mistake("border", "border : height - border, border : width - border", "border:, border:"),
    Mistake("border", "height - border, border : width - border", "height - border - 1, border : width - border - 1"),
    Mistake("logarithm", "10 * np.log10", "10 * np.log"),
    Mistake("constant factor", "10 * np.log10", "20 * np.log10"),
    Mistake("square", "np.mean(error**2)", "np.mean(abs(error))"),
    Mistake(
        "mean of MSEs",
        MEAN_OF_PSNRS,
        "-10 * np.log10(np.mean([10 ** (-psnr_y(sr, hr, border) / 10) for sr, hr in pairs]))",
    ),
    Mistake("border", "psnr_y(sr, hr, border) for", "psnr_y(sr, hr, 0) for"),
    Mistake("covariance", " - mean_a * mean_b\n", "\n"),
    Mistake("sign", "mean(a * b) - mean_a * mean_b", "mean_a * mean_b - mean(a * b)"),
    Mistake("constants", "(0.01 * 255) ** 2, (0.03 * 255) ** 2", "0.01**2, 0.03**2"),
    Mistake("variance", "mean(a**2) - mean_a**2, mean(b**2) - mean_b**2", "mean(a**2), mean(b**2)"),
    Mistake("factor missing", "return luminance * structure", "return structure"),
]
