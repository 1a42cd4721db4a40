"""Policies to act with that nobody trained: a random network whose arms move, in short episodes."""

from __future__ import annotations

import torch

from d2r.config import load_scale, resolve_run
from d2r.networks.registry import build_actor
from d2r.play.policy import Policy


def random_policy(method: str = "d2r", benchmark: str = "mt10-rand", horizon: int = 30) -> Policy:
    """A policy of the scale ``smoke`` with random weights and large actions."""
    config = resolve_run(load_scale("smoke"), benchmark, method, 3)
    config = config.model_copy(update={"protocol": config.protocol.model_copy(update={"horizon": horizon})})
    actor = build_actor(config.network, config.num_tasks, torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        actor.head.weight.mul_(300)
    return Policy(actor, config)
