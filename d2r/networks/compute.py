"""Multiply-adds of a decision: what a dense forward pass costs, counted by running one."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from d2r.networks.base import Network


def dense_multiply_adds(network: Network, inputs: int, rows: int = 1) -> int:
    """Multiply-adds of one decision of one task and one ensemble member, matrix products only, every module computed.

    Args:
        network: on PyTorch's meta device nothing is computed, only counted.
        inputs: width of the network's input: 39 for an actor, 43 for a critic.
        rows: decisions of each task that are taken together; they share what is computed once for a task.
    """
    parameter = next(network.parameters())
    x = torch.zeros(1, rows, network.num_tasks, inputs, dtype=parameter.dtype, device=parameter.device)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(x)
    flops: int = counter.get_total_flops()
    return flops // (2 * network.ensemble * network.num_tasks * rows)
