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
from collections.abc import Callable
from functools import cache
from types import FunctionType, SimpleNamespace
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt
from metaworld.sawyer_xyz_env import SawyerXYZEnv
from metaworld.utils import reward_utils
from scipy.spatial.transform import Rotation

Array = npt.NDArray[Any]

_STATE = mujoco.mjtState.mjSTATE_INTEGRATION
_CONTIGUOUS = (8,)
_FLOAT64 = np.dtype(np.float64)
_UPRIGHT = np.array([1.0, 0.0, 1.0, 0.0])
_LONG_TAIL_SCALE = float(np.sqrt(1 / 0.1 - 1))
_SNAPSHOTS = 64

MOTION_DEPENDS_ON_GOAL = frozenset(
    {
        "SawyerBoxCloseEnvV3",
        "SawyerNutDisassembleEnvV3",
        "SawyerDoorLockEnvV3",
        "SawyerDoorUnlockEnvV3",
        "SawyerHandlePressSideEnvV3",
        "SawyerHandlePressEnvV3",
        "SawyerHandlePullSideEnvV3",
        "SawyerHandlePullEnvV3",
        "SawyerLeverPullEnvV3",
        "SawyerPegUnplugSideEnvV3",
    }
)
"""Tasks whose reset motion ends in another state when the goal has moved a body of the model.

In the others the moved bodies touch nothing and rest, so the state after the motion is one and the same for every
goal, to the last bit (``tests/envs/test_stepping.py`` tries the corners of every reset space and many draws).
"""


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A002 - numpy's name
    """Equals ``numpy.linalg.norm``: the 2-norm of a flat float array is the square root of BLAS's dot product."""
    if ord is None and axis is None and type(x) is np.ndarray and x.strides == _CONTIGUOUS and x.dtype is _FLOAT64:
        return np.float64(math.sqrt(x.dot(x)))
    return np.linalg.norm(x, ord, axis, keepdims)


def _hstack(tup: Any) -> Any:
    """Equals ``numpy.hstack``: flat arrays one after the other."""
    for part in tup:
        if type(part) is not np.ndarray or part.ndim != 1:
            return np.hstack(tup)
    return np.concatenate(tup)


def _tolerance(
    x: Any,
    bounds: tuple[float, float] = (0.0, 0.0),
    margin: Any = 0.0,
    sigmoid: Any = "gaussian",
    value_at_margin: float = 0.1,
) -> Any:
    """Equals ``reward_utils.tolerance``: scalar arithmetic for the one sigmoid that nearly all rewards use.

    ``x**2`` must stay a power: the C library's ``pow(x, 2)`` differs from ``x * x`` in the last bit now and then.
    """
    if sigmoid != "long_tail" or value_at_margin != 0.1 or not isinstance(x, float):
        return reward_utils.tolerance(x, bounds, margin, sigmoid, value_at_margin)
    return _long_tail(float(x), float(bounds[0]), float(bounds[1]), float(margin))


def _long_tail(x: float, lower: float, upper: float, margin: float) -> float:
    """The scalar case of ``reward_utils.tolerance(x, (lower, upper), margin, "long_tail")``."""
    if lower > upper:
        raise ValueError("Lower bound must be <= upper bound.")
    if margin < 0:
        raise ValueError(f"`margin` must be non-negative. Current value: {margin}")
    if lower <= x <= upper:
        return 1.0
    if margin == 0:
        return 0.0
    distance = (lower - x if x < lower else x - upper) / margin
    try:
        return float(1 / ((distance * _LONG_TAIL_SCALE) ** 2 + 1))
    except OverflowError:  # where numpy goes on with infinity
        return 0.0


class _FastRotation:
    """What the tasks use of ``scipy.spatial.transform.Rotation``: ``from_matrix(...).as_quat()``."""

    __slots__ = ("_matrix",)

    def __init__(self, matrix: Array) -> None:
        self._matrix = matrix

    @staticmethod
    def from_matrix(matrix: Array) -> _FastRotation:
        """Keep the matrix; the simulator's are orthogonal, so that scipy's check of it never changes them."""
        return _FastRotation(matrix)

    def as_quat(self) -> Array:
        """Equals scipy's conversion (Markley 2008): the largest of x^2, y^2, z^2, w^2 decides which row is used."""
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


