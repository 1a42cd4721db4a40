"""Routes turned round: which modules (or the output) read each module, so that gradients are gathered as values are.

Forwards, reader i of a row reads K modules. Backwards, module j of a row receives from all that read it: any
number of them. On a CPU these are found by one sort of the routes and summed as bags of varying size. On a GPU, where
varying sizes would need a round trip to the host and could not be captured in a graph, the sum runs over all later
readers with weight 0 for those that do not read.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

SUM = 0
"""PyTorch's number of this mode of ``embedding_bag``."""


def weighted_sum(table: Tensor, index: Tensor, starts: Tensor, weight: Tensor) -> Tensor:
    """Sums of weighted rows of ``table``, one for each bag.

    Args:
        table: [rows, D].
        index: [entries], a row of the table for each entry; weight: [entries].
        starts: [bags], where in ``index`` each bag begins; it ends where the next one begins.

    Returns:
        [bags, D], 0 for an empty bag.
    """
    return torch.embedding_bag(table, index, starts, False, SUM, False, weight, False)[0]


def inner_products(of_bags: Tensor, table: Tensor, index: Tensor, bag_size: int) -> Tensor:
    """Gradient of :func:`weighted_sum` by its weights, where all bags have ``bag_size`` entries.

    Args:
        of_bags: [bags, D], gradients of the sums; table: [rows, D]; index: [bags * bag_size].

    Returns:
        [bags * bag_size], the inner product of each entry's row with its bag's gradient.
    """
    bag = torch.arange(len(of_bags), device=index.device).repeat_interleave(bag_size)
    gradient = torch.ops.aten._embedding_bag_per_sample_weights_backward  # noqa: SLF001 -- the kernel of autograd's own
    products: Tensor = gradient(of_bags, table, index, bag, bag, SUM)
    return products


class Readers(Protocol):
    """Gradients of modules from gradients of the inputs that they were mixed into."""

    def gradient(self, source: int, suitable_only: bool) -> Tensor:
        """Gradient [rows, D] of one module's output, G (``suitable_only``) or A, once all later readers are known."""


def readers_of(into: Tensor, sources: Tensor, weights: Tensor, suitable: Tensor | None) -> Readers:
    """Prepare the routes of one pass for the way back.

    Args:
        into: [2*N*rows, D], filled in as the backward pass goes: T of each reader, then what unsuitable sources get.
        sources, weights, suitable: [N, rows, K], as in ``run_modules``.
    """
    if into.device.type == "cpu":
        return SortedReaders(into, sources, weights, suitable)
    return DenseReaders(into, sources, weights, suitable)


class SortedReaders:
    """The readers of each (module, row) side by side, found by a stable sort of routes laid out row by row."""

    def __init__(self, into: Tensor, sources: Tensor, weights: Tensor, suitable: Tensor | None):
        count, rows, top_k = sources.shape
        self.into = into
        by_row = sources.to(torch.uint8).transpose(0, 1).reshape(-1)
        # a radix sort: torch.sort compares, and takes up to ten times as long
        order = torch.from_numpy(np.argsort(by_row.numpy(), kind="stable"))
        reader = torch.arange(count).mul_(rows) + torch.arange(rows).unsqueeze(1)
        self.weights = weights.transpose(0, 1).reshape(-1).index_select(0, order)
        self.whole = reader.unsqueeze(2).expand(rows, count, top_k).reshape(-1).index_select(0, order)
        self.own = self.whole
        if suitable is not None:
            blocked = (~suitable).transpose(0, 1).reshape(-1).index_select(0, order)
            self.own = self.whole + blocked * (count * rows)
        place = sources * rows + torch.arange(rows).unsqueeze(1)
        ends = torch.bincount(place.view(-1), minlength=count * rows).cumsum(0).view(count, rows)
        self.bounds = [0, *ends[:, -1].tolist()]
        self.starts = torch.cat([ends.new_zeros(1), ends.view(-1)[:-1]]).view(count, rows)

    def gradient(self, source: int, suitable_only: bool) -> Tensor:
        """See :class:`Readers`."""
        begin, end = self.bounds[source : source + 2]
        index = (self.own if suitable_only else self.whole)[begin:end]
        return weighted_sum(self.into, index, self.starts[source] - begin, self.weights[begin:end])


class DenseReaders:
    """Every later module as a possible reader: sizes are the same for all routes."""

    def __init__(self, into: Tensor, sources: Tensor, weights: Tensor, suitable: Tensor | None):
        count, rows, _ = sources.shape
        self.into = into.view(2, count, rows, -1)
        empty = weights.new_zeros(count, rows, count)
        self.whole = empty.scatter_add(2, sources, weights)
        self.own = self.whole if suitable is None else empty.scatter_add(2, sources, weights * suitable)

    def gradient(self, source: int, suitable_only: bool) -> Tensor:
        """See :class:`Readers`."""
        through, instead = self.into[:, source:]
        share = self.whole[source:, :, source, None]
        sent = share * through
        if suitable_only and self.own is not self.whole:
            open_share = self.own[source:, :, source, None]
            sent = open_share * through + (share - open_share) * instead
        return torch.sum(sent, 0)
