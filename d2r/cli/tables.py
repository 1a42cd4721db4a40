"""Write every table of a scale as CSV, Markdown and LaTeX, and what DVC shows of it."""

from __future__ import annotations

import argparse

from d2r.cli.folders import add_results, results_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of ``d2r tables``."""
    add_results(parser)


def run(args: argparse.Namespace) -> int:
    """Write ``tables/`` and ``metrics/`` and print how many files each holds."""
    from d2r.findings.results import load_results
    from d2r.report.metrics import METRICS_FOLDER, write_metrics
    from d2r.report.tables import write_tables

    results = load_results(results_folder(args))
    for name, write in (("tables", write_tables), (METRICS_FOLDER, write_metrics)):
        print(f"{args.results / name}: {len(write(results))} files")
    return 0
