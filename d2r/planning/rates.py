"""How long a run takes on this machine: from runs that finished here, or from a few steps and updates taken now."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from d2r.config import RunConfig, RunKey, is_run
from d2r.errors import UserError
from d2r.files import open_regular
from d2r.runs.layout import RUN_RECORD
from d2r.runs.progress import read_record

START_SECONDS = 5.0
"""A process before its first step: imports, models of the tasks, networks."""


@dataclass(frozen=True)
class Rates:
    """Seconds of one step of all environments, acting included, and of one update."""

    step_seconds: float
    update_seconds: float


@dataclass(frozen=True)
class Estimate:
    """Time for one run, and where the figure comes from."""

    seconds: float
    source: Literal["finished runs", "measured now", "multiply-adds"]
    rates: Rates | None = None


def seconds_of_run(config: RunConfig, rates: Rates) -> float:
    """Time for a whole run with one core: acting, updates, and the evaluations on the way."""
    budget = config.budget
    updates = (budget.steps - budget.warmup_steps) // budget.update_every
    every = budget.evaluate_every
    evaluated_at = [min(step, budget.steps) for step in range(every, budget.steps + every, every)]
    episodes = sum(config.evaluation_episodes_at(step) for step in evaluated_at)
    evaluation_steps = episodes * config.protocol.horizon
    return (
        START_SECONDS
        + (budget.steps + evaluation_steps) * rates.step_seconds
        + updates * rates.update_seconds
    )


def seconds_of_finished(key: RunKey, results: Path, config: RunConfig, cohort: int = 1) -> float | None:
    """Wall-clock time of a run that finished without interruption with this very configuration, or none.

    Args:
        cohort: that it was trained in, since others take another time.
    """
    folder = key.folder(results)
    try:
        record = read_record(folder / RUN_RECORD)
        if not is_run(record, config) or record.get("resumes") or record.get("status") != "finished":
            return None
        if record.get("cohort", 1) != cohort:
            return None
        with os.fdopen(open_regular(folder / "timing.csv"), encoding="utf-8", newline="") as stream:
            totals = [float(row["value"]) for row in csv.DictReader(stream) if row["quantity"] == "total"]
    except (UserError, OSError, KeyError, ValueError):
        return None
    return START_SECONDS + max(totals) if totals else None
