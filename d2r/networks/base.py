"""What every network is to the learner: E stacked copies of one architecture, and the words for routes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from d2r.config.networks import NetworkBase


@dataclass(frozen=True)
class Deterministic:
    """Take the K largest logits of each group: evaluation, TD target, critics in the policy loss."""


@dataclass(frozen=True)
class Sampled:
    """Draw K sources without replacement from softmax(logits / temperature): acting, critics in the TD loss.

    Attributes:
        temperature: [ensemble or 1, task], the route temperature tau of each task.
        gumbel: [ensemble, batch, task, N(N+1)/2] standard Gumbel noise. The K largest of ``logits / tau + gumbel``
            are distributed as K draws without replacement (Kool et al., ICML 2019, arXiv 1903.06059).
    """

    temperature: Tensor
    gumbel: Tensor


@dataclass(frozen=True)
class Replayed:
    """Take the sources given, [ensemble or 1, batch, task, group, K]: the actor in the policy loss."""

    sources: Tensor


RouteRule = Deterministic | Sampled | Replayed
DETERMINISTIC = Deterministic()


class Route:
    """How the modules are wired for each transition.

    Group g = 0..N-1 has candidates 0..g: group g < N-1 feeds module g+1 (counting from 0), group N-1 feeds the output.

    Args:
        sources: [ensemble, batch, task, group, K] indices of the chosen modules; a group with fewer than K candidates
            repeats its last one with weight 0.
        weights: [ensemble, batch, task, group, K], softmax over the chosen logits.
        suitable: same shape, which (module, source) pairs may be optimised under ResRouting.
        logits: [ensemble, batch, task, group, N], minus infinity where there is no such candidate.

    Learning looks at the last two for few of its routes or in another form, so they may be given as functions.
    """

    def __init__(
        self,
        sources: Tensor,
        weights: Tensor,
        suitable: Tensor | Callable[[], Tensor],
        logits: Tensor | Callable[[], Tensor],
    ):
        self.sources, self.weights = sources, weights
        self._suitable, self._logits = suitable, logits

    @property
    def suitable(self) -> Tensor:
        """Which (module, source) pairs may be optimised under ResRouting."""
        return self._suitable if isinstance(self._suitable, Tensor) else self._suitable()

    @property
    def logits(self) -> Tensor:
        """Logits of all candidates."""
        return self._logits if isinstance(self._logits, Tensor) else self._logits()

    def __iter__(self) -> Iterator[Tensor]:
        """Sources, weights, suitable, logits."""
        return iter((self.sources, self.weights, self.suitable, self.logits))


class Output(NamedTuple):
    """A network's answer: value [ensemble, batch, task, out], and its route if it has one."""

    value: Tensor
    route: Route | None = None


class Network(nn.Module):
    """E independent copies of one architecture; every parameter has the ensemble as its first axis.

    The actor of a seed is an ensemble of one, its twin critics an ensemble of two, and seeds that learn side by side
    lie one after the other. In training mode ResRouting is active.
    """

    ensemble: int
    num_tasks: int
    task_axis: int | None = None
    """Axis of *every* parameter that is the task, if tasks share none of them."""

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
    """Mark the class that is built from ``config``, numbers of inputs, outputs, tasks and copies, and a generator."""

    def enter(network: Architecture) -> Architecture:
        ARCHITECTURES[config.model_fields["type"].default] = network
        return network

    return enter


class ModularNetwork(Network):
    """A network of routed modules: what the instruments ask of it."""

    @property
    def restricts(self) -> bool:
        """Whether ResRouting blocks gradients in training."""
        raise TypeError(f"{type(self).__name__} does not say whether it restricts")

    def module_parameters(self) -> list[nn.Parameter]:
        """Parameters of the modules."""
        raise TypeError(f"{type(self).__name__} does not name its modules' parameters")

    def by_module(self, gradients: Sequence[Tensor]) -> Tensor:
        """Sort gradients of :meth:`module_parameters` by module: [module, parameter], short ones padded with zeros."""
        raise TypeError(f"{type(self).__name__} does not sort gradients by module")

    def multiply_adds(self, edge: Tensor) -> Tensor:
        """Multiply-adds of a decision with unused modules skipped, for ``edge`` [..., group, module]."""
        raise TypeError(f"{type(self).__name__} does not count its multiply-adds")


def at_least_float32(t: Tensor) -> Tensor:
    """``t`` in float32 if it is in fewer bits, as what is computed under autocast is."""
    return t.to(torch.promote_types(t.dtype, torch.float32))


def padded_rows(rows: Sequence[Tensor]) -> Tensor:
    """Stack vectors of different length, the shorter ones padded with zeros."""
    return nn.utils.rnn.pad_sequence([row.flatten() for row in rows], batch_first=True)
