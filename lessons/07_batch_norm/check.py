"""Is it the backward pass of batch norm? The reference: the engine's gradient of (x - μ)/s, written in single steps."""

import itertools

import numpy as np

from lessons.course.checking import Wrong, check_function, compare_gradients, copies, is_close
from minisrgan.tensor import Tensor, grad

AXES = (0, 1, 2)


def reference(g, x, gamma, running_mean, running_var, eps, training):
    """∂x, ∂γ, ∂β by a walk back through means, squares and a quotient."""
    x, gamma, beta = (Tensor(each, requires_grad=True) for each in (x, gamma, np.zeros_like(gamma)))
    if training:
        mean = x.mean(AXES)
        var = ((x - mean) ** 2).mean(AXES)
    else:
        mean, var = Tensor(running_mean), Tensor(running_var)
    y = (x - mean) / (var + eps) ** 0.5 * gamma + beta
    return tuple(each.data for each in grad(y, [x, gamma, beta], Tensor(g)))


def slip(g, x, gamma, running_mean, running_var, eps, training, **slips):
    """(∂x, ∂γ) by the formula, with one of the usual slips, or with none."""
    axes = slips.get("axes", AXES)
    means = slips.get("means", axes)
    own = slips.get("own", training)
    terms = slips.get("terms", "μs" if training else "")
    mean, var = (x.mean(axes, keepdims=True), x.var(axes, keepdims=True)) if own else (running_mean, running_var)
    if slips.get("unbiased") and own:
        count = x.size / var.size
        var = var * count / max(count - 1, 1)
    s = np.sqrt(var + (0 if slips.get("no_eps") else eps))
    if slips.get("eps_outside"):
        s = np.sqrt(var) + eps
    if slips.get("no_root"):
        s = var + eps
    x_hat = (x - mean) / s
    h = g * gamma ** slips.get("gammas", 1)
    summary = np.sum if slips.get("sums") else np.mean
    divisor = {"twice": s * s, "undivided": 1}.get(slips.get("divided"), s)
    rest = np.zeros_like(h)
    if "μ" in terms:
        rest = rest + summary(h, axis=means, keepdims=True)
    if "s" in terms:
        variants = {"raw": x, "centred": x - mean}
        outside, inside = (variants.get(slips.get(where), x_hat) for where in ("outside", "inside"))
        rest = rest + slips.get("sign", 1) * outside * summary(h * inside, axis=means, keepdims=True)
    return (h - rest) / divisor, (g * x_hat).sum(AXES)


def places(what):
    """Slips that have `what` instead of x̂ in the third term: in both places, in the first, in the second."""
    return [{"outside": what, "inside": what}, {"outside": what}, {"inside": what}]


TRAINING = [
    ("mean held constant", {"terms": "s"}, "the term through μ is missing. μ depends on every x: ∂μ/∂x_k = 1/M."),
    ("variance held constant", {"terms": "μ"},
     "the term through s is missing. The deviation depends on every x: ∂s/∂x_k = x̂_k/M. "
     "(If you have this term: mean(h·x̂) is not mean(h)·mean(x̂), which is 0.)"),
    ("statistics held constant", {"terms": ""},
     "μ and s are treated as constants. They are constants only after training. In training they depend on every x."),
    ("running statistics in the gradient", {"own": False},
     "it uses the running averages. In training, the forward pass used this batch's own mean and variance."),
    ("running statistics in the gradient", {"own": False, "terms": ""},
     "this is the derivative after training. In training, the forward pass used this batch's own mean and variance, "
     "and these depend on x."),
    ("N - 1", {"unbiased": True},
     "the variance is divided by M - 1. The forward pass divides by M; only the running average has this correction."),
    ("sum for mean", {"sums": True},
     "the two terms that are subtracted are sums over the channel. They should be means: divide by M."),
    ("sign", {"sign": -1}, "the term with x̂ has the wrong sign: both terms are subtracted."),
    *(("not normalised", slips, "the third term has x instead of x̂.") for slips in places("raw")),
    *(("not normalised", slips, "the third term has x - μ instead of x̂: divide by s.")
      for slips in places("centred")),
]  # fmt: skip
AFTER = [
    ("batch statistics after training", {"own": True}, "after training, the forward pass used the running averages, "
     "not the mean and variance of this x."),
    ("batch statistics after training", {"own": True, "terms": "μs"}, "this is the derivative of training. After "
     "training, the forward pass used the running averages. They do not depend on x, so only one term is left."),
    ("constants differentiated", {"terms": "μs"}, "the running averages are right, but they do not depend on x, so the "
     "terms through μ and s do not belong here."),
]  # fmt: skip
BOTH = [
    ("gamma missing", {"gammas": 0}, "γ is missing: the cotangent of x̂ is h = γ·g."),
    ("gamma twice", {"gammas": 2}, "γ occurs twice: h = γ·g already has it."),
    ("epsilon", {"no_eps": True}, "ε is missing: s = √(v + ε), as in the forward pass."),
    ("epsilon", {"eps_outside": True}, "ε belongs under the root: s = √(v + ε)."),
    ("no root", {"no_root": True}, "it divides by the variance. s is the root, √(v + ε)."),
    ("no root", {"divided": "twice"}, "it divides by s². Divide by s."),
    ("not divided", {"divided": "undivided"}, "the division by s is missing: ∂x̂/∂x has a factor of 1/s."),
]  # fmt: skip
for wrong in (axes for n in range(1, 5) for axes in itertools.combinations(range(4), n) if axes != AXES):
    text = f"over axes {', '.join(map(str, wrong))}. A channel covers all images, rows and columns: axes 0, 1 and 2."
    TRAINING.append(("wrong axes", {"axes": wrong}, f"the statistics are {text}"))
    TRAINING.append(("wrong axes", {"means": wrong}, f"the means in the last two terms are {text}"))


