"""Meta-World's environments with the same arithmetic and less Python around it.

``fast_class(task)`` derives from a stock task class. The fifty reward functions, and everything else that differs
between tasks, are the stock code: its functions run unchanged, only with other globals, in which ``np``,
``Rotation``, ``reward_utils`` and ``mujoco`` offer quicker versions of a few functions that return the same bits.
What all tasks share (:class:`FastSawyer`) overrides the base class. Each override says which stock behaviour it
must equal; ``d2r verify env`` compares all of them with stock Meta-World, bit by bit. Stock classes stay untouched.

What makes it quick: names are looked up once instead of at every access; helpers of the rewards work on scalars;
the observation is written in place; the first of the two reset motions of a stock reset is left out, because the
simulator is reset right after it; and the second is restored from a snapshot when the same motion was made before.
"""

from __future__ import annotations

import math
import sys
from functools import cache
from types import FunctionType, SimpleNamespace
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt
from metaworld.sawyer_xyz_env import SawyerXYZEnv
from metaworld.utils import reward_utils
from scipy.spatial.transform import Rotation

from d2r.config.benchmarks import OBSERVATION_DIM
from d2r.envs.models import make_model
from d2r.envs.simulator import MUJOCO, NamedData

Array = npt.NDArray[Any]

_STATE = mujoco.mjtState.mjSTATE_INTEGRATION
_UPRIGHT = np.array([1.0, 0.0, 1.0, 0.0])
_CONTIGUOUS = (8,)
_FLOAT64 = np.dtype(np.float64)
_LONG_TAIL_SCALE = float(np.sqrt(1 / 0.1 - 1))
_GAUSSIAN_SCALE = float(np.sqrt(-2 * np.log(0.1)))
_MAX_SNAPSHOTS = 64

MOTION_DEPENDS_ON_GOAL = frozenset(
    {
        "SawyerBoxCloseEnvV3",
        "SawyerDoorLockEnvV3",
        "SawyerDoorUnlockEnvV3",
        "SawyerHandlePressEnvV3",
        "SawyerHandlePressSideEnvV3",
        "SawyerHandlePullEnvV3",
        "SawyerHandlePullSideEnvV3",
        "SawyerLeverPullEnvV3",
        "SawyerNutDisassembleEnvV3",
        "SawyerPegUnplugSideEnvV3",
    }
)
"""Tasks whose reset motion ends in another state when the goal has moved a body of the model.

In the others the moved bodies rest and touch nothing, so the state after the motion is one and the same for every
goal, to the last bit (``tests/envs/test_stepping.py`` tries the corners of every reset space and many draws).
"""


# Helpers of the rewards ---------------------------------------------------------------------------------------------


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A002 - numpy's name
    """Equals ``numpy.linalg.norm``, which sums through BLAS or, if an axis is named, without it."""
    if ord is None and not keepdims:
        if type(x) is np.ndarray and x.strides == _CONTIGUOUS and x.dtype is _FLOAT64:
            if axis is None:
                return np.float64(math.sqrt(x.dot(x)))
            if axis == 0:
                return np.float64(math.sqrt(np.add.reduce(x * x)))
        elif type(x) is np.float64 and axis is None:
            return np.float64(math.sqrt(x * x))
    return np.linalg.norm(x, ord, axis, keepdims)


def _hstack(tup: Any) -> Any:
    """Equals ``numpy.hstack`` of flat arrays, or of scalars."""
    if all(type(part) is np.ndarray and part.ndim == 1 for part in tup):
        return np.concatenate(tup)
    if all(type(part) is np.float64 for part in tup):
        return np.array(tup)
    return np.hstack(tup)


def _tolerance(
    x: Any,
    bounds: tuple[float, float] = (0.0, 0.0),
    margin: Any = 0.0,
    sigmoid: Any = "gaussian",
    value_at_margin: float = 0.1,
) -> Any:
    """Equals ``reward_utils.tolerance``: scalar arithmetic for the sigmoids that the rewards use."""
    if value_at_margin == 0.1 and isinstance(x, float):
        if sigmoid == "long_tail":
            return _long_tail(float(x), float(bounds[0]), float(bounds[1]), float(margin))
        if sigmoid == "gaussian":
            return _gaussian(float(x), float(bounds[0]), float(bounds[1]), float(margin))
    return reward_utils.tolerance(x, bounds, margin, sigmoid, value_at_margin)


def _long_tail(x: float, lower: float, upper: float, margin: float) -> float:
    """Equals ``reward_utils.tolerance(x, (lower, upper), margin, "long_tail")`` of a scalar.

    A square is C's ``pow`` here as it is for numpy's scalars; it differs from ``x * x`` in the last bit now and then.
    """
    if lower > upper or not margin > 0:
        return float(reward_utils.tolerance(x, (lower, upper), margin, "long_tail"))
    if lower <= x <= upper:
        return 1.0
    margins = (lower - x if x < lower else x - upper) / margin
    try:
        return 1 / ((margins * _LONG_TAIL_SCALE) ** 2 + 1)
    except OverflowError:
        return 0.0


