"""Measure speed beside its limits: bench env, learner, train, replay and depth."""

from __future__ import annotations

import argparse
import importlib

from d2r.algorithms import execution
from d2r.config.schema import BENCHMARKS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the benchmarks and their options; what measures is imported when it runs."""
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="env|learner|train|replay|depth")
    for name, module, declare, purpose in (
        ("env", "environment", _env, "environment steps per second against stock Meta-World"),
        ("learner", "learner", _learner, "time of an update against the floor of its matrix products"),
        ("train", "training", _train, "a whole run's steps per second, and where its time goes"),
        ("replay", "replay", _replay, "memory of a full replay, and time to sample from it"),
        ("depth", "depth", _depth, "what a decision costs, with and without skipping unused modules"),
    ):
        kind = kinds.add_parser(name, help=purpose, allow_abbrev=False)
        declare(kind)
        kind.set_defaults(module=f"d2r.bench.{module}")


def run(args: argparse.Namespace) -> int:
    """Run the chosen benchmark."""
    status: int = importlib.import_module(args.module).run(args)
    return status


def _env(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``d2r bench env``."""
    parser.add_argument(
        "--benchmark", default="mt50-rand", help=f"{', '.join(BENCHMARKS)} (default: %(default)s)"
    )
    parser.add_argument(
        "--protocol", default="d2r-official", help="horizon, goals and reward (default: %(default)s)"
    )
    parser.add_argument(
        "--workers", type=int, default=2, help="processes of ours and of the ceiling (default: 2)"
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="measurements of each, in turns (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the goals (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object on one line")


def _learner(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``d2r bench learner``."""
    parser.add_argument("--method", default="d2r", help="method id (default: %(default)s)")
    parser.add_argument("--benchmark", default="mt10-rand", help="whose tasks (default: %(default)s)")
    parser.add_argument(
        "--scale", default="paper", help="whose network sizes and rates (default: %(default)s)"
    )
    parser.add_argument("--batch-per-task", type=int, help="transitions of each task (default: the scale's)")
    parser.add_argument("--threads", type=int, default=2, help="of torch (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=12, help="updates measured (default: %(default)s)")
    execution.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object on one line")


def _train(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``d2r bench train``."""
    parser.add_argument("--benchmark", default="mt10-rand", help="whose tasks (default: %(default)s)")
    parser.add_argument("--method", default="d2r", help="of the official setting (default: %(default)s)")
    parser.add_argument(
        "--setting", choices=("official", "light", "both"), default="both", help="which to measure"
    )
    parser.add_argument(
        "--threads", type=int, default=2, help="of torch, official setting (default: %(default)s)"
    )
    parser.add_argument("--workers", type=int, default=0, help="official setting (default: %(default)s)")
    parser.add_argument(
        "--steps", type=int, default=20, help="vector steps measured, light setting 20 times as many"
    )
    parser.add_argument(
        "--policy-lag", type=int, choices=(0, 1), default=0, help="official setting (default: %(default)s)"
    )
    execution.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object on one line")


def _replay(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``d2r bench replay``."""
    parser.add_argument("--method", default="d2r", help="method id (default: %(default)s)")
    parser.add_argument("--benchmark", default="mt50-rand", help="whose tasks (default: %(default)s)")
    parser.add_argument("--scale", default="paper", help="whose capacity and batch (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=50, help="batches sampled (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object on one line")


def _depth(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``d2r bench depth``."""
    parser.add_argument("--rounds", type=int, default=30, help="measurements (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object on one line")
