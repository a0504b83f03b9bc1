"""Operations on each number by itself. A docstring has the formula; after the semicolon, the derivatives with
respect to the inputs, in their order.

Inputs broadcast by NumPy's rules. The engine sums a cotangent back to the shape of its input.
"""

from numbers import Real

from ..arrays import array_module
from ..errors import ShapeError
from ..tensor import Op, Tensor
from .reduce import SumTo


class Elementwise(Op):
    broadcasts = True


def check_number(name: str, value: object) -> None:
    if not isinstance(value, Real):
        raise ShapeError(f"{name} must be one constant number, not a {type(value).__name__}")


class Add(Elementwise):
    """x + y;  1, 1."""

    def forward(x, y):
        return x + y

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

    def vjp(g, out, x):
        return lambda: g * out * Sigmoid(-x)


class Softplus(Elementwise):
    """ln(1 + eˣ) = max(x, 0) + ln(1 + e^-|x|), which cannot overflow;  σ(x)."""

    def forward(x):
        xp = array_module(x)
        return xp.maximum(x, 0) + xp.log1p(xp.exp(-abs(x)))

    def vjp(g, out, x):
        return lambda: g * Sigmoid(x)


class WherePositive(Elementwise):
    """u where x > 0, v elsewhere;  0 in x, and g goes to whichever of u and v was taken.

    The second derivatives of PReLU are made of it, and so are the hinge loss and max_neighbours.
    """

    def forward(x, u, v):
        return array_module(x).where(x > 0, u, v)

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

    def vjp(g, out, x):
        return lambda: LeakyReLUGrad(g, x, slope=0.0)


class LeakyReLU(Elementwise):
    """x where x > 0, else slope·x;  1 or slope."""

    def forward(x, slope):
        return array_module(x).where(x > 0, x, slope * x)

    def vjp(g, out, x, slope):
        return lambda: LeakyReLUGrad(g, x, slope=slope)


class LeakyReLUGrad(Elementwise):
    """g where x > 0, else slope·g: the derivative of LeakyReLU at x, applied to g;  in g the same again, 0 in x."""

    def forward(g, x, slope):
        return array_module(x).where(x > 0, g, slope * g)

    def vjp(v, out, g, x, slope):
        return lambda: LeakyReLUGrad(v, x, slope=slope), None


class PReLU(Elementwise):
    """x where x > 0, else a·x with a slope a for x ≤ 0, learned for each channel;  1 or a in x, 0 or x in a.

    He et al. 2015, "Delving deep into rectifiers", equation 1.
    """

    def forward(x, a):
        return array_module(x).where(x > 0, x, a * x)

    def vjp(g, out, x, a):
        return lambda: PReLUGrad(g, x, a), lambda: SlopeGrad(g, x, shape=a.shape)


class PReLUGrad(Elementwise):
    """g where x > 0, else a·g: the derivative of PReLU in x, applied to g;  1 or a in g, 0 in x, 0 or g in a."""

    def forward(g, x, a):
        return array_module(x).where(x > 0, g, a * g)

    def vjp(v, out, g, x, a):
        return lambda: PReLUGrad(v, x, a), None, lambda: WherePositive(x, 0, v * g)


class SlopeGrad(Elementwise):
    """Σ g·x where x ≤ 0, in the shape of a: the derivative of PReLU in a, applied to g;  x and g there, else 0."""

    def forward(g, x, shape):
        return SumTo.forward(array_module(x).where(x > 0, 0, g * x), shape)

    def vjp(v, out, g, x, shape):
        return lambda: WherePositive(x, 0, v * x), lambda: WherePositive(x, 0, v * g)
