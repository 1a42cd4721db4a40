"""Golden vectors: one whole update of the official implementation, reproduced by the learner that trains.

A file (``.npz``, float64) holds parameters, inputs, random draws and everything that follows from them.
``meta`` states sizes and switches; linear weights are [out, in]; transitions are [batch, task, ...]; a
route is a k-hot vector over N(N+1)/2 candidates in groups of 1, ..., N. An array's error is its largest
absolute difference over its largest magnitude (over 1 where it is all zero).
"""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from d2r.algorithms.members import side_by_side
from d2r.algorithms.sac import MultiTaskSAC
from d2r.config import SacConfig
from d2r.config.execution import PLAIN, Execution
from d2r.config.networks import RoutedConfig
from d2r.config.parse import parse
from d2r.errors import UserError
from d2r.networks.base import Network
from d2r.networks.d2r.levels import D2RNetwork
from d2r.networks.maker import Maker
from d2r.runs.record import json_object
from d2r.verify.reproduce import Reproduction

TOLERANCE = 1e-9
UNREADABLE = (
    AttributeError, EOFError, LookupError, MemoryError, OSError, OverflowError, RuntimeError, SyntaxError, TypeError,
    ValueError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What numpy and zipfile raise on content that is not theirs."""
MAX_BYTES = 8 * 2**30
"""Unpacked size that a file may have; the official setting on MT50 would take about 3 GB."""
Size = Annotated[int, Field(gt=0, le=2**16)]
INPUTS = ("in/", "before/", "update/noise_", "update/sampled_route_")


class Meta(BaseModel):
    """Sizes and switches of a golden file; keys that describe only its recording are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    num_tasks: Size
    num_modules: Size
    module_dim: Size
    encoder_dim: Size
    router_dim: Size
    top_k: Size | None
    batch_per_task: Size
    obs_dim: Size
    action_dim: Size
    lr_actor: float
    lr_critic: float
    lr_alpha: float
    discount: float
    target_tau: float
    grad_clip: float
    target_entropy: float
    max_log_alpha: float | None
    task_loss_threshold: float | None
    use_resnet: bool = True
    resrouting: bool = True
    cond_ob: bool = True


class Comparison(NamedTuple):
    """One array: its name and its error."""

    name: str
    error: float

    @property
    def group(self) -> str:
        """The line of the report that this array belongs to."""
        parts = self.name.split("/")
        if parts[0] == "forward":
            return "/".join(parts[:4]) + ("/grad" if parts[4] == "grad" else "")
        if parts[0] == "update" and parts[1] in ("grad", "grad_norm"):
            return "/".join(parts[:2])
        return parts[0] if parts[0] == "update" else "/".join(parts[:2])


def verify_file(
    path: Path,
    execution: Execution = PLAIN,
    device: str = "cpu",
    cohort: int = 1,
    precision: torch.dtype = torch.double,
) -> list[Comparison]:
    """Recompute every array of a golden file.

    Args:
        execution: how the update is executed; a captured one is compared when it is replayed.
        precision: of the learner; in any but the file's own, float64, errors tell what that precision costs.
        cohort: seeds that learn side by side; the file's is each of them in turn, the others have other parameters,
            transitions and draws, and the worst error counts.

    Raises:
        UserError: if the file cannot be read, lacks an array, or holds one that this form does not have,
            or if ``execution`` is about float32 and ``precision`` is not.
    """
    for option, given in (("--autocast", execution.autocast != "none"), ("--tf32", execution.tf32)):
        if given and precision == torch.double:
            raise UserError(f"{option}: changes nothing in float64; give --precision float32 or leave it out")
    arrays = _read(path)
    meta = _meta(path, arrays.pop("meta", None))
    recorded = {name: array for name, array in arrays.items() if not name.startswith(INPUTS)}
    _check_sizes(path, meta, arrays)
    worst = dict.fromkeys(recorded, 0.0)
    for place in range(cohort):
        learner = _build(path, meta, execution, device, cohort, precision)
        reproduction = Reproduction(learner, arrays, place)
        _check_parameters(path, reproduction, arrays)
        computed = reproduction.arrays(execution)
        unknown = sorted(set(recorded) - set(computed))
        if unknown:
            raise UserError(f"{path}: array '{unknown[0]}' is not part of a golden file; remove it")
        absent = [name for name in computed if name not in recorded]
        if absent:
            raise UserError(f"{path}: array '{absent[0]}' is missing; record the file again")
        worst = {name: max(worst[name], _error(recorded[name], computed[name])) for name in recorded}
    return [Comparison(name, error) for name, error in worst.items()]


def _meta(path: Path, text: Any) -> Meta:
    content = json_object(str(text).encode(errors="replace"))
    try:
        return Meta.model_validate(content)
    except ValidationError:
        raise UserError(
            f"{path}: 'meta' is missing, incomplete or out of range; it must be JSON with the file's sizes"
        ) from None


def _read(path: Path) -> dict[str, Any]:
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: not a regular file; give an .npz file")
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            foreign = [name for name in archive.namelist() if not name.endswith(".npy")]
        if unpacked > MAX_BYTES:
            raise UserError(f"{path}: holds {unpacked} bytes unpacked; a golden file has at most {MAX_BYTES}")
        if foreign:
            raise UserError(f"{path}: '{foreign[0]}' is no array (.npy); remove it")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UNREADABLE:
        raise UserError(f"{path}: not a readable .npz file of plain arrays") from None
    for name, array in arrays.items():
        if not _has_plain_type(name, array.dtype):
            raise UserError(f"{path}: array '{name}' is of type {array.dtype}; a golden file holds float64")
    return arrays


def _has_plain_type(name: str, dtype: np.dtype[Any]) -> bool:
    """Whether torch has an array's type; ``meta`` is the one text."""
    return (
        dtype.kind == "U"
        if name == "meta"
        else dtype.kind in "fib" and dtype.itemsize <= np.dtype("f8").itemsize
    )


def _error(recorded: np.ndarray[Any, Any], computed: Tensor) -> float:
    ours = computed.detach().cpu().numpy()
    if ours.shape != recorded.shape:
        return float("inf")
    difference = float(np.abs(ours - recorded).max(initial=0.0))
    error = difference / (float(np.abs(recorded).max(initial=0.0)) or 1.0)
    return error if np.isfinite(error) else float("inf")


def _check_sizes(path: Path, meta: Meta, given: Mapping[str, Any]) -> None:
    """Refuse sizes that the file's own arrays do not have, before networks of those sizes take any memory.

    Raises:
        UserError: if an array is missing or has another shape.
    """
    count = meta.num_modules
    matrices = {
        "state_encoder.0": (meta.encoder_dim, meta.obs_dim),
        "task_encoder": (meta.encoder_dim, meta.num_tasks),
        "router.0": (meta.router_dim, meta.encoder_dim),
        "head": (2 * meta.action_dim, meta.module_dim),
    }
    matrices |= {f"module.{index}": (meta.module_dim, meta.module_dim) for index in range(2, count + 1)}
    for name, shape in matrices.items():
        _check_shape(path, given, f"before/actor/{name}.weight", shape)
    widths = {
        "in/obs": meta.obs_dim,
        "in/next_obs": meta.obs_dim,
        "in/action": meta.action_dim,
        "in/reward": 1,
        "in/terminal": 1,
        "in/stored_route": count * (count + 1) // 2,
        "in/probe_actor": 2 * meta.action_dim,
        "in/probe_q1": 1,
        "update/noise_actor": meta.action_dim,
        "update/noise_next_action": meta.action_dim,
        "update/sampled_route_q1": count * (count + 1) // 2,
        "update/sampled_route_q2": count * (count + 1) // 2,
    }
    for name, width in widths.items():
        _check_shape(path, given, name, (meta.batch_per_task, meta.num_tasks, width))
    _check_shape(path, given, "in/log_alpha", (meta.num_tasks,))


def _check_parameters(path: Path, reproduction: Reproduction, given: Mapping[str, Any]) -> None:
    """Check that the file holds every parameter of the networks, as :func:`_check_sizes` does inputs."""
    for name, parameter in reproduction.parameters():
        _check_shape(path, given, f"before/{name}", tuple(parameter.shape))


def _check_shape(path: Path, given: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> None:
    if name not in given:
        raise UserError(f"{path}: array '{name}' is missing; record the file again")
    found = given[name].shape
    if found != shape:
        raise UserError(
            f"{path}: arrays do not fit the sizes in 'meta' ({name} is {found}, not {shape}); record it again"
        )


def _build(
    path: Path, meta: Meta, execution: Execution, device: str, cohort: int, precision: torch.dtype
) -> MultiTaskSAC:
    sizes = {
        "num_modules": meta.num_modules,
        "module_dim": meta.module_dim,
        "encoder_dim": meta.encoder_dim,
        "router_dim": meta.router_dim,
        "top_k": meta.top_k,
        "residual": meta.use_resnet,
        "resrouting": "threshold" if meta.resrouting else "off",
        "router_input": "product" if meta.cond_ob else "task",
    }
    config = parse(RoutedConfig, sizes, f"{path}: 'meta'")
    sac = parse(SacConfig, meta.model_dump(include=set(SacConfig.model_fields)), f"{path}: 'meta'")
    generator = torch.Generator()

    def stacked(inputs: int, outputs: int, ensemble: int) -> Network:
        make = Maker(inputs, outputs, meta.num_tasks, ensemble, generator)
        return side_by_side([D2RNetwork(config, make) for _ in range(cohort)]).to(device, precision)

    actor = stacked(meta.obs_dim, 2 * meta.action_dim, 1)
    critics = stacked(meta.obs_dim + meta.action_dim, 1, 2)
    return MultiTaskSAC(actor, critics, sac, execution.autocast != "none")
