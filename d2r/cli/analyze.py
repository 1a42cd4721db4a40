"""Answer a question: difficulty (do harder tasks use more modules?), claims, or coverage of intervals and verdicts."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from d2r.cli.folders import add_results, results_folder
from d2r.errors import UserError

BEGIN, END = "<!-- coverage: begin -->", "<!-- coverage: end -->"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the questions of ``d2r analyze``."""
    questions = parser.add_subparsers(dest="question", required=True, metavar="QUESTION")
    difficulty = questions.add_parser(
        "difficulty", help="rank correlation of modules used with task difficulty"
    )
    add_results(difficulty, "the released `lite`")
    claims = questions.add_parser("claims", help="claims, verdicts and the numbers behind them, as Markdown")
    add_results(claims, "the released `lite`")
    claims.add_argument("--output", type=Path, help="write it there instead of printing it")
    coverage = questions.add_parser(
        "coverage", help="simulate how often intervals hold the truth and verdicts are wrong"
    )
    coverage.add_argument("--repeats", type=int, default=500, help="simulated experiments behind each number")
    coverage.add_argument(
        "--update", type=Path, metavar="FILE", help=f"replace what stands between {BEGIN} and {END} in FILE"
    )


def run(args: argparse.Namespace) -> int:
    """Answer one question."""
    from d2r.findings.results import load_results

    if args.question == "difficulty":
        from d2r.report.tables.difficulty import difficulty_table

        print(difficulty_table(load_results(results_folder(args))).markdown(), end="")
    elif args.question == "claims":
        from d2r.report.claims_text import claims_markdown, evidence_markdown

        results = load_results(results_folder(args))
        _give(f"{claims_markdown(results)}\n{evidence_markdown(results)}", args.output)
    else:
        import pandas as pd

        from d2r.statistics.simulation import WORLDS, simulate, simulation_markdown

        if args.repeats < 4:
            raise UserError(f"--repeats {args.repeats}: must be at least 4")
        before, after = _around_marks(args.update) if args.update else ("", "")
        found = []
        for place, world in enumerate(WORLDS, start=1):
            print(f"d2r: simulating world {place} of {len(WORLDS)}: {world.name}", file=sys.stderr)
            found.append(simulate(args.repeats, [world]))
        _give(before + simulation_markdown(pd.concat(found), args.repeats) + after, args.update)
    return 0


def _around_marks(path: Path) -> tuple[str, str]:
    """What stands before and after the table in a file, marks included."""
    try:
        before, rest = path.read_text(encoding="utf-8").split(BEGIN)
        _, after = rest.split(END)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise UserError(f"{path}: needs the lines {BEGIN} and {END}, once each") from None
    return f"{before}{BEGIN}\n", f"{END}{after}"


def _give(text: str, path: Path | None) -> None:
    if path is None:
        print(text, end="")
        return
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
    print(path)
