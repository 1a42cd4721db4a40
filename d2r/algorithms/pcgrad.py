"""PCGrad (Yu et al., NeurIPS 2020, arXiv 2001.06782, algorithm 1): projecting conflicting task gradients.

Each task's gradient g_i visits the *original* gradients g_j of the other tasks in a random order of its
own; wherever the two conflict (negative inner product), it loses its component along g_j. The update is the
sum of what remains.

Every projected gradient stays a combination of the original ones, so the projections run on T x T
coefficients and need the parameters for one matrix of inner products only: O(T^2 P) and then O(T^3), where
projecting the gradients themselves touches all P parameters at each of T^2 steps one after the other.

Configuration: on MT-MH-SAC, the whole gradient of the actor and of each critic, heads included, with next actions
from next observations. metaworld-algorithms applies it to multi-head networks; the command of
facebookresearch/mtrl to a plain one, with one alpha for all tasks.

Deviations from the authors' TensorFlow code (tianheyu927/PCGrad), the first two as in the paper:

1. Orders are random; that code discards the result of its shuffle, so that all its tasks visit the others in one
   fixed order.
2. A task does not visit its own gradient.
3. The two large products run member by member of the ensemble: batched ones round differently at some sizes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from d2r.algorithms.draws import Streams, uniform


def pcgrad(gradients: Tensor, streams: Streams) -> Tensor:
    """Combine conflicting task gradients, each ensemble member's on their own.

    Args:
        gradients: [ensemble, task, parameter]; their plain sum over tasks is the gradient without surgery.
        streams: each seed's, for the order in which each task of each of its members visits the others.

    Returns:
        [ensemble, parameter], the sum of the projected gradients.
    """
    # products member by member: batched ones round differently at some sizes, and results would change with them
    gram = torch.stack([member @ member.T for member in gradients])
    weights = pcgrad_weights(gram, streams).to(gradients)
    pairs = zip(weights.unsqueeze(1), gradients, strict=True)
    return torch.cat([weight @ member for weight, member in pairs])


def pcgrad_weights(gram: Tensor, streams: Streams) -> Tensor:
    """Weight of each task's original gradient in the result, [ensemble, task] in float64.

    Args:
        gram: [ensemble, task, task], inner products of the task gradients.
    """
    members, tasks, _ = gram.shape
    order = uniform(streams, members // len(streams), tasks, tasks).flatten(0, 1).argsort(-1)
    return project(gram, order.to(gram.device)).sum(-2)


def project(gram: Tensor, order: Tensor) -> Tensor:
    """Run the projections on coefficients.

    Args:
        gram: [..., task, task], inner products of the task gradients.
        order: [..., task, task], row i the order in which task i visits all tasks; its own place is passed over.

    Returns:
        [..., task, task] in float64: row i holds the projected gradient of task i as a combination of the
        original gradients.
    """
    gram = gram.detach().double()
    tasks = gram.shape[-1]
    rows = torch.arange(tasks, device=gram.device)
    squared_norms = gram.diagonal(dim1=-2, dim2=-1)
    combination = torch.eye(tasks, dtype=gram.dtype, device=gram.device).expand(gram.shape).clone()
    for visited in order.unbind(-1):
        place = visited.unsqueeze(-1)
        inner = (combination * gram.gather(-2, place.expand_as(gram))).sum(-1)
        squared_norm = squared_norms.gather(-1, visited)
        conflict = (inner < 0) & (visited != rows) & (squared_norm > 0)
        share = torch.where(conflict, inner / squared_norm, 0.0)
        combination.scatter_add_(-1, place, -share.unsqueeze(-1))
    return combination