class _NamedView:
    """What MuJoCo's ``data.body(name)`` and its like give, looked up once: live views of the simulator's memory."""

    __slots__ = ("id", "qpos", "qvel", "xmat", "xpos", "xquat")

    def __init__(self, accessor: Any) -> None:
        for field in self.__slots__:
            if hasattr(accessor, field):
                object.__setattr__(self, field, getattr(accessor, field))

    def __setattr__(self, field: str, value: Any) -> None:
        getattr(self, field)[:] = value


class _NamedViews(dict[str, _NamedView]):
    def __init__(self, lookup: Callable[[str], Any]) -> None:
        super().__init__()
        self._lookup = lookup

    def __missing__(self, name: str) -> _NamedView:
        view = self[name] = _NamedView(self._lookup(name))
        return view


class CachedData:
    """Stands in for ``MjData`` in the tasks' code; ``raw`` is the real one."""

    def __init__(self, raw: mujoco.MjData) -> None:
        self.raw = raw
        self.body = _NamedViews(raw.body).__getitem__
        self.site = _NamedViews(raw.site).__getitem__
        self.geom = _NamedViews(raw.geom).__getitem__
        self.joint = _NamedViews(raw.joint).__getitem__
        self.qpos = raw.qpos
        self.qvel = raw.qvel
        self.ctrl = raw.ctrl
        self.mocap_pos = raw.mocap_pos
        self.mocap_quat = raw.mocap_quat
        self.site_xpos = raw.site_xpos

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


class _CachedMujoco(SimpleNamespace):
    """``mujoco`` for the tasks' code: its functions get the real ``MjData``."""

    def __init__(self) -> None:
        super().__init__(
            mjtObj=mujoco.mjtObj,
            mj_name2id=mujoco.mj_name2id,
            mj_step=lambda model, data: mujoco.mj_step(model, data.raw),
            mj_forward=lambda model, data: mujoco.mj_forward(model, data.raw),
        )


_NUMPY = SimpleNamespace(**{**vars(np), "hstack": _hstack})
_NUMPY.linalg = SimpleNamespace(**{**vars(np.linalg), "norm": _norm})
_GLOBALS = {
    "np": _NUMPY,
    "Rotation": _FastRotation,
    "reward_utils": SimpleNamespace(**{**vars(reward_utils), "tolerance": _tolerance}),
    "mujoco": _CachedMujoco(),
}


class _SharedModel:
    """A compiled model that environments of one process share; each writes its bodies and sites before it steps."""

    def __init__(self, path: str) -> None:
        self.model = mujoco.MjModel.from_xml_path(path)
        self.owner: FastSawyer | None = None
        self._compiled = self.positions()

    def positions(self) -> tuple[Array, Array]:
        """Copies of what resets change in a model: positions of bodies and of sites."""
        return self.model.body_pos.copy(), self.model.site_pos.copy()

    def lend(self, owner: FastSawyer) -> None:
        """Make ``owner``'s positions the model's, and keep those of the owner before."""
        if self.owner is not None:
            self.owner.positions = self.positions()
        self.model.body_pos[:], self.model.site_pos[:] = owner.positions or self._compiled
        self.owner = owner


@cache
def _shared_model(path: str) -> _SharedModel:
    return _SharedModel(path)