def _gaussian(x: float, lower: float, upper: float, margin: float) -> float:
    """Equals ``reward_utils.tolerance(x, (lower, upper), margin, "gaussian")`` of a scalar."""
    if lower > upper or not margin > 0:
        return float(reward_utils.tolerance(x, (lower, upper), margin, "gaussian"))
    if lower <= x <= upper:
        return 1.0
    margins = (lower - x if x < lower else x - upper) / margin
    try:
        return float(np.exp(-0.5 * (margins * _GAUSSIAN_SCALE) ** 2))
    except OverflowError:
        return 0.0


class _FastRotation:
    """What the tasks use of ``scipy.spatial.transform.Rotation``: ``from_matrix(...).as_quat()``."""

    __slots__ = ("_matrix",)

    def __init__(self, matrix: Array) -> None:
        self._matrix = matrix

    @staticmethod
    def from_matrix(matrix: Array) -> _FastRotation:
        """Keep the matrix. The simulator's are orthogonal, so scipy's check for that never changes them."""
        return _FastRotation(matrix)

    def as_quat(self) -> Array:
        """Equals scipy's conversion (Markley 2008), which starts from the largest of x^2, y^2, z^2 and w^2."""
        (a, b, c), (d, e, f), (g, h, i) = self._matrix.tolist()
        trace = a + e + i
        if trace > a and trace > e and trace > i:
            x, y, z, w = h - f, c - g, d - b, 1 + trace
        elif a >= e and a >= i:
            x, y, z, w = 1 - trace + 2 * a, d + b, g + c, h - f
        elif e >= i:
            x, y, z, w = b + d, 1 - trace + 2 * e, h + f, c - g
        else:
            x, y, z, w = c + g, f + h, 1 - trace + 2 * i, d - b
        norm = math.sqrt(x * x + y * y + z * z + w * w)
        return np.array((x / norm, y / norm, z / norm, w / norm))


def _rounds_like_scipy() -> bool:
    """Whether compiled code rounds every operation here, as Python does (where it fuses two, scipy's may differ)."""
    matrices = Rotation.random(64, rng=0).as_matrix()
    return all(
        _FastRotation(matrix).as_quat().tobytes() == Rotation.from_matrix(matrix).as_quat().tobytes()
        for matrix in matrices
    )


_GLOBALS = {
    "np": SimpleNamespace(
        **{**vars(np), "hstack": _hstack, "linalg": SimpleNamespace(**{**vars(np.linalg), "norm": _norm})}
    ),
    "Rotation": _FastRotation if _rounds_like_scipy() else Rotation,
    "reward_utils": SimpleNamespace(**{**vars(reward_utils), "tolerance": _tolerance}),
    "mujoco": MUJOCO,
}


# What all tasks share -----------------------------------------------------------------------------------------------


