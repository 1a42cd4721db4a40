"""What happens to gradients between the backward pass and the optimiser: freezing, surgery, clipping."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from d2r.algorithms.draws import Streams
from d2r.algorithms.pcgrad import pcgrad

CLIP_EPSILON = 1e-6


@contextmanager
def frozen(parameters: Sequence[Tensor]) -> Iterator[None]:
    """Within, their network is a fixed function: gradients flow to its input, none into its parameters."""
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def clip_members(parameters: Sequence[Tensor], bound: float, axes: int = 1, seeds: int = 1) -> Tensor:
    """Scale gradients so that the global norm of each member is at most ``bound``.

    Args:
        axes: leading axes that tell members apart: 1 for [ensemble, ...], 2 for [ensemble, task, ...].
        seeds: whose members lie side by side.

    Returns:
        The norms before clipping, [ensemble] or [ensemble, task].
    """
    moved = [p for p in parameters if p.grad is not None]
    gradients = [p.grad for p in moved if p.grad is not None]
    squares = torch._foreach_mul(gradients, gradients)  # noqa: SLF001 -- as PyTorch's optimisers do
    if seeds > 1 and squares[0].is_cpu:  # which adds up in an order that depends on how many there are
        of_seeds = zip(*(square.chunk(seeds) for square in squares), strict=True)
        norm = torch.cat([_norms(of_seed, axes) for of_seed in of_seeds])
    else:
        norm = _norms(squares, axes)
    factor = (bound / (norm + CLIP_EPSILON)).clamp(max=1.0)
    factors = [factor.view(*factor.shape, *[1] * (g.dim() - axes)) for g in gradients]
    # not in place: autograd may hand two parameters views of one buffer, which would be scaled twice
    scaled = torch._foreach_mul(gradients, factors)  # noqa: SLF001
    for parameter, clipped in zip(moved, scaled, strict=True):
        parameter.grad = clipped
    return norm


def _norms(squares: Sequence[Tensor], axes: int) -> Tensor:
    return torch.stack([s.reshape(*s.shape[:axes], -1).sum(-1) for s in squares]).sum(0).sqrt()


def operate(parameters: Sequence[Tensor], task_losses: Tensor, streams: Streams) -> None:
    """Replace a network's gradients by PCGrad's combination of its per-task gradients, member by member.

    Args:
        parameters: with the ensemble as first axis.
        task_losses: [seed, task], with their graph.
    """
    of_task = []
    for loss in task_losses.sum(0):  # a seed's loss reaches its own members only
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
        of_task.append(torch.cat([g.flatten(1) for g in gradients], 1))
    combined = pcgrad(torch.stack(of_task, 1), streams)
    sizes = [p[0].numel() for p in parameters]
    for parameter, gradient in zip(parameters, torch.split(combined, sizes, 1), strict=True):
        parameter.grad = gradient.reshape(parameter.shape)
