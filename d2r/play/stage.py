"""Pictures of a simulator, rendered off screen and in software.

Training leaves out of its models what is only drawn (``envs/models.py``), so a stock model of the task is compiled
beside it and brought into the same state. Rendering writes to that one alone.
"""

from __future__ import annotations

import ctypes.util
import os
from importlib import import_module
from types import TracebackType
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from d2r.envs.stepping import FastSawyer
from d2r.errors import UserError

LIBRARIES = {"osmesa": "OSMesa", "egl": "EGL"}
"""What MuJoCo can render with where there is no screen, the one that needs least first, and the library of each."""
INSTALL = "install Mesa's off-screen renderer (Debian and Ubuntu: apt install libosmesa6)"
MOST_OBJECTS = 2000
LOOK_AT, DISTANCE, AZIMUTH, ELEVATION = (0.0, 0.65, 0.16), 1.35, 130.0, -28.0
"""A place from which the whole table, the hand and every task's object can be seen."""


def open_context(size: int) -> Any:
    """An off-screen OpenGL context of MuJoCo's, made current.

    Raises:
        UserError: there is no library to render with, or it does not work.
    """
    for name, library in LIBRARIES.items():
        if ctypes.util.find_library(library) is None:
            continue
        os.environ["PYOPENGL_PLATFORM"] = name  # read once, when PyOpenGL is imported
        try:
            context: Any = import_module(f"mujoco.{name}").GLContext(size, size)
            context.make_current()
        except Exception as error:  # noqa: BLE001 - PyOpenGL raises whatever its platform does
            raise UserError(
                f"nothing can be rendered here: {library} does not work ({type(error).__name__}); {INSTALL}"
            ) from None
        return context
    raise UserError(f"nothing can be rendered here: neither OSMesa nor EGL is installed; {INSTALL}")


class Stage:
    """A task's stock model, to be rendered in the state of an environment that trains or evaluates.

    Args:
        env: whose task is drawn.
        size: width and height of the pictures, in pixels.

    Raises:
        UserError: as :func:`open_context`.
    """

    def __init__(self, env: FastSawyer, size: int) -> None:
        self._context = open_context(size)
        self._model = mujoco.MjModel.from_xml_path(env.fullpath)
        self._model.vis.global_.offwidth = self._model.vis.global_.offheight = size
        self._data = mujoco.MjData(self._model)
        self._scene = mujoco.MjvScene(self._model, MOST_OBJECTS)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        self._renderer = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._renderer)
        self._camera = mujoco.MjvCamera()
        self._camera.lookat[:] = LOOK_AT
        self._camera.distance, self._camera.azimuth, self._camera.elevation = DISTANCE, AZIMUTH, ELEVATION
        self._size = size

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._renderer.free()
        self._context.free()

    def picture(self, env: FastSawyer) -> npt.NDArray[np.uint8]:
        """What ``env``, of this stage's task, looks like now: [size, size, 3], red, green and blue."""
        model, data, seen = self._model, self._data, env.data
        model.body_pos[:], model.body_quat[:] = env.model.body_pos, env.model.body_quat
        model.site_pos[:] = env.model.site_pos
        data.qpos[:] = seen.raw.qpos
        data.mocap_pos[:], data.mocap_quat[:] = seen.raw.mocap_pos, seen.raw.mocap_quat
        mujoco.mj_forward(model, data)
        mujoco.mjv_updateScene(
            model, data, mujoco.MjvOption(), None, self._camera, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        area = mujoco.MjrRect(0, 0, self._size, self._size)
        mujoco.mjr_render(area, self._scene, self._renderer)
        pixels = np.empty((self._size, self._size, 3), np.uint8)
        mujoco.mjr_readPixels(pixels, None, area, self._renderer)
        return pixels[::-1]  # OpenGL counts lines from below
