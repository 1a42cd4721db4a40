"""Measure speed beside its limits: bench env, learner, train, replay and depth."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the benchmarks and their options."""
    from d2r.bench import depth, environment, learner, replay, training

    kinds = parser.add_subparsers(dest="kind", required=True, metavar="env|learner|train|replay|depth")
    for name, module, purpose in (
        ("env", environment, "environment steps per second against stock Meta-World"),
        ("learner", learner, "time of an update against the floor of its matrix products"),
        ("train", training, "a whole run's steps per second, and where its time goes"),
        ("replay", replay, "memory of a full replay, and time to sample from it"),
        ("depth", depth, "what a decision costs, with and without skipping unused modules"),
    ):
        kind = kinds.add_parser(name, help=purpose, allow_abbrev=False)
        module.add_arguments(kind)
        kind.set_defaults(bench=module.run)


def run(args: argparse.Namespace) -> int:
    """Run the chosen benchmark."""
    status: int = args.bench(args)
    return status
