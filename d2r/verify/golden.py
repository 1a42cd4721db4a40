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
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from d2r.algorithms.recorded import WARM_UPS
from d2r.algorithms.replay import Batch
from d2r.algorithms.sac import Draws, MultiTaskSAC, task_weights
from d2r.config import SacConfig
from d2r.config.execution import PLAIN, Execution
from d2r.config.load import parse
from d2r.config.networks import RoutedConfig
from d2r.errors import UserError
from d2r.networks.base import Output
from d2r.networks.d2r.levels import D2RNetwork
from d2r.networks.maker import Maker
from d2r.networks.routing import DETERMINISTIC, Replayed
from d2r.runs.record import json_object

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


def verify_file(path: Path, execution: Execution = PLAIN, device: str = "cpu") -> list[Comparison]:
    """Recompute every array of a golden file.

    Args:
        execution: how the update is executed; a captured one is compared when it is replayed.

    Raises:
        UserError: if the file cannot be read, lacks an array, or holds one that this form does not have,
            or if ``execution`` is about float32, which no golden file is in.
    """
    for option, given in (("--autocast", execution.autocast != "none"), ("--tf32", execution.tf32)):
        if given:
            raise UserError(f"{option}: changes nothing in float64, in which golden files are; leave it out")
    arrays = _read(path)
    meta = _meta(path, arrays.pop("meta", None))
    recorded = {name: array for name, array in arrays.items() if not name.startswith(INPUTS)}
    _check_sizes(path, meta, arrays)
    learner = _build(path, meta, execution, device)
    _check_parameters(path, learner, arrays)
    computed = _recompute(learner, arrays, device)
    unknown = sorted(set(recorded) - set(computed))
    if unknown:
        raise UserError(f"{path}: array '{unknown[0]}' is not part of a golden file; remove it")
    absent = [name for name in computed if name not in recorded]
    if absent:
        raise UserError(f"{path}: array '{absent[0]}' is missing; record the file again")
    return [Comparison(name, _error(recorded[name], computed[name])) for name in recorded]


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


def _recompute(learner: MultiTaskSAC, given: Mapping[str, Any], device: str) -> dict[str, Tensor]:
    _rewind(learner, given)
    inputs = {
        name[3:]: torch.from_numpy(array).to(device, torch.double)
        for name, array in given.items()
        if name.startswith("in/")
    }
    observed = {
        "actor": inputs["obs"].unsqueeze(0),
        "q1": torch.cat([inputs["obs"], inputs["action"]], -1).unsqueeze(0),
    }
    computed: dict[str, Tensor] = {}
    for mode in ("eval", "train"):
        for name, network in (("actor", learner.actor), ("q1", learner.critics)):
            assert isinstance(network, D2RNetwork)
            network.train(mode == "train")
            rules = {
                "deterministic": DETERMINISTIC,
                "stored": Replayed(_sources(network, inputs["stored_route"])),
            }
            for kind, rule in rules.items():
                prefix = f"forward/{mode}/{name}/{kind}"
                network.zero_grad()
                output = network(observed[name], rule)
                (output.value[0] * inputs[f"probe_{name}"]).sum().backward()
                computed |= {f"{prefix}/{key}": value for key, value in _forward_arrays(network, output)}
                computed |= {
                    f"{prefix}/grad/{key}": value.clone() for key, value in _named(network, 0, grad=True)
                }
    learner.actor.train()
    learner.critics.train()
    return computed | _update_arrays(learner, given, inputs)


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


def _check_parameters(path: Path, learner: MultiTaskSAC, given: Mapping[str, Any]) -> None:
    """Check that the file holds every parameter of the networks, as :func:`_check_sizes` does inputs."""
    for net, network, member in _networks(learner):
        for name, parameter in _named(network, member):
            _check_shape(path, given, f"before/{net}/{name}", tuple(parameter.shape))


