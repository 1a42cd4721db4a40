"""All published numbers, with source, confidence and protocol."""

from __future__ import annotations

from d2r.config.reader import read_yaml
from d2r.findings.published import DATA, PublishedValue, published_values, sources
from d2r.findings.results import Results
from d2r.report.tables.columns import Column, only_in_csv, tabulate, word
from d2r.report.tables.table import Cell, Table


def published_table(results: Results) -> Table:  # noqa: ARG001 - the same at every scale
    """Success rates that others printed; none of them was obtained by this package."""
    cited = [f"[{source.mark}] {source.title}" for source in sources().values()]
    notes = [str(text).strip() for text in read_yaml(DATA)["unknown"].values()] + cited
    title = "Published success rates (by others, not comparable across sources)"
    return tabulate("published", title, COLUMNS, published_values(), notes)


COLUMNS: tuple[Column[PublishedValue], ...] = (
    word("setting", "setting", lambda row: row.setting),
    only_in_csv("benchmark", lambda row: row.benchmark),
    word("method", "name", lambda row: row.name),
    only_in_csv("method", lambda row: row.method),
    Column(
        "success, percent",
        ("success_percent", "spread_percent", "up_to_percent"),
        lambda row: (row.value, row.spread, row.up_to),
        lambda row: Cell(row.text, sort=row.value),
    ),
    word("confidence", "confidence", lambda row: row.source.confidence),
    word("source", "source", lambda row: row.source.title, lambda row: f"[{row.source.mark}]"),
    word("protocol there", "protocol", lambda row: row.source.protocol),
)
