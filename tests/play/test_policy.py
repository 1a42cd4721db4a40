"""A policy that is called: whatever rows it is asked about, its answers are those of an evaluation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from d2r.algorithms.policy import mean_action
from d2r.errors import UserError
from d2r.networks.d2r import route_graph
from tests.support.policies import random_policy

POLICY = random_policy()
TASKS = np.eye(10)


def observations(tasks: list[int], seed: int = 0) -> np.ndarray:
    states = np.random.default_rng(seed).normal(size=(len(tasks), 39))
    return np.concatenate([states, TASKS[tasks]], axis=1)


def alone(observation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Action and route of one row, from a batch in which every task has its state."""
    task = int(observation[39:].argmax())
    seen = torch.from_numpy(observation[:39]).float().expand(1, 1, 10, 39)
    with torch.no_grad():
        output = POLICY.actor(seen)
    assert output.route is not None
    return mean_action(output.value)[0, 0, task].numpy(), route_graph.edges(output.route)[0, 0, task].numpy()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=25), st.integers(0, 99))
@settings(max_examples=25)
def test_rows_of_any_tasks_in_any_order_are_answered_each_for_itself(tasks: list[int], seed: int) -> None:
    seen = observations(tasks, seed)
    actions, routes = POLICY.act(seen), POLICY.route(seen)
    assert routes is not None
    for row, action, route in zip(seen, actions, routes, strict=True):
        expected_action, expected_route = alone(row)
        np.testing.assert_allclose(action, expected_action, rtol=0, atol=1e-5)
        np.testing.assert_allclose(route, expected_route, rtol=0, atol=1e-5)


def test_one_row_of_every_task_in_order_is_the_very_product_of_an_evaluation() -> None:
    seen = observations(list(range(10)))
    with torch.no_grad():
        expected = mean_action(POLICY.actor(torch.from_numpy(seen[:, :39]).float().view(1, 1, 10, 39)).value)
    assert np.array_equal(POLICY.act(seen), expected[0, 0].numpy())
    assert np.array_equal(POLICY.eval_action(seen), POLICY.act(seen))


def test_leading_axes_are_kept() -> None:
    seen = observations([4, 1, 4, 2, 0, 9]).reshape(2, 3, 49)
    assert POLICY.act(seen).shape == (2, 3, 4)
    assert POLICY.act(seen[0, 0]).shape == (4,)
    assert POLICY.act(seen[:0]).shape == (0, 3, 4)
    np.testing.assert_allclose(POLICY.act(seen)[1, 2], POLICY.act(seen[1, 2]), rtol=0, atol=1e-5)


def test_a_network_without_routes_has_none() -> None:
    policy = random_policy("mtsac")
    assert policy.route(observations([3])) is None
    assert policy.act(observations([3])).shape == (1, 4)


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        (np.zeros(39), r"shape \(39,\): the last axis must be .* 49 together"),
        (3.0, r"shape \(\)"),
        (np.zeros((2, 49)), "one-hot"),
        (observations([1]) * 2, "one-hot"),
    ],
)
def test_other_observations_are_refused(given_: np.ndarray, said: str) -> None:
    with pytest.raises(UserError, match=said):
        POLICY.act(given_)
