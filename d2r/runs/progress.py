"""How far each run of a scale has come, read from what runs write while they train and when they end."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from d2r.config import RunConfig, RunKey, Scale, is_run, plan_runs, resolve_run
from d2r.errors import UserError
from d2r.files import read_bytes, read_start
from d2r.runs.layout import CONFIG, PROGRESS, RUN_RECORD, SEED_FOLDER
from d2r.runs.record import is_unchanged, json_object

Status = Literal["finished", "failed", "outdated", "running", "stopped", "waiting"]


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
    steps = config.budget.steps
    record_path = key.folder(results) / RUN_RECORD
    if record_path.is_file():
        record = read_record(record_path)
        status: Status = "failed" if record.get("status") == "failed" else "finished"
        if not is_run(record, config):
            status = "outdated"
        done = _count(record.get("steps"), 0)
        return RunProgress(
            key.benchmark, key.method, key.seed, status, done, steps,
            _rate_of_record(record), last_success(key.folder(results)), None, _count(record.get("cohort"), 1),
        )  # fmt: skip
    state = key.state_folder(results)
    if not (state / PROGRESS).is_file():
        began = _is_alive(_lock_holder(state))
        status = "running" if began else "waiting"
        return RunProgress(key.benchmark, key.method, key.seed, status, 0, steps, None, None, None)
    progress = read_record(state / PROGRESS)
    step, steps = _count(progress.get("step"), 0), _count(progress.get("steps"), steps)
    rate = _number(progress.get("steps_per_second"))
    alive = _is_training(progress, state, datetime.now(UTC))
    eta = (steps - step) / rate if alive and rate else None
    return RunProgress(
        key.benchmark, key.method, key.seed, "running" if alive else "stopped", step, steps,
        rate if alive else None, _number(progress.get("success")), eta, max(1, _count(progress.get("cohort"), 1)),
    )  # fmt: skip


def scales_in(results: Path) -> set[str]:
    """Scales that the runs below ``results`` say they belong to; records that cannot be read say nothing."""
    records = (
        path
        for names in (f"runs/*/*/*/{RUN_RECORD}", f"state/*/*/*/{PROGRESS}", f"state/*/*/*/*/{CONFIG}")
        for path in results.glob(names)
    )
    found = set()
    for path in records:
        with suppress(UserError):
            record = read_record(path)
            config = record.get("config")
            within = config.get("scale") if isinstance(config, dict) else None
            found.add(str(record.get("scale") or record.get("run") or within or "").partition("/")[0])
    return found - {""}


def unplanned_runs(results: Path, scale: Scale) -> list[RunKey]:
    """Runs that lie below ``results`` although the scale does not plan them, such as ``d2r train`` by hand leaves."""
    found = set()
    for folder in (path for tree in ("runs", "state") for path in results.glob(f"{tree}/*/*/seed*")):
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
        record = read_record(key.folder(results) / RUN_RECORD)
    except UserError:
        return False
    return record.get("status") in ("finished", "failed") and is_run(record, config)


def read_record(path: Path) -> dict[str, Any]:
    """Read a JSON object; a run's record must be unchanged.

    Raises:
        UserError: if the file cannot be read or holds something else.
    """
    try:
        content = read_bytes(path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({str(error).splitlines()[0]}); restore or delete it"
        ) from None
    data = json_object(content)
    if data is None:
        raise UserError(f"{path}: expected a JSON object; restore or delete it")
    if path.name == RUN_RECORD and not is_unchanged(content, data):
        raise UserError(
            f"{path}: does not have the sha256 that it states, so it was changed; restore or delete it"
        )
    return data


def last_success(run_folder: Path) -> float | None:
    """Mean success of the final policy over all episodes of ``evaluation.csv``, if it is there."""
    try:
        header, *rows = read_bytes(run_folder / "evaluation.csv").decode().splitlines()
        column = header.split(",").index("success")
        values = [float(row.split(",")[column]) for row in rows]
    except (OSError, ValueError, IndexError):
        return None
    return sum(values) / len(values) if values else None


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


def as_json(run: RunProgress) -> dict[str, Any]:
    """The fields of a run's progress for ``--json``."""
    return asdict(run)


def _rate_of_record(record: Mapping[str, Any]) -> float | None:
    """Steps per second from start to end; none for a run that was interrupted, whose pauses nobody counted."""
    if record.get("resumes"):
        return None
    started, ended = _moment(record.get("started")), _moment(record.get("ended"))
    steps = _number(record.get("steps"))
    if started is None or ended is None or steps is None or ended <= started:
        return None
    return steps / (ended - started).total_seconds()


def _moment(value: object) -> datetime | None:
    """A point in time, in UTC unless it says otherwise, or none for anything else."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _number(value: object) -> float | None:
    """A finite number, or none for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool) or abs(value) > MOST:
        return None
    return float(value) if value == value else None


def _count(value: object, otherwise: int) -> int:
    number = _number(value)
    return otherwise if number is None else int(number)


MOST = 1e15
"""No count or rate of ours is larger; a file that says so is damaged."""

SILENT_SECONDS = 600
"""A run whose process cannot be seen from here (another node, a container) counts as stopped after this."""


def _is_training(progress: Mapping[str, Any], state: Path, now: datetime) -> bool:
    """Whether a process trains the run: it is seen on this machine, or reported not long ago from another."""
    if _is_alive(_lock_holder(state)):
        return True
    updated = _moment(progress.get("updated"))
    if updated is None:
        return False
    elsewhere = progress.get("host", os.uname().nodename) != os.uname().nodename
    return elsewhere and (now - updated).total_seconds() <= SILENT_SECONDS


def _lock_holder(state: Path) -> int | None:
    """The process that holds the run's lock, or held it last, if it is one of this machine: ``PID on HOST``."""
    try:
        pid, _, host = read_start(state / "lock", 500).decode().strip().partition(" on ")
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
