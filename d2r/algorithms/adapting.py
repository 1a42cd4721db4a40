"""Few-shot transfer: what of a learner that was trained on other tasks learns on, and what stays as it was.

An update is the same as ever. Between its backward pass and its clipping, gradients of what is kept are dropped: a
parameter without one is not moved by Adam, and neither is an entry whose gradients were all zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from d2r.errors import UserError
from d2r.networks.base import Network
from d2r.networks.parts import tensors_by_task


class Adaptation(NamedTuple):
    """What alone learns.

    Attributes:
        adapt: beside what is of single new tasks, the routing network, or the output layer.
        new_tasks: numbers of the tasks that the learner had not seen before.
    """

    adapt: Literal["router", "new-task"]
    new_tasks: tuple[int, ...]


class Kept:
    """What of a network does not learn.

    Raises:
        UserError: if its routing network is to learn, and it has none.
    """

    def __init__(self, network: Network, adaptation: Adaptation):
        check_router(network, adaptation.adapt)
        self._parts = list(_parts(network, adaptation))

    def drop_gradients(self) -> None:
        """Forget the gradients of what is kept."""
        for _, parameter, kept in self._parts:
            if kept is None:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad = parameter.grad.masked_fill(kept, 0.0)

    @torch.no_grad()
    def copy_to(self, others: Sequence[Tensor]) -> None:
        """Copy what is kept to the parameters of a network of the same architecture, in their order."""
        for place, parameter, kept in self._parts:
            others[place].copy_(parameter if kept is None else torch.where(kept, parameter, others[place]))


def check_router(network: Network, adapt: str) -> None:
    """See to it that a network has what is to learn on.

    Raises:
        UserError: if it has no routing network, and that is to.
    """
    if adapt == "router" and not network.routing_layers:
        raise UserError(
            "adapt: router needs a routing network, and this method has none; use all or new-task"
        )


def _parts(network: Network, adaptation: Adaptation) -> Iterator[tuple[int, nn.Parameter, Tensor | None]]:
    """Parameters of which something is kept: their place, and a mask of it that broadcasts; none: all of it."""
    by_task = tensors_by_task(network)
    layers = network.routing_layers if adaptation.adapt == "router" else network.output_layers
    learning = {id(parameter) for layer in layers for parameter in layer.parameters()}
    for place, (name, parameter) in enumerate(network.named_parameters()):
        if id(parameter) in learning:
            continue
        kept = None
        if name in by_task and adaptation.new_tasks:
            axis, start = by_task[name]
            kept = torch.ones(parameter.shape[axis], dtype=torch.bool, device=parameter.device)
            kept[[start + task for task in adaptation.new_tasks]] = False
            kept = kept.view([-1 if at == axis else 1 for at in range(parameter.dim())])
        yield place, parameter, kept
