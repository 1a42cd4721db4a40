"""The compiled library beside PyTorch's operators."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from d2r.kernel import library
from d2r.kernel.build import PROCESSORS

LEVELS = list(PROCESSORS)
CAPABILITY = torch.backends.cpu.get_cpu_capability()
RUNNABLE = LEVELS[LEVELS.index(CAPABILITY) :] if CAPABILITY in LEVELS else LEVELS[-1:]
BUILT = [level for level in RUNNABLE if library.library(level).is_file()]
"""Versions of the library that are there and that this processor can run."""
EXACT = {"rtol": 1e-11, "atol": 1e-12}


def both(
    served: Callable[[bool], None], compute: Callable[[], list[Tensor]]
) -> Iterator[tuple[Tensor, Tensor]]:
    """What the library and PyTorch compute, side by side; ``served`` chooses which does."""
    served(True)
    compiled = compute()
    served(False)
    return zip(compiled, compute(), strict=True)


def gradients(value: Tensor, *of: Tensor) -> list[Tensor]:
    """A value, and its gradients along a direction of its own."""
    probe = torch.linspace(-1, 1, value.numel(), dtype=value.dtype).view_as(value)
    return [value.detach(), *torch.autograd.grad((value * probe).sum(), of)]
