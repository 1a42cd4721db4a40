"""Evaluate the policy of a published run again and say whether its success is reproduced."""

from __future__ import annotations

import argparse
import json

from d2r.cli.folders import add_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_run(parser)
    parser.add_argument(
        "--workers", type=int, default=0, help="processes that step environments (default 0: none)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on one line")


def run(args: argparse.Namespace) -> int:
    """Evaluate; 1 if the success differs by more than chance allows."""
    from d2r.verify.policy import reevaluate

    found = reevaluate(args.run, args.workers)
    if args.json:
        overall = {name: value for name, value in found.overall._asdict().items() if name != "task"}
        verdict = {"exact": found.exact, "reproduced": found.reproduced, "verdict": found.verdict}
        print(json.dumps({"tasks": [rates._asdict() for rates in found.tasks], **overall, **verdict}))
    else:
        print(f"{'task':34s} {'published':>9s} {'now':>7s}  rates that chance allows")
        for rates in (*found.tasks, found.overall):
            print(
                f"{rates.task:34s} {rates.published:9.3f} {rates.now:7.3f}  [{rates.low:.3f}, {rates.high:.3f}]"
            )
        print(found.verdict)
    return 0 if found.reproduced else 1
