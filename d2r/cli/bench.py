"""Measure speed beside its limits: bench env, learner, train, replay and depth."""

from __future__ import annotations

import argparse
import json
from typing import Any

from d2r.cli import execution
from d2r.cli.text import BENCHMARK_HELP
from d2r.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the benchmarks and their options; what measures is imported when it runs."""
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="env|learner|train|replay|depth")
    for name, declare, measure, purpose in (
        ("env", _env_options, _env, "environment steps per second against stock Meta-World"),
        ("learner", _learner_options, _learner, "time of an update against the floor of its matrix products"),
        ("train", _train_options, _train, "a whole run's steps per second, and where its time goes"),
        ("replay", _replay_options, _replay, "memory of a full replay, and time to sample from it"),
        ("depth", _depth_options, _depth, "what a decision costs, with and without skipping unused modules"),
    ):
        kind = kinds.add_parser(name, help=purpose, allow_abbrev=False)
        declare(kind)
        kind.add_argument("--json", action="store_true", help="one JSON object on one line")
        kind.set_defaults(measure=measure)


def run(args: argparse.Namespace) -> int:
    """Run the chosen benchmark."""
    args.measure(args)
    return 0


def _env_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``d2r bench env``."""
    parser.add_argument("--benchmark", default="mt50-rand", help=f"{BENCHMARK_HELP} (default: %(default)s)")
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


def _env(args: argparse.Namespace) -> None:
    from d2r.bench.environment import measure
    from d2r.config import load_protocol

    if args.seed < 0:
        raise UserError(f"seed is {args.seed}: must not be negative")
    result = measure(args.benchmark, load_protocol(args.protocol), args.workers, args.rounds, args.seed)
    if args.json:
        print(json.dumps(result))
        return
    print(
        f"{args.benchmark}, protocol {args.protocol}: {result['tasks']} tasks, horizon {result['horizon']}, "
        f"{args.workers} workers; environment steps per second, median of {args.rounds} rounds"
    )
    labels = {
        "stock_sync_sps": "stock Meta-World, SyncVectorEnv",
        "stock_async_sps": "stock Meta-World, AsyncVectorEnv",
        "ours_sps": "ours",
        "physics_ceiling_sps": "MuJoCo alone, as many processes",
    }
    for name, label in labels.items():
        print(
            f"  {label:36s} {result[name]:8,d}   {result[name] / result['stock_sync_sps']:5.2f} x stock sync"
        )


