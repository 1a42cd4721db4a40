from __future__ import annotations

import itertools
import json
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st
from metaworld.evaluation import evaluation
from metaworld.policies import ENV_POLICY_MAP
from metaworld.wrappers import AutoTerminateOnSuccessWrapper

from d2r.config.load import load_protocol
from d2r.config.schema import Protocol
from d2r.envs.goals import LISTED_GOALS, make_goals, stream, use_goal
from d2r.envs.tasks import INFO_KEYS, make_fast, make_stock
from d2r.envs.vector import MetaWorldVectorEnv
from d2r.errors import UserError
from tests.support.environments import HORIZON, actions, build, shortened, trace


def test_it_is_a_gymnasium_vector_environment(short: Protocol) -> None:
    env = build(short)
    assert isinstance(env, VectorEnv)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert (env.num_envs, env.observation_space.shape, env.action_space.shape) == (10, (10, 49), (10, 4))
    observations, info = env.reset()
    assert info == {}
    assert env.observation_space.contains(observations)
    assert (observations[:, 39:] == np.eye(10)).all()
    env.action_space.seed(0)
    observations, rewards, terminated, truncated, infos = env.step(env.action_space.sample())
    assert env.observation_space.contains(observations)
    assert (rewards.shape, rewards.dtype) == ((10,), np.float64)
    assert not terminated.any()
    assert not truncated.any()
    assert set(INFO_KEYS) <= set(infos)
    assert "final_obs" not in infos


def test_episodes_end_together_at_the_horizon_and_the_next_ones_begin_at_once(short: Protocol) -> None:
    env, arrays = build(short), build(short)
    env.reset()
    first = arrays.reset_arrays()
    for step, action in enumerate(actions(2 * HORIZON), start=1):
        observations, rewards, _, truncated, infos = env.step(action)
        result = arrays.step_arrays(action)
        assert result.observations.tobytes() == np.ascontiguousarray(observations[:, :39]).tobytes()
        assert result.rewards.tobytes() == rewards.tobytes()
        assert truncated.all() == truncated.any() == result.done == (step % HORIZON == 0)
        if result.done:
            assert infos["_final_obs"].all()
            assert (infos["final_obs"][:, :39] == result.final_observations).all()
            assert (infos["final_info"]["success"] == infos["success"]).all()
            assert (result.observations[:, 18:36] == result.observations[:, :18]).all()  # as after any reset
            assert (result.observations != result.final_observations).any(axis=1).all()
            assert np.allclose(result.observations[:, :3], first[:, :3], atol=0.01)  # the hand is back


def test_results_may_be_kept(short: Protocol) -> None:
    env = build(short)
    kept = env.reset_arrays()
    before = kept.copy()
    result = env.step_arrays(actions(1)[0])
    observations = result.observations.copy()
    env.step_arrays(actions(1)[0])
    assert (kept == before).all()
    assert (result.observations == observations).all()


def test_the_reward_is_scaled_by_the_protocol() -> None:
    protocol = shortened("d2r-official", HORIZON)
    whole = protocol.model_copy(update={"reward_scale": 1.0})
    envs = [build(protocol), build(whole)]
    for env in envs:
        env.reset_arrays()
    for action in actions(3):
        scaled, unscaled = (env.step_arrays(action).rewards for env in envs)
        assert (scaled == unscaled * 0.1).all()
        assert (unscaled > 0).any()


@pytest.mark.parametrize("benchmark", ["mt10-fixed", "mt10-rand"])
def test_one_seed_one_run(short: Protocol, benchmark: str) -> None:
    traces = set()
    for number in (1, 1, 2):
        env = build(short, benchmark, number)
        env.reset_arrays()
        traces.add(trace(env, actions(2 * HORIZON + 1)))
    assert len(traces) == 2


