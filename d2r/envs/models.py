"""Meta-World's MuJoCo models without what is only drawn.

Most of the time and memory that a stock model takes goes into the meshes of the robot's shell and into textures. They
collide with nothing, and their bodies' inertia is given. Without them a model is compiled in a quarter of the time and
a sixth of the memory, and all that moves is the same to the last bit (``tests/envs/test_models.py``).
"""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt


@cache
def _compiled(path: str) -> mujoco.MjModel:
    return compile_model(path)


def make_model(path: str) -> mujoco.MjModel:
    """A model of one's own, to move bodies in; each file is compiled once in a process."""
    model: mujoco.MjModel = copy.copy(_compiled(path))
    return model


def compile_model(path: str) -> mujoco.MjModel:
    """Compile a model from its XML file, less what is only drawn and what nobody asks for by its name."""
    spec: Any = mujoco.MjSpec.from_file(path)  # no annotations
    for geom in list(spec.geoms):
        if _is_only_drawn(geom):
            geom.delete()
    meshes = {geom.meshname for geom in spec.geoms}
    for mesh in list(spec.meshes):
        if mesh.name not in meshes:
            mesh.delete()
    for material in spec.materials:
        material.textures = [""] * len(material.textures)
    for texture in list(spec.textures):
        texture.delete()
    model: mujoco.MjModel = spec.compile()
    return model


def _is_only_drawn(geom: Any) -> bool:
    """Whether a geom can touch nothing, adds nothing to its body's inertia, and has no name."""
    collides = geom.contype != 0 or geom.conaffinity != 0
    return bool(not collides and geom.parent.explicitinertial and not geom.name)


def named_or_colliding(model: mujoco.MjModel) -> npt.NDArray[np.bool_]:
    """Which geoms of a model, ours or stock, have a name or can touch another: [geoms]."""
    first_letters = np.frombuffer(model.names, np.uint8)[model.name_geomadr]
    mask: npt.NDArray[np.bool_] = (
        (first_letters != 0) | (model.geom_contype != 0) | (model.geom_conaffinity != 0)
    )
    return mask
