"""Draw each task's route in one run, with a table of modules used against success."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from d2r.cli.folders import add_run
from d2r.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of ``d2r routes``."""
    add_run(parser)
    parser.add_argument("--step", type=int, help="training step to draw (default: the last one recorded)")
    parser.add_argument(
        "--from-policy",
        action="store_true",
        help="roll out the published policy and look at the routes that it takes, instead of those recorded",
    )
    parser.add_argument("--output", type=Path, help="folder to write (default: RUN's name below ./routes)")


def run(args: argparse.Namespace) -> int:
    """Draw, and print the table."""
    from d2r.report.draw_routes import draw_routes, order_from_baselines, read_recorded, routes_table

    if args.from_policy and args.step is not None:
        raise UserError("--step: a policy is of the last step only; leave --step or --from-policy out")
    if args.from_policy:
        from d2r.verify.policy import routes_of_policy

        found = routes_of_policy(args.run)
    else:
        found = read_recorded(args.run, args.step)
    found = replace(found, order=order_from_baselines(args.run, found.record.benchmark))
    paths = draw_routes(found, args.output or Path("routes") / found.name)
    print(routes_table(found).markdown())
    for path in paths:
        print(path)
    return 0
