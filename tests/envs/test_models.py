"""Models without what is only drawn, beside stock models."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
from metaworld.env_dict import MT50_V3

from d2r.envs.models import compile_model, named_or_colliding

OF_DRAWING = ("geom_", "mesh_", "tex_", "mat_", "bvh_", "name", "text_")
"""Beginnings of the names of arrays about geoms (below), their shapes and looks, and about where names lie."""
PLACES_OF_GEOMS = {"body_geomadr", "body_geomnum", "body_bvhadr", "body_bvhnum"}
LOOKS_OF_GEOMS = {"geom_matid", "geom_rgba", "geom_group", "geom_dataid"}

PATHS = sorted({task.model_name.fget(object.__new__(task)) for task in MT50_V3.values()})


def arrays(model: mujoco.MjModel) -> dict[str, np.ndarray]:
    values = {name: getattr(model, name) for name in dir(model) if not name.startswith("_")}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.rpartition("/")[2])
def test_all_that_moves_is_as_in_the_stock_model(path: str) -> None:
    stock, ours = mujoco.MjModel.from_xml_path(path), compile_model(path)
    assert mujoco.mj_sizeModel(ours) < mujoco.mj_sizeModel(stock) / 3
    mine = arrays(ours)
    compared = 0
    for name, value in arrays(stock).items():
        if name.startswith(OF_DRAWING) or name in PLACES_OF_GEOMS:
            continue
        assert mine[name].shape == value.shape, name
        assert mine[name].tobytes() == value.tobytes(), name
        compared += 1
    assert compared > 150
    assert ours.stat.meaninertia == stock.stat.meaninertia
    for field in (
        "timestep",
        "integrator",
        "cone",
        "solver",
        "iterations",
        "tolerance",
        "disableflags",
        "enableflags",
    ):
        assert getattr(ours.opt, field) == getattr(stock.opt, field)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.rpartition("/")[2])
def test_what_has_a_name_or_collides_is_as_in_the_stock_model(path: str) -> None:
    """Also the bodies of the geoms, their names, and the convex hulls of the meshes that collide."""
    stock, ours = mujoco.MjModel.from_xml_path(path), compile_model(path)
    of_stock, of_ours = np.flatnonzero(named_or_colliding(stock)), np.flatnonzero(named_or_colliding(ours))
    assert [stock.geom(i).name for i in of_stock] == [ours.geom(i).name for i in of_ours]
    mine = arrays(ours)
    for name, value in arrays(stock).items():
        if name.startswith("geom_") and name not in LOOKS_OF_GEOMS:
            assert mine[name][of_ours].tobytes() == value[of_stock].tobytes(), name
    for kind in (mujoco.mjtObj.mjOBJ_BODY, mujoco.mjtObj.mjOBJ_JOINT, mujoco.mjtObj.mjOBJ_SITE):
        count = {1: stock.nbody, 3: stock.njnt, 6: stock.nsite}[int(kind)]
        names = [[mujoco.mj_id2name(model, kind, i) for i in range(count)] for model in (stock, ours)]
        assert names[0] == names[1]
    for one, two in zip(of_stock, of_ours, strict=True):
        if stock.geom_type[one] == mujoco.mjtGeom.mjGEOM_MESH:
            assert hull(stock, stock.geom_dataid[one]) == hull(ours, ours.geom_dataid[two])


def hull(model: mujoco.MjModel, mesh: int) -> tuple[bytes, bytes]:
    """A mesh's corners, and the graph of its convex hull (none where it is only drawn)."""
    first, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
    corners = model.mesh_vert[first : first + count].tobytes()
    start = model.mesh_graphadr[mesh]
    if start < 0:
        return corners, b""
    later = [address for address in model.mesh_graphadr if address > start]
    end = min(later, default=len(model.mesh_graph))
    return corners, model.mesh_graph[start:end].tobytes()
