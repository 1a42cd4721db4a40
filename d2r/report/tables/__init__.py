"""Every table of the results: CSV, Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from d2r.findings.growth import benchmarks_of_growth
from d2r.findings.results import Results
from d2r.findings.router_inputs import benchmarks_of_router_inputs
from d2r.findings.transfer import transfers
from d2r.report.tables.aggregates import aggregates_table, efficiency_table
from d2r.report.tables.comparisons import ablation_table, baselines_table
from d2r.report.tables.compute import compute_table
from d2r.report.tables.difficulty import difficulty_table
from d2r.report.tables.growth import growth_table
from d2r.report.tables.learning import learning_table
from d2r.report.tables.main import main_table
from d2r.report.tables.modules import diagnostics_table, modules_table
from d2r.report.tables.published import published_table
from d2r.report.tables.router_inputs import router_inputs_table
from d2r.report.tables.runs import runs_table
from d2r.report.tables.table import Cell, Table
from d2r.report.tables.tasks import tasks_table
from d2r.report.tables.transfer import transfer_table

BUILDERS: tuple[Callable[[Results], Table], ...] = (
    main_table,
    ablation_table,
    baselines_table,
    aggregates_table,
    efficiency_table,
    learning_table,
    tasks_table,
    modules_table,
    difficulty_table,
    diagnostics_table,
    compute_table,
    runs_table,
    published_table,
)

__all__ = ["BUILDERS", "Cell", "Table", "build_tables", "write_tables"]


def build_tables(results: Results) -> list[Table]:
    """All tables, in the order in which the page shows them; those of open questions where runs for them are due."""
    asked = {
        growth_table: benchmarks_of_growth(results),
        router_inputs_table: benchmarks_of_router_inputs(results),
        transfer_table: transfers(results),
    }
    return [build(results) for build in (*BUILDERS, *(build for build, rows in asked.items() if rows))]


def write_tables(results: Results) -> list[Path]:
    """Write all tables into ``<results>/tables``."""
    return [path for table in build_tables(results) for path in table.write(results.folder / "tables")]