def _learner_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``d2r bench learner``."""
    parser.add_argument("--method", default="d2r", help="method id (default: %(default)s)")
    parser.add_argument("--benchmark", default="mt10-rand", help="whose tasks (default: %(default)s)")
    parser.add_argument(
        "--scale", default="paper", help="whose network sizes and rates (default: %(default)s)"
    )
    parser.add_argument("--batch-per-task", type=int, help="transitions of each task (default: the scale's)")
    parser.add_argument("--threads", type=int, default=2, help="of torch (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=12, help="updates measured (default: %(default)s)")
    parser.add_argument(
        "--cohort", type=int, default=1, help="seeds that learn side by side (default: %(default)s)"
    )
    execution.add_arguments(parser)


def _learner(args: argparse.Namespace) -> None:
    from d2r.algorithms.execution.prepare import check_cohort, prepare
    from d2r.bench.learner import measure, with_batch
    from d2r.config import load_scale, resolve_run

    config = resolve_run(load_scale(args.scale), args.benchmark, args.method, 1)
    config = with_batch(config, args.batch_per_task)
    how = execution.chosen(args)
    prepare(how, args.device)
    check_cohort(args.cohort)
    result = measure(config, args.threads, args.rounds, how, args.device, args.cohort)
    if args.json:
        print(json.dumps(result))
        return
    print(
        f"{result['method']} on {result['benchmark']}, batch {result['batch']}, {result['cohort']} seeds, "
        f"{result['threads']} threads: {result['updates_per_second']} updates a second of each; "
        f"update {result['update_ms']} ms (median {result['update_ms_median']}), {result['times_floor']} times its "
        f"floor of {result['floor_ms']} ms ({result['floor_gflop']} GFLOP at {result['sgemm_gflops']} GFLOP/s); "
        f"sampling {result['sample_ms']} ms; peak memory {result['peak_mb']} MB"
    )


def _train_options(parser: argparse.ArgumentParser) -> None:
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
    parser.add_argument(
        "--cohort", type=int, default=1, help="seeds side by side, official setting (default: %(default)s)"
    )
    execution.add_arguments(parser)


def _train(args: argparse.Namespace) -> None:
    from d2r.algorithms.execution.prepare import check_cohort, check_threads, prepare
    from d2r.bench.about import about
    from d2r.bench.training import light, measure, official
    from d2r.training.run import Machine

    check_threads(args.threads)
    if args.steps <= 0:
        raise UserError(f"steps is {args.steps}: must be positive")
    how = execution.chosen(args)
    prepare(how, args.device)
    result: dict[str, Any] = {}
    if args.setting != "light":
        machine = Machine(args.workers, args.threads, args.device, how)
        config = official(args.benchmark, args.method)
        protocol = config.protocol.model_copy(update={"policy_lag": args.policy_lag})
        config = config.model_copy(update={"protocol": protocol})
        check_cohort(args.cohort)
        result["official"] = measure(config, machine, 200, args.steps, args.cohort)
    if args.setting != "official":
        result["light"] = measure(
            light(args.benchmark), Machine(0, 1, args.device, how), 200, 20 * args.steps
        )
    if args.json:
        print(json.dumps(result | about()))
        return
    for setting, one in result.items():
        _print_setting(setting, one)


def _print_setting(setting: str, one: dict[str, Any]) -> None:
    print(
        f"{setting}: {one['method']} on {one['benchmark']}, batch {one['batch']}, {one['threads']} threads, "
        f"{one['workers']} workers: {one['steps_per_second']} environment steps/s"
        + (
            f", {one['share_of_bound']} of what environment and floor would allow"
            if one["share_of_bound"]
            else ""
        )
    )
    for part, spent in one["ms_per_vector_step"].items():
        print(f"  {part:12s} {spent:10.3f} ms a vector step   {one['share'][part]:7.2%}")


def _replay_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``d2r bench replay``."""
    parser.add_argument("--method", default="d2r", help="method id (default: %(default)s)")
    parser.add_argument("--benchmark", default="mt50-rand", help="whose tasks (default: %(default)s)")
    parser.add_argument("--scale", default="paper", help="whose capacity and batch (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=50, help="batches sampled (default: %(default)s)")


def _replay(args: argparse.Namespace) -> None:
    from d2r.bench.replay import measure
    from d2r.config import load_scale, resolve_run

    result = measure(resolve_run(load_scale(args.scale), args.benchmark, args.method, 1), args.rounds)
    if args.json:
        print(json.dumps(result))
        return
    print(
        f"{result['transitions']:,d} transitions of {result['benchmark']} with the routes of {result['method']}: "
        f"{result['resident_gb']} GB, {result['bytes_per_transition']} bytes each; "
        f"a batch of {result['batch']} in {result['sample_ms']} ms"
    )


def _depth_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``d2r bench depth``."""
    parser.add_argument("--rounds", type=int, default=30, help="measurements (default: %(default)s)")


def _depth(args: argparse.Namespace) -> None:
    from d2r.bench.about import about
    from d2r.bench.depth import ACTORS, measure

    result = measure(args.rounds)
    if args.json:
        print(json.dumps({"methods": result, "actors": ACTORS, **about()}))
        return
    for method, costs in result.items():
        print(method)
        for name, value in costs.items():
            text = ", ".join(f"{v:,}" for v in value) if isinstance(value, list) else f"{value:,}"
            print(f"  {name:22s} {text:>12s}")
