"""How far each run of a scale has come: what runs write while they train and when they end, and what it amounts to."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from d2r.config import RUNS, STATE, RunConfig, RunKey, Scale, Stated, is_run, plan_runs, resolve_run
from d2r.errors import UserError
from d2r.files import read_bytes, read_start, write_bytes
from d2r.runs.layout import CONFIG, EVALUATION, LOCK, PROGRESS, RUN_RECORD, SEED_FOLDER
from d2r.runs.record import Count, RunRecord, Written, json_object, read_run
from d2r.runs.tidy import read_rows

Status = Literal["finished", "failed", "outdated", "running", "stopped", "waiting"]

SILENT_SECONDS = 600
"""A run whose process cannot be seen from here (another node, a container) counts as stopped after this."""

Steps = Annotated[int, Field(ge=0, le=10**15)]
Rate = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]


class Progress(Written):
    """What a run says of itself while it trains: ``progress.json`` in its state folder."""

    run: str = ""
    """Such as ``lite/mt10-rand/d2r/seed1``."""
    step: Steps
    steps: Steps
    updates: Count = 0
    success: Annotated[float, Field(ge=0, le=1)] | None = None
    """Mean over tasks at the last evaluation."""
    started: str = ""
    updated: str = ""
    steps_per_second: Rate | None = None
    cohort: Annotated[int, Field(ge=1, le=10**6)] = 1
    """Seeds that its process trains side by side."""
    pid: int = 0
    host: str = ""

    def write(self, state: Path) -> None:
        """Replace the file in a state folder. Losing it loses nothing, so it is not forced to disk."""
        with suppress(OSError):
            write_bytes(state / PROGRESS, self.model_dump_json().encode(), durable=False)

    @classmethod
    def read(cls, state: Path) -> Progress | None:
        """What the run of a state folder said last, none if it said nothing.

        Raises:
            UserError: if it cannot be read.
        """
        path = state / PROGRESS
        if not path.is_file():
            return None
        try:
            return cls.model_validate(json_object(read_bytes(path)))
        except (OSError, ValidationError):
            raise UserError(f"{path}: is not what training writes; delete it") from None


@dataclass(frozen=True)
class RunProgress:
    """One run's state.

    ``outdated``: ended, but with another configuration than the scale's files now state. ``stopped``:
    there is training state and no living process; the run goes on when it is started again.
    """

    benchmark: str
    method: str
    seed: int
    status: Status
    step: int
    steps: int
    rate: float | None
    """Steps of the vector of environments per second of the process that trains, or trained, it."""
    success: float | None
    """Mean success over tasks at the last evaluation, 0..1."""
    eta_seconds: float | None
    """Seconds until this run's training ends, while it runs."""
    cohort: int = 1
    """Seeds that the process which trains, or trained, it has side by side."""


def run_progress(key: RunKey, results: Path, scale: Scale) -> RunProgress:
    """Read one run's progress below ``results`` (such as ``results/smoke``).

    Raises:
        UserError: if its ``run.json`` or ``progress.json`` cannot be read.
    """
    config = resolve_run(scale, key.benchmark, key.method, key.seed)
    folder, state = key.folder(results), key.state_folder(results)
    name, steps = key[1:], config.budget.steps
    if (folder / RUN_RECORD).is_file():
        record = read_run(folder)
        status: Status = record.status if is_run(record, config) else "outdated"
        rate, cohort = _rate_of_record(record), record.cohort or 1
        return RunProgress(*name, status, record.steps, steps, rate, last_success(folder), None, cohort)
    progress = Progress.read(state)
    if progress is None:
        status = "running" if _is_alive(_lock_holder(state)) else "waiting"
        return RunProgress(*name, status, 0, steps, None, None, None)
    step, steps, rate = progress.step, progress.steps, progress.steps_per_second
    if not _is_training(progress, state, datetime.now(UTC)):
        return RunProgress(*name, "stopped", step, steps, None, progress.success, None, progress.cohort)
    eta = (steps - step) / rate if rate else None
    return RunProgress(*name, "running", step, steps, rate, progress.success, eta, progress.cohort)


