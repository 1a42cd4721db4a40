"""The report page: one HTML file that opens from disk without any network."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

from d2r.analysis.figures import FIGURES
from d2r.analysis.results import Results
from d2r.analysis.tables import Table, build_tables
from d2r.errors import UserError


def write_report(results: Results) -> Path:
    """Write ``report/index.html`` below the results folder and return its path.

    Raises:
        UserError: if the figures have not been drawn, or the page cannot be written.
    """
    path = results.folder / "report" / "index.html"
    page = build_page(results)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
    return path


def build_page(results: Results) -> str:
    """The whole page as text."""
    title = f"D2R results: {results.label}"
    tables = "\n".join(_table(table) for table in build_tables(results))
    figures = "\n".join(_figure(results, spec.name, spec.caption) for spec in FIGURES)
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f"<h1>{escape(title)}</h1>\n{tables}\n{figures}\n</html>\n"
    )


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in table.header)
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{escape(cell.text)}</td>" for cell in row) + "</tr>" for row in table.rows
    )
    return f"<h2>{escape(table.title)}</h2>\n<table>\n<tr>{head}</tr>\n{rows}\n</table>"


def _figure(results: Results, name: str, caption: str) -> str:
    path = results.folder / "figures" / f"{name}.png"
    try:
        image = base64.b64encode(path.read_bytes()).decode()
    except OSError:
        raise UserError(f"{path}: is missing; run `d2r figures --results {results.folder}` first") from None
    return f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{image}"><figcaption>{escape(caption)}</figcaption></figure>'
