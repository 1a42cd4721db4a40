"""What README and ``docs/results.md`` say of the released runs, as the page has it at its top."""

from __future__ import annotations

import textwrap

from d2r.config.schema import LATE_EVALUATIONS
from d2r.findings.results import Results
from d2r.report.summary import Compared, Summary
from d2r.report.text import percent_interval, points_interval

WIDTH = 120


def readme_markdown(results: Results, folder: str) -> str:
    """The generated part of the README: the figure of differences, the headline, and how claims stand.

    Args:
        results: released runs.
        folder: of theirs, as links of the README name it.
    """
    summary = Summary(results)
    claims = summary.sentences[-1].replace(" claims", " [claims](docs/claims.md)", 1)
    lines = [
        f"![Differences to D2R with 95 % intervals]({folder}/figures/differences.png)",
        "",
        *_wrapped(f"**{summary.headline}.** {claims}"),
    ]
    return "\n".join(lines)


def success_markdown(results: Results) -> str:
    """The generated part of ``docs/results.md``: each method's success beside D2R's, and at which budget."""
    summary = Summary(results)
    budget = "; ".join(f"{value} {text}" for value, text in summary.budget)
    lines = [
        *_wrapped(
            f"Success in percent over the last {LATE_EVALUATIONS} evaluations, and its difference to D2R in points, "
            "with 95 % intervals."
        ),
        *_wrapped(f"Budget: {budget}."),
        "",
        *_table(summary),
    ]
    return "\n".join(lines)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, break_on_hyphens=False)


def _table(summary: Summary) -> list[str]:
    results = summary.results
    others = {(row.benchmark, row.method): row for row in summary.comparisons}
    head = ["method"]
    for benchmark in results.benchmarks:
        head += [f"`{benchmark}`", "to D2R"]
    rows = [head, ["---"] * len(head)]
    for method in results.methods:
        row = [method.title.replace("|", "\\|")]
        for benchmark in results.benchmarks:
            level = summary.level(benchmark, method.id)
            row += [
                "" if level.value is None else f"{percent_interval(level)}, n={level.n}",
                _difference(others.get((benchmark, method.id))),
            ]
        rows.append(row)
    return ["| " + " | ".join(row) + " |" for row in rows]


def _difference(row: Compared | None) -> str:
    if row is None:
        return ""
    text = points_interval(row.difference)
    return f"**{text}**" if row.side else text
