"""The routes of one run: a drawing of each task's graph, and modules used beside success."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from d2r.errors import UserError
from d2r.findings.difficulty import tasks_by_difficulty
from d2r.findings.results import load_results
from d2r.report.figures.arcs import route_figure
from d2r.report.figures.style import house_style, save
from d2r.report.tables.table import Cell, Table
from d2r.report.text import number, percent, steps
from d2r.runs.layout import METRICS, ROUTES, collected_path
from d2r.runs.record import RunRecord, check_output, check_place, read_run
from d2r.runs.tables import read_table

MOST_MODULES = 256
"""More modules than a drawing has room for."""


@dataclass(frozen=True)
class RunRoutes:
    """Routes of one run at one step.

    Attributes:
        record: the run's.
        step: environment steps per task.
        routes: task, target, source, weight.
        used: mean number of modules used, by task.
        success: success rate at that step, by task.
        order: tasks from easy to hard as other runs found them; empty where there are none to ask.
    """

    record: RunRecord
    step: int
    routes: pd.DataFrame
    used: Mapping[str, float]
    success: Mapping[str, float]
    order: Sequence[str] = ()

    @property
    def name(self) -> str:
        """Such as ``lite/mt10-rand/d2r/seed1``."""
        return f"{self.record.scale}/{self.record.place}"


def read_recorded(folder: Path, step: int | None) -> RunRoutes:
    """Routes that training recorded in a run's folder.

    Args:
        folder: of the run.
        step: at which; none: the last one recorded.

    Raises:
        UserError: if the folder is no run, a file of it was changed, the run has no routes, or none at this step.
    """
    record = read_run(folder)
    check_place(folder, record)  # its names decide where drawings are written
    path, metrics_path = (check_output(folder, record, name) for name in (ROUTES, METRICS))
    routes, metrics = read_table(path), read_table(metrics_path)
    if routes.empty:
        raise UserError(f"{path}: no routes; '{record.method}' does not route, or nothing was evaluated")
    _check_edges(path, routes, record.num_modules)
    known = sorted(int(at) for at in routes["step"].unique())
    at = known[-1] if step is None else step
    if at not in known:
        raise UserError(f"--step {step}: no routes there; recorded at {', '.join(map(str, known))}")
    here = metrics[metrics["step"] == at]
    used, success = (_by_task(here[here["quantity"] == name]) for name in ("modules_used", "success"))
    return RunRoutes(record, at, routes[routes["step"] == at], used, success)


def _by_task(rows: pd.DataFrame) -> dict[str, float]:
    return {str(task): float(value) for task, value in zip(rows["task"], rows["value"], strict=True)}


def _check_edges(path: Path, routes: pd.DataFrame, modules: int | None) -> None:
    """Refuse edges between modules that there are not, and more modules than can be drawn.

    Raises:
        UserError: naming the file.
    """
    most = min(modules or MOST_MODULES, MOST_MODULES)
    names = {str(number) for number in range(1, most + 1)}
    if (modules or 0) > MOST_MODULES:
        raise UserError(f"{path}: of a network of {modules} modules; at most {MOST_MODULES} can be drawn")
    unknown = (set(routes["source"]) - names) | (set(routes["target"]) - names - {"out"})
    if unknown:
        raise UserError(f"{path}: '{min(unknown)}' is no module from 1 to {most}; train the run again")


def routes_table(found: RunRoutes) -> Table:
    """Modules used against success, hardest task last."""
    tasks = ordered_tasks(found)
    rows = [
        [
            Cell(task),
            Cell(number(found.used.get(task)), sort=found.used.get(task)),
            Cell(percent(found.success.get(task)), sort=found.success.get(task)),
        ]
        for task in tasks
    ]
    data = pd.DataFrame(
        {
            "task": tasks,
            "modules_used": [found.used.get(task) for task in tasks],
            "success": [found.success.get(task) for task in tasks],
        }
    )
    title = f"Modules used and success in percent: {found.name} after {steps(found.step)} steps per task"
    return Table("routes", title, ["task", "modules used", "success"], rows, data)


def ordered_tasks(found: RunRoutes) -> list[str]:
    """Tasks of the routes, easy to hard; without baselines to tell, by falling success of this run."""
    tasks = [str(task) for task in found.routes["task"].unique()]
    if set(tasks) <= set(found.order):
        return [task for task in found.order if task in tasks]
    return sorted(tasks, key=lambda task: -found.success.get(task, 0.0))


def order_from_baselines(folder: Path, benchmark: str) -> list[str]:
    """Tasks from easy to hard to the baselines collected beside a run; empty where nothing is collected."""
    above = folder.resolve().parents
    if len(above) <= 3:
        return []
    results = above[3]
    if not collected_path(results, "runs").is_file():
        return []
    return tasks_by_difficulty(load_results(results), benchmark)


def draw_routes(found: RunRoutes, folder: Path) -> list[Path]:
    """Write ``routes.svg``, ``routes.png`` and the table into ``folder``; return their paths."""
    stated = found.record.num_modules or 0
    mentioned = pd.to_numeric(
        pd.concat([found.routes["target"], found.routes["source"]]), errors="coerce"
    ).max()
    title = f"{found.name} after {steps(found.step)} steps per task"
    with house_style():
        figure = route_figure(found.routes, ordered_tasks(found), int(max(stated, mentioned)), title)
        paths = save(figure, folder, "routes")
    return [*paths, *routes_table(found).write(folder)]
