"""A CUDA graph's rules without a GPU: kernels are written down with the memory they work on, and run again
from there.

As with the real thing, recording leaves everything as it was, no Python runs in a replay, results appear
where they were while recording, generators go on from replay to replay, and the host may not look at a number
meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Work = Callable[[], None]


class Tape:
    """Records like ``CudaGraphs``, on the CPU; counts what it is asked for."""

    def __init__(self) -> None:
        self.warm_ups = self.recordings = self.replays = 0

    def warm_up(self, work: Work) -> None:
        self.warm_ups += 1
        work()

    def record(self, work: Work) -> Work:
        self.recordings += 1
        recording = _Recording()
        with recording:
            work()
        recording.undo()

        def replay() -> None:
            self.replays += 1
            recording.replay()

        return replay


class _Recording(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.kernels: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self.made_here: set[int] = set()
        self.streams: dict[int, tuple[torch.Generator, Tensor]] = {}
        self.before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        assert func is not torch.ops.aten._local_scalar_dense.default, "the host looks at a number"
        for argument, value in zip(func._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                self._keep(tensors(value))
        self._keep([t for name, value in kwargs.items() if name == "out" for t in tensors(value)])
        for value in (*args, *kwargs.values()):
            if isinstance(value, torch.Generator) and id(value) not in self.streams:
                self.streams[id(value)] = value, value.get_state()
        result = func(*args, **kwargs)
        is_view_or_in_place = any(r.alias_info is not None for r in func._schema.returns)
        results = [] if is_view_or_in_place else tensors(result)
        self.made_here |= {t.untyped_storage().data_ptr() for t in results}
        writes = any(a.alias_info is not None and a.alias_info.is_write for a in func._schema.arguments)
        if writes or not is_view_or_in_place:
            self.kernels.append((func, args, kwargs, results))
        return result

    def _keep(self, written: list[Tensor]) -> None:
        """Remember what memory from outside held before it was first written."""
        for t in written:
            place = t.untyped_storage().data_ptr()
            if place not in self.made_here and place not in self.before:
                whole = torch.empty(0, dtype=t.dtype).set_(t.untyped_storage())
                self.before[place] = whole, whole.clone()

    def undo(self) -> None:
        for whole, content in self.before.values():
            whole.copy_(content)
        for stream, state in self.streams.values():
            stream.set_state(state)

    def replay(self) -> None:
        with torch.no_grad():
            for func, args, kwargs, results in self.kernels:
                for result, again in zip(results, tensors(func(*args, **kwargs)), strict=False):
                    result.copy_(again)


def tensors(value: Any) -> list[Tensor]:
    """The tensors of a kernel's argument or result."""
    if isinstance(value, Tensor):
        return [value]
    return [t for v in value for t in tensors(v)] if isinstance(value, (list, tuple)) else []
