"""Train one run and evaluate it; the same command resumes it."""

from __future__ import annotations

import argparse

from d2r.cli import execution
from d2r.cli.folders import add_results, scale_folder
from d2r.cli.text import BENCHMARK_HELP
from d2r.config import changed_method, check_seed, load_scale, method_id, resolve_run
from d2r.config.changes import read_values
from d2r.config.seeds import parse_seeds
from d2r.cores import available_cores
from d2r.errors import UserError

REPEATED = ("--set",)
"""Options that may be given several times."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--scale", default="smoke", help="how much is run: a file of config/scales (default smoke)"
    )
    parser.add_argument("--benchmark", required=True, help=BENCHMARK_HELP)
    parser.add_argument(
        "--method",
        required=True,
        help="a file of config/methods, or a variant of the scale",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="another value of the method, such as sac.batch_per_task=32 or network.num_modules=8; may be repeated",
    )
    seeds = parser.add_mutually_exclusive_group(required=True)
    seeds.add_argument("--seed", type=check_seed, help="the one source of the run's randomness")
    seeds.add_argument(
        "--seeds", type=parse_seeds, help="train several seeds side by side, such as 1-10 or 1-3,7"
    )
    add_results(parser, "results/SCALE")
    parser.add_argument("--steps", type=int, help="environment steps per task, in place of the scale's")
    parser.add_argument(
        "--workers",
        type=int,
        help="processes that step environments (default 0: none; with --device cuda as many as there are cores)",
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default 1)")
    execution.add_arguments(parser)
    parser.add_argument(
        "--record-failure",
        action="store_true",
        help="exit with 0, not 1, if numbers go wrong (the run is published as failed), so that a pipeline goes on",
    )


def run(args: argparse.Namespace) -> int:
    """Resolve the run and train it."""
    from d2r.algorithms.execution.prepare import check_cohort, check_threads, prepare
    from d2r.training.run import Machine
    from d2r.training.train import train_together

    scale = load_scale(args.scale)
    overrides = {} if args.steps is None else {"steps": args.steps}
    seeds = [args.seed] if args.seeds is None else args.seeds
    check_cohort(len(seeds))
    method = changed_method(method_id(scale, args.method), read_values(args.set), "--set")
    first = resolve_run(scale, args.benchmark, method, seeds[0], overrides)
    configs = [first.model_copy(update={"seed": seed}) for seed in seeds]
    results = args.results or scale_folder(scale)
    check_threads(args.threads)
    tasks = first.num_tasks * len(seeds)
    workers = args.workers
    if workers is None:
        workers = min(available_cores(), tasks) if args.device == "cuda" else 0
    if not 0 <= workers <= tasks:
        raise UserError(f"--workers {workers}: must be from 0 to the number of tasks, {tasks}")
    machine = Machine(workers, args.threads, args.device, execution.chosen(args))
    prepare(machine.execution, machine.device)
    return train_together(configs, results, machine, args.record_failure, overridden=bool(overrides))