def _check_shape(path: Path, given: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> None:
    if name not in given:
        raise UserError(f"{path}: array '{name}' is missing; record the file again")
    found = given[name].shape
    if found != shape:
        raise UserError(
            f"{path}: arrays do not fit the sizes in 'meta' ({name} is {found}, not {shape}); record it again"
        )


def _build(path: Path, meta: Meta, execution: Execution, device: str) -> MultiTaskSAC:
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
    of_actor = Maker(meta.obs_dim, 2 * meta.action_dim, meta.num_tasks, 1, generator)
    of_critics = Maker(meta.obs_dim + meta.action_dim, 1, meta.num_tasks, 2, generator)
    actor, critics = D2RNetwork(config, of_actor), D2RNetwork(config, of_critics)
    return MultiTaskSAC(actor.double().to(device), critics.double().to(device), sac, execution)


def _rewind(learner: MultiTaskSAC, given: Mapping[str, Any]) -> None:
    """Set all that an update moves, in place, to what it is before the recorded one."""
    with torch.no_grad():
        for net, network, member in _networks(learner):
            for name, parameter in _named(network, member):
                parameter.copy_(torch.from_numpy(given[f"before/{net}/{name}"]))
        learner.log_alpha.copy_(torch.from_numpy(given["in/log_alpha"]))
        for moments in learner.optimiser.state.values():
            for value in moments.values():
                value.zero_()


def _networks(learner: MultiTaskSAC) -> Iterator[tuple[str, D2RNetwork, int]]:
    """Names of a golden file, and the ensemble member that each one is here."""
    for net, network, member in (
        ("actor", learner.actor, 0),
        ("q1", learner.critics, 0),
        ("q2", learner.critics, 1),
        ("target_q1", learner.targets, 0),
        ("target_q2", learner.targets, 1),
    ):
        assert isinstance(network, D2RNetwork)
        yield net, network, member


def _named(network: D2RNetwork, member: int, grad: bool = False) -> Iterator[tuple[str, Tensor]]:
    """Parameters (or gradients) of one ensemble member under a golden file's names."""

    def of(parameter: Tensor) -> Tensor:
        value = parameter.grad if grad else parameter
        return (torch.zeros_like(parameter) if value is None else value)[member]

    assert network.router is not None
    assert network.task_encoder is not None
    layers = {f"state_encoder.{i}": layer for i, layer in enumerate(network.state_encoder)}
    layers |= {f"router.{i}": layer for i, layer in enumerate(network.router)}
    layers |= {"task_encoder": network.task_encoder, "module.1": network.first_module, "head": network.head}
    for name, layer in layers.items():
        for kind, parameter in layer.named_parameters():
            yield f"{name}.{kind}", of(parameter)
    for index in range(network.config.num_modules - 1):
        yield f"module.{index + 2}.weight", of(network.module_weight)[index]
        yield f"module.{index + 2}.bias", of(network.module_bias)[index]


def _sources(network: D2RNetwork, k_hot: Tensor) -> Tensor:
    """Turn k-hot routes [..., N(N+1)/2] into indices [1, ..., group, K]; a small group repeats its last candidate."""
    groups, width = [], network.top_k
    for of_group in torch.split(k_hot, list(range(1, network.config.num_modules + 1)), -1):
        size = of_group.shape[-1]
        chosen = of_group.topk(min(width, size)).indices
        groups.append(torch.nn.functional.pad(chosen, (0, max(0, width - size)), value=size - 1))
    return torch.stack(groups, -2).unsqueeze(0)


def _forward_arrays(network: D2RNetwork, output: Output) -> Iterator[tuple[str, Tensor]]:
    route = output.route
    assert route is not None

    group = torch.arange(network.config.num_modules, device=route.weights.device).unsqueeze(1)
    place = torch.arange(network.top_k, device=route.weights.device)

    def flat(per_candidate: Tensor) -> Tensor:
        return per_candidate[0][..., group >= group.T]

    taken = (place <= group).expand_as(route.weights).to(route.weights)
    spread = torch.zeros_like(route.logits)
    yield "output", output.value[0]
    yield "weights", flat(spread.scatter_add(-1, route.sources, route.weights))
    yield "route", flat(spread.scatter_add(-1, route.sources, taken))
    yield "softmax", flat(route.logits.softmax(-1))


def _update_arrays(
    learner: MultiTaskSAC, given: Mapping[str, Any], inputs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The update, in the steps of :meth:`MultiTaskSAC.update`, so that gradients can be read before clipping."""
    actor, critics = learner.actor, learner.critics
    assert isinstance(actor, D2RNetwork)
    assert isinstance(critics, D2RNetwork)
    noise, next_noise, drawn_1, drawn_2 = (
        torch.from_numpy(given[f"update/{name}"]).to(inputs["obs"])
        for name in ("noise_actor", "noise_next_action", "sampled_route_q1", "sampled_route_q2")
    )
    drawn = torch.cat([_sources(critics, drawn_1), _sources(critics, drawn_2)])
    stored = _sources(actor, inputs["stored_route"])
    batch = Batch(
        inputs["obs"],
        inputs["action"],
        inputs["reward"].squeeze(-1),
        inputs["next_obs"],
        inputs["terminal"].squeeze(-1),
        stored[0],
    )
    draws = Draws(noise, next_noise, Replayed(stored), Replayed(drawn), torch.Generator())
    before_clipping: dict[str, Tensor] = {}
    clip = learner.clip

    def record_then_clip() -> tuple[Tensor, Tensor, Tensor]:
        for net, network, member in list(_networks(learner))[:3]:
            before_clipping.update(
                {f"update/grad/{net}/{key}": g.clone() for key, g in _named(network, member, grad=True)}
            )
        assert learner.log_alpha.grad is not None
        before_clipping["update/grad/log_alpha"] = learner.log_alpha.grad.clone()
        return clip()

    learner.clip = record_then_clip  # type: ignore[method-assign]
    if learner.execution.graph:
        for _ in range(WARM_UPS):
            learner.update(batch, draws)
        _rewind(learner, given)
    info = learner.update(batch, draws)
    losses = info.losses
    computed = before_clipping | {
        "update/task_loss": losses.of_task,
        "update/alpha_loss": losses.alpha.mean(),
        "update/policy_loss": losses.policy.mean(),
        "update/qf1_loss": losses.critics[0].mean(),
        "update/qf2_loss": losses.critics[1].mean(),
        "update/loss": torch.where(info.masked, 0.0, losses.of_task).mean(),
        "update/grad_norm/actor": info.actor_norm[0],
        "update/grad_norm/q1": info.critic_norm[0],
        "update/grad_norm/q2": info.critic_norm[1],
        "update/grad_norm/log_alpha": info.alpha_norm,
        "after/log_alpha": learner.log_alpha,
        "after/tau": task_weights(learner.log_alpha),
    }
    for net, network, member in _networks(learner):
        computed |= {f"after/{net}/{key}": value for key, value in _named(network, member)}
    return computed
