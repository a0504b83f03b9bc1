"""Weights by share. A share says how strongly a term of L_G pulls at SR, whatever the scale of its loss is.

With c = content_weight·∂L_content/∂SR and t = ∂L_term/∂SR, a term with the share s gets the weight

    w = s·r        r: the running mean of ‖c‖/‖t‖        so that        ‖w·t‖ ≈ s·‖c‖

Esser et al. 2021 (VQGAN), equation 7, takes this ratio at G's last layer. Here it is taken at SR, where both gradients
are needed anyway. Adam divides out a common factor of all terms, so only the shares matter.

The weight is a constant of its step: nothing is differentiated through it. It moves slowly, over about MEMORY steps,
and it is bounded in two ways. A ratio counts at most as JUMP times the mean, and at least as a JUMP-th of it, so that
a step with a small gradient does not get a huge weight. And the mean stays within RANGE times its first value.
(measures.py has the mean, so that a GPU can follow it without the host.)
"""

from typing import Any

import numpy as np

from ..arrays import array_module, to_numpy
from ..measures import follow_ratio


class Shares:
    """The running means of ‖c‖/‖t‖, one for each term. `state` is for JSON, and `load_state` takes it back."""

    def __init__(self, shares: dict[str, float]) -> None:
        self.shares = shares
        self.means = {}  # {term: an array of the mean, its first value, the number of steps}

    def weight(self, term: str, content: Any, length: Any) -> Any:
        """The term's weight in a step with these gradient norms, the content's ‖c‖ and the term's ‖t‖."""
        mean = self.means[term] = array_module(content).asarray(self.means.get(term, np.zeros(3)))
        return self.shares[term] * follow_ratio(content, length, mean)

    def state(self) -> dict[str, list]:
        return {term: [*to_numpy(mean)[:2].tolist(), int(mean[2])] for term, mean in self.means.items() if mean[2]}

    def load_state(self, state: dict[str, list]) -> None:
        self.means = {term: np.array(mean, float) for term, mean in state.items()}
