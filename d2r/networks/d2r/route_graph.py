"""What a route does: which modules it uses, how deep it is, what it costs.

The paper says that tasks use different numbers of modules and does not print how it counts them. Here a
module is used when the output can be reached from it through weights above zero; depth is the number of
modules on the longest such path.
"""

from __future__ import annotations

import torch
from torch import Tensor

from d2r.networks.routing import Route


def of_modules_in_use(route: Route, in_use: int) -> Route:
    """What of a route belongs to readers that there are."""
    return Route(*(readers_in_use(part, in_use) for part in route))


def readers_in_use(part: Tensor, in_use: int) -> Tensor:
    """Of [..., reader, source], the readers that there are: those that feed the first modules, and the output."""
    return torch.cat([part[..., : in_use - 1, :], part[..., -1:, :]], -2)


def edges(route: Route) -> Tensor:
    """Weight of each source in each group, [..., group, module]; 0 where it is not read."""
    dense = torch.zeros(route.logits.shape, dtype=route.weights.dtype, device=route.weights.device)
    return dense.scatter_add(-1, route.sources, route.weights)


def used_modules(edge: Tensor) -> Tensor:
    """Modules that the output depends on, [..., module] boolean, by walking back from the output.

    Args:
        edge: [..., group, module]; group g feeds module g + 1 (from 0), the last group the output.
    """
    count = edge.shape[-1]
    reads = edge > 0
    used = reads[..., count - 1, :].clone()
    for module in range(count - 1, 0, -1):
        used |= used[..., module : module + 1] & reads[..., module - 1, :]
    return used


def depth(edge: Tensor) -> Tensor:
    """Modules on the longest path to the output, [...]."""
    count = edge.shape[-1]
    reads = edge > 0
    longest = torch.ones((*edge.shape[:-2], count), device=edge.device)
    for module in range(1, count):
        longest[..., module] = 1 + (longest * reads[..., module - 1, :]).amax(-1)
    return (longest * reads[..., count - 1, :]).amax(-1)


def similarity(a: Tensor, b: Tensor) -> Tensor:
    """Jaccard index of two routes: over all edges, the sum of minima over the sum of maxima.

    Args:
        a, b: [..., group, module], frequencies in [0, 1].

    Returns:
        [...], 1 for equal routes, 0 for routes without a common edge.
    """
    common = torch.minimum(a, b).flatten(-2).sum(-1)
    either = torch.maximum(a, b).flatten(-2).sum(-1)
    return torch.where(either > 0, common / either.clamp(min=1e-12), 1.0)


def entropy(route: Route) -> tuple[Tensor, Tensor]:
    """Entropy of the full routing softmax over its maximum, and the share of its largest probability.

    Returns:
        Two tensors [ensemble, batch, task]: means over the groups that have a choice.
    """
    exists = torch.isfinite(route.logits)
    choices = exists.sum(-1)
    has_choice = (choices > 1).to(route.weights)
    log_share = route.logits.log_softmax(-1)
    share = log_share.exp()
    h = -(share * log_share.masked_fill(~exists, 0.0)).sum(-1) / choices.clamp(min=2).log()
    groups = has_choice.sum(-1).clamp(min=1)
    return (h * has_choice).sum(-1) / groups, (share.amax(-1) * has_choice).sum(-1) / groups


def agreement(behaviour: Tensor, current: Route) -> Tensor:
    """Share of behaviour edges that are in the current route, over groups with more candidates than K.

    Args:
        behaviour: [batch, task, group, K] stored sources.
        current: a route of an ensemble of one for the same transitions.

    Returns:
        [batch, task]; 1 where there was never a choice.
    """
    top_k = behaviour.shape[-1]
    has_choice = torch.isfinite(current.logits[0]).sum(-1) > top_k
    same = (behaviour.unsqueeze(-1) == current.sources[0].unsqueeze(-2)).any(-1).float().mean(-1)
    groups = has_choice.sum(-1)
    return torch.where(groups > 0, (same * has_choice).sum(-1) / groups.clamp(min=1), 1.0)


def blocked_share(route: Route) -> Tensor:
    """Share of the (module, source) pairs in use that ResRouting blocks, [ensemble, batch, task]."""
    taken = route.weights > 0
    blocked = (taken & ~route.suitable).sum((-1, -2))
    return blocked / taken.sum((-1, -2)).clamp(min=1)


def multiply_adds(edge: Tensor, outside: int, features: int, dim: int, top_k: int) -> Tensor:
    """Multiply-adds of a decision when unused modules are really skipped, [...].

    Args:
        edge: [..., group, module].
        outside: multiply-adds of encoders, router and head, which every decision pays.
        features: width of the encoded state that first modules read; ``dim``: width of a module.
    """
    used = used_modules(edge)
    reads_modules = torch.nn.functional.pad(edge[..., :-1, :].sum(-1) > 0, (1, 0))
    of_module = torch.where(reads_modules, dim * dim + top_k * dim, features * dim)
    return outside + (used * of_module).sum(-1) + top_k * dim
