"""When a growing network gets another module: whenever mean success has not risen for some evaluations."""

from __future__ import annotations

from d2r.algorithms.sac import MultiTaskSAC
from d2r.networks.d2r.levels import D2RNetwork


class Growth:
    """Watches mean success and lets all networks of a learner grow together.

    Args:
        patience: evaluations without a rise after which a module is added; the count then starts again.
    """

    def __init__(self, learner: MultiTaskSAC, patience: int):
        self._learner = learner
        self._networks = [learner.actor, learner.critics, learner.targets]
        self._patience = patience
        self._best = float("-inf")
        self._waited = 0

    @property
    def modules(self) -> int:
        """Modules in use."""
        actor = self._networks[0]
        assert isinstance(actor, D2RNetwork)
        return actor.in_use

    def after_evaluation(self, success: float) -> None:
        """Take note of an evaluation's mean success, and grow if it is time to."""
        if success > self._best:
            self._best, self._waited = success, 0
            return
        self._waited += 1
        if self._waited >= self._patience:
            self._waited = 0
            for network in self._networks:
                assert isinstance(network, D2RNetwork)
                network.grow()
            self._learner.sizes_changed()

    def state_dict(self) -> dict[str, float | int]:
        """What decides the next growth; the number of modules is in the networks."""
        return {"best": self._best, "waited": self._waited}

    def load_state_dict(self, state: dict[str, float | int]) -> None:
        """Restore it."""
        self._best, self._waited = float(state["best"]), int(state["waited"])
