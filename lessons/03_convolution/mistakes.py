from lessons.course.exercises import Mistake

MISTAKES = [
    Mistake("flip", "w[::-1, ::-1].transpose(0, 1, 3, 2)", "w.transpose(0, 1, 3, 2)"),
    Mistake("flip", "w[::-1, ::-1].transpose(0, 1, 3, 2)", "w[::-1].transpose(0, 1, 3, 2)"),
    Mistake("channels", "w[::-1, ::-1].transpose(0, 1, 3, 2)", "w[::-1, ::-1].reshape(kh, kw, w.shape[3], w.shape[2])"),
    Mistake("channels", "w[::-1, ::-1].transpose(0, 1, 3, 2)", "w[::-1, ::-1]"),
    Mistake("channels", "w[::-1, ::-1].transpose(0, 1, 3, 2)", "w[::-1, ::-1, :, ::-1].transpose(0, 1, 3, 2)"),
    Mistake("channels", "w[::-1, ::-1].transpose(0, 1, 3, 2)", "np.flip(w).transpose(0, 1, 3, 2)"),
    Mistake("not spread", "    g = spread(g, stride)\n", ""),
    Mistake("not spread", "spread(g, stride).transpose", "g.transpose"),
    Mistake("rows and columns", "kh - 1 - padding, height + padding - g.shape[1]  # before and after: height + kh - 1 "
            "rows in all\n    columns = kw - 1 - padding, width + padding - g.shape[2]",
            "kw - 1 - padding, height + kh - kw + padding - g.shape[1]\n"
            "    columns = kh - 1 - padding, width + kw - kh + padding - g.shape[2]"),
    # P zeros before, and as many after as give the right size
    Mistake("padding", "kh - 1 - padding, height + padding - g.shape[1]  # before and after: height + kh - 1 rows in "
            "all\n    columns = kw - 1 - padding, width + padding - g.shape[2]",
            "padding, height + kh - 1 - padding - g.shape[1]\n"
            "    columns = padding, width + kw - 1 - padding - g.shape[2]"),
    # the padding of the forward pass: right only if P = (k - 1)/2
    Mistake("shape", "kh - 1 - padding, height + padding - g.shape[1]", "padding, padding"),
    # the same padding on both sides: right only if the stride leaves no rows over
    Mistake("odd sizes", "kh - 1 - padding, height + padding - g.shape[1]", "kh - 1 - padding, kh - 1 - padding"),
    # rows left over at the top
    Mistake("odd sizes", "kh - 1 - padding, height + padding", "height + padding - g.shape[1], kh - 1 - padding + 0 *"),
    Mistake("repeated", "out[:, ::stride, ::stride] = g", "out += g.repeat(stride, 1).repeat(stride, 2)"
            "[:, : out.shape[1], : out.shape[2]]"),
    Mistake("shape", "stride * (rows - 1) + 1, stride * (columns - 1) + 1", "stride * rows, stride * columns"),
    # one flip too many
    Mistake("flip", "spread(g, stride).transpose", "spread(g, stride)[:, ::-1, ::-1].transpose"),
    Mistake("images mixed", "x.transpose(3, 1, 2, 0)", "x[::-1].transpose(3, 1, 2, 0)"),
    # the last rows instead of the first
    Mistake("odd sizes", "out[:, : kernel[0], : kernel[1]]", "out[:, -kernel[0] :, -kernel[1] :]"),
    # the means of derivatives instead of their sums
    Mistake("constant factor", ": kernel[1]].transpose(1, 2, 0, 3)", ": kernel[1]].transpose(1, 2, 0, 3) / len(x)"),
]  # fmt: skip
