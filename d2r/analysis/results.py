"""The collected results of one scale, and the questions that every table and figure asks of them."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from d2r.analysis.collect import FILE_COLUMNS, KEY, NAMED, RUN_COLUMNS, strange_name
from d2r.config import benchmark_ids, load_method, method_ids
from d2r.errors import UserError, nearest
from d2r.limits import refuse_shortage
from d2r.text import printable

Floats = npt.NDArray[np.float64]
REFERENCE = "d2r"
COLLECTED = ("runs", "metrics", "evaluation", "routes")
TEXT_COLUMNS = (
    "task",
    "target",
    "source",
    "quantity",
    "failure",
    "commit",
    "config_hash",
    "choices",
    "cpu",
    "packages",
    "execution",
)
"""Read as text: a commit such as 12e5 is no number."""
NUMBERS = {
    "seed", "step", "value", "episode", "success", "return", "weight", "steps", "planned_steps", "tasks", "updates",
    "evaluation_episodes", "modules", "parameters_actor", "parameters_critic", "hours", "update_seconds", "threads",
}  # fmt: skip
"""Columns that hold numbers, of whichever table; in ``runs`` all but the seed may be empty."""
COUNTS = {"seed", "step", "episode", "steps", "tasks", "evaluation_episodes"}
"""Columns that hold whole numbers."""
SMOKE_WARNING = (
    "SMOKE SCALE: these runs are far too short to learn; the numbers only show that the pipeline works"
)


@dataclass(frozen=True)
class MethodInfo:
    """How a method is named and ordered in tables and figures."""

    id: str
    title: str
    kind: str


@dataclass(frozen=True)
class Results:
    """Tidy tables of one scale, as ``d2r collect`` wrote them, of the runs that the scale plans."""

    folder: Path
    listed: pd.DataFrame
    """``runs`` and, beside them, runs that were found and are not planned: they are named and enter nothing else."""
    runs: pd.DataFrame
    metrics: pd.DataFrame
    evaluation: pd.DataFrame
    routes: pd.DataFrame

    @cached_property
    def scale(self) -> str:
        """Id of the scale."""
        return str(self.runs["scale"].iloc[0])

    @cached_property
    def digest(self) -> str:
        """sha256 of the collected tables and the methods' titles: equal exactly when every number and name is."""
        paths = [self.folder / "collected" / f"{name}.csv" for name in COLLECTED]
        parts = [*(path.read_bytes() for path in paths), repr(self.methods).encode()]
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()

    @cached_property
    def protocol(self) -> str:
        """Protocol of the runs; several are joined with a comma, which no scale of ours has."""
        return ", ".join(sorted(self.runs["protocol"].unique()))

    @cached_property
    def label(self) -> str:
        """Scale and protocol in words, for titles; a smoke scale says that it is one."""
        words = f"scale {self.scale}, protocol {self.protocol}"
        return f"{words}. {SMOKE_WARNING}" if self.scale == "smoke" else words

    @cached_property
    def benchmarks(self) -> list[str]:
        """Benchmarks with at least one planned or finished run, in the paper's order."""
        present = set(self.runs["benchmark"])
        return [name for name in benchmark_ids() if name in present]

    @cached_property
    def methods(self) -> list[MethodInfo]:
        """Methods with at least one planned or finished run: D2R, its variants, then the baselines."""
        infos = [method_info(name) for name in self.runs["method"].unique()]
        return sorted(
            infos, key=lambda info: (info.id != REFERENCE, info.kind != "variant", info.title.lower())
        )

    def method(self, name: str) -> MethodInfo:
        """The method with this id.

        Raises:
            UserError: naming the nearest id, if these results hold no run of it.
        """
        for info in self.methods:
            if info.id == name:
                return info
        known = [info.id for info in self.methods]
        raise UserError(f"no run of method '{name}' in {self.folder}; {nearest(name, known)}")

    @cached_property
    def finished(self) -> pd.DataFrame:
        """Rows of ``runs`` that count: finished ones."""
        return self.runs[self.runs["status"] == "finished"]

    def run_counts(self, benchmark: str, method: str) -> dict[str, int]:
        """Numbers of ``finished``, ``failed`` and ``missing`` runs, and of ``all``."""
        rows = self.runs[(self.runs["benchmark"] == benchmark) & (self.runs["method"] == method)]
        counts = {
            status: int((rows["status"] == status).sum()) for status in ("finished", "failed", "missing")
        }
        return {**counts, "all": len(rows)}

    @cached_property
    def tasks(self) -> dict[str, list[str]]:
        """Task names of each benchmark, in task order."""
        return {str(name): list(part["task"].unique()) for name, part in self.evaluation.groupby("benchmark")}

    @cached_property
    def final_success(self) -> pd.DataFrame:
        """Success (0..1) of each finished run's final policy: benchmark, method, seed, task, success."""
        keys = ["benchmark", "method", "seed"]
        counted = self.evaluation.merge(self.finished[keys], on=keys)
        return counted.groupby([*keys, "task"], sort=False)["success"].mean().reset_index()

    @cached_property
    def memo(self) -> dict[tuple[str, ...], pd.DataFrame]:
        """Tables that are asked for again and again, by what they are."""
        return {}

    def scores(self, benchmark: str, method: str) -> pd.DataFrame:
        """Final success: one row per seed (ascending), one column per task; empty where no run finished."""
        key = ("scores", benchmark, method)
        if key not in self.memo:
            rows = self.final_success
            rows = rows[(rows["benchmark"] == benchmark) & (rows["method"] == method)]
            table = rows.pivot_table(index="seed", columns="task", values="success", sort=False)
            present = [name for name in self.tasks.get(benchmark, []) if name in table]
            self.memo[key] = table.reindex(columns=present).sort_index()
        return self.memo[key]

    def run_scores(self, benchmark: str, method: str) -> pd.Series[float]:
        """Mean success over tasks of each finished run, by seed: the number that a run contributes."""
        table = self.scores(benchmark, method)
        return table.mean(axis=1) if len(table) else pd.Series(dtype=float)

    @cached_property
    def _counted_metrics(self) -> dict[tuple[str, str, str], pd.DataFrame]:
        """Metrics of finished runs by quantity, benchmark and method."""
        keys = ["benchmark", "method", "seed"]
        counted = self.metrics.merge(self.finished[keys], on=keys)
        parts = counted.groupby(["quantity", "benchmark", "method"], sort=False, observed=True)
        return {(str(key[0]), str(key[1]), str(key[2])): part for key, part in parts}

    @cached_property
    def quantities(self) -> list[str]:
        """Names of all quantities that some finished run recorded."""
        return sorted({quantity for quantity, _, _ in self._counted_metrics})

    def recorded_by(self, quantity: str, benchmark: str) -> list[str]:
        """Methods whose finished runs recorded a quantity on a benchmark."""
        return [
            method.id for method in self.methods if (quantity, benchmark, method.id) in self._counted_metrics
        ]

    def metric(self, quantity: str, benchmark: str, method: str) -> pd.DataFrame:
        """Rows of one quantity (seed, step, task, value) of a method's finished runs; maybe none."""
        return self._counted_metrics.get((quantity, benchmark, method), self.metrics.iloc[:0])

    def last_values(self, quantity: str, benchmark: str, method: str) -> pd.Series[float]:
        """A quantity at each run's last evaluation that recorded it, mean over tasks, by seed; maybe none."""
        rows = self.metric(quantity, benchmark, method)
        last = rows[rows["step"] == rows.groupby("seed")["step"].transform("max")]
        return last.groupby("seed")["value"].mean()

    def recorded(self, quantity: str, benchmark: str, method: str) -> pd.DataFrame:
        """A quantity over training: one row per (seed, task), one column per step, NaN where nothing was recorded."""
        key = ("curves", quantity, benchmark, method)
        if key not in self.memo:
            rows = self.metric(quantity, benchmark, method)
            values = rows.set_index(["seed", "task", "step"])["value"]
            self.memo[key] = values.unstack("step").sort_index()  # noqa: PD010 - a third of pivot_table's time
        return self.memo[key]

    def curves_by_task(self, quantity: str, benchmark: str, method: str) -> pd.DataFrame:
        """The steps of ``recorded`` that every finished seed has, so that no point averages fewer runs than another."""
        return self.recorded(quantity, benchmark, method).dropna(axis=1)

    def curves(self, quantity: str, benchmark: str, method: str, task: str | None = None) -> pd.DataFrame:
        """A quantity over training, of one task or averaged over tasks: one row per seed, one column per step."""
        table = self.curves_by_task(quantity, benchmark, method)
        if task is None or table.empty:
            return table.groupby(level="seed").mean() if len(table) else pd.DataFrame()
        names = table.index.get_level_values("task")
        return table[names == task].droplevel("task")


