"""An update that is recorded once and replayed: CUDA graphs.

Launching an update's thousands of small kernels one by one costs a GPU's host more time than the kernels
take. A CUDA graph launches all at once, but repeats exactly what was recorded: the same kernels on the same
addresses, with no decision of the host between them. So

- inputs and draws are copied into buffers that never move;
- the update is cut in two where the host decides: ``compute`` (losses, mask, gradients, clipping), then the
  check that all is finite, then ``apply`` (optimiser, bound on log alpha, targets);
- sizes must not depend on routes, which the readers on a GPU see to (``networks/d2r/readers.py``).

The first updates run as always, on the stream that will record: they choose kernels and allocate the
optimiser's state. How to record is a parameter, so that all but the capture itself runs, and is tested,
without a GPU.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from d2r.algorithms.replay import Batch

if TYPE_CHECKING:
    from d2r.algorithms.sac import Draws, UpdateInfo

WARM_UPS = 3
"""Updates before the recording."""

Work = Callable[[], None]


class Halves(Protocol):
    """The two parts of an update between which the host looks at its numbers."""

    def compute(self, batch: Batch, draws: Draws) -> UpdateInfo:
        """Losses, mask and clipped gradients."""

    def apply(self) -> None:
        """Move parameters along the gradients."""


class Recorder(Protocol):
    """How work is recorded."""

    def warm_up(self, work: Work) -> None:
        """Do ``work`` once, where it will be recorded."""

    def record(self, work: Work) -> Work:
        """Record ``work`` without doing it, and return what does it again on the same memory."""


class CudaGraphs:
    """Records as CUDA graphs, all on one side stream: work cannot be captured on the default stream."""

    def __init__(self) -> None:
        self.stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def warm_up(self, work: Work) -> None:
        """See :class:`Recorder`."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            work()
        torch.cuda.current_stream().wait_stream(self.stream)

    def record(self, work: Work) -> Work:
        """See :class:`Recorder`."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            work()
        return graph.replay


class RecordedUpdate:
    """Both halves of an update, recorded after a few of them, and again when sizes change.

    Args:
        halves: what is recorded.
        recorder: how.
    """

    def __init__(self, halves: Halves, recorder: Recorder):
        self._halves, self._recorder = halves, recorder
        self.forget()

    def forget(self) -> None:
        """Begin anew: a recording is worthless once a tensor that it works on has been replaced."""
        self._inputs: tuple[Batch, Draws] | None = None
        self._info: UpdateInfo | None = None
        self._replay_compute: Work | None = None
        self._replay_apply: Work | None = None
        self._warm = 0

    def compute(self, batch: Batch, draws: Draws) -> UpdateInfo:
        """See :class:`Halves`; a copy is returned, because the next replay overwrites the original."""
        self._fill(batch, draws)
        if self._replay_compute is None and self._warm == WARM_UPS:
            self._replay_compute = self._recorder.record(self._compute)
            self._replay_apply = self._recorder.record(self._halves.apply)
        if self._replay_compute is None:
            self._recorder.warm_up(self._compute)
        else:
            self._replay_compute()
        info: UpdateInfo = map_tensors(Tensor.clone, self._info)
        return info

    def apply(self) -> None:
        """See :class:`Halves`."""
        if self._replay_apply is not None:
            self._replay_apply()
            return
        self._recorder.warm_up(self._halves.apply)
        self._warm += 1

    def _compute(self) -> None:
        assert self._inputs is not None
        self._info = map_tensors(Tensor.detach, self._halves.compute(*self._inputs))

    def _fill(self, batch: Batch, draws: Draws) -> None:
        """Copy an update's inputs to where the recording reads them."""
        if self._inputs is None or _layout((batch, draws)) != _layout(self._inputs):
            self.forget()
            self._inputs = map_tensors(Tensor.clone, batch), map_tensors(Tensor.clone, draws)
            return
        for buffer, value in zip(_tensors(self._inputs), _tensors((batch, draws)), strict=True):
            buffer.copy_(value)


def map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """``value`` with every tensor in it replaced; named tuples and dataclasses are looked into."""
    if isinstance(value, Tensor):
        return function(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **{k: map_tensors(function, part) for k, part in parts.items()})
    if isinstance(value, tuple):
        parts_of_tuple = [map_tensors(function, part) for part in value]
        return type(value)(*parts_of_tuple) if hasattr(value, "_fields") else tuple(parts_of_tuple)
    return value


def _tensors(value: Any) -> list[Tensor]:
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    map_tensors(note, value)
    return found


def _layout(value: tuple[Batch, Draws]) -> list[Any]:
    """What a recording takes for granted: kinds of routes, and shape and type of every tensor."""
    draws = value[1]
    kinds = [type(draws.actor_rule), type(draws.critic_rule)]
    return [*kinds, *((t.shape, t.dtype) for t in _tensors(value))]
