"""R1 of a D that is a quadratic function, where everything is known in closed form; then of a D with convolutions."""

from pathlib import Path

import numpy as np

from lessons.course.checking import Wrong, compare, compare_gradients
from minisrgan.models.discriminator import Discriminator, DiscriminatorConfig
from minisrgan.nn import Module, Parameter
from minisrgan.ops import MatMul
from minisrgan.regularisers import R1
from minisrgan.tensor import Tensor, grad

GAMMA, TOLERANCE = 3.7, 1e-9  # everything is in float64
SHAPE = (5, 3, 4, 3)  # images: n, h, w, c


class Quadratic(Module):
    """z = xᵀAx + bᵀx, whose gradient is (A + Aᵀ)x + b."""

    def __init__(self, rng, size):
        self.A = Parameter(0.3 * rng.standard_normal((size, size)))
        self.b = Parameter(rng.standard_normal((1, size)))
        self.seen = []  # the images that it has seen

    def forward(self, images):
        self.seen.append(images.data.copy())
        x = images.reshape((images.shape[0], -1 if images.size == 0 else images.size // images.shape[0]))
        return (MatMul(x, self.A) * x + x * self.b).sum(1)


def check(exercise):
    if "regularisers" in Path(exercise.__file__).read_text(encoding="utf-8"):
        raise Wrong("not your own", "this uses the library's R1, which the check compares with: write your own.")
    rng = np.random.default_rng(12)
    check_quadratic(exercise, rng)
    check_convolutions(exercise, rng)


def check_quadratic(exercise, rng):
    n, size = SHAPE[0], int(np.prod(SHAPE[1:]))
    d = Quadratic(rng, size)
    hr, sr = (Tensor(rng.standard_normal(SHAPE)) for _ in range(2))
    x, (s, s_of_sr) = hr.data.reshape(n, size), (slopes(d, each) for each in (hr, sr))
    wanted = penalty_of(s)
    penalty = call(exercise.r1_penalty, d, hr, sr)
    seen = list(d.seen)
    z = d(hr).data[:, None]
    certainty = 1 / (1 + np.exp(-z)) / (1 + np.exp(z))
    lengths = np.linalg.norm(s, axis=1)
    known = {
        "at SR": (penalty_of(s_of_sr), "it takes the gradient at SR: take it at the photos, hr."),
        "at SR too": (
            penalty_of(s) + penalty_of(s_of_sr),
            "it adds the gradient at SR: R1 takes the gradient at the photos alone.",
        ),
        "gamma missing": (wanted / GAMMA, "it lacks gamma."),
        "factor missing": (2 * wanted / GAMMA, "it lacks the factor gamma / 2."),
        "square of a sum": (
            GAMMA / 2 * (s.sum(axis=1) ** 2).mean(),
            "it has the square of a sum. A squared norm is a sum of squares.",
        ),
        "not the squares": (GAMMA / 2 * np.abs(s).sum(axis=1).mean(), "it has absolute values instead of squares."),
        "norm not squared": (
            GAMMA / 2 * lengths.mean(),
            "it has the gradient norms, not their squares: leave out the root.",
        ),
        "whole batch": (
            GAMMA / 2 * np.linalg.norm(s),
            "it has one norm for the whole batch: each photo has its own.",
        ),
        "summed over the batch": (n * wanted, "it is the sum over the photos: take their mean."),
        "mean over the samples": (
            wanted / size,
            "it has the mean over an image's samples: a squared norm is their sum.",
        ),
        "mean over channels": (
            wanted / SHAPE[-1],
            "it has the mean over an image's channels: a squared norm is the sum over all its samples.",
        ),
        "sum and mean exchanged": (
            wanted * n / size,
            "it has the sum over the photos and the mean over their samples: it should be the other way round.",
        ),
        "gamma twice": (GAMMA * wanted, "it has gamma squared."),
        "logits averaged": (
            wanted / n**2,
            f"it is 1/{n}² of P. The mean of the logits gives 1/n of each image's gradient: take their sum.",
        ),
        "gradient penalty": (
            GAMMA / 2 * ((lengths - 1) ** 2).mean(),
            "it pulls the gradient norm to 1, as the gradient penalty does: R1 pulls it to 0.",
        ),
        "probability": (
            penalty_of(s * certainty),
            "it takes the gradient of D's probability: take the gradient of the logit.",
        ),
    }
    if isinstance(penalty, Tensor) and penalty.size == 1:
        for kind, (value, sentence) in known.items():
            if np.allclose(penalty.data, value, rtol=TOLERANCE, atol=0):
                raise Wrong(kind, f"r1_penalty(…): {sentence}")
        check_images(seen, hr, penalty, wanted)
    compare(
        "r1_penalty(…)",
        penalty,
        Tensor(np.array(wanted)),
        TOLERANCE,
        {"constant factor": "P has the factor gamma / 2."},
    )
    if not penalty.requires_grad:
        raise Wrong(
            "not recorded",
            "r1_penalty(…) has the right value, but no graph that leads to D's parameters, so it cannot be "
            "differentiated. Did you record the backward pass to the images (create_graph), and leave its result in "
            "the graph (no .data, no detach)?",
        )
    wanted = {"A": Tensor(GAMMA / n * (s.T @ x + x.T @ s)), "b": Tensor(GAMMA * s.mean(axis=0, keepdims=True))}
    made = gradients(exercise, d, hr, sr)
    check_known_gradients(made, d, hr, sr)
    compare_gradients(made, wanted, TOLERANCE, {"constant factor": f"(gamma is {GAMMA}.)"})


def check_images(seen, hr, penalty, wanted):
    """If the value is wrong: did D see the photos, and nothing else?"""
    photos = {photo.tobytes() for photo in hr.data}
    strange = [image for images in seen for image in images if image.tobytes() not in photos]
    if strange and not np.allclose(penalty.data, wanted, rtol=TOLERANCE, atol=0):
        raise Wrong("other images", "r1_penalty(…) shows D images that are not the photos: show it only hr.")


def check_known_gradients(made, d, hr, sr):
    mistakes = {
        "at SR": (
            R1(None, GAMMA).penalty(d, sr, hr, None, None),
            "they are the gradients of the penalty at SR, not hr.",
        ),
        "of the logits": (d(hr).sum(), "they are the gradients of D's logits: return those of the penalty."),
        "of the logits ": (d(hr).mean(), "they are the gradients of D's logits: return those of the penalty."),
    }
    for kind, (output, sentence) in mistakes.items():
        known = dict(zip(made, grad(output, d.parameters())))
        if all(isinstance(made[name], Tensor) and close(made[name], each) for name, each in known.items()):
            raise Wrong(kind.strip(), f"r1_gradients(…): {sentence}")


def close(one, other):
    return one.shape == other.shape and np.allclose(one.data, other.data, rtol=TOLERANCE, atol=TOLERANCE)


def check_convolutions(exercise, rng):
    config = DiscriminatorConfig(channels=2, dense=5, crop=9, batch_norm=False)
    d = Discriminator(config, rng).to(dtype="float64")
    hr, sr = (Tensor(rng.uniform(-1, 1, (3, 9, 9, 3))) for _ in range(2))
    penalty = R1(None, GAMMA).penalty(d, hr, sr, None, None)
    compare("r1_penalty(…) of a D with convolutions", call(exercise.r1_penalty, d, hr, sr), penalty, TOLERANCE)
    wanted = dict(zip(d.named_parameters(), grad(penalty, d.parameters())))
    made = gradients(exercise, d, hr, sr)
    compare_gradients(made, without_zeros(made, wanted), TOLERANCE)


def penalty_of(slopes):
    return GAMMA / 2 * (slopes**2).sum(axis=1).mean()


def slopes(d, images):
    x = images.data.reshape(len(images.data), -1)
    return x @ (d.A.data + d.A.data.T) + d.b.data


def call(function, d, hr, sr):
    """The function's result. Raises a diagnosis if the function changed D or the images."""
    before = [array.copy() for array in (*d.arrays().values(), hr.data, sr.data)]
    made = function(d, hr, sr, GAMMA)
    for array, was in zip((*d.arrays().values(), hr.data, sr.data), before):
        if not np.array_equal(array, was):
            raise Wrong("input changed", f"{function.__name__} changes D or the images: leave them as they are.")
    return made


def gradients(exercise, d, hr, sr):
    """{name: the gradient that r1_gradients returns for it}."""
    made, names = call(exercise.r1_gradients, d, hr, sr), list(d.named_parameters())
    if not isinstance(made, list | tuple) or len(made) != len(names):
        count = f"{len(made)} of them" if isinstance(made, list | tuple) else f"a {type(made).__name__}"
        wanted = f"a list of {len(names)} Tensors, one for each of discriminator.parameters()"
        raise Wrong("type", f"r1_gradients(…) returns {count}. Return {wanted}.")
    return dict(zip(names, made))


def without_zeros(made, wanted):
    """`wanted`, without the parameters that P does not depend on if the learner has None there, as backward() has."""
    return {name: each for name, each in wanted.items() if made[name] is not None or each.data.any()}
