"""Work that is recorded once and replayed: CUDA graphs.

Launching an update's thousands of small kernels one by one costs a GPU's host more time than the kernels
take. A CUDA graph launches all at once, but repeats exactly what was recorded: the same kernels on the same
addresses, with no decision of the host between them. So

- what is drawn comes from generators on the GPU, which the graph knows and which go on at each replay;
- what goes in is read from memory that never moves, the rings of the replay and how far they are filled;
- the update is cut in two where the host decides: draws, losses, mask, gradients and clipping, then the
  check that all is finite, then optimiser, bound on log alpha and targets;
- sizes must not depend on routes, which the readers on a GPU see to (``networks/d2r/readers.py``).

The first times work runs as always, on the stream that will record: it chooses kernels and allocates the
optimiser's state. How to record is a parameter, so that all but the capture itself runs, and is tested,
without a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import torch

from d2r.algorithms.draws import Streams

WARM_UPS = 3
"""Times before the recording."""

Work = Callable[[], None]
Result = TypeVar("Result")


class Recorder(Protocol):
    """How work is recorded."""

    def warm_up(self, work: Work) -> None:
        """Do ``work`` once, where it will be recorded."""

    def record(self, work: Work) -> Work:
        """Record ``work`` without doing it, and return what does it again on the same memory."""


class CudaGraphs:
    """Records as CUDA graphs, all on one side stream: work cannot be captured on the default stream.

    Args:
        streams: the generators on the GPU that the work draws from.
    """

    def __init__(self, streams: Streams = ()) -> None:
        self.stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._streams = streams

    def warm_up(self, work: Work) -> None:
        """See :class:`Recorder`."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            work()
        torch.cuda.current_stream().wait_stream(self.stream)

    def record(self, work: Work) -> Work:
        """See :class:`Recorder`."""
        graph = torch.cuda.CUDAGraph()
        for stream in self._streams:
            graph.register_generator_state(stream)
        with torch.cuda.graph(graph, stream=self.stream):
            work()
        return graph.replay


class Recorded(Generic[Result]):
    """A function without arguments that is recorded after it was called a few times.

    Args:
        function: what it does on a GPU never depends on a number that only the GPU knows.
        recorder: how.
    """

    def __init__(self, function: Callable[[], Result], recorder: Recorder):
        self._function, self._recorder = function, recorder
        self._result: Result | None = None
        self._replay: Work | None = None
        self._warm = 0

    def __call__(self) -> Result:
        """Do it; what it returns holds until the next call, which writes to the same memory."""
        if self._replay is None and self._warm == WARM_UPS:
            self._replay = self._recorder.record(self._work)
        if self._replay is None:
            self._recorder.warm_up(self._work)
            self._warm += 1
        else:
            self._replay()
        assert self._result is not None
        return self._result

    def _work(self) -> None:
        self._result = self._function()
