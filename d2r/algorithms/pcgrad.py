"""PCGrad (Yu et al., NeurIPS 2020, arXiv 2001.06782, algorithm 1): projecting conflicting task gradients.

Each task's gradient g_i visits the *original* gradients g_j of the other tasks in a random order of its
own; wherever the two conflict (negative inner product), it loses its component along g_j. The update is the
sum of what remains.

Every projected gradient stays a combination of the original ones, so the projections run on T x T
coefficients and need the parameters for one matrix of inner products only: O(T^2 P) and then O(T^3), where
projecting the gradients themselves touches all P parameters at each of T^2 steps one after the other.

The authors' TensorFlow code (tianheyu927/PCGrad) discards the result of its shuffle, so all its tasks visit
the others in one fixed order, and lets a task visit its own gradient; the paper's algorithm is followed
here.
"""

from __future__ import annotations

import torch
from torch import Tensor


def pcgrad(gradients: Tensor, generator: torch.Generator) -> Tensor:
    """Combine conflicting task gradients.

    Args:
        gradients: [task, parameter]; their plain sum is the gradient without surgery.
        generator: on the CPU, for the order in which each task visits the others.

    Returns:
        [parameter], the sum of the projected gradients.
    """
    return pcgrad_weights(gradients @ gradients.T, generator).to(gradients) @ gradients


def pcgrad_weights(gram: Tensor, generator: torch.Generator) -> Tensor:
    """Weight of each task's original gradient in the result, [task] in float64.

    Args:
        gram: [task, task], inner products of the task gradients.
    """
    tasks = gram.shape[0]
    order = torch.rand(tasks, tasks, generator=generator).argsort(1)
    return project(gram, order).sum(0)


def project(gram: Tensor, order: Tensor) -> Tensor:
    """Run the projections on coefficients.

    Args:
        gram: [task, task], inner products of the task gradients.
        order: [task, task], row i the order in which task i visits all tasks; its own place is passed over.

    Returns:
        [task, task] in float64: row i holds the projected gradient of task i as a combination of the
        original gradients.
    """
    gram = gram.detach().double().cpu()
    tasks = gram.shape[0]
    rows = torch.arange(tasks)
    squared_norm = gram.diagonal()
    combination = torch.eye(tasks, dtype=gram.dtype)
    for visited in order.cpu().T:
        inner = (combination * gram[visited]).sum(1)
        conflict = (inner < 0) & (visited != rows) & (squared_norm[visited] > 0)
        combination[rows, visited] -= torch.where(conflict, inner / squared_norm[visited], 0.0)
    return combination
