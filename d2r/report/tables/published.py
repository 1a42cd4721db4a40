"""All published numbers, with source, confidence and protocol."""

from __future__ import annotations

import pandas as pd

from d2r.config.reader import read_yaml
from d2r.findings.published import DATA, published_values, sources
from d2r.findings.results import Results
from d2r.report.tables.table import Cell, Table


def published_table(results: Results) -> Table:  # noqa: ARG001 - the same at every scale
    """Success rates that others printed; none of them was obtained by this package."""
    header = ["setting", "method", "success, percent", "confidence", "source", "protocol there"]
    rows = [
        [
            Cell(value.setting),
            Cell(value.name),
            Cell(value.text, sort=value.value),
            Cell(value.source.confidence),
            Cell(f"[{value.source.mark}]"),
            Cell(value.source.protocol),
        ]
        for value in published_values()
    ]
    data = pd.DataFrame(
        [
            {
                "setting": value.setting,
                "benchmark": value.benchmark,
                "name": value.name,
                "method": value.method,
                "success_percent": value.value,
                "spread_percent": value.spread,
                "confidence": value.source.confidence,
                "source": value.source.title,
                "protocol": value.source.protocol,
            }
            for value in published_values()
        ]
    )
    cited = [f"[{source.mark}] {source.title}" for source in sources().values()]
    notes = [str(text).strip() for text in read_yaml(DATA)["unknown"].values()] + cited
    return Table(
        "published",
        "Published success rates (by others, not comparable across sources)",
        header,
        rows,
        data,
        notes,
    )
