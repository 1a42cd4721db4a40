"""Every table of the results: CSV, Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from d2r.analysis.results import Results
from d2r.analysis.tables.main import main_table
from d2r.analysis.tables.table import Cell, Table

BUILDERS: tuple[Callable[[Results], Table], ...] = (main_table,)

__all__ = ["BUILDERS", "Cell", "Table", "build_tables", "write_tables"]


def build_tables(results: Results) -> list[Table]:
    """All tables, in the order in which the page shows them."""
    return [build(results) for build in BUILDERS]


def write_tables(results: Results) -> list[Path]:
    """Write all tables into ``<results>/tables``."""
    return [path for table in build_tables(results) for path in table.write(results.folder / "tables")]
