"""Write every table of a scale as CSV, Markdown and LaTeX."""

from __future__ import annotations

import argparse

from d2r.cli.folders import add_results, results_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of ``d2r tables``."""
    add_results(parser)


def run(args: argparse.Namespace) -> int:
    """Write ``tables/`` and print how many files it holds."""
    from d2r.findings.results import load_results
    from d2r.report.tables import write_tables

    paths = write_tables(load_results(results_folder(args)))
    print(f"{args.results / 'tables'}: {len(paths)} files")
    return 0
