"""Gather the files of all runs of a scale into four tidy tables, and say which runs are missing or failed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from d2r.config import (
    RunKey,
    Scale,
    choices,
    is_run,
    load_scale,
    plan_runs,
    resolve_run,
    scale_ids,
)
from d2r.config.execution import PLAIN
from d2r.errors import UserError
from d2r.files import is_packed, replacing
from d2r.runs.layout import EVALUATION, METRICS, ROUTES, RUN_RECORD, TIMING, collected_path
from d2r.runs.record import (
    Damaged,
    Failure,
    Process,
    Processor,
    RunRecord,
    check_output,
    check_place,
    read_run,
)
from d2r.runs.tables import read_table
from d2r.runs.tidy import COLUMNS, Kind
from d2r.text import printable

Row = dict[str, Any]
"""A run's row in ``runs.csv``: a cell for each of :data:`RUN_COLUMNS`."""
KEY: Mapping[str, Kind] = {"scale": str, "benchmark": str, "method": str, "seed": int, "protocol": str}
"""What every row of every table begins with."""
# fmt: off
RUN_COLUMNS: Mapping[str, Kind] = {
    **KEY, "status": str, "planned": bool, "failure": str, "steps": int, "planned_steps": int, "tasks": int,
    "updates": int, "evaluation_episodes": int, "modules": int, "config_hash": str, "parameters_actor": int,
    "parameters_critic": int, "hours": float, "update_seconds": float, "device": str, "threads": int, "cpu": str,
    "packages": str, "commit": str, "dirty": bool, "resumes": int, "execution": str, "outdated": bool, "choices": str,
}
# fmt: on
"""Columns of ``runs.csv``, of which a run that is missing has those of :data:`KEY` and what is said of every run."""
GATHERED = (METRICS, EVALUATION, ROUTES)
"""Tables of runs that are put together, under the same names."""
COLLECTED: Mapping[str, Mapping[str, Kind]] = {
    "runs": RUN_COLUMNS,
    **{Path(name).stem: {**KEY, **COLUMNS[name]} for name in GATHERED},
}
"""Columns of each table that is written."""
PACKING = {"method": "bz2", "compresslevel": 9}
"""Gives the same bytes for the same table at any time: there is no date in it."""


class Runs(NamedTuple):
    """All runs of a scale as tidy frames, one row to a run, a measured value, an episode and an edge of a route.

    Each begins with the run's name (scale, benchmark, method, seed) and its protocol.

    Attributes:
        runs: one row per run; a planned run without a folder has the status ``missing``.
        metrics: step, task, quantity, value; the task is empty where a quantity is of all tasks.
        evaluation: task, episode, success, return of the final policy.
        routes: step, task, target, source, weight: mean weight with which a target reads a source.
    """

    runs: pd.DataFrame
    metrics: pd.DataFrame
    evaluation: pd.DataFrame
    routes: pd.DataFrame


def read_runs(folder: str | Path) -> Runs:
    """Read every run of a scale, each file of which must have the hash noted in its ``run.json``.

    Args:
        folder: of one scale, such as ``results/smoke``; its runs lie in ``runs`` there.

    Raises:
        UserError: if there is no run, a file is damaged, or runs are of several scales.
    """
    results = Path(folder)
    folders = sorted(path.parent for path in results.glob(f"runs/*/*/seed*/{RUN_RECORD}"))
    if not folders:
        raise UserError(
            f"{results}: no finished run below it (runs/BENCHMARK/METHOD/seedK/run.json); train first"
        )
    runs: list[Row] = []
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in GATHERED}
    records: dict[RunKey, RunRecord] = {}
    for run in folders:
        record = read_run(run)
        check_place(run, record)
        records[record.key] = record
        found = {name: read_table(check_output(run, record, name)) for name in GATHERED}
        if record.finished and found[EVALUATION].empty:
            raise Damaged(run / EVALUATION, "holds no episode, and the run finished")
        runs.append(_run_row(run, record, found[EVALUATION]))
        for name, table in found.items():
            for position, column in enumerate(KEY):
                table.insert(position, column, getattr(record, column))
            tables[name].append(table)
    scale = _single_scale(runs, results)
    _name_choices(runs, records)
    runs = _with_planned(runs, records, scale)
    frame = pd.DataFrame(runs, columns=list(RUN_COLUMNS)).sort_values(["benchmark", "method", "seed"])
    return Runs(
        frame,
        **{
            Path(name).stem: pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
            for name, parts in tables.items()
        },
    )


def collect(results: Path) -> Path:
    """Write what :func:`read_runs` reads into ``results/collected``.

    Args:
        results: folder of one scale, such as ``results/smoke``.

    Returns:
        The folder written.

    Raises:
        UserError: as :func:`read_runs`, or if a file cannot be written.
    """
    frames = read_runs(results)
    target = collected_path(results, "runs").parent
    target.mkdir(parents=True, exist_ok=True)
    for name, frame in frames._asdict().items():
        _write_csv(frame, collected_path(results, name))
    return target


