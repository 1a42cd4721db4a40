"""Write runs in the format of another tool: export tensorboard -o FOLDER."""

from __future__ import annotations

import argparse
from pathlib import Path

from d2r.cli.folders import add_results, results_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the formats and their options."""
    formats = parser.add_subparsers(dest="format", required=True, metavar="tensorboard")
    tensorboard = formats.add_parser(
        "tensorboard", help="what runs recorded over training, as event files", allow_abbrev=False
    )
    add_results(tensorboard, "the released `lite`")
    tensorboard.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="a folder, new or empty"
    )


def run(args: argparse.Namespace) -> int:
    """Write the event files and say how TensorBoard is started."""
    from d2r.export.tensorboard import export_runs

    paths = export_runs(results_folder(args), args.output)
    print(f"{args.output}: {len(paths)} runs (tensorboard --logdir {args.output})")
    return 0
