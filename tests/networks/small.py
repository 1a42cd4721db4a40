"""Small networks and inputs in double precision, to compare with slow forms."""

from __future__ import annotations

import torch

from d2r.networks.registry import build_actor, build_critics

TASKS, BATCH = 3, 4


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def small_actor(config, seed=0):
    return build_actor(config, TASKS, generator(seed)).double().eval()


def small_critics(config, seed=0):
    return build_critics(config, TASKS, generator(seed)).double().eval()


def spread(network, seed=1):
    """Move all parameters well away from their initial values, so that no weight is uniform and no set identical."""
    source = generator(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=source, dtype=parameter.dtype))
    return network


def observations(width=39, seed=2):
    return torch.randn(1, BATCH, TASKS, width, generator=generator(seed), dtype=torch.float64)
