"""What the policies of all seeds do, asked in one pass."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from d2r.algorithms.draws import Streams, normal, uniform
from d2r.algorithms.execution.recorded import CudaGraphs, Recorded
from d2r.algorithms.policy import mean_action, sample_action
from d2r.algorithms.sac import MultiTaskSAC
from d2r.config.benchmarks import ACTION_DIM, OBSERVATION_DIM

Decision = tuple[Tensor, Tensor | None]


class Acting:
    """The actors of a learner as policies.

    Args:
        streams: each seed's, of what is sampled.
        graph: whether decisions are recorded (CUDA only).
    """

    def __init__(self, learner: MultiTaskSAC, streams: Streams, graph: bool):
        self._learner, self._streams, self._graph = learner, streams, graph
        self._like = learner.log_alpha.detach()
        self._shape = (learner.seeds, 1, learner.actor.num_tasks, OBSERVATION_DIM)
        self._seen = self._like.new_empty(self._shape)
        self.begin_anew()

    def begin_anew(self) -> None:
        """To be called when a tensor of the actor has been replaced."""
        decide: dict[str, Callable[[], Decision]] = {
            "sample": partial(self._sample, uniformly=False),
            "uniform": partial(self._sample, uniformly=True),
            "best": self._best,
        }
        if self._graph:
            recorder = CudaGraphs(self._streams)
            decide = {name: Recorded(function, recorder) for name, function in decide.items()}
        self._decide = decide

    def sample(self, observations: npt.NDArray[np.float64], uniformly: bool) -> Decision:
        """Sample actions [seed, task, 4] and, of routed policies, the routes they came by [seed, task, group, K].

        Args:
            observations: [seed, task, 39].
            uniformly: the action is drawn from all there are in the policy's place.

        Returns:
            The actions on the CPU, the routes as uint8 where the learner is.
        """
        self._look(observations)
        action, sources = self._decide["uniform" if uniformly else "sample"]()
        return action.cpu(), sources

    def best(self, observations: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """Deterministic actions [seed, task, 4] by deterministic routes."""
        self._look(observations)
        action, _ = self._decide["best"]()
        actions: npt.NDArray[np.float32] = action.cpu().numpy()
        return actions

    def _look(self, observations: npt.NDArray[np.float64]) -> None:
        """Put observations where decisions read them."""
        self._seen.copy_(upload(observations, self._like.device).view(self._shape))

    @torch.no_grad()
    def _sample(self, uniformly: bool) -> Decision:
        learner = self._learner
        output = learner.actor(self._seen, learner.sampled(learner.actor, 1, self._streams))
        shape = (1, learner.actor.num_tasks, ACTION_DIM)
        action, _ = sample_action(output.value, normal(self._streams, *shape).to(self._like))
        if uniformly:
            action = 2 * uniform(self._streams, *shape).to(self._like) - 1
        sources = None if output.route is None else output.route.sources[:, 0].to(torch.uint8)
        return action[:, 0], sources

    @torch.no_grad()
    def _best(self) -> Decision:
        return mean_action(self._learner.actor(self._seen).value)[:, 0], None


def upload(array: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Bring numbers to a device without waiting for it; on the CPU they are where they were."""
    tensor = torch.from_numpy(array)
    if device.type == "cpu":
        return tensor
    return tensor.to(torch.float32).pin_memory().to(device, non_blocking=True)
