"""The quick versions against the stock functions and classes they stand for."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from metaworld.env_dict import MT10_V3, MT50_V3
from metaworld.policies import ENV_POLICY_MAP
from metaworld.utils import reward_utils
from scipy.spatial.transform import Rotation

from d2r.cli.main import main
from d2r.config.load import load_protocol
from d2r.envs import stepping
from d2r.envs.slices import simulator_state
from d2r.envs.stepping import MOTION_DEPENDS_ON_GOAL, FastSawyer, fast_class
from d2r.envs.tasks import make_fast, make_stock, task_class
from d2r.verify.environment import StockTask, verify_environment

pytestmark = [
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

FAST_ROTATION = stepping._FastRotation
lengths = st.floats(0, 4, allow_nan=False)


def same_bits(left: Any, right: Any) -> bool:
    return type(left) is type(right) and np.asarray(left).tobytes() == np.asarray(right).tobytes()


@given(
    x=lengths | st.floats(0, 1e-3),
    lower=st.floats(0, 0.1),
    width=st.floats(0, 0.2),
    margin=st.just(0.0) | st.floats(1e-300, 3) | lengths,
    sigmoid=st.sampled_from(["long_tail", "gaussian", "hyperbolic"]),
    scalar=st.sampled_from([float, np.float64]),
)
@settings(max_examples=500)
def test_tolerance(x: float, lower: float, width: float, margin: float, sigmoid: str, scalar: Any) -> None:
    arguments = (scalar(x), (lower, lower + width), scalar(margin), sigmoid)
    assert same_bits(stepping._tolerance(*arguments), reward_utils.tolerance(*arguments))


def test_tolerance_on_many_values_at_once() -> None:
    chance = np.random.default_rng(0)
    for x, margin in zip(chance.uniform(0, 2, 20_000), chance.uniform(0.01, 1, 20_000), strict=True):
        for sigmoid in ("long_tail", "gaussian"):
            fast = stepping._tolerance(x, (0, 0.05), margin, sigmoid)
            assert fast == reward_utils.tolerance(x, (0, 0.05), margin, sigmoid)


@pytest.mark.parametrize("arguments", [(0.1, (0.2, 0.1), 1.0), (0.1, (0.0, 0.05), -1.0)])
def test_tolerance_refuses_what_stock_refuses(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError) as ours:
        stepping._tolerance(*arguments, "long_tail")
    with pytest.raises(ValueError) as stock:
        reward_utils.tolerance(*arguments, "long_tail")
    assert str(ours.value) == str(stock.value)


@given(
    x=hnp.arrays(
        st.sampled_from([np.float64, np.float32, np.int64]),
        st.integers(1, 9),
        elements=st.integers(-999, 999),
    ),
    scale=st.floats(1e-6, 1e3),
    step=st.sampled_from([1, 2, -1]),
    axis=st.sampled_from([None, 0]),
)
@settings(max_examples=500)
def test_norm(x: Any, scale: float, step: int, axis: int | None) -> None:
    for values in (x[::step], x[::step] * scale, (x * scale)[0]):
        chosen = axis if np.ndim(values) else None
        assert same_bits(stepping._norm(values, axis=chosen), np.linalg.norm(values, axis=chosen))


@given(
    st.lists(hnp.arrays(np.float64, st.integers(0, 4)) | st.floats().map(np.float64), min_size=1, max_size=4)
)
@settings(max_examples=200)
def test_hstack(parts: list[Any]) -> None:
    assert same_bits(stepping._hstack(parts), np.hstack(parts))


def test_quaternions_of_any_rotation() -> None:
    turns = [Rotation.from_rotvec(np.pi * np.array(axis)) for axis in np.eye(3)]
    matrices = [*Rotation.random(2_000, rng=1).as_matrix(), np.eye(3), *(turn.as_matrix() for turn in turns)]
    for matrix in matrices:
        assert same_bits(FAST_ROTATION.from_matrix(matrix).as_quat(), Rotation.from_matrix(matrix).as_quat())


def test_rounding_like_scipys_is_checked_not_assumed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stepping._rounds_like_scipy()
    monkeypatch.setattr(stepping.math, "sqrt", lambda x: np.nextafter(np.sqrt(x), 2))
    assert not stepping._rounds_like_scipy()


def test_stock_classes_stay_untouched() -> None:
    task = task_class("stick-push-v3")
    before = dict(vars(task)), dict(task.compute_reward.__globals__)
    fast = fast_class(task)
    assert (dict(vars(task)), dict(task.compute_reward.__globals__)) == before
    assert issubclass(fast, task)
    assert fast.__name__ == task.__name__
    assert fast.compute_reward.__code__ is task.compute_reward.__code__
    assert type(make_stock("stick-push-v3")) is task


def side_by_side(task: str, steps: int, version: str = "v2", episodes: int = 2) -> None:
    """Same goals and actions in both: everything a step returns is equal, in bits and in type."""
    stock, fast = make_stock(task, version), make_fast(task, version)
    for env in (stock, fast):
        env._freeze_rand_vec, env.seeded_rand_vec, env.np_random = False, True, np.random.default_rng(5)
    chance, expert = np.random.default_rng(6), ENV_POLICY_MAP[task]()
    for episode in range(episodes):
        observation, ours = stock.reset()[0], fast.reset()[0]
        assert same_bits(observation, ours)
        assert stock.np_random.bit_generator.state == fast.np_random.bit_generator.state
        for step in range(steps):
            action = expert.get_action(observation) if episode == 0 else chance.choice([-1.0, 1.0], 4)
            action = np.clip(action + 0.1 * chance.normal(size=4), -1, 1).astype(np.float32)
            theirs, mine = stock.step(action), fast.step(action)
            observation = theirs[0]
            assert same_bits(observation, mine[0]), f"{task}, step {step}"
            assert same_bits(theirs[1], mine[1]), f"{task}, step {step}: {theirs[1]!r}, {mine[1]!r}"
            assert theirs[2:4] == mine[2:4]
            assert list(theirs[4]) == list(mine[4])
            assert all(same_bits(theirs[4][key], mine[4][key]) for key in theirs[4]), f"{task}, step {step}"
        assert same_bits(simulator_state(stock), simulator_state(fast))


@pytest.mark.parametrize("task", ["pick-place-v3", "stick-push-v3", "box-close-v3", "lever-pull-v3"])
def test_every_value_and_its_type_is_stocks(task: str) -> None:
    side_by_side(task, 40)


@pytest.mark.slow
@pytest.mark.parametrize("task", MT50_V3)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_every_value_and_its_type_is_stocks_in_all_tasks(task: str, version: str) -> None:
    side_by_side(task, 150, version, episodes=4)


@pytest.mark.slow
@pytest.mark.parametrize("benchmark", ["mt50-fixed", "mt50-rand"])
@pytest.mark.parametrize("protocol", ["d2r-official", "metaworld-plus"])
def test_the_whole_environment_is_stock_metaworld(benchmark: str, protocol: str) -> None:
    report = verify_environment(benchmark, load_protocol(protocol), seed=3, steps=600)
    assert report.difference is None


def episodes_alike(task: str, steps: int) -> None:
    """With one goal, stock's first episode and those after any history are the same (what resuming rests on)."""
    make: Any
    for make in (make_stock, make_fast):
        env = make(task)
        env._freeze_rand_vec, env.seeded_rand_vec, env.np_random = False, True, np.random.default_rng(5)
        env.reset()
        goal, chance = env._last_rand_vec.copy(), np.random.default_rng(6)
        for _ in range(steps):
            env.step(chance.uniform(-1, 1, 4).astype(np.float32))
        actions = chance.uniform(-1, 1, (steps, 4)).astype(np.float32)
        episodes = []
        for one in (env, env, make(task)):
            one._freeze_rand_vec, one._last_rand_vec = True, goal.copy()
            episode = [one.reset()[0], *(np.append(*one.step(action)[:2]) for action in actions)]
            episodes.append(np.concatenate([*episode, simulator_state(one)]).tobytes())
        assert len(set(episodes)) == 1, task


