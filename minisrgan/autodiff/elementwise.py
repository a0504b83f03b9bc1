"""Operations on each number by itself, each formula beside its derivative, and the Tensor's operators.

Inputs broadcast by NumPy's rules. The engine sums a cotangent back to the shape of its input.
"""

from numbers import Number, Real

from ..arrays import array_module
from ..errors import ShapeError
from .reduce import SumTo
from .tensor import Op, Tensor
from .tiles import map_channels, map_elements, sum_channels


class Elementwise(Op):
    broadcasts = True


def alike(x, *others):
    """Whether all are arrays of one shape and not empty: the case that element-wise kernels cover."""
    return x.ndim > 0 and x.size > 0 and all(each.shape == x.shape for each in others)


def by_channel(x, a):
    """Whether a is a vector with a number for each channel of an image x: what the kernels of channels.cu cover."""
    return x.ndim > 1 and x.size > 0 and a.shape == x.shape[-1:]


def check_number(name, value):
    if not isinstance(value, Real):
        raise ShapeError(f"{name} is to be one constant number, not a {type(value).__name__}")


class Add(Elementwise):
    """x + y;  1, 1."""

    def forward(x, y):
        return x + y

    def kernel(x, y):
        if alike(x, y):
            return map_elements("add", x, y)
        return map_channels("add_channels", x, y) if by_channel(x, y) else NotImplemented

    def vjp(g, out, x, y):
        return lambda: g, lambda: g


class Sub(Elementwise):
    """x - y;  1, -1."""

    def forward(x, y):
        return x - y

    def vjp(g, out, x, y):
        return lambda: g, lambda: -g


class Mul(Elementwise):
    """x·y;  y, x."""

    linear = True

    def forward(x, y):
        return x * y

    def kernel(x, y):
        if alike(x) and isinstance(y, Number):
            return map_elements("scale", x, y)
        return map_channels("scale_channels", x, y) if by_channel(x, y) else NotImplemented

    def vjp(g, out, x, y):
        return lambda: g * y, lambda: g * x


class Div(Elementwise):
    """x/y;  1/y, -x/y²."""

    def forward(x, y):
        return x / y

    def vjp(g, out, x, y):
        return lambda: g / y, lambda: -g * out / y


class Neg(Elementwise):
    """-x;  -1."""

    linear = True

    def forward(x):
        return -x

    def vjp(g, out, x):
        return lambda: -g


class Pow(Elementwise):
    """xᵖ for a constant p;  p·xᵖ⁻¹."""

    def forward(x, exponent):
        check_number("exponent", exponent)
        return x**exponent

    def vjp(g, out, x, exponent):
        return None if exponent == 0 else lambda: g * exponent * x ** (exponent - 1)


class Exp(Elementwise):
    """eˣ;  eˣ."""

    def forward(x):
        return array_module(x).exp(x)

    def vjp(g, out, x):
        return lambda: g * out


class Log(Elementwise):
    """ln x;  1/x."""

    def forward(x):
        return array_module(x).log(x)

    def vjp(g, out, x):
        return lambda: g / x


class Sigmoid(Elementwise):
    """σ(x) = 1/(1 + e⁻ˣ) = e^min(x, 0)/(1 + e^-|x|), exact in both tails and without overflow;  σ(x)·σ(-x)."""

    def forward(x):
        xp = array_module(x)
        return xp.exp(xp.minimum(x, 0)) / (1 + xp.exp(-abs(x)))

    def kernel(x):
        return map_elements("sigmoid", x) if alike(x) else NotImplemented

    def vjp(g, out, x):
        return lambda: g * out * Sigmoid(-x)


class Softplus(Elementwise):
    """ln(1 + eˣ) = max(x, 0) + ln(1 + e^-|x|), which cannot overflow;  σ(x)."""

    def forward(x):
        xp = array_module(x)
        return xp.maximum(x, 0) + xp.log1p(xp.exp(-abs(x)))

    def kernel(x):
        return map_elements("softplus", x) if alike(x) else NotImplemented

    def vjp(g, out, x):
        return lambda: g * Sigmoid(x)


class WherePositive(Elementwise):
    """u where x > 0, v elsewhere;  0 in x, and g goes to whichever of u and v was taken.

    It is the one choice from which ReLU and its relatives take their derivatives.
    """

    def forward(x, u, v):
        return array_module(x).where(x > 0, u, v)

    def kernel(x, u, v):
        return map_elements("where_positive", x, u, v) if alike(x, u, v) else NotImplemented

    def vjp(g, out, x, u, v):
        return None, lambda: WherePositive(x, g, 0), lambda: WherePositive(x, 0, g)


