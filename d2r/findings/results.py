"""The collected results of one scale, and the questions that every table and figure asks of them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from d2r.config import is_method, load_method
from d2r.config.benchmarks import in_order
from d2r.config.schema import LATE_EVALUATIONS
from d2r.errors import UserError, nearest
from d2r.files import read_unpacked
from d2r.findings.collect import COLLECTED, KEY, RUN_COLUMNS
from d2r.limits import refuse_shortage
from d2r.runs.layout import collected_path
from d2r.runs.tables import strange_name
from d2r.runs.tidy import Kind
from d2r.text import by_number, printable

T = TypeVar("T")
Floats = npt.NDArray[np.float64]
REFERENCE = "d2r"
ALWAYS = {*KEY, "status", "planned"}
"""Columns that say something of runs that are missing, too."""
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
        """Benchmarks with at least one planned or finished run, in the order of tables."""
        return in_order(self.runs["benchmark"].unique())

    @cached_property
    def methods(self) -> list[MethodInfo]:
        """Methods with at least one planned or finished run: D2R, its variants, then the baselines."""
        infos = [method_info(name) for name in self.runs["method"].unique()]
        return sorted(
            infos,
            key=lambda info: (info.id != REFERENCE, info.kind != "variant", by_number(info.title.lower())),
        )

    @cached_property
    def _routed(self) -> set[tuple[str, str]]:
        pairs = self.routes[["benchmark", "method"]].drop_duplicates()
        return set(pairs.itertuples(index=False, name=None))

    def routed_methods(self, benchmark: str) -> list[str]:
        """Methods with recorded routes on a benchmark, in table order."""
        return [method.id for method in self.methods if (benchmark, method.id) in self._routed]

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

    def seeds(self, benchmark: str, method: str) -> list[int]:
        """Seeds of a method's finished runs, ascending."""
        rows = self.finished
        rows = rows[(rows["benchmark"] == benchmark) & (rows["method"] == method)]
        return sorted(int(seed) for seed in rows["seed"])

    @cached_property
    def machines(self) -> pd.Series[str]:
        """What each finished run was made on, in words: only times of one machine can be compared."""
        columns = self.finished[["cpu", "device", "threads", "execution"]].astype("string").fillna("")
        return columns.apply(lambda run: _machine(*run), axis=1) if len(columns) else pd.Series(dtype=str)

    @cached_property
    def timed(self) -> pd.DataFrame:
        """Finished runs whose times may be compared: those on the machine that made most; of equals, the first."""
        counts = self.machines.value_counts(sort=False)
        return self.finished[self.machines == counts.idxmax()] if len(counts) else self.finished

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
    def _known(self) -> dict[tuple[str, ...], Any]:
        return {}

    def once(self, key: tuple[str, ...], make: Callable[[], T]) -> T:
        """What ``make`` gives, made the first time that ``key`` is asked for."""
        if key not in self._known:
            self._known[key] = make()
        found: T = self._known[key]
        return found

    def final_by_task(self, benchmark: str, method: str) -> pd.DataFrame:
        """Success of final policies: one row per seed (ascending), one column per task; empty where no run finished."""

        def table() -> pd.DataFrame:
            rows = self.final_success
            rows = rows[(rows["benchmark"] == benchmark) & (rows["method"] == method)]
            found = rows.pivot_table(index="seed", columns="task", values="success", sort=False)
            return found.reindex(columns=self.in_order(benchmark, found)).sort_index()

        return self.once(("final", benchmark, method), table)

    def late_by_task(self, quantity: str, benchmark: str, method: str) -> pd.DataFrame:
        """A quantity of each finished run averaged over its last ``LATE_EVALUATIONS`` evaluations, or all of fewer.

        One row per seed, one column per task; empty where no run finished.
        """

        def table() -> pd.DataFrame:
            recorded = self.recorded(quantity, benchmark, method)
            found = pd.DataFrame(
                {
                    seed: part.droplevel("seed").dropna(axis=1).iloc[:, -LATE_EVALUATIONS:].mean(axis=1)
                    for seed, part in recorded.groupby(level="seed")
                }
            ).T
            return found.reindex(columns=self.in_order(benchmark, found)).rename_axis("seed")

        return self.once(("late", quantity, benchmark, method), table)

    def late_values(self, quantity: str, benchmark: str, method: str) -> pd.Series[float]:
        """The same averaged over tasks, or as it was recorded where it is of no task: one number for each seed."""
        recorded = self.recorded(quantity, benchmark, method)
        values = {
            int(str(seed)): float(part.dropna(axis=1).iloc[:, -LATE_EVALUATIONS:].to_numpy().mean())
            for seed, part in recorded.groupby(level="seed")
        }
        return pd.Series(values, dtype=float)

    def in_order(self, benchmark: str, names: Iterable[object]) -> list[str]:
        """Those of these tasks that the benchmark has, in its order."""
        present = set(names)
        return [name for name in self.tasks.get(benchmark, []) if name in present]

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

        def table() -> pd.DataFrame:
            rows = self.metric(quantity, benchmark, method)
            values = rows.set_index(["seed", "task", "step"])["value"]
            return values.unstack("step").sort_index()  # noqa: PD010 - a third of pivot_table's time

        return self.once(("curves", quantity, benchmark, method), table)

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
    tables: dict[str, pd.DataFrame] = {}
    for name, columns in COLLECTED.items():
        path = collected_path(folder, name)
        if not path.is_file():
            raise UserError(f"{path}: is missing; run `d2r collect --results {folder}` first")
        text = [column for column, kind in columns.items() if kind is str]
        is_runs = columns is RUN_COLUMNS
        try:
            content = read_unpacked(path)
            table = pd.read_csv(
                io.BytesIO(content),
                dtype=dict.fromkeys(text, "string"),  # a commit such as 12e5 is no number
                na_values=[""] if is_runs else [],
                keep_default_na=False,
                float_precision="round_trip",
            )
        except OSError as error:
            refuse_shortage(error)
            wrong: str | None = str(error.strerror)
        except ValueError as error:
            refuse_shortage(error)
            wrong = "is not a table"
        else:
            wrong = _fault(table, columns) or (None if content.endswith(b"\n") else "is cut off")
            of_no_run = (
                set() if is_runs or wrong else set(table["benchmark"]) - set(tables["runs"]["benchmark"])
            )
            if of_no_run:
                wrong = f"names the benchmark '{min(of_no_run)}', of which there is no run"
        if wrong:
            raise UserError(f"{path}: {wrong}; run `d2r collect --results {folder}` again")
        tables[name] = table
    texts = [column for column, kind in RUN_COLUMNS.items() if kind is str and column not in ALWAYS]
    tables["runs"][texts] = tables["runs"][texts].fillna("").map(printable)
    listed = tables["runs"]
    if not listed["planned"].all():
        tables["runs"] = listed[listed["planned"]]
        run = ["benchmark", "method", "seed"]
        for name in tables.keys() - {"runs"}:
            tables[name] = tables[name].merge(tables["runs"][run], on=run)
    return Results(folder=folder, listed=listed, **tables)


