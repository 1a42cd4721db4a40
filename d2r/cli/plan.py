"""Say what a scale holds and how long it will take on this machine, before anything is run."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from d2r.cli.folders import add_results, scale_folder
from d2r.cli.text import duration, size, table
from d2r.config import RunConfig, Scale, load_scale
from d2r.cores import available_cores
from d2r.errors import UserError
from d2r.planning.cost import Block, Rates, budgets_of_others, wall_seconds
from d2r.runs.starts import count_sources


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--scale", default="smoke", help="scale to plan (default smoke)")
    add_results(parser, "results/SCALE")
    parser.add_argument(
        "--cores",
        type=int,
        default=available_cores(),
        help="processes at a time (default: cores that may be used)",
    )
    parser.add_argument(
        "--cohort", type=int, default=1, help="seeds that a process trains side by side (default 1)"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object instead of a table")


def run(args: argparse.Namespace) -> int:
    """Measure what no finished run tells, and print the plan."""
    if args.cores < 1:
        raise UserError(f"--cores {args.cores}: must be at least 1")
    scale = load_scale(args.scale)
    results = args.results or scale_folder(scale)
    if not args.json:
        print(
            f"{scale.id}: times from runs that finished in {results}, or from a few steps and updates now",
            flush=True,
        )
    from d2r.algorithms.execution.prepare import check_cohort
    from d2r.planning.measure import update_work  # PyTorch comes with them, and takes a moment
    from d2r.planning.plan import plan_blocks

    check_cohort(args.cohort)
    blocks = plan_blocks(
        scale, results, partial(_measure_aloud, cohort=args.cohort), update_work, args.cohort
    )
    if args.json:
        print(
            json.dumps(
                _document(scale, blocks, args.cores) | {"sources": count_sources(scale, results)}, indent=1
            )
        )
    else:
        print(_describe(scale, blocks, args.cores))
        for name, counts in count_sources(scale, results).items():
            print(
                f"  They start from {counts['runs']} runs of '{name}', {counts['finished']} of them finished; "
                f"Snakemake trains the others first, at that scale's cost."
            )
    return 0


def _measure_aloud(config: RunConfig, cohort: int) -> Rates:
    if sys.stderr.isatty():
        print(f"\r\033[Kmeasuring {config.method} on {config.suite}", end="", file=sys.stderr, flush=True)
    from d2r.planning.measure import measure

    rates = measure(config, cohort)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    return rates


def _document(scale: Scale, blocks: Sequence[Block], cores: int) -> dict[str, Any]:
    return {
        "scale": scale.id,
        "protocol": scale.protocol,
        "cores": cores,
        "runs": sum(b.runs for b in blocks),
        "processes": sum(b.processes for b in blocks),
        "finished": sum(b.finished for b in blocks),
        "core_hours": sum(b.core_seconds for b in blocks) / 3600,
        "wall_hours": wall_seconds(blocks, cores) / 3600,
        "disk_bytes": sum(b.runs * b.disk_bytes for b in blocks),
        "working_bytes": _peak_working_bytes(blocks, cores),
        "budget_of": budgets_of_others(scale),
        "blocks": [asdict(b) | {"core_hours": b.core_seconds / 3600} for b in blocks],
    }


def _peak_working_bytes(blocks: Sequence[Block], cores: int) -> int:
    """Disk that training itself needs at most: the replays of the runs that are under way together."""
    of_processes = (b.cohort * b.working_bytes for b in blocks for _ in range(b.processes))
    return sum(sorted(of_processes, reverse=True)[:cores])


def _describe(scale: Scale, blocks: Sequence[Block], cores: int) -> str:
    rows = [
        [
            b.benchmark,
            b.method,
            f"{b.finished}/{b.runs}" if b.finished else str(b.runs),
            duration(b.estimate.seconds),
            f"{b.core_seconds / 3600:.2f}",
            "-" if b.estimate.rates is None else f"{1 / b.estimate.rates.step_seconds:.0f}",
            "-" if b.estimate.rates is None else f"{1 / b.estimate.rates.update_seconds:.1f}",
            f"{b.memory_mb} MB",
            b.estimate.source,
        ]
        for b in blocks
    ]
    header = [
        "benchmark",
        "method",
        "runs",
        "each",
        "core-hours",
        "steps/s",
        "updates/s",
        "memory",
        "time from",
    ]
    runs, finished = sum(b.runs for b in blocks), sum(b.finished for b in blocks)
    hours = sum(b.core_seconds for b in blocks) / 3600
    disk, working = sum(b.runs * b.disk_bytes for b in blocks), _peak_working_bytes(blocks, cores)
    time = duration(wall_seconds(blocks, cores)) if runs > finished else "no time"
    return "\n".join(
        [
            table(header, rows, left=2),
            *(
                f"{suite}: scale '{scale.id}' names no budget for it, so that of {other} holds, the nearest size."
                for suite, other in budgets_of_others(scale).items()
            ),
            f"{scale.id}: {runs} runs, {finished} of them finished; the others take {hours:.2f} core-hours,",
            f"  {time} on {cores} cores, and {size(disk)} of disk with {size(working)} more while they train.",
            "  A step is one of every task's environment. An estimate: rates change as replays and caches fill.",
        ]
    )
