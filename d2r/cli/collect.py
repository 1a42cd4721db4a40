"""Gather the files of all runs of a scale into tidy tables."""

from __future__ import annotations

import argparse

from d2r.cli.folders import add_results, results_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of ``d2r collect``."""
    add_results(parser)


def run(args: argparse.Namespace) -> int:
    """Write ``collected/`` and print where."""
    from d2r.findings.collect import collect

    print(collect(results_folder(args)))
    return 0
