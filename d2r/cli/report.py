"""Build the self-contained report page of a scale."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of ``d2r report``."""
    parser.add_argument(
        "--results", type=Path, required=True, help="folder of one scale, after `d2r figures`"
    )


def run(args: argparse.Namespace) -> int:
    """Write ``report/index.html`` and print its path."""
    from d2r.findings.results import load_results
    from d2r.report.page import write_report

    print(write_report(load_results(args.results)))
    return 0