def check(exercise):
    function = exercise.batch_norm_backward
    because = {
        "shape": "∂γ and ∂β are sums over axes 0, 1 and 2: one number for each channel.",
        "constant factor": "∂γ and ∂β are sums over all M values, not means.",
        "swapped": "The order is ∂x, ∂γ, ∂β.",
    }
    for label, arguments in cases().items():
        given = copies(arguments)
        made = function(*given)
        for name, before, after in zip(["g", "x", "gamma", "running_mean", "running_var"], arguments, given):
            if not np.array_equal(before, after):
                raise Wrong("input changed", f"it changes {name} ({label}): make a new array, as `*=` does not.")
        if isinstance(made, tuple | list) and len(made) == 3:
            find_slip(label, made, arguments)
            names = [f"{name} ({label})" for name in ("∂x", "∂γ", "∂β")]
            compare_gradients(dict(zip(names, made)), dict(zip(names, reference(*arguments))), 1e-8, because)
    check_function(function, reference, cases(), tolerance=1e-8, because=because)


def find_slip(label, gradients, arguments):
    """Raise Wrong if ∂x, ∂γ or ∂β is the result of one of the slips."""
    if any(np.asarray(each).dtype != float or not np.all(np.isfinite(each)) for each in gradients):
        return
    dx, dgamma, dbeta = gradients
    g, x, gamma, mean, var, eps, training = arguments
    right = reference(*arguments)
    for name, made, i in [("∂x", dx, 0), ("∂γ", dgamma, 1)]:
        if is_close(made, right[i], 1e-8):
            continue
        for kind, slips, message in [*(TRAINING if training else AFTER), *BOTH]:
            wrong = slip(*arguments, **slips)[i]
            if is_close(made, wrong, 1e-8) and not is_close(wrong, right[i], 1e-6):
                raise Wrong(kind, f"{name} ({label}): {message}")
    if training and np.shape(dx) == right[0].shape and not is_close(dx, right[0], 1e-8):
        find_part(label, dx, right[0], x)
    if is_close(dgamma, (g * x).sum(AXES), 1e-8):
        raise Wrong("not normalised", f"∂γ ({label}): this is Σ g·x instead of Σ g·x̂.")
    mean, var = (x.mean(AXES), x.var(AXES)) if training else (mean, var)
    if is_close(dgamma, (g * x / np.sqrt(var + eps)).sum(AXES), 1e-8):
        raise Wrong("not normalised", f"∂γ ({label}): it should be Σ g·x̂ with x̂ = (x - μ)/s. μ is not subtracted here.")
    for name, made, wanted in [("∂γ", dgamma, right[1]), ("∂β", dbeta, right[2])]:
        if is_close(made, gamma * wanted, 1e-8):
            raise Wrong("h for g", f"{name} ({label}): it uses h = γ·g instead of g. γ belongs only in ∂x.")


def find_part(label, dx, right, x):
    """Raise Wrong if training's ∂x has a part along a direction that it cannot have."""
    if np.abs(dx.sum(AXES)).max() > 1e-8 * np.abs(dx).sum():
        raise Wrong(
            "part along 1",
            f"∂x ({label}) sums to {dx.sum(AXES)[0]:.4g} in channel 0. It should sum to 0, since a shift of x changes "
            "nothing: look at the first two terms.",
        )
    centred = x - x.mean(AXES)
    along, wanted = ((each * centred).sum(AXES) for each in (dx, right))
    if not is_close(along, wanted, 1e-6):
        raise Wrong(
            "part along x̂",
            f"∂x ({label}) sums to 0 in each channel, as it should, but its part along x̂ is wrong. Stretching x about "
            "its mean changes nothing (except through ε), so almost all of this part must be subtracted: look at the "
            "term through s.",
        )


def cases():
    """In training and after training; with several images and with one; with a large ε and with the usual one."""
    rng = np.random.default_rng(70)

    def case(shape, training, eps=0.3):
        c = shape[-1]
        x = rng.normal(rng.normal(size=c), rng.uniform(0.5, 2, c), shape)
        gamma, running_mean = rng.normal(size=(2, c))
        return rng.normal(size=shape), x, gamma, running_mean, rng.uniform(0.5, 2, c), eps, training

    return {
        "training": case((3, 4, 5, 2), True),
        "training, one image": case((1, 6, 3, 4), True),
        "training, odd sizes": case((2, 5, 7, 3), True, 1e-5),
        "after training": case((3, 4, 5, 2), False),
        "after training, one image": case((1, 3, 5, 3), False, 1e-5),
    }
