"""Which part of a network each of its tensors is: what one task has for itself, what routes, and what puts out.

Every layer and network says it beside the tensors that it makes. Whoever begins with a network that was trained on
other tasks asks: what is of tasks cannot be taken over to a task that the network has not seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from torch import Tensor, nn


class OfTasks(NamedTuple):
    """Where a tensor has its entries for single tasks: from ``start`` on along ``axis``, in the order of the tasks."""

    axis: int
    start: int = 0

    def shared(self, tensor: Tensor) -> Tensor:
        """What of the tensor is no task's; a view."""
        return tensor.narrow(self.axis, 0, self.start)

    def of(self, tensor: Tensor, task: int) -> Tensor:
        """What of the tensor is one task's; a view."""
        return tensor.select(self.axis, self.start + task)


class Parted(nn.Module):
    """A layer or network that says which of its own tensors have entries for single tasks."""

    @property
    def by_task(self) -> Mapping[str, OfTasks]:
        """Those of its tensors that have, by their name in it; those of layers within are said by these."""
        return {}


def tensors_by_task(network: nn.Module) -> dict[str, OfTasks]:
    """Every tensor of a network that has entries for single tasks, by its name in the network's state."""
    return dict(_walk(network))


def _walk(network: nn.Module) -> Iterator[tuple[str, OfTasks]]:
    for prefix, module in network.named_modules():
        if isinstance(module, Parted):
            for name, place in module.by_task.items():
                yield f"{prefix}.{name}" if prefix else name, place