def _fault(table: pd.DataFrame, columns: Mapping[str, Kind]) -> str | None:
    """What is wrong with the columns of a collected table; none if nothing is."""
    if list(table.columns) != list(columns):
        return f"does not have the columns {','.join(columns)}"
    is_runs = columns is RUN_COLUMNS
    if table.empty:
        return "holds no run" if is_runs else None
    for column, kind in columns.items():
        may_be_empty = is_runs and column not in ALWAYS
        known = table[column].dropna() if may_be_empty else table[column]
        if kind is str:
            is_name = not is_runs or column in ALWAYS
            fits = not known.isna().any() and not (is_name and strange_name(known))
        elif kind is bool:
            fits = may_be_empty or pd.api.types.is_bool_dtype(known)
        else:
            fits = pd.api.types.is_numeric_dtype(known) and bool(np.isfinite(known).all())
            fits = fits and (kind is float or bool((known == known.round()).all()))
        if not fits:
            return f"holds something else than it should in column '{column}'"
    if is_runs and table.duplicated(["benchmark", "method", "seed"]).any():
        return "names a run twice"
    return None


def _machine(cpu: str, device: str, threads: str, execution: str) -> str:
    """Processor (without the system that it ran under), device, threads and options of execution."""
    parts = [part for part in cpu.split("; ") if part and not part.startswith("system: ")]
    return "; ".join([*parts, *filter(None, (device, f"threads: {threads}", execution))])


def method_info(name: str) -> MethodInfo:
    """Title and kind of a method, from its file; a method whose file is gone is called by its id."""
    if not is_method(name):
        return MethodInfo(name, name, "variant" if name.startswith(REFERENCE) else "baseline")
    method = load_method(name)
    return MethodInfo(name, method.title, method.kind)
