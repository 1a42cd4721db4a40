from __future__ import annotations

import itertools

import numpy as np
import pytest

from d2r.config.schema import Protocol
from d2r.envs.goals import LISTED_GOALS, goal_source, make_goals, stream
from d2r.envs.tasks import make_fast, make_stock
from d2r.envs.vector import MetaWorldVectorEnv
from tests.support.environments import shortened

TASK = "push-v3"  # its resets reject draws that lie too close together


def seed(number: int = 1) -> np.random.SeedSequence:
    return np.random.SeedSequence(number)


def goals_of(kind: str, episodes: int, evaluation: bool = False, number: int = 1) -> list[tuple[float, ...]]:
    env = make_fast(TASK)
    source = goal_source(env, 3, kind, seed(number), evaluation)
    goals = []
    for _ in range(episodes):
        source.prepare(env)
        env.reset()
        goals.append(tuple(env._last_rand_vec))
    return goals


def test_no_two_streams_are_alike() -> None:
    keys = itertools.product(("goals", "training", "evaluation"), range(50))
    first_draws = {stream(seed(), purpose, task).integers(2**62) for purpose, task in keys}
    assert len(first_draws) == 150
    assert stream(seed(), "goals", 4).integers(2**62) == stream(seed(), "goals", 4).integers(2**62)


def test_streams_are_children_of_the_sequence_they_are_given() -> None:
    parent = seed()
    children = parent.spawn(2)
    draws = {stream(sequence, "goals", 0).integers(2**62) for sequence in (parent, *children)}
    assert len(draws) == 3


@pytest.mark.parametrize("task", [TASK, "door-lock-v3"])
def test_goals_are_sampled_as_metaworld_samples_them(task: str) -> None:
    stock = make_goals(make_stock(task), 3, stream(seed(), "goals", 0))
    assert make_goals(make_fast(task), 3, stream(seed(), "goals", 0)).tobytes() == stock.tobytes()


def test_goals_lie_in_the_reset_space_and_are_unique() -> None:
    env = make_fast(TASK)
    goals = make_goals(env, LISTED_GOALS, stream(seed(), "goals", 0))
    assert goals.shape == (LISTED_GOALS, env._random_reset_space.shape[0])
    assert len(np.unique(goals, axis=0)) == LISTED_GOALS
    assert (goals >= env._random_reset_space.low).all()
    assert (goals <= env._random_reset_space.high).all()


def test_fixed_means_one_goal_for_training_and_evaluation() -> None:
    assert len({*goals_of("fixed", 3), *goals_of("fixed", 3, evaluation=True)}) == 1
    assert goals_of("fixed", 1, number=2) != goals_of("fixed", 1)


def test_continuous_goals_never_repeat_and_evaluation_has_its_own() -> None:
    assert len({*goals_of("continuous", 20), *goals_of("continuous", 20, evaluation=True)}) == 40
    assert goals_of("continuous", 5) == goals_of("continuous", 5)


def test_seeded_goals_are_fifty_and_evaluation_visits_each_once_in_order() -> None:
    visited = goals_of("seeded-50", 2 * LISTED_GOALS, evaluation=True)
    assert len(set(visited[:LISTED_GOALS])) == LISTED_GOALS
    assert visited[:LISTED_GOALS] == visited[LISTED_GOALS:]
    training = goals_of("seeded-50", 40)
    assert set(training) <= set(visited)
    assert training != visited[:40]


def test_every_evaluation_starts_with_the_same_goals() -> None:
    protocol: Protocol = shortened("d2r-official", 2)
    env = MetaWorldVectorEnv("mt10-rand", protocol, seed(), evaluation=True)
    first = env.reset_arrays()
    for _ in range(3):
        env.step_arrays(np.zeros((10, 4)))
    assert env.reset_arrays().tobytes() == first.tobytes()


def test_training_goes_on_with_new_goals() -> None:
    env = MetaWorldVectorEnv("mt10-rand", shortened("d2r-official", 2), seed())
    goals = [env.reset_arrays()[:, 36:] for _ in range(2)]
    assert (goals[0] != goals[1]).any(axis=1).all()
