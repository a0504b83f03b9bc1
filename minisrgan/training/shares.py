"""Weights by share. A share says how strongly a term of L_G pulls at SR, whatever the scale of its loss is.

With c = content_weight·∂L_content/∂SR and t = ∂L_term/∂SR, a term with the share s gets the weight

    w = s·r        r: the running mean of ‖c‖/‖t‖        so that        ‖w·t‖ ≈ s·‖c‖

Esser et al. 2021 (VQGAN), equation 7, takes this ratio at G's last layer. Here it is taken at SR, where both gradients
are needed anyway. Adam divides out a common factor of all terms, so only the shares matter.

The weight is a constant of its step: nothing is differentiated through it. It moves slowly, over about MEMORY steps,
and it is bounded in two ways. A ratio counts at most as JUMP times the mean, and at least as a JUMP-th of it, so that
a step with a small gradient does not get a huge weight. And the mean stays within RANGE times its first value.
"""

MEMORY, JUMP, RANGE = 100, 4, 100
LARGEST_RATIO = 1e30  # so that the mean stays finite


class Shares:
    """The running means of ‖c‖/‖t‖, one for each term. `state` is for JSON, and `load_state` takes it back."""

    def __init__(self, shares: dict[str, float]) -> None:
        self.shares = shares
        self.means = {}  # {term: [the mean, its first value, the number of steps]}

    def weight(self, term: str, content: float, length: float) -> float:
        """The term's weight in a step with these gradient norms, the content's ‖c‖ and the term's ‖t‖."""
        if term not in self.means and not (content and length):
            return 0.0  # nothing to compare yet
        ratio = min(content / length, LARGEST_RATIO) if length else LARGEST_RATIO
        mean, first, steps = self.means.get(term, (ratio, ratio, 0))
        ratio = between(mean / JUMP, ratio, mean * JUMP)
        mean += (ratio - mean) / min(steps + 1, MEMORY)
        mean = between(first / RANGE, mean, first * RANGE)
        self.means[term] = [mean, first, steps + 1]
        return self.shares[term] * mean

    def state(self) -> dict[str, list]:
        return {term: list(mean) for term, mean in self.means.items()}

    def load_state(self, state: dict[str, list]) -> None:
        self.means = {term: list(mean) for term, mean in state.items()}


def between(low: float, value: float, high: float) -> float:
    return max(low, min(value, high))
