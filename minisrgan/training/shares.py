"""Weights by share: how hard a term of L_G pulls at SR, not a number whose meaning depends on the losses' scales.

With c = content_weight·∂L_content/∂SR and t = ∂L_term/∂SR, a term with the share s gets the weight

    w = s·r        r: the running mean of ‖c‖/‖t‖        so that        ‖w·t‖ ≈ s·‖c‖

whatever the two losses are measured in. Esser et al. 2021 (VQGAN), equation 7, has this ratio at G's last layer; here
it is taken at SR, where both slopes are at hand anyway. Adam divides a common factor of all terms out again, so shares
say all there is to say.

The weight is a constant in the step that it is used in: nothing is differentiated through it. It moves slowly, over
about MEMORY steps, and is bounded: a ratio counts at most as JUMP times the mean, or as a JUMP-th of it, so that a step
in which D has nothing to say does not raise its voice; and the mean stays within RANGE times its first value.
"""

MEMORY, JUMP, RANGE = 100, 4, 100
MOST = 1e30  # of a ratio: its mean stays a number


class Shares:
    """The running means of ‖c‖/‖t‖, by term. `state` is JSON-able, and `load_state` takes it back."""

    def __init__(self, shares: dict[str, float]) -> None:
        self.shares = shares
        self.means = {}  # {term: [the mean, its first value, how many steps it is of]}

    def weight(self, term: str, content: float, length: float) -> float:
        """The term's weight in a step where the two slopes are of these lengths."""
        if term not in self.means and not (content and length):
            return 0.0  # nothing to compare yet
        ratio = min(content / length, MOST) if length else MOST
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
