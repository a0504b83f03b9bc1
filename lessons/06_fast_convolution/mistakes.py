from lessons.course.exercises import Mistake

INSIDE = "bool inside = row >= 0 && row < height && column >= 0 && column < width;"
CLAMPED = "bool inside = true; row = min(max(row, 0), height - 1); column = min(max(column, 0), width - 1);"
AT = "x[((image * height + row) * width + column) * cin + c]"
LEAVE = "    if (row0 + i0 >= height || column0 + j0 >= width) return;\n"
TAPS = "        for (int i = 0; i < 3; ++i)\n"

MISTAKES = [
    # the halo
    Mistake("out of bounds", f"inside ? {AT} : 0", AT),
    Mistake("border", INSIDE, CLAMPED),
    Mistake("uninitialised", "for (int e = t; e < HALO * HALO; e += THREADS) {", "if (int e = t; e < HALO * HALO) {"),
    Mistake("shift", "e / HALO - 1, column = column0 + e % HALO - 1", "e / HALO, column = column0 + e % HALO"),
    Mistake("out of bounds", "e < HALO * HALO", "e <= HALO * HALO"),
    # the barriers
    Mistake("race", "        }\n        __syncthreads();\n", "        }\n"),
    Mistake("race", "* cout + o];\n        __syncthreads();\n", "* cout + o];\n"),
    Mistake("barrier", "    real sum = 0;\n", LEAVE + "    real sum = 0;\n"),
    # the sum
    Mistake("one channel", TAPS, "        sum = 0;\n" + TAPS),
    Mistake("one tap", "sum += halo", "sum = halo"),
    Mistake("one channel", f"inside ? {AT}", f"inside ? {AT.replace(' + c]', ']')}"),
    Mistake("layout", AT, "x[((image * cin + c) * height + row) * width + column]"),
    Mistake("transposed", "halo[i0 + i][j0 + j]", "halo[j0 + j][i0 + i]"),
    Mistake("transposed", "(i * 3 + j)", "(j * 3 + i)"),
    Mistake("flipped", "halo[i0 + i][j0 + j]", "halo[i0 + 2 - i][j0 + 2 - j]"),
    Mistake("weights", "((i * 3 + j) * cin + c) * cout + o", "((i * 3 + j) * cout + o) * cin + c"),
    # the result
    Mistake("out of bounds", "if (row < height && column < width) y", "y"),
    Mistake(
        "layout",
        "y[((image * height + row) * width + column) * cout + o]",
        "y[((image * cout + o) * height + row) * width + column]",
    ),
    Mistake("one image", "? x[((image * height + row)", "? x[(row"),
]
