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
    from d2r.verify.policy import evaluate_again

    comparison = evaluate_again(args.run, args.workers)
    if args.json:
        print(json.dumps(comparison._asdict()))
    else:
        print(f"{'task':34s} {'published':>9s} {'now':>7s}  rates that chance allows")
        for row in [*comparison.tasks, {"task": "all tasks", **comparison._asdict()}]:
            print(
                f"{row['task']:34s} {row['published']:9.3f} {row['now']:7.3f}  [{row['low']:.3f}, {row['high']:.3f}]"
            )
        print(comparison.verdict)
    return 0 if comparison.reproduced else 1
