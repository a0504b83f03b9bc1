"""Both gradients of a convolution, with nothing but a convolution.

With F = ⟨g, x ⋆ w⟩, stride s and padding P (both whole numbers, P below the kernel's size):

    input_gradient    ∂F/∂x from g and w
    weight_gradient   ∂F/∂w from x and g

    x  (N, H, W, Cin)      the image
    w  (kh, kw, Cin, Cout) the weights
    g  (N, Ho, Wo, Cout)   the cotangent of x ⋆ w, with Ho = (H + 2P - kh) // s + 1, and Wo likewise

`correlate` is given: use it, and pad, slice, flip and transpose with NumPy. You need no loops.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def correlate(x, w):
    """x ⋆ w at stride 1 without padding: (N, H, W, Cin), (kh, kw, Cin, Cout) → (N, H - kh + 1, W - kw + 1, Cout)."""
    kh, kw, cin, _ = w.shape
    if x.shape[3] != cin:
        raise ValueError(f"the image {x.shape} has {x.shape[3]} channels, but the weights {w.shape} take {cin}")
    if x.shape[1] < kh or x.shape[2] < kw:
        raise ValueError(f"the image {x.shape} is smaller than the kernel {w.shape}")
    patches = sliding_window_view(x, (kh, kw), axis=(1, 2))  # (N, Ho, Wo, Cin, kh, kw)
    return np.tensordot(patches, w, axes=((4, 5, 3), (0, 1, 2)))


def spread(g, stride):
    """ĝ: g with stride - 1 rows or columns of zeros between its own, (N, s·(Ho - 1) + 1, s·(Wo - 1) + 1, Cout)."""
    # >>> Put the rows and columns of g into an array of zeros
    n, rows, columns, channels = g.shape
    out = np.zeros((n, stride * (rows - 1) + 1, stride * (columns - 1) + 1, channels), g.dtype)
    out[:, ::stride, ::stride] = g
    return out
    # <<<


def input_gradient(g, w, size, stride, padding):
    """∂F/∂x for images of `size`, which is (H, W)."""
    # >>> Put zeros around the spread cotangent, and convolve it with the right weights
    (height, width), (kh, kw) = size, w.shape[:2]
    g = spread(g, stride)
    rows = kh - 1 - padding, height + padding - g.shape[1]  # before and after: height + kh - 1 rows in all
    columns = kw - 1 - padding, width + padding - g.shape[2]
    turned = w[::-1, ::-1].transpose(0, 1, 3, 2)  # (kh, kw, Cout, Cin)
    return correlate(np.pad(g, [(0, 0), rows, columns, (0, 0)]), turned)
    # <<<


def weight_gradient(x, g, kernel, stride, padding):
    """∂F/∂w for a `kernel`, which is (kh, kw)."""
    # >>> Convolve the padded image with the spread cotangent, with the axes in the right roles
    x = np.pad(x, [(0, 0), (padding, padding), (padding, padding), (0, 0)])
    images = x.transpose(3, 1, 2, 0)  # (Cin, H + 2P, W + 2P, N): the sum is over N, so N takes the channels' role
    cotangent = spread(g, stride).transpose(1, 2, 0, 3)  # (·, ·, N, Cout)
    out = correlate(images, cotangent)  # (Cin, kh + rows that the stride left over, ..., Cout)
    return out[:, : kernel[0], : kernel[1]].transpose(1, 2, 0, 3)
    # <<<
