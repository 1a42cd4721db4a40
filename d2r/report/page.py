"""The report page: one HTML file with everything in it, which opens from disk without any network."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from plotly.offline import get_plotlyjs

from d2r.errors import UserError
from d2r.files import write_bytes
from d2r.findings.claims import Judgement, judge
from d2r.findings.results import SMOKE_WARNING, Results
from d2r.report.claims_text import (
    command,
    compared_words,
    found_text,
    missing_text,
    smallest_text,
    verdict_text,
)
from d2r.report.figures import FigureSpec, svg_figures
from d2r.report.page_data import page_data
from d2r.report.tables import Cell, Table, build_tables
from d2r.report.tables.main import budget_text

POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
"""Content security policy: the browser itself refuses every request to a network."""

VERDICT_CLASSES = {"supported": "good", "refuted": "bad", "open": "open"}
MARKS = {"supported": "✓", "refuted": "✗", "open": "○"}


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
    tables = build_tables(results)
    judgements = judge(results)
    sections = [
        ("run", "What was run", _what_was_run(results)),
        ("claims", "Claims", _claims(results, judgements)),
        ("curves", "Curves", _asset("curves.html")),
        ("routes", "Routes", _asset("routes.html")),
        ("tables", "Tables", "\n".join(_table(table) for table in tables)),
        ("figures", "Figures", "\n".join(_figure(spec, svg) for spec, svg in svg_figures(results))),
    ]
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title, _ in sections)
    body = "\n".join(
        f'<section id="{name}" aria-labelledby="{name}-title">\n'
        f'<h2 id="{name}-title">{title}</h2>\n{content}\n</section>'
        for name, title, content in sections
    )
    return _asset("page.html").format(
        policy=POLICY,
        title=escape(f"D2R results, scale {results.scale}"),
        style=_asset("page.css"),
        warning=_warning(results),
        links=links,
        body=body,
        data=json.dumps(page_data(results), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
        plotly=get_plotlyjs().replace("</script", "<\\/script"),
        script=_asset("page.js"),
    )


def _asset(name: str) -> str:
    return files("d2r.report").joinpath("templates", name).read_text(encoding="utf-8")


def _warning(results: Results) -> str:
    return f'<p class="warning" role="note">{escape(SMOKE_WARNING)}.</p>' if results.scale == "smoke" else ""


def _what_was_run(results: Results) -> str:
    runs = results.runs
    counts = {status: int((runs["status"] == status).sum()) for status in ("finished", "failed", "missing")}
    finished = results.finished
    episodes = {
        benchmark: ", ".join(str(int(n)) for n in sorted(part["evaluation_episodes"].unique()))
        for benchmark in results.benchmarks
        if len(part := finished[finished["benchmark"] == benchmark])
    }
    facts = {
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
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts.items())
    lost = runs[runs["status"] != "finished"]
    rows = "".join(
        f"<li><strong>{escape(str(run.status))}</strong> {escape(f'{run.benchmark} / {run.method} / seed {run.seed}')}"
        f"{': ' + escape(str(run.failure)) if run.failure else ''}</li>"
        for run in lost.itertuples()
    )
    short = " open" if len(lost) <= 10 else ""
    missing = f"<details{short}><summary>Not finished: {len(lost)} runs</summary><ul>{rows}</ul></details>"
    missing = missing if rows else "<p>Every planned run is finished.</p>"
    return f"<dl>{items}</dl>{missing}"


def _known(values: Iterable[object]) -> list[str]:
    return sorted({str(value) for value in values if isinstance(value, str) and value})


def _claims(results: Results, judgements: Sequence[Judgement]) -> str:
    return "\n".join(_claim(results, judgement) for judgement in judgements)


def _claim(results: Results, judgement: Judgement) -> str:
    claim = judgement.claim
    rows = [
        [
            Cell(found.benchmark),
            Cell(compared_words(found)),
            Cell(found_text(found), runs=_evidence_runs(results, found.benchmark, found.methods)),
            Cell(smallest_text(found)),
            Cell(f"{MARKS[found.conclusion.verdict]} {found.conclusion.verdict}"),
            Cell(found.conclusion.reason),
        ]
        for found in judgement.evidence
    ]
    head = ("benchmark", "measured", "found [95 % interval]", "smallest effect", "verdict", "why")
    table = _html_table(f"claim-{claim.id}", head, rows)
    return (
        f'<details class="claim"><summary><span class="verdict {VERDICT_CLASSES[judgement.verdict]}">'
        f"{MARKS[judgement.verdict]} {judgement.verdict}</span> {escape(claim.claim)}</summary>"
        f"<p><strong>Verdict:</strong> {escape(verdict_text(judgement))}. {escape(missing_text(judgement))}</p>"
        f"<p><strong>Where:</strong> {escape(claim.where)}. <strong>Experiment:</strong> {escape(claim.experiment)} "
        f"<strong>How to compare:</strong> {escape(claim.compare)}</p>"
        f"<p><strong>Command:</strong> <code>{escape(command(claim, results.scale))}</code></p>{table}</details>"
    )


def _evidence_runs(results: Results, benchmark: str, methods: Sequence[str]) -> str:
    if not methods or not results.run_counts(benchmark, methods[-1])["finished"]:
        return ""
    return f"{benchmark}/{methods[-1]}"


def _table(table: Table) -> str:
    downloads = " ".join(
        f'<a href="../tables/{table.name}.{suffix}">{suffix}</a>' for suffix in ("csv", "md", "tex")
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in table.notes)
    rows = _html_table(table.name, table.header, table.rows)
    return (
        f'<details class="table" id="table-{table.name}"{" open" if table.name == "main" else ""}>'
        f"<summary>{escape(table.title)}</summary>"
        f'<p class="notes">{escape(table.scope)}</p>'
        f'<p class="tools"><label>Filter rows <input type="search" data-filter="{table.name}"></label> {downloads}</p>'
        f'{rows}<ul class="notes">{notes}</ul></details>'
    )


def _html_table(name: str, header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    head = "".join(f'<th scope="col"><button type="button">{escape(text)}</button></th>' for text in header)
    body = "\n".join("<tr>" + "".join(_html_cell(cell) for cell in row) + "</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="table {escape(name)}">'
        f'<table data-table="{escape(name)}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _html_cell(cell: Cell) -> str:
    text = f"<strong>{escape(cell.text)}</strong>" if cell.bold else escape(cell.text)
    if cell.runs:
        text = f'<a href="../runs/{escape(cell.runs)}/" data-runs="{escape(cell.runs)}">{text}</a>'
    sort = f' data-sort="{_number_of_script(cell.sort)}"' if cell.sort is not None else ""
    return f"<td{sort}>{text}</td>"


def _number_of_script(value: float) -> str:
    """A number as JavaScript reads it, which has another word for infinity."""
    return f"{value:.12g}".replace("inf", "Infinity")


def _figure(spec: FigureSpec, svg: str) -> str:
    image = base64.b64encode(svg.encode()).decode()
    return (
        f'<figure id="figure-{spec.name}"><img loading="lazy" alt="{escape(spec.caption)}" '
        f'src="data:image/svg+xml;base64,{image}"><figcaption>{escape(spec.caption)} '
        f'<a href="../figures/{spec.name}.svg">svg</a> '
        f'<a href="../figures/{spec.name}.png">png</a></figcaption></figure>'
    )
