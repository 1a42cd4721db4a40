"""Updates as an :class:`Execution` says: the learner's own, compiled or recorded from outside."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from d2r.algorithms.draws import Draws, Streams
from d2r.algorithms.execution.prepare import compiled
from d2r.algorithms.execution.recorded import CudaGraphs, Recorded
from d2r.algorithms.replay import Batch
from d2r.algorithms.sac import MultiTaskSAC, UpdateInfo
from d2r.config.execution import Execution

Inputs = Callable[[], tuple[Batch, Draws]]


class Updates:
    """Makes the updates of a learner.

    Args:
        learner: whose losses are compiled here if they are to be.
        inputs: returns the batch and the draws of an update; recorded with it, so that it must read them from memory
            that does not move.
        streams: that ``inputs`` draws from.
    """

    def __init__(self, learner: MultiTaskSAC, execution: Execution, inputs: Inputs, streams: Streams = ()):
        self._learner, self._inputs, self._streams = learner, inputs, streams
        self._graph = execution.graph
        if execution.compile:
            learner.actor.prepare_to_compile()
            learner.critics.prepare_to_compile()
            learner.targets.prepare_to_compile()
            learner.critic_losses = compiled(learner.critic_losses)  # type: ignore[method-assign]
            learner.policy_loss = compiled(learner.policy_loss)  # type: ignore[method-assign]
        self.begin_anew()

    def begin_anew(self) -> None:
        """To be called when a tensor was replaced that updates work on: a recording of the old one is of no use."""
        self._compute: Callable[[], tuple[UpdateInfo, Tensor]] = self._first_half
        self._apply: Callable[[], bool] = self._second_half
        if self._graph:
            recorder = CudaGraphs(self._streams)
            self._compute = Recorded(self._first_half, recorder)
            self._apply = Recorded(self._second_half, recorder)

    def update(self) -> UpdateInfo:
        """Make one update; what it returns holds until the next one.

        Raises:
            Diverged: as the learner's own; :meth:`finish` goes on for the seeds whose numbers are right.
        """
        info, flags = self._compute()
        self.finish(info, self._learner.check(info, flags))
        return info

    def finish(self, info: UpdateInfo, masked: bool) -> None:
        """The second half of an update."""
        self._apply()
        if masked:
            self._learner.after_update(info, self._streams)

    def _first_half(self) -> tuple[UpdateInfo, Tensor]:
        info = self._learner.compute(*self._inputs())
        return info.detached(), info.flags()

    def _second_half(self) -> bool:
        self._learner.apply()
        return True