@pytest.mark.parametrize("task", ["reach-v3", "basketball-v3"])
def test_an_episode_does_not_depend_on_those_before(task: str) -> None:
    episodes_alike(task, 20)


@pytest.mark.slow
@pytest.mark.parametrize("task", MT50_V3)
def test_an_episode_does_not_depend_on_those_before_in_any_task(task: str) -> None:
    episodes_alike(task, 100)


def states_after_motion(task: str, draws: int) -> tuple[int, int]:
    """Number of different places of the model's bodies that goals lead to, and of states after the reset motion."""
    env = make_fast(task)
    space, chance = env._random_reset_space, np.random.default_rng(7)
    corners = [
        np.where(high, space.high, space.low)
        for high in itertools.product((False, True), repeat=space.low.size)
    ]
    bodies: set[bytes] = set()
    states: set[bytes] = set()
    for goal in [*corners, *chance.uniform(space.low, space.high, (draws, space.low.size))]:
        given_goals = itertools.repeat(goal, 3)  # a reset that rejects the goal asks again
        env._get_state_rand_vec = lambda given_goals=given_goals: next(given_goals)
        env._first_pass = True
        try:
            env.reset_model()
        except StopIteration:
            continue
        if (place := env.model.body_pos.tobytes()) not in bodies:
            bodies.add(place)
            mujoco.mj_resetData(env.model, env._raw)
            states.add(env._move_hand(50).tobytes())
    return len(bodies), len(states)


