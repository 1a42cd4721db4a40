"""Build the self-contained report page of a scale."""

from __future__ import annotations

import argparse

from d2r.cli.folders import add_results, results_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of ``d2r report``."""
    add_results(parser)


def run(args: argparse.Namespace) -> int:
    """Write ``report/index.html`` and print its path."""
    from d2r.findings.results import load_results
    from d2r.report.page import write_report

    print(write_report(load_results(results_folder(args))))
    return 0
