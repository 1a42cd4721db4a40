"""What every network is to the learner: E stacked copies of one architecture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from d2r.config.networks import NetworkBase
from d2r.networks.maker import Maker
from d2r.networks.parts import Parted
from d2r.networks.routing import DETERMINISTIC, Route, RouteRule


class Output(NamedTuple):
    """A network's answer: value [ensemble, batch, task, out], and its route if it has one."""

    value: Tensor
    route: Route | None = None


class Network(Parted):
    """E independent copies of one architecture; every parameter has the ensemble as its first axis.

    The actor of a seed is an ensemble of one, its twin critics an ensemble of two, and seeds that learn side by side
    lie one after the other. In training mode ResRouting is active.
    """

    ensemble: int
    num_tasks: int
    task_axis: int | None = None
    """Axis of *every* parameter that is the task, if tasks share none of them."""
    numbers: tuple[str, ...] = ()
    """Buffers that hold one number of each seed, without an axis where there is one seed."""

    def __init__(self, make: Maker):
        super().__init__()
        self.num_tasks, self.ensemble = make.num_tasks, make.ensemble

    def forward(self, x: Tensor, rule: RouteRule = DETERMINISTIC) -> Output:
        """Map [E or 1, batch, task, inputs] to [E, batch, task, outputs]; plain networks ignore ``rule``."""
        raise TypeError(f"{type(self).__name__} does not define forward")

    @property
    def route_shape(self) -> tuple[int, int] | None:
        """(groups, K) of the routes that the replay must keep; none for a network without sampled routes."""
        return None

    @property
    def num_logits(self) -> int:
        """Number of routing logits per transition, for which Gumbel noise is drawn; 0 without a router."""
        return 0

    @property
    def routing_layers(self) -> Sequence[nn.Module]:
        """Layers that choose or weigh what else the network computes: its routing network; empty without one."""
        return ()

    @property
    def output_layers(self) -> Sequence[nn.Module]:
        """Layers that put out, shared by all tasks or one a task.

        Raises:
            TypeError: the network does not say.
        """
        raise TypeError(f"{type(self).__name__} does not say which layers put out")

    def prepare_to_compile(self) -> None:
        """Called before ``torch.compile`` sees the network, to keep from it what it cannot go through."""

    def after_update(self, masked: Tensor, streams: Sequence[torch.Generator]) -> None:
        """Called after an update that left out tasks whose loss was extreme.

        Args:
            masked: [seed, task] boolean, which tasks were left out; members of a seed are next to each other.
            streams: each seed's, for whatever the network draws for a seed of which tasks were left out.
        """


ARCHITECTURES: dict[str, type[Network]] = {}
"""Every network type whose module was imported."""

Architecture = TypeVar("Architecture", bound=type[Network])


def architecture(config: type[NetworkBase]) -> Callable[[Architecture], Architecture]:
    """Mark the class that is built from a configuration of class ``config`` and a :class:`Maker`."""

    def enter(network: Architecture) -> Architecture:
        ARCHITECTURES[config.model_fields["type"].default] = network
        return network

    return enter
