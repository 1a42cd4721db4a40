"""A published policy, evaluated again from its run's folder alone."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy.stats import fisher_exact

from d2r.config import RunConfig
from d2r.envs.vector import MetaWorldVectorEnv
from d2r.errors import UserError
from d2r.evaluation.success import Evaluation, evaluate
from d2r.networks.base import Network
from d2r.networks.d2r.network import RoutedNetwork
from d2r.networks.registry import build_actor, shape_actor
from d2r.report.draw_routes import RunRoutes
from d2r.runs.layout import EVALUATION, POLICY, ROUTES
from d2r.runs.record import RunRecord, check_output, check_place, read_config, read_run
from d2r.runs.tidy import COLUMNS, number, read_rows
from d2r.tensors import forms, read_tensors
from d2r.training.routing_instruments import survey_routes
from d2r.training.seeding import Stream, seed_sequence


class TaskRates(NamedTuple):
    """A task's success as published and now, and the lowest and highest that chance allows."""

    task: str
    published: float
    now: float
    low: float
    high: float

    @property
    def within(self) -> bool:
        """Whether chance allows the new rate."""
        return self.low <= self.now <= self.high


class Reevaluation(NamedTuple):
    """A published policy evaluated again.

    Attributes:
        tasks: success of each task.
        overall: success of all tasks together.
        exact: success and return of every episode are the published ones.
        reproduced: success of every episode is, or chance allows the difference.
        verdict: that in words.
    """

    tasks: list[TaskRates]
    overall: TaskRates
    exact: bool
    reproduced: bool
    verdict: str


def load_actor(folder: Path, record: RunRecord, config: RunConfig) -> Network:
    """Build the run's actor and load its published weights, after their hash.

    Raises:
        UserError: if the file is missing, changed, holds other tensors than the network has, or a finished
            run's holds a value that is no finite number.
    """
    path = check_output(folder, record, POLICY)
    other = UserError(f"{path}: does not hold the tensors of a '{config.method}' actor")
    tensors = read_tensors(path)
    expected = shape_actor(
        config.network, config.num_tasks
    ).state_dict()  # takes no memory, whatever its sizes
    if tensors is None or forms(tensors) != forms(expected):
        raise other
    actor = build_actor(config.network, config.num_tasks, torch.Generator())
    actor.load_state_dict(tensors)
    if record.finished:
        for name, tensor in tensors.items():
            if not tensor.isfinite().all():
                raise UserError(
                    f"{path}: '{name}' holds a value that is no finite number; train the run again"
                )
    return actor.eval()


def reevaluate(folder: Path, workers: int = 0) -> Reevaluation:
    """Evaluate a published policy on the goals of its run.

    The goals follow from the run's seed, so on the same kind of CPU every episode is the same as published, its
    return included; elsewhere each task's rate, and that of all tasks together, should be one that chance allows:
    both evaluations are binomial samples, and Fisher's exact test does not tell them apart (level 5 % over all of
    these tests, by Bonferroni). With few episodes it allows a task much: what tells another policy from this one is
    then the rate of all tasks.

    Raises:
        UserError: if the folder is not a finished run with an unchanged policy and an evaluation of its episodes.
    """
    record = read_run(folder)
    config = read_config(folder, record)
    if not record.finished:
        raise UserError(f"{folder}: this run failed; only a finished run can be evaluated")
    actor = load_actor(folder, record, config)
    published = _published(check_output(folder, record, EVALUATION), config)
    evaluation = _evaluate(actor, config, workers)
    names = config.tasks
    level = 0.05 / (len(names) + 1)
    tasks = [
        TaskRates(
            name, *_rates([episode.success for episode in published[name]], evaluation.success[task], level)
        )
        for task, name in enumerate(names)
    ]
    every = [episode.success for name in names for episode in published[name]]
    overall = TaskRates("all tasks", *_rates(every, evaluation.success.ravel(), level))
    same_success = every == evaluation.success.ravel().tolist()
    returns = [episode.returned for name in names for episode in published[name]]
    exact = same_success and returns == [
        float(number(value)) for value in evaluation.returns.ravel().tolist()
    ]
    within = all(rates.within for rates in (*tasks, overall))
    if exact:
        verdict = "reproduced exactly"
    elif same_success:
        verdict = "success reproduced exactly, returns differ"
    else:
        verdict = "reproduced within chance" if within else "NOT reproduced"
    return Reevaluation(tasks, overall, exact, same_success or within, verdict)


