"""When a growing network gets another module: when mean success stops rising, or at even intervals.

What others do, and why neither rule is theirs, is in docs/appendix/growth.md.
"""

from __future__ import annotations

from typing import Literal

from d2r.algorithms.sac import MultiTaskSAC
from d2r.networks.d2r.levels import D2RNetwork


class Growth:
    """Counts evaluations.

    Args:
        patience: evaluations after which a module is due; the count then starts again.
        rule: whether those count that bring no rise of mean success, or all.
    """

    def __init__(self, patience: int, rule: Literal["plateau", "schedule"] = "plateau"):
        self._patience, self._rule = patience, rule
        self._best = float("-inf")
        self._waited = 0

    def is_due(self, success: float) -> bool:
        """Take note of an evaluation's mean success, and say whether it is time for another module."""
        if success > self._best:
            self._best = success
            if self._rule == "plateau":
                self._waited = 0
                return False
        self._waited += 1
        if self._waited < self._patience:
            return False
        self._waited = 0
        return True

    def state_dict(self) -> dict[str, float | int]:
        """What decides the next growth; the number of modules is in the networks."""
        return {"best": self._best, "waited": self._waited}

    def load_state_dict(self, state: dict[str, float | int]) -> None:
        """Restore it."""
        self._best, self._waited = float(state["best"]), int(state["waited"])


def modules_in_use(learner: MultiTaskSAC, place: int) -> int:
    """Modules that the networks of a seed use."""
    assert isinstance(learner.actor, D2RNetwork)
    return learner.actor.modules_of(place)


def grow(learner: MultiTaskSAC, place: int) -> bool:
    """Let all networks of a seed use one module more; false if they use all."""
    grown = False
    for network in (learner.actor, learner.critics, learner.targets):
        assert isinstance(network, D2RNetwork)
        grown = network.grow(place)
    return grown
