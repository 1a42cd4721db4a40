"""Show how far the runs of a scale have come: in short, then each that has begun."""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from d2r.cli.folders import add_results, scale_folder
from d2r.cli.text import duration, table
from d2r.config import Scale, load_scale, plan_runs, scale_ids
from d2r.cores import available_cores
from d2r.errors import UserError
from d2r.runs.progress import (
    RunProgress,
    Status,
    remaining_seconds,
    run_progress,
    scales_in,
    unplanned_runs,
)
from d2r.runs.starts import count_sources

LONGEST_PAUSE = 86_400
"""Seconds."""
ORDER: tuple[Status, ...] = ("running", "stopped", "failed", "outdated", "finished", "waiting")
"""What somebody may have to see to comes first."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--scale", help="scale to look at (default: that of the runs in FOLDER, or smoke)")
    add_results(parser, "results/SCALE")
    parser.add_argument(
        "--cores", type=int, default=available_cores(), help="cores to assume for the time left"
    )
    parser.add_argument("--all", action="store_true", help="list every run, those that wait included")
    parser.add_argument(
        "--watch", action="store_true", help="show it again every few seconds, until all runs have ended"
    )
    parser.add_argument(
        "--interval", type=float, default=5.0, metavar="SECONDS", help="pause of --watch (default 5)"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object instead of a table")


def run(args: argparse.Namespace) -> int:
    """Print the table, once or until all runs have ended."""
    if args.cores < 1:
        raise UserError(f"--cores {args.cores}: must be positive")
    if not 0 < args.interval <= LONGEST_PAUSE:
        raise UserError(f"--interval {args.interval}: must be above 0 and at most {LONGEST_PAUSE} seconds")
    scale, results = _place(args.scale, args.results)
    while True:
        runs = [run_progress(key, results, scale) for key in plan_runs(scale)]
        others = [run_progress(key, results, scale) for key in unplanned_runs(results, scale)]
        left, sources = remaining_seconds(runs, args.cores), count_sources(scale, results)
        if args.json:
            document = {
                "scale": scale.id,
                "cores": args.cores,
                "seconds_left": left,
                "sources": sources,
                "runs": [asdict(r) | {"planned": True} for r in runs]
                + [asdict(r) | {"planned": False} for r in others],
            }
            print(json.dumps(document, indent=1))
        else:
            if args.watch:
                print("\033[H\033[2J", end="")
            print(_describe(results, runs, others, left, args.cores, everything=args.all))
            for name, counts in sources.items():
                print(
                    f"to start from: {counts['runs']} runs of '{name}', {counts['finished']} of them finished "
                    f"(d2r status --scale {name})"
                )
        if not args.watch or all(r.status in ("finished", "failed") for r in runs):
            return 0
        try:
            time.sleep(args.interval)
        except KeyboardInterrupt:
            return 0


def _place(scale: str | None, results: Path | None) -> tuple[Scale, Path]:
    """The scale, and the folder of its results: each says which the other is, unless both are given."""
    if results is None:
        known = load_scale("smoke" if scale is None else scale)
        return known, scale_folder(known)
    if not results.is_dir():
        raise UserError(f"{results}: no such folder; give one like results/smoke")
    if scale is not None:
        return load_scale(scale), results
    stated = sorted(scales_in(results))
    if len(stated) > 1:
        raise UserError(f"{results}: holds runs of the scales {', '.join(stated)}; say which with --scale")
    names = stated or [
        name for name in (results.absolute().name, results.resolve().name) if name in scale_ids()
    ]
    if not names:
        raise UserError(
            f"{results}: neither its name nor a run in it says of which scale it is; give --scale"
        )
    return load_scale(names[0]), results


def _describe(
    results: Path,
    runs: list[RunProgress],
    others: list[RunProgress],
    left: float | None,
    cores: int,
    *,
    everything: bool,
) -> str:
    """A line on all runs, one on each that has begun (on ``everything``), and one on each benchmark's that wait."""
    counts = Counter(run.status for run in runs)
    summary = ", ".join(f"{counts[name]} {name}" for name in ORDER if counts[name])
    finished = all(run.status in ("finished", "failed") for run in runs)
    time_left = duration(left) if left is not None else "unknown time"
    lines = [
        f"{results}: {summary}"
        + ("" if finished else f"; {time_left} left on {cores} core{'s' * (cores > 1)}")
    ]
    shown = sorted(
        (run for run in [*runs, *others] if everything or run.status != "waiting"),
        key=lambda run: ORDER.index(run.status),
    )
    rows = [
        [
            f"{r.benchmark}/{r.method}/seed{r.seed}{'' if r in runs else ' (not in the plan)'}",
            r.status,
            f"{100 * r.step / r.steps:.0f} %",
            "-" if r.rate is None else f"{r.rate:.1f}",
            "-" if r.success is None else f"{100 * r.success:.1f} %",
            duration(r.eta_seconds) if r.eta_seconds is not None else "-",
        ]
        for r in shown
    ]
    if rows:
        header = ["run", "status", "progress", "steps/s", "success", "left"]
        lines += ["", table(header, rows, left=2)]
    waiting = Counter(run.benchmark for run in runs if run.status == "waiting")
    if waiting and not everything:
        each = ", ".join(f"{count} of {benchmark}" for benchmark, count in waiting.items())
        lines += ["", f"waiting: {each} (--all lists them)"]
    return "\n".join(lines)