def test_the_reset_motion_ends_alike_for_every_goal() -> None:
    bodies, states = states_after_motion("peg-insert-side-v3", 2)
    assert bodies > 4
    assert states == 1


@pytest.mark.slow
@pytest.mark.parametrize("task", MT50_V3)
def test_the_reset_motion_ends_alike_for_every_goal_but_where_it_is_said_not_to(task: str) -> None:
    bodies, states = states_after_motion(task, 200)
    if fast_class(task_class(task)).__name__ in MOTION_DEPENDS_ON_GOAL:
        assert states > 1
    else:
        assert states == 1, f"{bodies} places of bodies"


def test_environments_of_one_task_do_not_touch_each_other() -> None:
    """Two environments of a task, stepped in turns, behave as each does alone."""
    chance = np.random.default_rng(8)
    actions = chance.uniform(-1, 1, (20, 4)).astype(np.float32)

    def fresh(number: int) -> FastSawyer:
        env = make_fast("drawer-open-v3")
        env._freeze_rand_vec, env.seeded_rand_vec, env.np_random = False, True, np.random.default_rng(number)
        return env

    alone = []
    for number in (1, 2):
        env = fresh(number)
        alone.append([env.reset()[0], *(env.step(action)[0] for action in actions)])
    envs = [fresh(1), fresh(2)]
    together = [[env.reset()[0]] for env in envs]
    for action in actions:
        for env, seen in zip(envs, together, strict=True):
            seen.append(env.step(action)[0])
    assert np.array(together).tobytes() == np.array(alone).tobytes()


def test_a_simulation_that_breaks_down_is_noticed_and_goes_on_as_in_stock() -> None:
    envs: list[Any] = [make_stock("reach-v3"), make_fast("reach-v3")]
    after = []
    for env in envs:
        env._last_rand_vec = np.concatenate([[0.0, 0.6, 0.02], [0.1, 0.8, 0.2]])
        env.reset()
        env.data.qvel[0] = np.inf
        env.step(np.zeros(4, np.float32))
        unstable = getattr(env, "unstable", None)
        after.append([env.step(np.ones(4, np.float32))[0] for _ in range(3)])
    assert unstable
    assert not envs[1].unstable
    assert np.array(after[0]).tobytes() == np.array(after[1]).tobytes()