def _run_row(folder: Path, record: RunRecord, evaluation: pd.DataFrame) -> Row:
    hours, update_seconds = _times(folder, record)
    tasks = int(evaluation["task"].nunique())
    return {
        **{name: getattr(record, name) for name in KEY},
        "status": record.status,
        "planned": False,
        "failure": _describe_failure(record.failure) if record.failure else "",
        "steps": record.steps,
        "planned_steps": record.planned_steps,
        "tasks": tasks or record.num_tasks,
        "updates": record.updates,
        "evaluation_episodes": len(evaluation) // tasks if tasks else 0,
        "modules": record.num_modules,
        "config_hash": record.config_hash,
        "parameters_actor": record.parameters.actor,
        "parameters_critic": record.parameters.critic,
        "hours": hours,
        "update_seconds": update_seconds,
        "device": printable(record.device),
        "threads": "" if record.threads is None else record.threads,
        "cpu": _of_processes(record, lambda process: _one_line(process.cpu)),
        "packages": _of_processes(record, _packages),
        "commit": _of_processes(record, lambda process: process.commit or ""),
        "dirty": True if record.made_from_changed_sources else record.dirty,
        "resumes": record.resumes,
        "execution": "" if record.execution == PLAIN else record.execution.options(),
        "outdated": False,
    }


def _describe_failure(failure: Failure) -> str:
    known = {"task": failure.task, "step": failure.step, "quantity": failure.quantity}
    place = ", ".join(f"{name} {value}" for name, value in known.items() if value is not None)
    return printable(f"{failure.message} ({place})" if place else failure.message)


def _of_processes(record: RunRecord, describe: Callable[[Process], str]) -> str:
    """What differs between the processes that trained a run, each once, in order; of most runs there is one."""
    said = filter(None, map(describe, record.processes))
    return printable(" then ".join(dict.fromkeys(said)))


def _packages(process: Process) -> str:
    return "; ".join(f"{name} {version}" for name, version in sorted(process.packages.items()))


def _one_line(cpu: Processor) -> str:
    stated = cpu.model_dump(exclude_unset=True, exclude_none=True, exclude={"flags"})
    return "; ".join(f"{key}: {item}" for key, item in stated.items())


def _times(folder: Path, record: RunRecord) -> tuple[float | None, float | None]:
    """Hours of the run and seconds per update, from ``timing.csv``.

    Its values count up from the start of a process; a resumed run starts again at zero, and the parts are
    added up.
    """
    table = read_table(check_output(folder, record, TIMING))
    spent: dict[str, float] = {}
    for name, values in table.groupby("quantity")["value"]:
        steps = values.diff().fillna(values)
        spent[str(name)] = float(steps.where(steps >= 0, values).sum())
    hours = spent["total"] / 3600 if "total" in spent else None
    update = spent["learner"] / record.updates if "learner" in spent and record.updates else None
    return hours, update


def _single_scale(runs: list[Row], results: Path) -> str:
    scales = sorted({str(run["scale"]) for run in runs})
    if len(scales) > 1:
        raise UserError(
            f"{results}: holds runs of the scales {', '.join(scales)}; keep one scale to a folder"
        )
    return scales[0]


def _key(row: Row) -> RunKey:
    return RunKey(*(row[name] for name in RunKey._fields))


def _name_choices(runs: list[Row], records: Mapping[RunKey, RunRecord]) -> None:
    """Give runs that differ in their seed alone one name for what they have in common: a hash of the first's.

    Records of different times may write the same configuration differently: with other words, or without a key that
    had no other value then.
    """
    names: dict[str, str] = {}
    for run in runs:
        record = records[_key(run)]
        written: dict[str, object] = {name: value for name, value in record.config.items() if name != "seed"}
        if run["execution"]:
            written["execution"] = record.execution.model_dump(exclude_unset=True)
        understood = choices(record)
        meant = written if understood is None else understood | {"seed": None, "execution": run["execution"]}
        digest = hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest()[:12]
        run["choices"] = names.setdefault(json.dumps(meant, sort_keys=True), digest)


def _with_planned(runs: list[Row], records: Mapping[RunKey, RunRecord], scale: str) -> list[Row]:
    """Mark the runs that the scale plans, and those of another configuration than ``config/`` gives them now.

    Each that is planned and has no folder gets a row with the status ``missing``. Of a scale that ``config/`` does
    not know, what was run is the plan.
    """
    if scale not in scale_ids():
        return [run | {"planned": True} for run in runs]
    definition = load_scale(scale)
    found = {_key(run): run for run in runs}
    for key, run in found.items():
        run["outdated"] = not _is_planned(records[key], definition)
    for key in plan_runs(definition):
        if key in found:
            found[key]["planned"] = True
        else:
            row = {"protocol": definition.protocol, "status": "missing", "planned": True, "outdated": False}
            runs.append({**key._asdict(), **row})
    return runs


def _is_planned(record: RunRecord, scale: Scale) -> bool:
    """Whether a record is of the configuration that ``config/`` gives the run; it may not give it any."""
    try:
        return is_run(record, resolve_run(scale, record.benchmark, record.method, record.seed))
    except UserError:
        return False


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    try:
        with replacing(path) as file:
            packing = PACKING if is_packed(path) else None
            table.to_csv(file, index=False, lineterminator="\n", compression=packing)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
