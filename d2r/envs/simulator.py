"""What stands between a task's code and MuJoCo: names looked up once."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import mujoco
import numpy.typing as npt

Array = npt.NDArray[Any]

# By default MuJoCo writes MUJOCO_LOG.TXT wherever it happens to run; unstable steps are counted instead (slices.py).
mujoco.set_mju_user_warning(lambda _: None)


class NamedView:
    """What MuJoCo's ``data.body(name)`` and its like give, looked up once: live views of the simulator's memory."""

    __slots__ = ("id", "qpos", "qvel", "xmat", "xpos", "xquat")
    id: int
    qpos: Array
    qvel: Array
    xmat: Array
    xpos: Array
    xquat: Array

    def __init__(self, accessor: Any) -> None:
        for field in self.__slots__:
            if hasattr(accessor, field):
                object.__setattr__(self, field, getattr(accessor, field))

    def __setattr__(self, field: str, value: Any) -> None:
        getattr(self, field)[:] = value


class _NamedViews(dict[str, NamedView]):
    def __init__(self, lookup: Callable[[str], Any]) -> None:
        super().__init__()
        self._lookup = lookup

    def __missing__(self, name: str) -> NamedView:
        view = self[name] = NamedView(self._lookup(name))
        return view


class NamedData:
    """Stands in for ``MjData`` in the tasks' code; ``raw`` is the real one, which has everything else."""

    def __init__(self, raw: mujoco.MjData) -> None:
        self.raw = raw
        self.body = _NamedViews(raw.body).__getitem__
        self.site = _NamedViews(raw.site).__getitem__
        self.geom = _NamedViews(raw.geom).__getitem__
        self.joint = _NamedViews(raw.joint).__getitem__
        self.qpos, self.qvel, self.ctrl = raw.qpos, raw.qvel, raw.ctrl
        self.mocap_pos, self.mocap_quat = raw.mocap_pos[0], raw.mocap_quat[0]
        self.site_xpos = raw.site_xpos

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


MUJOCO = SimpleNamespace(
    mjtObj=mujoco.mjtObj,
    mj_name2id=mujoco.mj_name2id,
    mj_step=lambda model, data: mujoco.mj_step(model, data.raw),
    mj_forward=lambda model, data: mujoco.mj_forward(model, data.raw),
)
"""What the tasks' code calls of ``mujoco``, for :class:`NamedData`."""
