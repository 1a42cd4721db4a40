"""Target networks follow their critics (Lillicrap et al., ICLR 2016, arXiv 1509.02971)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from d2r.algorithms.adam import by_seed
from d2r.algorithms.compiled_optimiser import Following
from d2r.kernel.library import serving


class Targets:
    """Parameters of target networks, of several seeds side by side, and those of the critics that they follow."""

    def __init__(self, targets: Sequence[Tensor], critics: Sequence[Tensor], seeds: int):
        self._targets, self._critics, self._seeds = targets, critics, seeds
        self._compiled = Following(targets, critics)

    @torch.no_grad()
    def follow(self, share: float) -> None:
        """Move the targets a share of the way to the critics."""
        kernel = serving(self._targets[0])
        if kernel is None or not self._compiled.follow(kernel, share):
            of_targets, of_critics = (by_seed(of, self._seeds) for of in (self._targets, self._critics))
            torch._foreach_lerp_(of_targets, of_critics, share)
