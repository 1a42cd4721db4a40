"""Routes, and the rules by which they are chosen: the words that the learner, the replay and the networks share.

How D2R computes with a route, and what ResRouting changes, is one page: ``d2r/networks/d2r/plain.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor


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


Given = Tensor | Callable[[], Tensor]


class Route:
    """How the modules are wired for each transition.

    Group g = 0..N-1 is what one reader chooses among: modules 0..g, counted from 0. Group g < N-1 feeds module g+1,
    group N-1 the output. At layer and model level (``networks/d2r/candidates.py``) a group has other candidates.

    Args:
        sources: [ensemble, batch, task, group, K] indices of the chosen modules; a group with fewer than K candidates
            repeats its last one with weight 0.
        weights: [ensemble, batch, task, group, K], softmax over the chosen logits.
        suitable: same shape, which (module, source) pairs may be optimised under ResRouting.
        logits: [ensemble, batch, task, group, N], minus infinity where there is no such candidate.

    Learning looks at few of its routes, so each may be given as a function.
    """

    def __init__(self, sources: Given, weights: Given, suitable: Given, logits: Given):
        self._given = (sources, weights, suitable, logits)

    def _of(self, place: int) -> Tensor:
        given = self._given[place]
        return given if isinstance(given, Tensor) else given()

    @property
    def sources(self) -> Tensor:
        """Indices of the chosen modules."""
        return self._of(0)

    @property
    def weights(self) -> Tensor:
        """Softmax over the chosen logits."""
        return self._of(1)

    @property
    def suitable(self) -> Tensor:
        """Which (module, source) pairs may be optimised under ResRouting."""
        return self._of(2)

    @property
    def logits(self) -> Tensor:
        """Logits of all candidates."""
        return self._of(3)

    def __iter__(self) -> Iterator[Tensor]:
        """Sources, weights, suitable, logits."""
        return iter((self.sources, self.weights, self.suitable, self.logits))