def test_stepping_past_metaworlds_own_limit_is_refused_as_in_stock() -> None:
    for env in (make_stock("reach-v3"), make_fast("reach-v3")):
        env._last_rand_vec = np.concatenate([[0.0, 0.6, 0.02], [0.1, 0.8, 0.2]])
        env.reset()
        env.curr_path_length = env.max_path_length
        with pytest.raises(ValueError, match="reset the env"):
            env.step(np.zeros(4, np.float32))


def test_pads_that_press_an_object_are_found() -> None:
    """The contact scan against stock's, on made-up contacts with forces of either sign."""
    fast = make_fast("pick-place-v3")
    left, right = fast._pad_geoms
    geom_pairs = [(left, 5), (5, right), (right, 7), (left, right), (5, left)]
    geoms = {"leftpad_geom": left, "rightpad_geom": right}
    for signs in itertools.product((-1.0, 0.0, 2.0), repeat=len(geom_pairs)):
        contacts = [
            SimpleNamespace(geom1=a, geom2=b, efc_address=index) for index, (a, b) in enumerate(geom_pairs)
        ]
        forces = np.array(signs)
        stock = SimpleNamespace(
            data=SimpleNamespace(
                geom=lambda name: SimpleNamespace(id=geoms[name]), contact=contacts, efc_force=forces
            )
        )
        arrays = SimpleNamespace(geom=np.array(geom_pairs), efc_address=np.arange(len(geom_pairs)))
        ours = SimpleNamespace(
            _raw=SimpleNamespace(contact=arrays, efc_force=forces), _pad_geoms=(left, right)
        )
        expected = task_class("pick-place-v3").touching_object(stock, 5)
        assert bool(FastSawyer.touching_object(ours, 5)) == bool(expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "at", "step"),
    [
        ("reward", 0, 3),
        ("observation", 7, 3),
        ("final observation", 7, 5),
        ("info['in_place_reward']", 0, 3),
        ("truncated", 0, 3),
        ("simulator", 3, 3),
        ("info['more']", None, 3),
    ],
)
def test_the_first_value_that_differs_is_found_and_named(
    field: str, at: int | None, step: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stock differs by one unit in the last place, or by one value more, on the second task from step 3 on."""
    real, calls = StockTask.step, itertools.count()

    def changed(task: StockTask, action: Any) -> dict[str, Any]:
        fields = real(task, action)
        steps_before, index = divmod(next(calls), len(MT10_V3))
        if index == 1 and steps_before >= 2:
            if at is None:
                fields[field] = np.zeros(1)
            elif field in fields:
                fields[field] = fields[field].copy()
                fields[field][at] = np.nextafter(fields[field][at], np.inf)
        return fields

    short = load_protocol("d2r-official").model_copy(update={"horizon": 5})
    monkeypatch.setattr("d2r.config.load_protocol", lambda _: short)
    monkeypatch.setattr(StockTask, "step", changed)
    assert main(["verify", "env", "--benchmark", "mt10-fixed", "--steps", "12"]) == 1
    where = (
        f"mt10-fixed: {list(MT10_V3)[1]}, step {step}, {field}{'' if at is None else f'[{at}]'}: stock has "
    )
    assert capsys.readouterr().out.startswith(where)


def test_all_of_mt10_is_stock_metaworld() -> None:
    protocol = load_protocol("d2r-official").model_copy(update={"horizon": 25})
    report = verify_environment("mt10-rand", protocol, seed=4, steps=30)
    assert report.difference is None
    assert report.compared["observation"] == 31 * len(MT10_V3) * 39
    assert report.compared["final observation"] == len(MT10_V3) * 39
