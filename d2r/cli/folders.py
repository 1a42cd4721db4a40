"""The two kinds of folders that commands are given, asked for alike: a run's, and that of a scale's results."""

from __future__ import annotations

import argparse
from pathlib import Path

from d2r.config import Scale, project_root
from d2r.errors import UserError


def add_run(parser: argparse.ArgumentParser) -> None:
    """Declare ``RUN``, the folder of one run."""
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="a run's folder: .../runs/BENCHMARK/METHOD/seedK"
    )


def add_results(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Declare ``--results FOLDER``, the results of one scale.

    Args:
        default: what is taken without it, in words; none: it must be given.
    """
    otherwise = "" if default is None else f" (default: {default})"
    parser.add_argument(
        "--results",
        type=Path,
        required=default is None,
        metavar="FOLDER",
        help=f"results of one scale, such as results/smoke{otherwise}",
    )


def scale_folder(scale: Scale) -> Path:
    """Where a scale's results are unless ``--results`` says otherwise."""
    return project_root() / "results" / scale.id


def results_folder(args: argparse.Namespace) -> Path:
    """The folder that ``--results`` names, or the released ``lite``, which somebody reads.

    Raises:
        UserError: if there is no such folder.
    """
    folder: Path = args.results or project_root() / "results" / "released" / "lite"
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give one like results/smoke with --results")
    return folder
