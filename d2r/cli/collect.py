"""Gather the files of all runs of a scale into tidy tables."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of ``d2r collect``."""
    parser.add_argument(
        "--results", type=Path, required=True, help="folder of one scale, such as results/smoke"
    )


def run(args: argparse.Namespace) -> int:
    """Write ``collected/`` and print where."""
    from d2r.findings.collect import collect

    print(collect(args.results))
    return 0
