"""Gather the files of all runs of a scale into four tidy tables, and say which runs are missing or failed."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from d2r.config import (
    RunKey,
    Scale,
    choices,
    is_run,
    load_benchmark,
    load_scale,
    plan_runs,
    resolve_run,
    scale_ids,
)
from d2r.config.execution import PLAIN, Execution
from d2r.errors import UserError
from d2r.files import read_bytes, replacing
from d2r.limits import refuse_shortage
from d2r.runs.record import is_unchanged, json_object, made_from_changed_sources, malformed, processes
from d2r.text import NAME, printable

KEY = ("scale", "benchmark", "method", "seed", "protocol")
RUN_COLUMNS = (
    *KEY, "status", "planned", "failure", "steps", "planned_steps", "tasks", "updates", "evaluation_episodes",
    "modules",
    "config_hash", "parameters_actor", "parameters_critic", "hours", "update_seconds", "device", "threads",
    "cpu", "packages", "commit", "dirty", "resumes", "execution", "outdated", "choices",
)  # fmt: skip
FILE_COLUMNS = {
    "metrics": ("step", "task", "quantity", "value"),
    "evaluation": ("task", "episode", "success", "return"),
    "routes": ("step", "task", "target", "source", "weight"),
}

NAMED = ("task", "quantity", "target", "source")
"""Columns of these that hold names."""
RANGES = {"step": (0, 1e12), "episode": (0, 1e6), "success": (0, 1), "weight": (0, 1.001)}
"""What else numbers of these lie between. Larger steps than a run may have leave figures no room for their ticks."""
LARGEST = 3.5e38
"""No number that a run records is larger: networks and losses are float32. Figures compute with sums and squares."""


def strange_name(column: pd.Series) -> str | None:
    """The first value of a column that is no name and not empty, none if all are."""
    values = (str(value) for value in column.unique())
    return next((value for value in values if value and not re.fullmatch(NAME, value)), None)


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
    folders = sorted(path.parent for path in results.glob("runs/*/*/seed*/run.json"))
    if not folders:
        raise UserError(
            f"{results}: no finished run below it (runs/BENCHMARK/METHOD/seedK/run.json); train first"
        )
    runs: list[dict[str, Any]] = []
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in FILE_COLUMNS}
    records: dict[RunKey, dict[str, Any]] = {}
    for run in folders:
        about = _read_run_json(run)
        key = {name: about[name] for name in KEY}
        records[_key(about)] = about
        evaluation = pd.DataFrame()
        for name, columns in FILE_COLUMNS.items():
            table = read_csv(run / f"{name}.csv", columns, about["outputs"].get(f"{name}.csv"))
            for position, (column, value) in enumerate(key.items()):
                table.insert(position, column, value)
            tables[name].append(table)
            if name == "evaluation":
                evaluation = table
        if about["status"] == "finished" and evaluation.empty:
            raise UserError(
                f"{run / 'evaluation.csv'}: holds no episode, and the run finished; restore the file"
            )
        runs.append(_run_row(run, about, evaluation))
    scale = _single_scale(runs, results)
    _name_choices(runs, records)
    runs = _with_planned(runs, records, scale)
    frame = pd.DataFrame(runs, columns=list(RUN_COLUMNS)).sort_values(["benchmark", "method", "seed"])
    return Runs(
        frame,
        **{
            name: pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
            for name, parts in tables.items()
        },
    )


def collect(results: Path) -> Path:
    """Write what :func:`read_runs` reads as ``results/collected/*.csv``.

    Args:
        results: folder of one scale, such as ``results/smoke``.

    Returns:
        The folder written.

    Raises:
        UserError: as :func:`read_runs`, or if a file cannot be written.
    """
    frames = read_runs(results)
    target = results / "collected"
    target.mkdir(parents=True, exist_ok=True)
    for name, frame in frames._asdict().items():
        _write_csv(frame, target / f"{name}.csv")
    return target


def _read_run_json(folder: Path) -> dict[str, Any]:
    path = folder / "run.json"
    try:
        content = read_bytes(path)
    except OSError as error:
        refuse_shortage(error)
        raise UserError(
            f"{path}: cannot be read ({error}); delete the run's folder and train it again"
        ) from None
    about = json_object(content)
    if about is None:
        raise UserError(
            f"{path}: cannot be read (it is no JSON object); delete the run's folder and train it again"
        )
    wrong = malformed(about)
    if wrong is not None:
        raise UserError(
            f"{path}: '{wrong}' is missing or not what training writes; delete the run's folder and train it again"
        )
    if not is_unchanged(content, about):
        raise UserError(
            f"{path}: differs from the sha256 that it holds, so it was changed after the run; restore it"
        )
    where = (about["benchmark"], about["method"], f"seed{about['seed']}")
    if where != folder.parts[-3:]:
        raise UserError(f"{path}: describes {'/'.join(where)}, so it lies in the wrong folder; move it there")
    return about


def read_csv(path: Path, columns: Iterable[str], expected_hash: str | None) -> pd.DataFrame:
    """Read one of a run's tables.

    Raises:
        UserError: if it is missing, changed, or has other columns or text in place of numbers.
    """
    columns = list(columns)
    try:
        content = read_bytes(path)
    except FileNotFoundError:
        raise UserError(f"{path}: is missing; delete the run's folder and train it again") from None
    except OSError as error:
        refuse_shortage(error)
        raise UserError(f"{path}: cannot be read ({error.strerror}); restore the file") from None
    if expected_hash is not None and hashlib.sha256(content).hexdigest() != expected_hash:
        raise UserError(
            f"{path}: differs from the sha256 in its run.json, so it was changed after the run; restore it"
        )
    if b"\0" in content:  # what is behind it in a cell is lost to pandas
        raise UserError(f"{path}: not a table (it holds a NUL); restore the file")
    text = {name: "string" for name in NAMED if name in columns}
    try:
        table = pd.read_csv(
            io.BytesIO(content), dtype=text, keep_default_na=False, float_precision="round_trip"
        )
    except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        refuse_shortage(error)
        raise UserError(f"{path}: not a table ({error}); restore the file") from None
    if list(table.columns) != columns:
        raise UserError(f"{path}: columns are {','.join(map(str, table.columns))}, not {','.join(columns)}")
    for name in text:
        strange = strange_name(table[name])
        if strange is not None:
            raise UserError(f"{path}: '{strange}' is no name of a {name}; restore the file")
    for name in set(columns) - set(text):
        numeric = (
            pd.api.types.is_integer_dtype if name in ("step", "episode") else pd.api.types.is_numeric_dtype
        )
        if len(table) and not (numeric(table[name]) and np.isfinite(table[name]).all()):
            raise UserError(f"{path}: column '{name}' holds something that is no number; restore the file")
        low, high = RANGES.get(name, (-LARGEST, LARGEST))
        outside = table[name][~table[name].between(low, high)]
        if len(outside):
            wrong = f"{outside.iloc[0]}, which is not from {low:g} to {high:g}"
            raise UserError(f"{path}: column '{name}' holds {wrong}; restore the file")
    return pd.DataFrame(table)


def _run_row(folder: Path, about: dict[str, Any], evaluation: pd.DataFrame) -> dict[str, Any]:
    config = about["config"]
    failure = about.get("failure")
    hours, update_seconds = _times(folder, about)
    tasks = int(evaluation["task"].nunique())
    execution = Execution(**about.get("execution", {}))
    return {
        **{name: about[name] for name in KEY},
        "status": about["status"],
        "planned": False,
        "failure": _describe_failure(failure) if failure else "",
        "steps": about["steps"],
        "planned_steps": config["budget"]["steps"],
        "tasks": tasks or len(load_benchmark(about["benchmark"]).tasks),
        "updates": about["updates"],
        "evaluation_episodes": len(evaluation) // tasks if tasks else 0,
        "modules": config["network"].get("num_modules"),
        "config_hash": about["config_hash"],
        "parameters_actor": about["parameters"]["actor"],
        "parameters_critic": about["parameters"]["critic"],
        "hours": hours,
        "update_seconds": update_seconds,
        "device": printable(about.get("device", "")),
        "threads": about.get("threads", ""),
        "cpu": _of_processes(about, lambda process: _one_line(process.get("cpu", {}))),
        "packages": _of_processes(about, _packages),
        "commit": _of_processes(about, lambda process: str(process.get("commit") or "")),
        "dirty": made_from_changed_sources(about) or about.get("dirty", ""),
        "resumes": about.get("resumes", 0),
        "execution": "" if execution == PLAIN else execution.options(),
        "outdated": False,
    }


def _describe_failure(failure: Mapping[str, Any]) -> str:
    place = ", ".join(
        f"{name} {failure[name]}" for name in ("task", "step", "quantity") if failure.get(name) is not None
    )
    return printable(f"{failure['message']} ({place})" if place else failure["message"])


def _of_processes(about: dict[str, Any], describe: Callable[[Mapping[str, Any]], str]) -> str:
    """What differs between the processes that trained a run, each once, in order; of most runs there is one."""
    said = filter(None, map(describe, processes(about)))
    return printable(" then ".join(dict.fromkeys(said)))


def _packages(process: Mapping[str, Any]) -> str:
    return "; ".join(f"{name} {version}" for name, version in sorted(process.get("packages", {}).items()))


def _one_line(cpu: Mapping[str, Any]) -> str:
    return "; ".join(f"{key}: {item}" for key, item in cpu.items() if isinstance(item, str | int | float))


def _times(folder: Path, about: dict[str, Any]) -> tuple[float | None, float | None]:
    """Hours of the run and seconds per update, from ``timing.csv``.

    Its values count up from the start of a process; a resumed run starts again at zero, and the parts are
    added up.
    """
    table = read_csv(folder / "timing.csv", ("step", "quantity", "value"), about["outputs"].get("timing.csv"))
    spent: dict[str, float] = {}
    for name, values in table.groupby("quantity")["value"]:
        steps = values.diff().fillna(values)
        spent[str(name)] = float(steps.where(steps >= 0, values).sum())
    hours = spent["total"] / 3600 if "total" in spent else None
    update = spent["learner"] / about["updates"] if "learner" in spent and about["updates"] else None
    return hours, update


def _single_scale(runs: list[dict[str, Any]], results: Path) -> str:
    scales = sorted({str(run["scale"]) for run in runs})
    if len(scales) > 1:
        raise UserError(
            f"{results}: holds runs of the scales {', '.join(scales)}; keep one scale to a folder"
        )
    return scales[0]


def _key(row: Mapping[str, Any]) -> RunKey:
    return RunKey(*(row[name] for name in RunKey._fields))


def _name_choices(runs: list[dict[str, Any]], records: Mapping[RunKey, dict[str, Any]]) -> None:
    """Give runs that differ in their seed alone one name for what they have in common: a hash of the first's.

    Records of different times may write the same configuration differently: with other words, or without a key that
    had no other value then.
    """
    names: dict[str, str] = {}
    for run in runs:
        about = records[_key(run)]
        written = {name: value for name, value in about["config"].items() if name != "seed"}
        if run["execution"]:
            written["execution"] = about["execution"]
        understood = choices(about)
        meant = written if understood is None else understood | {"seed": None, "execution": run["execution"]}
        digest = hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest()[:12]
        run["choices"] = names.setdefault(json.dumps(meant, sort_keys=True), digest)


def _with_planned(
    runs: list[dict[str, Any]], records: Mapping[RunKey, dict[str, Any]], scale: str
) -> list[dict[str, Any]]:
    """Mark the runs that the scale plans, and those of another configuration than ``config/`` gives them now.

    Each that is planned and has no folder gets a row with the status ``missing``. Of a scale that ``config/`` does
    not know, what was run is the plan.
    """
    if scale not in scale_ids():
        return [run | {"planned": True} for run in runs]
    definition = load_scale(scale)
    found = {_key(run): run for run in runs}
    for key, run in found.items():
        run["outdated"] = not _is_planned(records[key], definition, key)
    for key in plan_runs(definition):
        if key in found:
            found[key]["planned"] = True
        else:
            row = {"protocol": definition.protocol, "status": "missing", "planned": True, "outdated": False}
            runs.append({**key._asdict(), **row})
    return runs


def _is_planned(record: Mapping[str, Any], scale: Scale, key: RunKey) -> bool:
    """Whether a record is of the configuration that ``config/`` gives the run; it may not give it any."""
    try:
        return is_run(record, resolve_run(scale, key.benchmark, key.method, key.seed))
    except UserError:
        return False


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    try:
        with replacing(path) as file:
            table.to_csv(file, index=False, lineterminator="\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
