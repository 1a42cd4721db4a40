"""All that is random in learning, each seed's from a stream of its own.

On a CPU a stream is PyTorch's Mersenne Twister, and what it draws has the bits of the released results. On a GPU
streams lie there, so that nothing is drawn on the host, and a recorded update draws anew whenever it is replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from d2r.networks.routing import RouteRule

Streams = Sequence[torch.Generator]
"""Of each seed, in order."""


class Draws(NamedTuple):
    """All that is random in one update, drawn before it.

    Attributes:
        actor_noise, next_noise: [seed, batch, task, 4] standard normal.
        actor_rule: route of the actor in the policy loss.
        critic_rule: route of both critics in the TD loss.
        streams: for what only some methods draw: the order of PCGrad's projections, PaCo's resets.
    """

    actor_noise: Tensor
    next_noise: Tensor
    actor_rule: RouteRule
    critic_rule: RouteRule
    streams: Streams


def per_seed(streams: Streams, draw: Callable[[torch.Generator], Tensor]) -> Tensor:
    """What ``draw`` takes from each seed's stream, one after the other along a new first axis."""
    if len(streams) == 1:
        return draw(streams[0]).unsqueeze(0)
    return torch.stack([draw(stream) for stream in streams])


def normal(streams: Streams, *shape: int) -> Tensor:
    """Standard normal numbers, [seed, *shape]."""
    return per_seed(streams, lambda s: torch.randn(shape, generator=s, device=s.device))


def uniform(streams: Streams, *shape: int) -> Tensor:
    """Numbers from [0, 1), [seed, *shape]."""
    return per_seed(streams, lambda s: torch.rand(shape, generator=s, device=s.device))


def gumbel(streams: Streams, *shape: int) -> Tensor:
    """Standard Gumbel noise, [seed, *shape]."""
    tiny = torch.finfo(torch.float32).tiny  # for rand may be 0
    return uniform(streams, *shape).clamp_(min=tiny).log_().neg_().log_().neg_()
