"""Multiply-adds of a decision: what a dense forward pass costs, counted by running one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

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
    with _Products() as products, torch.no_grad():
        network(x)
    flops: int = products.flops
    return flops // (2 * network.ensemble * network.num_tasks * rows)


class _Products(TorchDispatchMode):
    """Counts operations within by PyTorch's formulas, as its ``FlopCounterMode`` does, whose use loads the compiler."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Whether the compiler is to be told to pass over this class, for which it would have to be loaded."""
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        formula: Callable[..., int] | None = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=out)
        return out