def load_results(folder: Path) -> Results:
    """Load ``folder/collected``. What is not planned is not averaged: of other runs only the list is kept.

    Raises:
        UserError: if ``d2r collect`` has not been run there, or what it wrote is damaged.
    """
    collected = folder / "collected"
    tables: dict[str, pd.DataFrame] = {}
    for name in COLLECTED:
        path = collected / f"{name}.csv"
        if not path.is_file():
            raise UserError(f"{path}: is missing; run `d2r collect --results {folder}` first")
        try:
            tables[name] = pd.read_csv(
                path,
                dtype=dict.fromkeys(TEXT_COLUMNS, "string"),
                na_values=[""] if name == "runs" else [],
                keep_default_na=False,
                float_precision="round_trip",
            )
        except ValueError as error:
            refuse_shortage(error)
            wrong: str | None = "is not a table"
        else:
            wrong = _fault(name, tables[name]) or (None if _is_whole(path) else "is cut off")
        if wrong:
            raise UserError(f"{path}: {wrong}; run `d2r collect --results {folder}` again")
    texts = [name for name in TEXT_COLUMNS if name in tables["runs"]]
    tables["runs"][texts] = tables["runs"][texts].fillna("").map(printable)
    listed = tables["runs"]
    if not listed["planned"].all():
        tables["runs"] = listed[listed["planned"]]
        run = ["benchmark", "method", "seed"]
        for name in FILE_COLUMNS:
            tables[name] = tables[name].merge(tables["runs"][run], on=run)
    return Results(folder=folder, listed=listed, **tables)


