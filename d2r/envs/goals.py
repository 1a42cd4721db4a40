"""Which goal each episode has, and the random streams that decide it.

Every stream is a child of the run's one ``SeedSequence``, told apart by its spawn key: (purpose, task). No two tasks
share a stream, and the draws that make the benchmark's goals are not those that choose among them, so a training and an
evaluation environment built from the same sequence agree on the goals and differ in the draws.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from metaworld.sawyer_xyz_env import SawyerXYZEnv
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from d2r.errors import Unfit

Floats = npt.NDArray[np.float64]
Purpose = Literal["goals", "training", "evaluation"]

LISTED_GOALS = 50
"""Goals per task of the ``seeded-50`` protocols, as many as Meta-World makes."""

_PURPOSES: dict[Purpose, int] = {"goals": 0, "training": 1, "evaluation": 2}


def stream(seed: np.random.SeedSequence, purpose: Purpose, task: int) -> np.random.Generator:
    """The random stream of one task for one purpose; calling it twice gives two equal streams."""
    key = (*seed.spawn_key, _PURPOSES[purpose], task)
    return np.random.default_rng(
        np.random.SeedSequence(seed.entropy, spawn_key=key, pool_size=seed.pool_size)
    )


def draw_from(env: SawyerXYZEnv, generator: np.random.Generator) -> None:
    """Let every reset of ``env`` draw its goal from the continuous reset space with this stream."""
    env._freeze_rand_vec = False
    env.seeded_rand_vec = True
    env.np_random = generator


def use_goal(env: SawyerXYZEnv, goal: Floats) -> None:
    """Let every reset of ``env`` use this goal, as ``set_task`` would."""
    env._freeze_rand_vec = True
    env._last_rand_vec = goal.copy()


def make_goals(env: SawyerXYZEnv, count: int, generator: np.random.Generator) -> Floats:
    """Draw goals as Meta-World does for its benchmarks: the last draw of each of ``count`` resets.

    Returns:
        Array [count, size of the task's reset space]; no goal comes twice.
    """
    draw_from(env, generator)
    goals: dict[bytes, Floats] = {}
    while len(goals) < count:
        env.reset()
        assert env._last_rand_vec is not None
        goal = np.array(env._last_rand_vec, dtype=np.float64)
        goals.setdefault(goal.tobytes(), goal)
    return np.array(list(goals.values()))


class GoalSource(Protocol):
    """What chooses the goal of the next episode of one task."""

    def prepare(self, env: SawyerXYZEnv) -> None:
        """Set ``env`` up so that its next reset has the next goal."""

    def state(self) -> dict[str, Any]:
        """What distinguishes this source from a new one; JSON only."""

    def load(self, state: dict[str, Any]) -> None:
        """Continue from ``state``.

        Raises:
            Unfit: if it is no state of such a source.
        """

    def restart(self) -> None:
        """Begin again as if new."""


class OneGoal:
    """The same goal in every episode."""

    def __init__(self, goal: Floats) -> None:
        self._goal = goal

    def prepare(self, env: SawyerXYZEnv) -> None:
        use_goal(env, self._goal)

    def state(self) -> dict[str, Any]:
        return {}

    def load(self, state: dict[str, Any]) -> None:
        del state

    def restart(self) -> None:
        pass


class InOrder:
    """Each of the listed goals in turn."""

    def __init__(self, goals: Floats) -> None:
        self._goals = goals
        self._next = 0

    def prepare(self, env: SawyerXYZEnv) -> None:
        use_goal(env, self._goals[self._next])
        self._next = (self._next + 1) % len(self._goals)

    def state(self) -> dict[str, Any]:
        return {"next": self._next}

    def load(self, state: dict[str, Any]) -> None:
        place = state.get("next")
        if type(place) is not int or not 0 <= place < len(self._goals):
            raise Unfit("a state of goals is none of this benchmark's")
        self._next = place

    def restart(self) -> None:
        self._next = 0


class _Position(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    state: Annotated[int, Field(ge=0, lt=2**128)]
    inc: Annotated[int, Field(ge=0, lt=2**128)]


class _Stream(BaseModel):
    """State of NumPy's default generator."""

    model_config = ConfigDict(strict=True, extra="forbid")

    bit_generator: Literal["PCG64"]
    state: _Position
    has_uint32: Annotated[int, Field(ge=0, le=1)]
    uinteger: Annotated[int, Field(ge=0, lt=2**32)]


class _Drawn:
    """A source with a random stream."""

    def __init__(self, new_stream: Callable[[], np.random.Generator]) -> None:
        self._new_stream = new_stream
        self._stream = new_stream()

    def state(self) -> dict[str, Any]:
        return {"stream": dict(self._stream.bit_generator.state)}

    def load(self, state: dict[str, Any]) -> None:
        try:
            stream = _Stream.model_validate(state.get("stream"))
        except ValidationError:
            raise Unfit("a state of goals is none of this benchmark's") from None
        self._stream.bit_generator.state = stream.model_dump()

    def restart(self) -> None:
        self._stream = self._new_stream()


class OneOf(_Drawn):
    """One of the listed goals, drawn with replacement."""

    def __init__(self, goals: Floats, new_stream: Callable[[], np.random.Generator]) -> None:
        super().__init__(new_stream)
        self._goals = goals

    def prepare(self, env: SawyerXYZEnv) -> None:
        use_goal(env, self._goals[self._stream.integers(len(self._goals))])


class Continuous(_Drawn):
    """A new draw from the reset space at every reset (the reset makes the draw, and its own rejections)."""

    def prepare(self, env: SawyerXYZEnv) -> None:
        draw_from(env, self._stream)


def goal_source(
    env: SawyerXYZEnv,
    task: int,
    kind: Literal["fixed", "continuous", "seeded-50"],
    seed: np.random.SeedSequence,
    evaluation: bool,
) -> GoalSource:
    """The source of goals of one task; makes the benchmark's goals by resetting ``env``."""

    def draws() -> np.random.Generator:
        return stream(seed, "evaluation" if evaluation else "training", task)

    if kind == "continuous":
        return Continuous(draws)
    if kind == "fixed":
        return OneGoal(make_goals(env, 1, stream(seed, "goals", task))[0])
    goals = make_goals(env, LISTED_GOALS, stream(seed, "goals", task))
    return InOrder(goals) if evaluation else OneOf(goals, draws)
