"""Draw every figure of a scale as SVG and PNG."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of ``d2r figures``."""
    parser.add_argument(
        "--results", type=Path, required=True, help="folder of one scale, after `d2r collect`"
    )


def run(args: argparse.Namespace) -> int:
    """Write ``figures/`` and print how many files it holds."""
    from d2r.findings.results import load_results
    from d2r.report.figures import write_figures

    paths = write_figures(load_results(args.results))
    print(f"{args.results / 'figures'}: {len(paths)} files")
    return 0
