"""The report page: one HTML file with everything in it but films, which opens from disk without any network."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from d2r.config.schema import LATE_EVALUATIONS
from d2r.errors import UserError
from d2r.files import write_bytes
from d2r.findings.results import SMOKE_WARNING, Results
from d2r.report.colors import method_color
from d2r.report.figures import figures_of
from d2r.report.page_data import page_data
from d2r.report.page_parts import MARKS, claim_rows, forests, heat_maps, levels
from d2r.report.summary import WHAT_D2R_IS, Summary
from d2r.report.tables import Table, build_tables
from d2r.report.tables.main import budget_text
from d2r.report.text import percent_interval, points_interval
from d2r.runs.layout import FILMS, collected_path
from d2r.text import NAME

SECTIONS = (
    ("result", "Result"),
    ("claims", "Claims"),
    ("methods", "Methods"),
    ("curves", "Curves"),
    ("tasks", "Tasks"),
    ("routes", "Routes"),
    ("tables", "Tables"),
    ("run", "Run"),
)
SCRIPTS = ("base.js", "curves.js", "routes.js")
MOST_CELLS = 1200
"""Cells of a table that the page shows; larger ones are whole in their files."""


def write_report(results: Results) -> Path:
    """Write ``report/index.html`` below the results folder and return its path.

    Raises:
        UserError: if the page cannot be written.
    """
    path = results.folder / "report" / "index.html"
    page = build_page(results)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, page.encode())
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
    return path


def build_page(results: Results) -> str:
    """The whole page as text."""
    summary = Summary(results)
    script = "".join(map(_asset, SCRIPTS))
    tables = [_method_first(table) for table in build_tables(results)]
    known = {table.name for table in tables}

    def downloads(name: str) -> list[tuple[str, str]]:
        kinds = ("csv", "md", "tex") if name in known else ()
        return [(kind, f"../tables/{name}.{kind}") for kind in kinds]

    return _templates().get_template("page.html").render(
        policy=_policy(script),
        title=f"D2R results, scale {results.scale}",
        style=_asset("page.css"),
        script=script,
        data=_json(page_data(results)),
        sections=SECTIONS,
        summary=summary,
        what_d2r_is=WHAT_D2R_IS,
        warning=SMOKE_WARNING if results.scale == "smoke" else "",
        late=LATE_EVALUATIONS,
        forests=forests(summary),
        claims=claim_rows(summary),
        levels=levels(summary),
        heats=heat_maps(results),
        names=known,
        tables=[_as_shown(table) for table in tables],
        films=_films(results.folder),
        drawings=[spec for spec in figures_of(results) if (results.folder / "figures" / f"{spec.name}.svg").is_file()],
        facts=_facts(results),
        lost=_lost(results),
        color=method_color,
        downloads=downloads,
        collected=lambda table: f"../{collected_path(Path(), table).as_posix()}",
        whole=lambda value: f"{100 * value:.0f}",
        percent_interval=percent_interval,
        points=lambda value: f"{100 * value:+.0f}".replace("-", "−") if value else "0",
        points_interval=points_interval,
        script_number=_script_number,
    )  # fmt: skip


@cache
def _templates() -> Environment:
    templates = Environment(
        loader=PackageLoader("d2r.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.globals["marks"] = MARKS
    return templates


def _asset(name: str) -> str:
    return files("d2r.report").joinpath("templates", name).read_text(encoding="utf-8")


def _films(folder: Path) -> list[str]:
    """Names of a scale's films; a file that is no plain name is not shown."""
    return sorted(path.stem for path in (folder / FILMS).glob("*.gif") if re.fullmatch(NAME, path.stem))


def _policy(script: str) -> str:
    """Content security policy: no request to another place than the page's own, and no script but the page's own."""
    own = base64.b64encode(hashlib.sha256(f"\n{script}\n".encode()).digest()).decode()
    return f"default-src 'none'; script-src 'sha256-{own}'; style-src 'unsafe-inline'; img-src data: 'self' file:"


def _json(value: Any) -> str:
    """JSON inside a script element, which nothing in it can end."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _script_number(value: float) -> str:
    """A number as JavaScript reads it, which has another word for infinity."""
    return f"{value:.12g}".replace("inf", "Infinity")


def _method_first(table: Table) -> Table:
    """The table with its methods in the first column, which stays in view."""
    header = list(table.header)
    if "method" not in header:
        return table
    place = header.index("method")
    order = [place, *(i for i in range(len(header)) if i != place)]
    rows = [[row[i] for i in order] for row in table.rows]
    return replace(table, header=[header[i] for i in order], rows=rows)


def _as_shown(table: Table) -> dict[str, Any]:
    shown = max(1, MOST_CELLS // max(1, len(table.header)))
    return {
        "name": table.name,
        "title": table.title,
        "scope": table.scope,
        "notes": table.notes,
        "header": table.header,
        "rows": table.rows[:shown],
        "left_out": max(0, len(table.rows) - shown),
    }


def _facts(results: Results) -> dict[str, str]:
    runs, finished = results.runs, results.finished
    counts = {status: int((runs["status"] == status).sum()) for status in ("finished", "failed", "missing")}
    episodes = {
        benchmark: ", ".join(str(int(n)) for n in sorted(part["evaluation_episodes"].unique()))
        for benchmark in results.benchmarks
        if len(part := finished[finished["benchmark"] == benchmark])
    }
    return {
        "Runs": f"{counts['finished']} finished, {counts['failed']} failed, {counts['missing']} missing",
        "Methods": str(len(results.methods)),
        "Seeds": ", ".join(str(seed) for seed in sorted(runs["seed"].unique())),
        "Protocol": results.protocol,
        "Budget": "; ".join(f"{name}: {budget_text(results, name)}" for name in results.benchmarks),
        "Evaluation episodes per task": "; ".join(f"{name}: {text}" for name, text in episodes.items()),
        "Commit": ", ".join(_known(finished["commit"])) or "not recorded",
        "Packages": " / ".join(_known(finished["packages"])) or "not recorded",
        "Processor": " / ".join(_known(finished["cpu"])) or "not recorded",
    }


def _lost(results: Results) -> list[dict[str, str]]:
    rows = results.runs[results.runs["status"] != "finished"]
    return [
        {
            "status": str(run.status),
            "name": f"{run.benchmark} / {run.method} / seed {run.seed}",
            "failure": str(run.failure),
        }
        for run in rows.itertuples()
    ]


def _known(values: Iterable[object]) -> list[str]:
    return sorted({str(value) for value in values if isinstance(value, str) and value})
