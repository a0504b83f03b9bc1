"""Adam, the schedule of its learning rate, and the average of weights."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from .arrays import Array, array_module, to_numpy
from .errors import ShapeError
from .in_place import mark_changed
from .nn import Module, Parameter, check_fit
from .tensor import Tensor, definition

Arrays: TypeAlias = Sequence[Array]


class Adam:
    """Kingma and Ba 2015, algorithm 1. With g the gradient at step t:

    m ← β₁m + (1 - β₁)g            m̂ = m/(1 - β₁ᵗ)
    v ← β₂v + (1 - β₂)g²           v̂ = v/(1 - β₂ᵗ)
    θ ← θ - α·m̂/(√v̂ + ε)
    """

    def __init__(
        self, named_parameters: Mapping[str, Parameter], beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8
    ) -> None:
        self.parameters = dict(named_parameters)
        self.beta1, self.beta2, self.eps = beta1, beta2, eps
        self.t = 0
        self.m, self.v = (
            {name: array_module(p.data).zeros_like(p.data) for name, p in self.parameters.items()} for _ in range(2)
        )
        some = next(iter(self.m.values()), np.zeros(0))
        self.settings = array_module(some).zeros(5, some.dtype)

    def step(self, gradients: Sequence[Tensor], rate: float, fault: Array | None = None) -> None:
        """Move every parameter in place, by its gradient, at the learning rate α = `rate`. The gradients are in the
        order of the parameters. Nothing moves if the first number of `fault`, integers on the device, is not 0.

        Raises ShapeError, and moves nothing, if a gradient has not its parameter's shape and dtype.
        """
        arrays = [gradient.data for gradient in gradients]
        for (name, parameter), g in zip(self.parameters.items(), arrays, strict=True):
            if g.shape != parameter.shape or g.dtype != parameter.dtype:
                wanted = f"{parameter.shape} {parameter.dtype}"
                raise ShapeError(f"the gradient of {name} is {g.shape} {g.dtype}, not {wanted}")
        self.prepare(rate)
        for name, parameter in self.parameters.items():
            mark_changed(parameter.data, f"Adam.step, which moved the parameter {name}")
        thetas = [parameter.data for parameter in self.parameters.values()]
        adam_step(thetas, arrays, list(self.m.values()), list(self.v.values()), self.settings, fault)

    def prepare(self, rate: float) -> None:
        """Count a step, and put its settings where the arrays are."""
        self.t += 1
        unbias1, unbias2 = 1 - self.beta1**self.t, 1 - self.beta2**self.t
        fill_settings(self.settings, 1 - self.beta1, 1 - self.beta2, rate / unbias1, unbias2, self.eps)

    def state(self) -> dict[str, np.ndarray]:
        """{"m.name" or "v.name": NumPy array}, without `t`."""
        return {name: to_numpy(array).copy() for name, array in self._moments().items()}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Load what `state` returned; the caller sets `t`. Raises WeightsError for the state of another model."""
        moments = self._moments()
        check_fit(moments, state)
        for name, array in moments.items():
            array[...] = array_module(array).asarray(state[name])

    def _moments(self) -> dict[str, Array]:
        both = {"m": self.m, "v": self.v}
        return {f"{k}.{name}": array for k, moment in both.items() for name, array in moment.items()}


@definition
def fill_settings(settings: Array, *numbers: float) -> None:
    """What a step of Adam needs to know, where its arrays are: 1 - β₁, 1 - β₂, α/(1 - β₁ᵗ), 1 - β₂ᵗ and ε."""
    settings[...] = numbers


@definition
def adam_step(thetas: Arrays, gradients: Arrays, ms: Arrays, vs: Arrays, settings: Array, fault: Any) -> None:
    """A step of Adam for lists of arrays, in place, by the numbers of `fill_settings`; none if there is a fault."""
    if fault is not None and fault[0]:
        return
    part1, part2, rate, unbias2, eps = settings
    for theta, g, m, v in zip(thetas, gradients, ms, vs, strict=True):
        m += part1 * (g - m)
        v += part2 * (g * g - v)
        theta -= rate * m / (array_module(v).sqrt(v / unbias2) + eps)


SCHEDULES = {  # progress from 0 to 1 → the factor of the learning rate
    "constant": lambda progress: 1.0,
    "drop": lambda progress: 1.0 if progress < 0.5 else 0.1,  # as in the paper
    "cosine": lambda progress: (1 + math.cos(math.pi * progress)) / 2,  # Loshchilov and Hutter 2017, without restarts
}


def move_average(averaged: Module, module: Module, decay: float) -> None:
    """w̄ ← w̄ + (1 - decay)(w - w̄) for the whole state w of `module`, in place. `averaged` is a module of the same kind.

    So w̄ is a mean of about the last 1/(1 - decay) weights. An older weight counts `decay` times as much as the next. G
    circles around its goal, since D moves too, and the mean of a circle is its middle.
    """
    averages, weights = averaged.arrays(), module.arrays()
    for name, average in averages.items():
        mark_changed(average, f"move_average, which moved {name}")
    move_towards(list(averages.values()), [weights[name] for name in averages], 1 - decay)


@definition
def move_towards(averages: Arrays, ws: Arrays, part: float) -> None:
    """average ← average + part·(w - average) for lists of arrays, in place."""
    for average, w in zip(averages, ws, strict=True):
        average += part * (w - average)