@given(saved_after=st.integers(0, 3 * HORIZON), benchmark=st.sampled_from(["mt10-fixed", "mt10-rand"]))
@settings(max_examples=6, deadline=None)
@pytest.mark.parametrize("protocol", ["d2r-official", "metaworld-plus"])
def test_a_state_continues_with_the_same_bits(protocol: str, saved_after: int, benchmark: str) -> None:
    short = shortened(protocol, HORIZON)
    env = build(short, benchmark)
    env.reset()
    taken = actions(saved_after + HORIZON + 2)
    trace(env, taken[:saved_after])
    state = env.state_dict()
    arrays = {key: value for key, value in state.items() if isinstance(value, np.ndarray)}
    plain = json.loads(json.dumps({key: value for key, value in state.items() if key not in arrays}))
    now = env._with_one_hot(env._buffers.observations)
    rest = trace(env, taken[saved_after:])
    other = build(short, benchmark)
    trace_of_another_run = actions(3, number=9)
    other.reset()
    trace(other, trace_of_another_run)
    assert other.load_state_dict({**plain, **arrays}).tobytes() == now.tobytes()
    assert trace(other, taken[saved_after:]) == rest


def test_a_state_from_before_the_first_reset_is_one_too(short: Protocol) -> None:
    first, second = build(short), build(short)
    second.load_state_dict(first.state_dict())
    with pytest.raises(UserError, match="before its first reset"):
        second.step_arrays(actions(1)[0])
    assert first.reset_arrays().tobytes() == second.reset_arrays().tobytes()


def test_a_foreign_or_damaged_state_is_refused(short: Protocol) -> None:
    env = build(short)
    env.reset()
    good = env.state_dict()
    for other in (build(short, number=2), build(short, "mt10-fixed"), build(short, evaluation=True)):
        with pytest.raises(UserError, match="of another run"):
            other.load_state_dict(good)
    changed = short.model_copy(update={"horizon": HORIZON + 1})
    with pytest.raises(UserError, match="of another run: protocol"):
        build(changed).load_state_dict(good)
    for damage in ({"actions": np.zeros((3, 2))}, {"goals": None}, {"simulator_exceptions": [1, 2]}):
        with pytest.raises(UserError, match="damaged"):
            env.load_state_dict({**good, **damage})
    with pytest.raises(UserError, match="damaged"):
        env.load_state_dict({key: value for key, value in good.items() if key != "steps"})


@pytest.mark.parametrize("workers", [-1, 11])
def test_an_impossible_number_of_workers_is_refused(short: Protocol, workers: int) -> None:
    with pytest.raises(UserError, match=f"workers is {workers}"):
        build(short, workers=workers)


def test_wrong_use_is_one_clear_line(short: Protocol) -> None:
    with pytest.raises(UserError, match="unknown benchmark 'mt11-rand'"):
        build(short, "mt11-rand")
    env = build(short)
    with pytest.raises(UserError, match="before its first reset"):
        env.step(actions(1)[0])
    with pytest.raises(UserError, match="SeedSequence"):
        env.reset(seed=3)
    env.reset()
    with pytest.raises(UserError, match=r"shape \(9, 4\): expected \(10, 4\)"):
        env.step(actions(1)[0, :9])


def test_a_broken_simulation_is_counted_for_its_task(short: Protocol) -> None:
    env = build(short)
    env.reset_arrays()
    assert not env.simulator_exceptions.any()
    env._tasks._envs[3].data.qvel[0] = np.nan
    env.step_arrays(actions(1)[0])
    assert env.simulator_exceptions.tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    state = env.state_dict()
    other = build(short)
    other.load_state_dict(state)
    assert other.simulator_exceptions[3] == 1


