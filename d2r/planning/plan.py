"""The plan of a scale: how many runs, how long each, how much disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from d2r.config import RunConfig, RunKey, plan_runs, resolve_run
from d2r.config.schema import Scale
from d2r.planning.blocks import Block
from d2r.planning.cost import memory_mb
from d2r.planning.disk import output_bytes, state_bytes
from d2r.planning.progress import has_ended
from d2r.planning.rates import Estimate, Rates, seconds_of_finished, seconds_of_run


def plan_blocks(scale: Scale, results: Path, measure: Callable[[RunConfig], Rates]) -> list[Block]:
    """Plan every block of ``scale``.

    Args:
        scale: the scale to plan.
        results: its folder; runs that finished there tell the time better than any measurement.
        measure: returns the rates of a configuration on this machine; asked once for a suite and method.
    """
    keys: dict[tuple[str, str], list[RunKey]] = {}
    for key in plan_runs(scale):
        keys.setdefault((key.benchmark, key.method), []).append(key)
    measured: dict[tuple[str, str], Rates] = {}
    return [_plan_block(scale, block, results, measure, measured) for block in keys.values()]


def _plan_block(
    scale: Scale,
    keys: list[RunKey],
    results: Path,
    measure: Callable[[RunConfig], Rates],
    measured: dict[tuple[str, str], Rates],
) -> Block:
    configs = {key: resolve_run(scale, key.benchmark, key.method, key.seed) for key in keys}
    config = configs[keys[0]]
    times = [seconds_of_finished(key, results, configs[key]) for key in keys]
    known = [seconds for seconds in times if seconds is not None]
    if known:
        estimate = Estimate(sum(known) / len(known), "finished runs")
    else:
        kind = (config.suite, config.method)
        if kind not in measured:
            measured[kind] = measure(config)
        estimate = Estimate(seconds_of_run(config, measured[kind]), "measured now", measured[kind])
    return Block(
        benchmark=config.benchmark,
        method=config.method,
        runs=len(keys),
        finished=sum(has_ended(key, results, configs[key]) for key in keys),
        estimate=estimate,
        memory_mb=memory_mb(config),
        disk_bytes=output_bytes(config),
        working_bytes=output_bytes(config) + state_bytes(config),
    )