def scales_in(results: Path) -> set[str]:
    """Scales that the runs below ``results`` say they belong to; records that cannot be read say nothing."""
    found = set()
    for path in results.glob(f"runs/*/*/*/{RUN_RECORD}"):
        with suppress(UserError):
            found.add(read_run(path.parent).scale)
    for path in results.glob(f"{STATE}/*/*/*/{PROGRESS}"):
        with suppress(UserError):
            progress = Progress.read(path.parent)
            found.add("" if progress is None else progress.run.partition("/")[0])
    for path in results.glob(f"{STATE}/*/*/*/*/{CONFIG}"):
        with suppress(OSError, ValidationError):
            found.add(str(Stated.model_validate(json_object(read_bytes(path))).config.get("scale") or ""))
    return found - {""}


def unplanned_runs(results: Path, scale: Scale) -> list[RunKey]:
    """Runs that lie below ``results`` although the scale does not plan them, such as ``d2r train`` by hand leaves."""
    found = set()
    for folder in (path for tree in (RUNS, STATE) for path in results.glob(f"{tree}/*/*/seed*")):
        benchmark, method, seed = folder.parts[-3:]
        if re.fullmatch(SEED_FOLDER, seed):
            found.add(RunKey(scale.id, benchmark, method, int(seed.removeprefix("seed"))))
    return sorted(key for key in found - set(plan_runs(scale)) if _can_be(key, scale))


def _can_be(key: RunKey, scale: Scale) -> bool:
    try:
        resolve_run(scale, key.benchmark, key.method, key.seed)
    except UserError:
        return False
    return True


def has_ended(key: RunKey, results: Path, config: RunConfig) -> bool:
    """Whether a run with this very configuration has finished or failed, so that it is not trained again."""
    try:
        return is_run(read_run(key.folder(results)), config)
    except UserError:
        return False


def last_success(run_folder: Path) -> float | None:
    """Mean success of the final policy over all episodes of ``evaluation.csv``, if it is there."""
    try:
        values = [row["success"] for row in read_rows(run_folder / EVALUATION)]
    except UserError:
        return None
    return float(sum(values)) / len(values) if values else None


def remaining_seconds(runs: Iterable[RunProgress], cores: int) -> float | None:
    """Time until every run has ended, if ``cores`` processes train at a time.

    Runs side by side share a core. A waiting run is taken to need as much of one as the mean of the benchmark's runs
    with a known rate; ``None`` where a benchmark has none.
    """
    runs = list(runs)
    rates: dict[str, list[float]] = {}
    for run in runs:
        if run.rate:
            rates.setdefault(run.benchmark, []).append(run.rate * run.cohort)
    total = longest = 0.0
    for run in runs:
        if run.status in ("finished", "failed"):
            continue
        known = rates.get(run.benchmark)
        if not known:
            return None
        done = 0 if run.status == "outdated" else run.step
        mean = sum(known) / len(known)
        total += (run.steps - done) / (run.rate * run.cohort if run.rate else mean)
        longest = max(longest, (run.steps - done) / (run.rate or mean))
    return max(total / max(1, cores), longest)


def _rate_of_record(record: RunRecord) -> float | None:
    """Steps per second from start to end; none for a run that was interrupted, whose pauses nobody counted."""
    if record.resumes:
        return None
    started, ended = _moment(record.started), _moment(record.ended)
    if started is None or ended is None or ended <= started:
        return None
    return record.steps / (ended - started).total_seconds()


def _moment(text: str) -> datetime | None:
    """A point in time, in UTC unless it says otherwise, or none for anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _is_training(progress: Progress, state: Path, now: datetime) -> bool:
    """Whether a process trains the run: it is seen on this machine, or reported not long ago from another."""
    if _is_alive(_lock_holder(state)):
        return True
    updated = _moment(progress.updated)
    if updated is None:
        return False
    elsewhere = progress.host not in ("", os.uname().nodename)
    return elsewhere and (now - updated).total_seconds() <= SILENT_SECONDS


def _lock_holder(state: Path) -> int | None:
    """The process that holds the run's lock, or held it last, if it is one of this machine: ``PID on HOST``."""
    try:
        pid, _, host = read_start(state / LOCK, 500).decode().strip().partition(" on ")
        return int(pid) if host == os.uname().nodename else None
    except (OSError, ValueError):
        return None


def _is_alive(pid: int | None) -> bool:
    """Whether ``pid`` is a process that trains; a zombie has no command line, and a number is used again."""
    if pid is None:
        return False
    try:
        return b"train" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
