"""Write runs for other uses: export tensorboard -o FOLDER, export learner RUN."""

from __future__ import annotations

import argparse
from pathlib import Path

from d2r.cli.folders import add_results, results_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the formats and their options."""
    formats = parser.add_subparsers(dest="format", required=True, metavar="FORMAT")
    tensorboard = formats.add_parser(
        "tensorboard", help="what runs recorded over training, as event files", allow_abbrev=False
    )
    add_results(tensorboard, "the released `lite`")
    tensorboard.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="a folder, new or empty"
    )
    learner = formats.add_parser(
        "learner", help="a finished run's learner, for other runs to start from", allow_abbrev=False
    )
    learner.add_argument(
        "run", type=Path, metavar="RUN", help="its folder, with its last checkpoint in place"
    )


def run(args: argparse.Namespace) -> int:
    """Write the learner; or the event files, and say how TensorBoard is started."""
    if args.format == "learner":
        from d2r.training.learner_file import export_learner

        print(export_learner(args.run))
        return 0
    from d2r.export.tensorboard import export_runs

    paths = export_runs(results_folder(args), args.output)
    print(f"{args.output}: {len(paths)} runs (tensorboard --logdir {args.output})")
    return 0
