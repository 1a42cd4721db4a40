"""Small networks of D2R's variants, states and batches for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from d2r.algorithms.replay import Batch
from d2r.config import load_method
from d2r.networks.d2r.levels import D2RNetwork
from d2r.networks.registry import build_actor
from d2r.networks.routing import Sampled
from tests.support.one_seed import one_seed

TASKS, BATCH = 3, 8
SMALL = {"module_dim": 8, "encoder_dim": 12, "router_dim": 10}


def network(method: str, seed: int = 0, **changes: Any) -> D2RNetwork:
    config = load_method(method).network.model_copy(update=SMALL | changes)
    built = build_actor(config, TASKS, torch.Generator().manual_seed(seed))
    assert isinstance(built, D2RNetwork)
    spread(built)
    return built


def spread(built: torch.nn.Module) -> None:
    """Make routing logits differ clearly, as they do not at initialisation."""
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            if name.startswith("router") or name.startswith("task_encoder"):
                parameter.mul_(4.0)


def states(seed: int = 1) -> Tensor:
    return torch.randn(1, BATCH, TASKS, 39, generator=torch.Generator().manual_seed(seed))


def sampled(built: D2RNetwork, seed: int = 2) -> Sampled:
    gumbel = (
        -torch.empty(1, BATCH, TASKS, built.num_logits)
        .exponential_(generator=torch.Generator().manual_seed(seed))
        .log()
    )
    return Sampled(torch.ones(1, TASKS), gumbel)


def batch(stored: bool) -> Batch:
    generator = torch.Generator().manual_seed(3)
    sources = torch.zeros(BATCH, TASKS, 16, 2, dtype=torch.uint8)
    for group in range(1, 16):
        sources[:, :, group, 1] = 1
    made = Batch(
        torch.randn(BATCH, TASKS, 39, generator=generator),
        torch.rand(BATCH, TASKS, 4, generator=generator) * 2 - 1,
        torch.rand(BATCH, TASKS, generator=generator),
        torch.randn(BATCH, TASKS, 39, generator=generator),
        torch.zeros(BATCH, TASKS),
        sources if stored else None,
    )
    return one_seed(made)
