"""Bicubic and bilinear enlargement on a GPU: in float32, whatever the precision of other convolutions.

With bf16 their weights would be off by as much as a level of 255, in the same way at each pixel: a grid.
"""

from typing import Any

from ..arrays import on_gpu
from ..models.enlarging import enlarge_bilinear
from ..models.generator import enlarge_bicubic
from ..tensor import Tensor
from .precision import use_precision
from .register import register


def is_on_gpu(x: Any) -> bool:
    return isinstance(x, Tensor) and on_gpu(x.data)


@register(enlarge_bicubic, is_on_gpu)
def exact_bicubic(x: Tensor, scale: int) -> Any:
    with use_precision("float32"):
        return enlarge_bicubic.__wrapped__(x, scale)


@register(enlarge_bilinear, is_on_gpu)
def exact_bilinear(x: Tensor, scale: int) -> Any:
    with use_precision("float32"):
        return enlarge_bilinear.__wrapped__(x, scale)
