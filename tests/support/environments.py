"""Environments with short episodes, so that a test sees many resets in few steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from d2r.config.benchmarks import Benchmark
from d2r.config.load import load_protocol
from d2r.config.schema import Protocol
from d2r.envs.vector import MetaWorldVectorEnv

HORIZON = 7


def shortened(protocol_id: str, horizon: int) -> Protocol:
    return load_protocol(protocol_id).model_copy(update={"horizon": horizon})


def build(
    protocol: Protocol, benchmark: str | Benchmark = "mt10-rand", number: int = 1, **arguments: Any
) -> MetaWorldVectorEnv:
    return MetaWorldVectorEnv(benchmark, protocol, np.random.SeedSequence(number), **arguments)


def actions(steps: int, number: int = 2) -> Any:
    return np.random.default_rng(number).uniform(-1, 1, (steps, 10, 4)).astype(np.float32)


def trace(env: MetaWorldVectorEnv, taken: Any) -> bytes:
    """Everything that stepping returns, as bytes."""
    parts = []
    for action in taken:
        result = env.step_arrays(action)
        parts += [result.observations, result.rewards, result.successes, np.array(result.done)]
        if result.final_observations is not None:
            parts.append(result.final_observations)
    return b"".join(part.tobytes() for part in parts)