class Abs(Elementwise):
    """|x|;  sign x, and 0 at 0."""

    def forward(x):
        return abs(x)

    def vjp(g, out, x):
        return lambda: g * Tensor(array_module(x.data).sign(x.data))


class Clip(Elementwise):
    """x held within [low, high];  1 strictly inside, 0 outside."""

    def forward(x, low, high):
        check_number("low", low)
        check_number("high", high)
        return x.clip(low, high)

    def vjp(g, out, x, low, high):
        inside = (x.data > low) & (x.data < high)
        return lambda: g * Tensor(inside.astype(x.dtype))


class ReLU(Elementwise):
    """max(x, 0);  1 where x > 0, else 0."""

    def forward(x):
        return array_module(x).maximum(x, 0)

    def kernel(x):
        return map_elements("relu_forward", x) if alike(x) else NotImplemented

    def vjp(g, out, x):
        return lambda: LeakyReLUGrad(g, x, slope=0.0)


class LeakyReLU(Elementwise):
    """x where x > 0, else slope·x;  1 or slope."""

    def forward(x, slope):
        return array_module(x).where(x > 0, x, slope * x)

    def kernel(x, slope):
        return map_elements("leaky_relu_forward", x, slope) if alike(x) else NotImplemented

    def vjp(g, out, x, slope):
        return lambda: LeakyReLUGrad(g, x, slope=slope)


class LeakyReLUGrad(Elementwise):
    """g where x > 0, else slope·g: the derivative of LeakyReLU at x, applied to g;  in g the same again, 0 in x."""

    def forward(g, x, slope):
        return array_module(x).where(x > 0, g, slope * g)

    def kernel(g, x, slope):
        return map_elements("leaky_relu_backward", g, x, slope) if alike(g, x) else NotImplemented

    def vjp(v, out, g, x, slope):
        return lambda: LeakyReLUGrad(v, x, slope=slope), None


class PReLU(Elementwise):
    """x where x > 0, else a·x with a slope a learned for each channel;  1 or a in x, 0 or x in a.

    He et al. 2015, "Delving deep into rectifiers", equation 1.
    """

    def forward(x, a):
        return array_module(x).where(x > 0, x, a * x)

    def kernel(x, a):
        return map_channels("prelu_forward", x, a) if by_channel(x, a) else NotImplemented

    def vjp(g, out, x, a):
        return lambda: PReLUGrad(g, x, a), lambda: SlopeGrad(g, x, shape=a.shape)


class PReLUGrad(Elementwise):
    """g where x > 0, else a·g: the derivative of PReLU in x, applied to g;  1 or a in g, 0 in x, 0 or g in a."""

    def forward(g, x, a):
        return array_module(x).where(x > 0, g, a * g)

    def kernel(g, x, a):
        return map_channels("prelu_backward", g, x, a) if alike(g, x) and by_channel(x, a) else NotImplemented

    def vjp(v, out, g, x, a):
        return lambda: PReLUGrad(v, x, a), None, lambda: WherePositive(x, 0, v * g)


class SlopeGrad(Elementwise):
    """Σ g·x where x ≤ 0, to the slope's shape: the derivative of PReLU in a, applied to g;  there, x in g, g in x."""

    def forward(g, x, shape):
        return SumTo.forward(array_module(x).where(x > 0, 0, g * x), shape)

    def kernel(g, x, shape):
        if not (alike(g, x) and shape == x.shape[-1:]):
            return NotImplemented
        return sum_channels("slope_gradient", g, x)[0]

    def vjp(v, out, g, x, shape):
        return lambda: WherePositive(x, 0, v * x), lambda: WherePositive(x, 0, v * g)


def add_operators():
    """Let Tensors be written as the mathematics is: x * y + 1."""
    Tensor.__add__ = Tensor.__radd__ = lambda x, y: Add(x, y)
    Tensor.__mul__ = Tensor.__rmul__ = lambda x, y: Mul(x, y)
    Tensor.__sub__ = lambda x, y: Sub(x, y)
    Tensor.__rsub__ = lambda x, y: Sub(y, x)
    Tensor.__truediv__ = lambda x, y: Div(x, y)
    Tensor.__rtruediv__ = lambda x, y: Div(y, x)
    Tensor.__neg__ = lambda x: Neg(x)
    Tensor.__pow__ = lambda x, exponent: Pow(x, exponent=exponent)
    Tensor.__abs__ = lambda x: Abs(x)
    Tensor.exp = lambda x: Exp(x)
    Tensor.log = lambda x: Log(x)
    Tensor.clip = lambda x, low, high: Clip(x, low=low, high=high)
    Tensor.__array_ufunc__ = None  # so that array * tensor asks the Tensor, not NumPy


add_operators()