def _fault(name: str, table: pd.DataFrame) -> str | None:
    """What is wrong with the columns of a collected table; none if nothing is."""
    columns = RUN_COLUMNS if name == "runs" else (*KEY, *FILE_COLUMNS[name])
    if tuple(table.columns) != tuple(columns):
        return f"does not have the columns {','.join(columns)}"
    if table.empty:
        return "holds no run" if name == "runs" else None
    for column in columns:
        if column in (*KEY, "status") and column != "seed":
            fits = pd.api.types.is_string_dtype(table[column]) and strange_name(table[column]) is None
        elif column == "planned":
            fits = pd.api.types.is_bool_dtype(table[column])
        elif column in NUMBERS:
            fits = pd.api.types.is_numeric_dtype(table[column])
            known = table[column].dropna() if name == "runs" and column != "seed" else table[column]
            fits = fits and bool(np.isfinite(known).all())
            fits = fits and (column not in COUNTS or bool((known == known.round()).all()))
        else:
            fits = name == "runs" or not table[column].isna().any()
            fits = fits and (column not in NAMED or strange_name(table[column]) is None)
        if not fits:
            return f"holds something else than it should in column '{column}'"
    if name == "runs" and table.duplicated(["benchmark", "method", "seed"]).any():
        return "names a run twice"
    unknown = set(table["benchmark"]) - set(benchmark_ids())
    return f"names the unknown benchmark '{min(unknown)}'" if unknown else None


def _is_whole(path: Path) -> bool:
    """Whether the last line of a file ends."""
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def method_info(name: str) -> MethodInfo:
    """Title and kind of a method, from its file; a method whose file is gone is called by its id."""
    if name not in method_ids():
        return MethodInfo(name, name, "variant" if name.startswith(REFERENCE) else "baseline")
    method = load_method(name)
    return MethodInfo(name, method.title, method.kind)
