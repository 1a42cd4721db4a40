"""Evaluate a published policy again, from its run folder alone."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import fisher_exact

from d2r.config import RunConfig, RunKey, config_hash
from d2r.config.load import parse
from d2r.envs.vector import MetaWorldVectorEnv
from d2r.errors import UserError
from d2r.evaluation.success import evaluate
from d2r.files import read_bytes, sha256
from d2r.networks.base import Network
from d2r.networks.registry import build_actor, shape_actor
from d2r.runs.layout import POLICY, policy_path
from d2r.runs.record import is_unchanged, json_object, malformed
from d2r.runs.tidy import COLUMNS, number
from d2r.tensors import forms, read_tensors
from d2r.training.seeding import Stream, seed_sequence


class Again(NamedTuple):
    """Published and new success: rates per task, their means, whether they agree, and that in words.

    ``low`` and ``high`` are the success rates that chance allows, over all tasks and for each.
    ``exact``: success and return of every episode are the published ones.
    """

    tasks: list[dict[str, Any]]
    published: float
    now: float
    low: float
    high: float
    exact: bool
    reproduced: bool
    verdict: str


def read_run(folder: Path) -> tuple[dict[str, Any], RunConfig]:
    """Read and check ``run.json``: the record and its configuration.

    Raises:
        UserError: if it is missing, not valid, holds something that training does not write, or its
            configuration is not the one that was hashed.
    """
    path = folder / "run.json"
    try:
        content = read_bytes(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a run's folder") from None
    record = json_object(content)
    if record is None:
        raise UserError(f"{path}: not a run's record; it must be a JSON object")
    if not is_unchanged(content, record):
        raise UserError(f"{path}: does not have the sha256 that it states; the file has been changed")
    wrong = malformed(record)
    if wrong is not None:
        raise UserError(f"{path}: '{wrong}' is missing or not what training writes; train the run again")
    written = record["config"]
    if config_hash(written) != record["config_hash"]:
        raise UserError(f"{path}: its configuration does not have the hash stated; the file has been changed")
    config = parse(RunConfig, written, f"{path}: config")
    for name in RunKey._fields:
        if record[name] != written[name]:
            raise UserError(f"{path}: '{name}' is not that of its configuration; the file has been changed")
    return record, config


def check_output(folder: Path, record: dict[str, Any], name: str) -> Path:
    """Return the path of an output whose sha256 is the recorded one.

    Raises:
        UserError: if it is missing or has been changed.
    """
    path = policy_path(folder) if name == POLICY else folder / name
    if not path.is_file():
        hint = "; 'dvc pull' brings released policies" if name == POLICY else ""
        raise UserError(f"{path}: missing{hint}")
    if sha256(path) != record["outputs"].get(name):
        raise UserError(f"{path}: does not have the sha256 that run.json states; get it again")
    return path


def load_actor(folder: Path, record: dict[str, Any], config: RunConfig) -> Network:
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
    if record["status"] == "finished":
        for name, tensor in tensors.items():
            if not tensor.isfinite().all():
                raise UserError(
                    f"{path}: '{name}' holds a value that is no finite number; train the run again"
                )
    return actor.eval()


def evaluate_again(folder: Path, workers: int = 0) -> Again:
    """Evaluate a published policy on the goals of its run.

    The goals follow from the run's seed, so on the same kind of CPU every episode is the same as published, its
    return included; elsewhere each task's rate, and that of all tasks together, should be one that chance allows:
    both evaluations are binomial samples, and Fisher's exact test does not tell them apart (level 5 % over all of
    these tests, by Bonferroni). With few episodes it allows a task much: what tells another policy from this one is
    then the rate of all tasks.

    Raises:
        UserError: if the folder is not a finished run with an unchanged policy and an evaluation of its episodes.
    """
    record, config = read_run(folder)
    if record.get("status") != "finished":
        raise UserError(
            f"{folder}: this run is '{record.get('status')}'; only a finished run can be evaluated"
        )
    actor = load_actor(folder, record, config)
    path = check_output(folder, record, "evaluation.csv")
    published = _published(path)
    torch.set_num_threads(1)
    seed = seed_sequence(config.seed, Stream.ENVIRONMENT)
    env = MetaWorldVectorEnv(config.benchmark, config.protocol, seed, evaluation=True, workers=workers)
    try:
        if {name: len(episodes) for name, episodes in published.items()} != dict.fromkeys(
            env.task_names, config.evaluation_episodes
        ):
            raise UserError(
                f"{path}: does not hold {config.evaluation_episodes} episodes of each task of {config.benchmark}"
            )
        evaluation = evaluate(env, actor, config.evaluation_episodes)
    finally:
        env.close()
    assert evaluation is not None
    rows: list[dict[str, Any]] = []
    level = 0.05 / (env.num_envs + 1)
    every = [episode.success for name in env.task_names for episode in published[name]]
    for task, name in enumerate(env.task_names):
        before = [episode.success for episode in published[name]]
        rows.append({"task": name, **_rates(before, evaluation.success[task], level)})
    overall = _rates(every, evaluation.success, level)
    same_success = all(
        [episode.success for episode in published[name]] == evaluation.success[task].tolist()
        for task, name in enumerate(env.task_names)
    )
    exact = same_success and all(
        [episode.returned for episode in published[name]]
        == [number(float(r)) for r in evaluation.returns[task]]
        for task, name in enumerate(env.task_names)
    )
    within = all(row["low"] <= row["now"] <= row["high"] for row in [*rows, overall])
    if exact:
        verdict = "reproduced exactly"
    elif same_success:
        verdict = "success reproduced exactly, returns differ"
    else:
        verdict = "reproduced within chance" if within else "NOT reproduced"
    return Again(
        rows,
        **overall,
        exact=exact,
        reproduced=same_success or within,
        verdict=verdict,
    )


def _rates(before: Sequence[bool], now: npt.NDArray[np.bool_], level: float) -> dict[str, float]:
    """Both rates, and the lowest and highest of as many episodes that does not differ from the published one."""
    won, episodes = sum(before), len(before)
    low, high = won, won
    while low > 0 and _differ_by_chance(won, low - 1, episodes, level):
        low -= 1
    while high < episodes and _differ_by_chance(won, high + 1, episodes, level):
        high += 1
    rates = {"published": won / episodes, "now": float(now.mean())}
    return {**rates, "low": low / episodes, "high": high / episodes}


def _differ_by_chance(first: int, second: int, episodes: int, level: float) -> bool:
    counts = [[first, episodes - first], [second, episodes - second]]
    return float(fisher_exact(counts).pvalue) >= level


class _Episode(NamedTuple):
    success: bool
    returned: str
    """The return, in the digits of the file."""


def _published(path: Path) -> dict[str, list[_Episode]]:
    other = UserError(f"{path}: not an evaluation file (task,episode,success,return)")
    episodes: dict[str, list[_Episode]] = {}
    try:
        header, *rows = csv.reader(read_bytes(path).decode().splitlines())
    except (ValueError, csv.Error):  # no text, or no line of it
        raise other from None
    if header != list(COLUMNS[path.name]):
        raise other
    for row in rows:
        if len(row) != len(header) or row[2] not in ("0", "1"):
            raise other
        episodes.setdefault(row[0], []).append(_Episode(row[2] == "1", row[3]))
    return episodes
