"""Measure speed beside its limits: bench env, bench learner, bench train."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the benchmarks and their options."""
    from d2r.bench import environment

    kinds = parser.add_subparsers(dest="kind", required=True, metavar="env")
    env = kinds.add_parser(
        "env", help="environment steps per second against stock Meta-World", allow_abbrev=False
    )
    environment.add_arguments(env)
    env.set_defaults(bench=environment.run)


def run(args: argparse.Namespace) -> int:
    """Run the chosen benchmark."""
    status: int = args.bench(args)
    return status