class Expert:
    """Meta-World's scripted policies, weakened so that they miss some goals; the one-hot tells which is asked."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._policies = {name: ENV_POLICY_MAP[name]() for name in names}

    def eval_action(self, observations: Any) -> Any:
        chosen = [
            np.clip(0.25 * self._policies[name].get_action(row[:39]), -1, 1)
            for name, row in zip(self._names, observations, strict=True)
        ]
        return np.array(chosen, dtype=np.float32)

    def reset(self, env_mask: Any) -> None:
        """Nothing is remembered between steps."""


class GoalsInOrder(gym.Wrapper):
    """Stock Meta-World, made to visit our seeded goals in order."""

    def __init__(self, env: Any, goals: Any) -> None:
        super().__init__(env)
        self._goals = itertools.cycle(goals)

    def reset(self, **arguments: Any) -> Any:
        use_goal(self.env.unwrapped, next(self._goals))
        return self.env.reset(**arguments)


def successes_agree(tasks: tuple[str, ...], protocol: Protocol, episodes: int) -> None:
    """Success per task of our protocol and of ``metaworld.evaluation.evaluation``, one policy, the same goals."""
    sequence = np.random.SeedSequence(4)

    def stock(task: int, name: str) -> Any:
        env: Any = gym.wrappers.TimeLimit(make_stock(name), protocol.horizon)
        env = gym.wrappers.RecordEpisodeStatistics(AutoTerminateOnSuccessWrapper(env))
        return GoalsInOrder(env, make_goals(make_fast(name), LISTED_GOALS, stream(sequence, "goals", task)))

    env = MetaWorldVectorEnv("mt10-rand", protocol, sequence, evaluation=True)
    rows = [env.task_names.index(name) for name in tasks]
    makers = [lambda task=task, name=name: stock(task, name) for task, name in zip(rows, tasks, strict=True)]
    envs = SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)
    agent = Expert(tasks)
    theirs = evaluation(agent, envs, episodes)[2]

    observations = env.reset_arrays()
    succeeded = np.zeros((episodes, 10), dtype=np.bool_)
    for episode in range(episodes):
        for _ in range(protocol.horizon):
            action = np.zeros((10, 4), np.float32)
            action[rows] = agent.eval_action(observations[rows])
            result = env.step_arrays(action)
            observations = result.observations
            succeeded[episode] |= result.successes
    ours = dict(zip(tasks, succeeded[:, rows].mean(axis=0).tolist(), strict=True))
    assert ours == theirs
    assert 0 < np.mean(list(ours.values())) < 1


def test_success_is_metaworlds_own_evaluation() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        successes_agree(("reach-v3", "drawer-close-v3"), shortened("metaworld-plus", 150), 4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_success_is_metaworlds_own_evaluation_on_all_goals_of_mt10() -> None:
    protocol = load_protocol("metaworld-plus")
    names = MetaWorldVectorEnv(
        "mt10-rand", shortened("d2r-official", 1), np.random.SeedSequence(0)
    ).task_names
    successes_agree(names, protocol, LISTED_GOALS)


def episodes_of_a_deterministic_policy(benchmark: str, protocol: Protocol, episodes: int) -> list[bytes]:
    env = MetaWorldVectorEnv(benchmark, protocol, np.random.SeedSequence(5), evaluation=True)
    observations = env.reset_arrays()
    weights = np.random.default_rng(0).normal(size=(env.num_envs, 39, 4))
    traces = []
    for _ in range(episodes):
        parts = [observations]
        for _ in range(protocol.horizon):
            result = env.step_arrays(np.tanh(np.einsum("to,toa->ta", observations, weights)))
            observations = result.observations
            parts += [result.final_observations if result.done else observations, result.rewards]
        traces.append(b"".join(part.tobytes() for part in parts if part is not None))
    return traces


def test_on_a_fixed_benchmark_a_deterministic_policys_episodes_are_all_alike(short: Protocol) -> None:
    assert len(set(episodes_of_a_deterministic_policy("mt10-fixed", short, 3))) == 1
    assert len(set(episodes_of_a_deterministic_policy("mt10-rand", short, 3))) == 3


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["d2r-official", "metaworld-plus"])
def test_in_all_fifty_tasks_too(protocol: str) -> None:
    assert len(set(episodes_of_a_deterministic_policy("mt50-fixed", load_protocol(protocol), 3))) == 1
