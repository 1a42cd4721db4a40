"""The plan of a scale: how many runs, how long each, how much disk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from d2r.config import RunConfig, RunKey, plan_runs, resolve_run
from d2r.config.schema import Scale
from d2r.planning.cost import Block, Estimate, Rates, memory_mb, seconds_of_finished, seconds_of_run
from d2r.planning.measure import output_bytes, state_bytes
from d2r.runs.progress import has_ended


class Kind(NamedTuple):
    """What methods have to share for their updates to take time in proportion to their multiply-adds."""

    suite: str
    batch_per_task: int
    routed: bool
    gradient_surgery: str

    @classmethod
    def of(cls, config: RunConfig) -> Kind:
        """The kind of a run."""
        return cls(
            config.suite, config.sac.batch_per_task, config.network.routed, config.sac.gradient_surgery
        )


def plan_blocks(
    scale: Scale,
    results: Path,
    measure: Callable[[RunConfig], Rates],
    work: Callable[[RunConfig], int],
    cohort: int = 1,
) -> list[Block]:
    """Plan every block of ``scale``.

    Args:
        scale: the scale to plan.
        results: its folder; runs that finished there tell the time better than any measurement.
        measure: returns the rates of a configuration on this machine; asked for one method of each kind, that of the
            median work. Rates of the others follow by their work.
        work: returns what an update of a configuration computes.
        cohort: seeds that one process trains side by side; ``measure`` measures as many.
    """
    blocks: dict[tuple[str, str], dict[RunKey, RunConfig]] = defaultdict(dict)
    for key in plan_runs(scale):
        block = blocks[key.benchmark, key.method]
        first = next(iter(block.values()), None)  # the others differ in the seed alone
        resolved = resolve_run(scale, *key[1:]) if first is None else first
        block[key] = resolved.model_copy(update={"seed": key.seed})
    known = {name: _known_seconds(block, results, cohort) for name, block in blocks.items()}
    unknown = [next(iter(block.values())) for name, block in blocks.items() if not known[name]]
    estimates = _estimates(unknown, measure, work)
    estimates |= {
        name: Estimate(sum(times) / len(times), "finished runs") for name, times in known.items() if times
    }
    return [_describe(block, results, estimates[name], cohort) for name, block in blocks.items()]


def _known_seconds(block: Mapping[RunKey, RunConfig], results: Path, cohort: int) -> list[float]:
    """Times of the runs that finished."""
    times = (seconds_of_finished(key, results, config, cohort) for key, config in block.items())
    return [seconds for seconds in times if seconds is not None]


def _describe(block: Mapping[RunKey, RunConfig], results: Path, estimate: Estimate, cohort: int) -> Block:
    config = next(iter(block.values()))
    return Block(
        benchmark=config.benchmark,
        method=config.method,
        runs=len(block),
        finished=sum(has_ended(key, results, config) for key, config in block.items()),
        estimate=estimate,
        memory_mb=memory_mb(config, min(cohort, len(block))),
        disk_bytes=output_bytes(config),
        working_bytes=output_bytes(config) + state_bytes(config),
        cohort=min(cohort, len(block)),
    )


def _estimates(
    configs: Sequence[RunConfig], measure: Callable[[RunConfig], Rates], work: Callable[[RunConfig], int]
) -> dict[tuple[str, str], Estimate]:
    """Times of runs, by benchmark and method, from measurements of a few of them."""
    kinds: dict[Kind, dict[str, RunConfig]] = defaultdict(dict)
    for config in configs:  # both goal distributions of a suite cost the same
        kinds[Kind.of(config)].setdefault(config.method, config)
    rates: dict[tuple[Kind, str], tuple[Rates, bool]] = {}
    for kind, methods in kinds.items():
        works = {method: work(config) for method, config in methods.items()}
        ranked = sorted(works, key=works.__getitem__)
        middle = ranked[len(ranked) // 2]
        measured = measure(methods[middle])
        for method in methods:
            seconds = measured.update_seconds * works[method] / works[middle]
            rates[kind, method] = Rates(measured.step_seconds, seconds), method == middle
    found: dict[tuple[str, str], Estimate] = {}
    for config in configs:
        of_method, is_measured = rates[Kind.of(config), config.method]
        source: Literal["measured now", "multiply-adds"] = "measured now" if is_measured else "multiply-adds"
        found[config.benchmark, config.method] = Estimate(
            seconds_of_run(config, of_method), source, of_method
        )
    return found