class FastSawyer(SawyerXYZEnv):  # type: ignore[misc]
    """The base class of all tasks with its hot path overridden."""

    unstable = False
    """Whether the simulation broke down at the last step."""
    positions: tuple[Array, Array] | None = None
    _raw: mujoco.MjData | None = None
    _first_pass = False
    _tcp: Array | None = None

    def _initialize_simulation(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """Equals stock, less the size of the window to draw in; a file is compiled once per process."""
        self._shared = _shared_model(self.fullpath)
        self._shared.lend(self)
        return self._shared.model, mujoco.MjData(self._shared.model)

    def look_up_names(self) -> None:
        """Put the cached lookups in place; once, after construction."""
        self._raw = self.data
        self.data = data = CachedData(self._raw)
        self._hand = data.body("hand").xpos
        self._right_claw, self._left_claw = data.body("rightclaw").xpos, data.body("leftclaw").xpos
        self._left_pad, self._right_pad = data.body("leftpad").xpos, data.body("rightpad").xpos
        self._right_finger, self._left_finger = data.site("rightEndEffector").xpos, data.site("leftEndEffector").xpos
        self._pad_geoms = data.geom("leftpad_geom").id, data.geom("rightpad_geom").id
        self._mocap = data.mocap_pos[0]
        self._snapshots: dict[bytes, Array] = {}
        self._pair = np.empty(2)
        self._low, self._high = self.sawyer_observation_space.low, self.sawyer_observation_space.high

    # Named access -------------------------------------------------------------------------------------------------

    def get_endeff_pos(self) -> Array:
        """Equals stock: a live view of the hand's position."""
        return self._hand

    def get_body_com(self, body_name: str) -> Array:
        """Equals stock: a live view of the body's position."""
        return self.data.body(body_name).xpos

    def _get_site_pos(self, site_name: str) -> Array:
        """Equals stock: a copy of the site's position."""
        return self.data.site(site_name).xpos.copy()

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
        """Equals stock: the normal forces of each pad's contacts with the object, summed in the order of contacts."""
        contact = self._raw.contact
        left_pad, right_pad = self._pad_geoms
        left = right = 0
        for index, pair in enumerate(contact.geom.tolist()):
            if object_geom_id in pair:
                if left_pad in pair:
                    left += self._raw.efc_force[contact.efc_address[index]]
                if right_pad in pair:
                    right += self._raw.efc_force[contact.efc_address[index]]
        return 0 < left and 0 < right

    # Step ---------------------------------------------------------------------------------------------------------

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Equals stock, but for accelerations and forces that nothing reads (``mj_rnePostConstraint``).

        Stock also moves the goal's site after the simulation; the forward pass right after it moves it back.
        """
        if self.curr_path_length >= self.max_path_length:
            raise ValueError("You must reset the env manually once truncate==True")
        if self._shared.owner is not self:
            self._shared.lend(self)
        raw, model = self._raw, self.model
        mocap = self._mocap
        mocap += action[:3].clip(-1, 1) * self.action_scale
        mocap.clip(self.mocap_low, self.mocap_high, out=mocap)
        raw.mocap_quat[:] = _UPRIGHT
        grip = action[3]
        raw.ctrl[:] = grip, -grip
        clock = raw.time
        mujoco.mj_step(model, raw, self.frame_skip)
        mujoco.mj_forward(model, raw)
        self.unstable = raw.time < clock  # MuJoCo begins an unstable simulation anew
        self.curr_path_length += 1
        self._tcp = (self._right_finger + self._left_finger) / 2.0
        observation = self._get_obs()
        observation.clip(self._low, self._high, out=observation)
        reward, info = self.evaluate_state(observation, action)
        return observation, reward, False, self.curr_path_length == self.max_path_length, info

    def _get_curr_obs_combined_no_goal(self) -> Array:
        """Equals stock: hand, opening of the gripper, and position and quaternion of one or two objects."""
        observation = np.zeros(18)
        if self._raw is None:  # stock's constructor comes here; the first reset replaces what it gets
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
        observation = np.empty(39)
        observation[18:36] = self._prev_obs
        observation[36:] = self._get_pos_goal()
        observation[:18] = self._prev_obs = self._get_curr_obs_combined_no_goal()
        return observation

    # Reset --------------------------------------------------------------------------------------------------------

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Equals stock, which goes through ``reset_model`` twice and resets the simulator between the two.

        Of the first pass there remain the goal it draws and the bodies it moves in the model.
        """
        del seed, options
        if self._shared.owner is not self:
            self._shared.lend(self)
        self.curr_path_length = 0
        self._tcp = None
        self._first_pass = True
        self.reset_model()
        self._first_pass = False
        mujoco.mj_resetData(self.model, self._raw)
        observation = self.reset_model()
        self._prev_obs = observation[:18].copy()
        observation[18:36] = self._prev_obs
        return observation, {}

    def set_state(self, qpos: Array, qvel: Array) -> None:
        """Equals stock: set positions and velocities, then a forward pass."""
        if self._first_pass:
            return
        raw = self._raw
        raw.qpos[:] = qpos
        raw.qvel[:] = qvel
        mujoco.mj_forward(self.model, raw)

    def _reset_hand(self, steps: int = 50) -> None:
        """Equals stock: move the hand to its initial position, gripper open.

        Stock comes here with a simulator just reset, so the motion is a function of the model alone. A snapshot holds
        the state before its last simulation step; making that step again also renews everything derived from it.
        """
        if not self._first_pass:
            goal = self.model.body_pos.tobytes() if type(self).__name__ in MOTION_DEPENDS_ON_GOAL else b""
            snapshot = self._snapshots.get(goal)
            if snapshot is None:
                snapshot = self._move_hand(steps)
                if len(self._snapshots) < _SNAPSHOTS:
                    self._snapshots[goal] = snapshot
            mujoco.mj_setState(self.model, self._raw, snapshot, _STATE)
            mujoco.mj_step(self.model, self._raw)
        self.init_tcp = self.tcp_center

    def _move_hand(self, steps: int) -> Array:
        """Make the motion up to its last simulation step; returns the state there."""
        raw = self._raw
        for remaining in range(steps, 0, -1):
            self._mocap[:] = self.hand_init_pos
            raw.mocap_quat[:] = _UPRIGHT
            raw.ctrl[:] = -1, 1
            mujoco.mj_step(self.model, raw, self.frame_skip if remaining > 1 else self.frame_skip - 1)
        state = np.empty(mujoco.mj_stateSize(self.model, _STATE))
        mujoco.mj_getState(self.model, raw, state, _STATE)
        return state

    # Reward -------------------------------------------------------------------------------------------------------

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
        x, y, z = obj_pos.tolist()
        initial_x, initial_y, initial_z = self.obj_init_pos.tolist()
        caging = []
        for pad in (self._left_pad.item(1), self._right_pad.item(1)):
            margin = abs(abs(pad - initial_y) - pad_success_thresh)
            caging.append(_long_tail(abs(pad - y), obj_radius, pad_success_thresh, margin))
        caging_y = reward_utils.hamacher_product(*caging)

        tcp, init_tcp = self.tcp_center, self.init_tcp
        margin = self._distance(initial_x - init_tcp.item(0), initial_z - init_tcp.item(2)) - xz_thresh
        caging_xz = _long_tail(self._distance(tcp.item(0) - x, tcp.item(2) - z), 0.0, xz_thresh, margin)

        gripper_closed = min(max(0, action[-1]), desired_gripper_effort) / desired_gripper_effort
        caged = reward_utils.hamacher_product(caging_y, caging_xz)
        gripping = gripper_closed if caged > 0.97 else 0.0
        reward = reward_utils.hamacher_product(caged, gripping)
        if high_density:
            reward = (reward + caged) / 2
        if medium_density:
            margin = abs(_norm(self.obj_init_pos - init_tcp) - object_reach_radius)
            reach = _tolerance(_norm(obj_pos - tcp), (0, object_reach_radius), margin, "long_tail")
            reward = (reward + float(reach)) / 2
        return reward

    def _distance(self, x: float, z: float) -> float:
        """The 2-norm of a pair, through BLAS as numpy does it (fused arithmetic there may round differently)."""
        self._pair[0] = x
        self._pair[1] = z
        return math.sqrt(self._pair.dot(self._pair))


def _rebound(function: Any) -> Any:
    """The same stock function with the quick versions among its globals."""
    if isinstance(function, property):
        return property(_rebound(function.fget))
    if function.__name__ == "inner":  # the wrapper of ``assert_task_is_set``; the task is set for good here
        function = function.__closure__[0].cell_contents
    return FunctionType(
        function.__code__,
        {**function.__globals__, **_GLOBALS},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )


@cache
def fast_class(task: type[SawyerXYZEnv]) -> type[FastSawyer]:
    """The quick version of a stock task class, which is among its bases and keeps its name."""
    own = {
        name: _rebound(member)
        for name, member in vars(task).items()
        if isinstance(member, (FunctionType, property)) and name != "__init__"
    }
    return type(task.__name__, (task, FastSawyer), own)
