"""Draw each task's route in one run, with a table of modules used against success."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from d2r.cli.folders import add_run
from d2r.errors import UserError

if TYPE_CHECKING:
    from d2r.report.draw_routes import RunRoutes


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
    found = read_policy(args.run) if args.from_policy else read_recorded(args.run, args.step)
    found = replace(found, order=order_from_baselines(args.run, str(found.about["benchmark"])))
    paths = draw_routes(found, args.output or Path("routes") / found.name)
    print(routes_table(found).markdown())
    for path in paths:
        print(path)
    return 0


def read_policy(folder: Path) -> RunRoutes:
    """Roll out a run's policy on its own evaluation goals and look at its deterministic routes.

    Raises:
        UserError: if the folder is no finished run, its policy is absent or changed, or it does not route.
    """
    import pandas as pd
    import torch

    from d2r.envs.vector import MetaWorldVectorEnv
    from d2r.evaluation.success import evaluate
    from d2r.networks.d2r.network import RoutedNetwork
    from d2r.report.draw_routes import RunRoutes, read_record
    from d2r.runs.tidy import COLUMNS
    from d2r.training.routing_instruments import survey_routes
    from d2r.training.seeding import Stream, seed_sequence
    from d2r.verify.policy import load_actor, read_run

    read_record(folder)
    record, config = read_run(folder)
    if record["status"] != "finished":
        raise UserError(
            f"{folder}: this run is '{record['status']}'; only a finished run's policy can be drawn"
        )
    actor = load_actor(folder, record, config)
    if not isinstance(actor, RoutedNetwork):
        raise UserError(f"{folder}: '{config.method}' does not route; give a run of a routed method")
    torch.set_num_threads(1)
    seed = seed_sequence(config.seed, Stream.ENVIRONMENT)
    env = MetaWorldVectorEnv(config.benchmark, config.protocol, seed, evaluation=True)
    try:
        evaluation = evaluate(env, actor, config.evaluation_episodes)
        names = env.task_names
    finally:
        env.close()
    assert evaluation is not None
    survey = survey_routes(actor, evaluation.states, None, int(record["steps"]))
    routes = pd.DataFrame(survey.routes, columns=list(COLUMNS["routes.csv"]))
    routes["task"] = [names[int(task)] for task in routes["task"]]
    used = {names[int(row[1])]: float(row[3]) for row in survey.metrics if row[2] == "modules_used"}
    success = dict(zip(names, evaluation.success.mean(axis=1).tolist(), strict=True))
    return RunRoutes(record, int(record["steps"]), routes, used, success)
