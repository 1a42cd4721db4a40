"""Transitions of a seed that learns alone."""

from __future__ import annotations

from d2r.algorithms.replay import Batch


def one_seed(batch: Batch) -> Batch:
    """[batch, task, ...] with the axis of seeds before it."""
    return Batch(*(None if part is None else part.unsqueeze(0) for part in batch))
