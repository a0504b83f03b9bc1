from lessons.course.exercises import Mistake

STEP = "        __syncthreads();\n        if (t < half) sum[t] += sum[t + half];\n"
IN_A_BRANCH = "        if (t < half) {\n            __syncthreads();\n            sum[t] += sum[t + half];\n        }\n"

MISTAKES = [
    # the grid and the data
    Mistake("out of bounds", "if (i < n) dx[i]", "dx[i]"),
    Mistake("out of bounds", "a[i % channels]", "a[i / channels]"),
    Mistake("channels", "a[i % channels]", "a[0]"),
    # the derivative
    Mistake("branch", "x[i] > 0 ? g[i]", "x[i] < 0 ? g[i]"),
    Mistake("at zero", "x[i] > 0 ? g[i]", "x[i] >= 0 ? g[i]"),
    Mistake("x for g", "a[i % channels] * g[i]", "a[i % channels] * x[i]"),
    Mistake("half a cotangent", "a[i % channels] * g[i]", "a[i % channels]"),
    Mistake("branch", "if (!(x[i] > 0))", "if (x[i] > 0)"),
    Mistake("factor x", "mine += g[i] * x[i]", "mine += g[i]"),
    # the sum
    Mistake("rows", "for (int r = t; r < rows; r += THREADS)", "if (int r = t; r < rows)"),
    Mistake("rows", "half > 0", "half > 1"),
    Mistake("shares", "int r = t; r < rows; r += THREADS", "int r = t; r < rows; ++r"),
    Mistake("shares", "int r = t; r < rows; r += THREADS", "int r = 0; r < rows; ++r"),
    Mistake("index", "int i = r * channels + c;", "int i = c * rows + r;"),
    Mistake("not written", "da[c] = sum[0]", "da[c] += sum[0]"),
    Mistake("race", "__syncthreads();", ""),
    Mistake("race", "if (t == 0) da[c] = sum[0];", "if (t == 0) da[c] = 0; da[c] += mine;"),
    Mistake("barrier", STEP, IN_A_BRANCH),
    Mistake("barrier", "    real mine = 0;\n", "    if (t >= rows) return;\n    real mine = 0;\n"),
    Mistake("uninitialised", "    sum[t] = mine;\n", "    if (t < rows) sum[t] = mine;\n"),
    Mistake("does not compile", "int i = r * channels + c;", "i = r * channels + c;"),
]