def routes_of_policy(folder: Path) -> RunRoutes:
    """Roll out a run's policy on its own evaluation goals and look at its deterministic routes.

    Raises:
        UserError: if the folder is no finished run, its policy is absent or changed, or it does not route.
    """
    record = read_run(folder)
    check_place(folder, record)  # its names decide where drawings are written
    config = read_config(folder, record)
    if not record.finished:
        raise UserError(f"{folder}: this run failed; only a finished run's policy can be drawn")
    actor = load_actor(folder, record, config)
    if not isinstance(actor, RoutedNetwork):
        raise UserError(f"{folder}: '{config.method}' does not route; give a run of a routed method")
    evaluation = _evaluate(actor, config, 0)
    names = config.tasks
    survey = survey_routes(actor, evaluation.states, config.evaluation_episodes, None, record.steps)
    routes = pd.DataFrame(survey.routes, columns=list(COLUMNS[ROUTES]))
    routes["task"] = [names[int(task)] for task in routes["task"]]
    used = {names[int(row[1])]: float(row[3]) for row in survey.metrics if row[2] == "modules_used"}
    success = dict(zip(names, evaluation.success.mean(axis=1).tolist(), strict=True))
    return RunRoutes(record, record.steps, routes, used, success)


def _evaluate(actor: Network, config: RunConfig, workers: int) -> Evaluation:
    """Evaluate a run's policy as training did at its end."""
    torch.set_num_threads(1)
    seed = seed_sequence(config.seed, Stream.ENVIRONMENT)
    env = MetaWorldVectorEnv(config.trained_on, config.protocol, seed, evaluation=True, workers=workers)
    with closing(env):
        evaluation = evaluate(env, actor, config.evaluation_episodes)
    assert evaluation is not None, "nobody stops it"
    return evaluation


def _rates(
    before: Sequence[bool], now: npt.NDArray[np.bool_], level: float
) -> tuple[float, float, float, float]:
    """Both rates, and the lowest and highest of as many episodes that does not differ from the published one."""
    won, episodes = sum(before), len(before)
    low, high = won, won
    while low > 0 and _differ_by_chance(won, low - 1, episodes, level):
        low -= 1
    while high < episodes and _differ_by_chance(won, high + 1, episodes, level):
        high += 1
    return won / episodes, float(now.mean()), low / episodes, high / episodes


def _differ_by_chance(first: int, second: int, episodes: int, level: float) -> bool:
    counts = [[first, episodes - first], [second, episodes - second]]
    return float(fisher_exact(counts).pvalue) >= level


class _Episode(NamedTuple):
    success: bool
    returned: float


def _published(path: Path, config: RunConfig) -> dict[str, list[_Episode]]:
    """The episodes of each task in a published evaluation."""
    episodes: dict[str, list[_Episode]] = {}
    for row in read_rows(path):
        if row["success"] not in (0, 1):
            raise UserError(f"{path}: a success that is neither 0 nor 1; restore it, or train the run again")
        episodes.setdefault(row["task"], []).append(_Episode(row["success"] == 1, row["return"]))
    expected = dict.fromkeys(config.tasks, config.evaluation_episodes)
    if {name: len(of_task) for name, of_task in episodes.items()} != expected:
        raise UserError(
            f"{path}: does not hold {config.evaluation_episodes} episodes of each task of {config.benchmark}"
        )
    return episodes