class FastSawyer(SawyerXYZEnv):
    """The base class of all tasks with its hot path overridden."""

    unstable = False
    """Whether the simulation broke down at the last step."""
    _named = False
    _first_pass = False
    _clock = 0.0
    _tcp: Array | None = None

    def _initialize_simulation(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """Equals stock, less the size of the window to draw in, and what is only drawn."""
        model = make_model(self.fullpath)
        return model, mujoco.MjData(model)

    def look_up_names(self) -> None:
        """Put the cached lookups in place; once, after construction."""
        self._raw = self.data
        self.data = data = NamedData(self._raw)
        self._hand = data.body("hand").xpos
        self._right_claw, self._left_claw = data.body("rightclaw").xpos, data.body("leftclaw").xpos
        self._left_pad, self._right_pad = data.body("leftpad").xpos, data.body("rightpad").xpos
        self._right_finger = data.site("rightEndEffector").xpos
        self._left_finger = data.site("leftEndEffector").xpos
        self._pad_geoms = data.geom("leftpad_geom").id, data.geom("rightpad_geom").id
        self._low, self._high = self.sawyer_observation_space.low, self.sawyer_observation_space.high
        self._snapshots: dict[bytes, Array] = {}
        self._pair = np.empty(2)
        self._named = True

    # Named access

    def get_endeff_pos(self) -> Array:
        """Equals stock: a live view of the hand's position."""
        return self._hand

    def get_body_com(self, body_name: str) -> Array:
        """Equals stock: a live view of the body's position."""
        return self.data.body(body_name).xpos  # type: ignore[no-any-return]

    def _get_site_pos(self, site_name: str) -> Array:
        """Equals stock: a copy of the site's position."""
        return self.data.site(site_name).xpos.copy()  # type: ignore[no-any-return]

    @property
    def tcp_center(self) -> Array:
        """Equals stock; within a step it is computed once, since nothing moves while the reward is computed."""
        if self._tcp is not None:
            return self._tcp
        return (self._right_finger + self._left_finger) / 2.0

    @property
    def touching_main_object(self) -> bool:
        """Equals stock; the object's id is looked up once."""
        if "_main_object" not in self.__dict__:
            self._main_object = self._get_id_main_object()
        return self.touching_object(self._main_object)

    def touching_object(self, object_geom_id: int) -> bool:
        """Equals stock: the normal forces of each pad's contacts with the object, summed in the contacts' order."""
        contact = self._raw.contact
        left_pad, right_pad = self._pad_geoms
        left = right = 0
        for index, pair in enumerate(contact.geom.tolist()):
            if object_geom_id in pair:
                if left_pad in pair:
                    left += self._raw.efc_force[contact.efc_address[index]]
                if right_pad in pair:
                    right += self._raw.efc_force[contact.efc_address[index]]
        return left > 0 and right > 0

    # Step

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:  # type: ignore[override]
        """Equals stock."""
        return self.step_moving(action, (action[:3].clip(-1, 1) * self.action_scale).astype(np.float64))

    def step_moving(self, action: Array, move: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Step with the action's move of the hand, worked out for all tasks at once.

        Equals stock's step, but for accelerations and forces that nothing reads (``mj_rnePostConstraint``). Stock also
        moves the goal's site after the simulation; the forward pass right after that moves it back.
        """
        if self.curr_path_length >= self.max_path_length:
            raise ValueError("You must reset the env manually once truncate==True")
        model, raw, data = self.model, self._raw, self.data
        hand = data.mocap_pos
        hand += move
        np.minimum(np.maximum(hand, self.mocap_low, out=hand), self.mocap_high, out=hand)
        data.mocap_quat[:] = _UPRIGHT
        data.ctrl[0] = grip = action.item(3)
        data.ctrl[1] = -grip
        mujoco.mj_step(model, raw, self.frame_skip)
        mujoco.mj_forward(model, raw)
        self.unstable = raw.time < self._clock  # MuJoCo begins an unstable simulation anew
        self._clock = raw.time
        self.curr_path_length += 1
        self._tcp = (self._right_finger + self._left_finger) / 2.0
        observation = self._get_obs()
        observation.clip(self._low, self._high, out=observation)
        reward, info = self.evaluate_state(observation, action)
        return observation, reward, False, self.curr_path_length == self.max_path_length, info

    def _get_curr_obs_combined_no_goal(self) -> Array:
        """Equals stock: hand, opening of the gripper, and position and quaternion of one or two objects."""
        observation = np.zeros(18)
        if not self._named:  # the stock constructor comes here; the first reset replaces what it gets
            return observation
        observation[:3] = self._hand
        apart = self._right_claw - self._left_claw
        opening = math.sqrt(apart.dot(apart)) / 0.1
        observation[3] = opening if opening < 1.0 else 1.0
        position, quaternion = self._get_pos_objects(), self._get_quat_objects()
        observation[4:7], observation[7:11] = position[:3], quaternion[:4]
        if len(position) == 6:
            observation[11:14], observation[14:18] = position[3:], quaternion[4:]
        return observation

    def _get_obs(self) -> Array:
        """Equals stock: this frame, the one before it, and the goal."""
        if self._first_pass:
            return self._prev_obs
        observation = np.empty(OBSERVATION_DIM)
        observation[18:36] = self._prev_obs
        observation[36:] = self._get_pos_goal()
        observation[:18] = self._prev_obs = self._get_curr_obs_combined_no_goal()
        return observation

    # Reset

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Equals stock, which goes through ``reset_model`` twice and resets the simulator between the two.

        Of the first pass there remain the goal that it draws and the bodies that it moves in the model.
        """
        del seed, options
        self.curr_path_length = 0
        self._tcp = None
        self._first_pass = True
        self.reset_model()
        self._first_pass = False
        mujoco.mj_resetData(self.model, self._raw)
        observation = self.reset_model()
        self._prev_obs = observation[:18].copy()
        observation[18:36] = self._prev_obs
        self._clock = self._raw.time
        return observation, {}

    def set_state(self, qpos: Array, qvel: Array) -> None:
        """Equals stock: set positions and velocities, then a forward pass."""
        if not self._first_pass:
            self.data.qpos[:] = qpos
            self.data.qvel[:] = qvel
            mujoco.mj_forward(self.model, self._raw)

    def _reset_hand(self, steps: int = 50) -> None:
        """Equals stock: move the hand to its initial position, gripper open.

        Stock comes here with a simulator just reset, so the motion is a function of the model alone. A snapshot is the
        state before its last simulation step; making that step again also renews everything derived from it.
        """
        if not self._first_pass:
            goal = self.model.body_pos.tobytes() if type(self).__name__ in MOTION_DEPENDS_ON_GOAL else b""
            snapshot = self._snapshots.get(goal)
            if snapshot is None:
                snapshot = self._move_hand(steps)
                if len(self._snapshots) < _MAX_SNAPSHOTS:
                    self._snapshots[goal] = snapshot
            else:
                mujoco.mj_setState(self.model, self._raw, snapshot, _STATE)
            mujoco.mj_step(self.model, self._raw)
        self.init_tcp = self.tcp_center

    def _move_hand(self, steps: int) -> Array:
        """Make the motion but for its last simulation step; returns the state there."""
        data = self.data
        for remaining in reversed(range(steps)):
            data.mocap_pos[:] = self.hand_init_pos
            data.mocap_quat[:] = _UPRIGHT
            data.ctrl[:] = -1, 1
            mujoco.mj_step(self.model, self._raw, self.frame_skip - (remaining == 0))
        state = np.empty(mujoco.mj_stateSize(self.model, _STATE))
        mujoco.mj_getState(self.model, self._raw, state, _STATE)
        return state

    # Reward

    def _gripper_caging_reward(
        self,
        action: Array,
        obj_pos: Array,
        obj_radius: float,
        pad_success_thresh: float,
        object_reach_radius: float,
        xz_thresh: float,
        desired_gripper_effort: float = 1.0,
        high_density: bool = False,
        medium_density: bool = False,
    ) -> float:
        """Equals stock, on scalars; the gripper's action stays of its own type, whose precision the result has."""
        if high_density and medium_density:
            raise ValueError("Can only be either high_density or medium_density")
        assert self.obj_init_pos is not None
        x, y, z = obj_pos.tolist()
        initial_x, initial_y, initial_z = self.obj_init_pos.tolist()
        caging = []
        for pad in (self._left_pad.item(1), self._right_pad.item(1)):
            margin = abs(abs(pad - initial_y) - pad_success_thresh)
            caging.append(_long_tail(abs(pad - y), obj_radius, pad_success_thresh, margin))
        tcp, init_tcp = self.tcp_center, self.init_tcp
        margin = self._length(initial_x - init_tcp.item(0), initial_z - init_tcp.item(2)) - xz_thresh
        caging_xz = _long_tail(self._length(tcp.item(0) - x, tcp.item(2) - z), 0.0, xz_thresh, margin)
        caged = reward_utils.hamacher_product(reward_utils.hamacher_product(*caging), caging_xz)
        gripper_closed = min(max(0, action[-1]), desired_gripper_effort) / desired_gripper_effort
        reward = reward_utils.hamacher_product(caged, gripper_closed if caged > 0.97 else 0.0)
        if high_density:
            reward = (reward + caged) / 2
        if medium_density:
            margin = abs(_norm(self.obj_init_pos - init_tcp) - object_reach_radius)
            reach = _tolerance(_norm(obj_pos - tcp), (0, object_reach_radius), margin, "long_tail")
            reward = (reward + float(reach)) / 2
        return reward

    def _length(self, x: float, z: float) -> float:
        """The 2-norm of a pair through BLAS, as numpy computes it."""
        self._pair[0] = x
        self._pair[1] = z
        return math.sqrt(self._pair.dot(self._pair))


def _rebound(function: Any, names: dict[str, Any]) -> FunctionType:
    """The same stock function with other globals."""
    if function.__closure__ and function.__name__ == "inner":  # ``assert_task_is_set``: here it always is
        function = function.__closure__[0].cell_contents
    return FunctionType(
        function.__code__, names, function.__name__, function.__defaults__, function.__closure__
    )


@cache
def fast_class(task: Any) -> type[FastSawyer]:
    """The quick version of a stock task class (``type[SawyerXYZEnv]``), which is its first base and gives its name."""
    names = {**vars(sys.modules[task.__module__]), **_GLOBALS}
    own: dict[str, Any] = {}
    for name, member in vars(task).items():
        if isinstance(member, property) and isinstance(member.fget, FunctionType):
            own[name] = property(_rebound(member.fget, names))
        elif isinstance(member, staticmethod):
            own[name] = staticmethod(_rebound(member.__func__, names))
        elif isinstance(member, FunctionType) and name != "__init__":
            own[name] = _rebound(member, names)
    fast: type[FastSawyer] = type(task.__name__, (task, FastSawyer), own)
    names[task.__name__] = fast  # some tasks call their own static methods by the name of the class
    return fast
