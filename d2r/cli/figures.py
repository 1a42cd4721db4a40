"""Draw every figure of a scale as SVG and PNG."""

from __future__ import annotations

import argparse

from d2r.cli.folders import add_results, results_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of ``d2r figures``."""
    add_results(parser)


def run(args: argparse.Namespace) -> int:
    """Write ``figures/`` and print how many files it holds."""
    from d2r.findings.results import load_results
    from d2r.report.figures import write_figures

    paths = write_figures(load_results(results_folder(args)))
    print(f"{args.results / 'figures'}: {len(paths)} files")
    return 0
