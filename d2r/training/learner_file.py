"""A finished run's learner in a file, and how another run starts from it.

``learner.safetensors`` holds actor, critics, targets and temperatures as the last checkpoint does. It says of which
configuration and which policy it is, and carries a sha256 of all its tensors; its actor is that policy, whose sha256
the run's record states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
from pydantic import ValidationError
from torch import Tensor

from d2r.algorithms.adapting import Adaptation
from d2r.algorithms.sac import MultiTaskSAC
from d2r.config import RunConfig
from d2r.errors import UserError
from d2r.files import remove_temporaries, write_bytes
from d2r.networks.parts import OfTasks, tensors_by_task
from d2r.runs.folders import RunFolders
from d2r.runs.layout import POLICY, learner_path
from d2r.runs.record import RunRecord, Written, check_output, json_object, read_config, read_run
from d2r.tensors import digest, read_label, read_tensors
from d2r.training.checkpoint import CheckpointStore, Damaged
from d2r.training.state import RunState

LABEL = "learner"
"""The one key of the file's metadata: safetensors writes several in random order."""
NETWORKS = ("actor", "critics", "targets")


class Label(Written):
    """What the file says of itself."""

    config_hash: str
    policy: str
    """sha256 of the run's policy."""
    sha256: str
    """Of all tensors here."""


class Learner(NamedTuple):
    """What a run starts from.

    Attributes:
        tensors: such as ``actor.head.weight``, and ``log_alpha`` [task].
        sha256: of all of them; where: the file, for messages.
    """

    tensors: dict[str, Tensor]
    sha256: str
    where: Path


def adaptation_of(config: RunConfig) -> Adaptation | None:
    """What alone learns in a run; none where everything does."""
    if config.start_from is None or config.adapt is None or config.adapt == "all":
        return None
    seen = config.start_from.tasks
    return Adaptation(config.adapt, tuple(n for n, task in enumerate(config.tasks) if task not in seen))


def export_learner(folder: Path) -> Path:
    """Write the learner of a finished run beside its policy, from its last checkpoint.

    Args:
        folder: of the run, such as ``results/lite/runs/mt10-fixed/d2r/seed1``.

    Returns:
        The file.

    Raises:
        UserError: if the run did not finish, or its last checkpoint is not here or not of its policy.
    """
    record = read_run(folder)
    config = read_config(folder, record)
    if not record.finished:
        raise UserError(f"{folder}: this run failed; only a finished run has a learner to start from")
    checkpoints = RunFolders(folder.absolute().parents[3], config).checkpoints
    if not checkpoints.is_dir():
        raise UserError(f"{checkpoints}: the last checkpoint, which a learner is taken from, is not there")
    try:
        state = RunState.model_validate(CheckpointStore(checkpoints).state_alone(record.steps)).learner
    except (Damaged, ValidationError) as why:
        said = str(why) if isinstance(why, Damaged) else "it is of another version"
        raise UserError(f"{checkpoints}: no learner can be taken from the last checkpoint ({said})") from None
    tensors = {f"{name}.{key}": value for name in NETWORKS for key, value in getattr(state, name).items()}
    tensors["log_alpha"] = state.log_alpha
    tensors = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
    policy = read_tensors(check_output(folder, record, POLICY)) or {}
    if digest(policy) != digest(state.actor):
        raise UserError(f"{checkpoints}: the last checkpoint is not of the policy that the run published")
    label = Label(config_hash=record.config_hash, policy=record.outputs[POLICY], sha256=digest(tensors))
    path = learner_path(folder)
    try:
        remove_temporaries(path)
        write_bytes(path, safetensors.torch.save(tensors, metadata={LABEL: label.model_dump_json()}))
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
    return path


def read_learner(folder: Path, record: RunRecord) -> Learner:
    """Read the learner of a finished run.

    Raises:
        UserError: if it is missing, not what was written, or of another run.
    """
    path = learner_path(folder)
    if not path.exists():
        raise UserError(
            f"{path}: is missing; `d2r export learner {folder}` makes it, or `dvc pull` if it was released"
        )
    tensors = read_tensors(path)
    try:
        label = Label.model_validate(json_object(read_label(path).get(LABEL, "").encode()))
    except ValidationError:
        label = None
    if tensors is None or label is None:
        raise UserError(f"{path}: is no learner; `d2r export learner {folder}` makes it again")
    if digest(tensors) != label.sha256:
        raise UserError(
            f"{path}: does not have the sha256 that it states, so it was changed; `d2r export learner {folder}` makes "
            "it again"
        )
    if (label.config_hash, label.policy) != (record.config_hash, record.outputs[POLICY]):
        raise UserError(
            f"{path}: is of another run than lies here; `d2r export learner {folder}` makes it again"
        )
    return Learner(tensors, label.sha256, path)


def start_from(
    learner: MultiTaskSAC, place: int, given: Learner, tasks: Sequence[str], before: Sequence[str]
) -> None:
    """Let the learner of a seed begin with what another run has learned.

    What is of single tasks is taken over for tasks that both runs have, by name; of new ones it stays as it was drawn.
    The optimiser begins anew.

    Args:
        learner: fresh; place: of the seed.
        tasks: of the run that begins; before: of the one that it starts from.

    Raises:
        UserError: if sizes differ.
    """
    common = {now: before.index(task) for now, task in enumerate(tasks) if task in before}
    own = learner.state_dict(place)
    networks = {"actor": learner.actor, "critics": learner.critics, "targets": learner.targets}
    for name, network in networks.items():
        prefix = f"{name}."
        there = {key.removeprefix(prefix): t for key, t in given.tensors.items() if key.startswith(prefix)}
        _take_over(own[name], there, tensors_by_task(network), common, len(before), f"{given.where}: {name}")
    _take_over(
        {"log_alpha": own["log_alpha"]},
        {name: t for name, t in given.tensors.items() if name == "log_alpha"},
        {"log_alpha": OfTasks(0)},
        common,
        len(before),
        f"{given.where}: temperatures",
    )
    learner.load_state_dict(own, place)
    learner.settle_targets()


def _take_over(
    own: Mapping[str, Tensor],
    there: Mapping[str, Tensor],
    by_task: Mapping[str, OfTasks],
    common: Mapping[int, int],
    tasks: int,
    where: str,
) -> None:
    """Copy what lies ``there`` to ``own``, of single tasks those in ``common``: by their number here, that there."""
    unlike = UserError(
        f"{where}: is of other sizes than this run's; start from a run of the same method and sizes"
    )
    if own.keys() != there.keys():
        raise unlike
    for name, tensor in own.items():
        of = by_task.get(name)
        shape = list(tensor.shape)
        if of is not None:
            shape[of.axis] = of.start + tasks
        if list(there[name].shape) != shape or there[name].dtype != tensor.dtype:
            raise unlike
        if of is None:
            tensor.copy_(there[name])
            continue
        of.shared(tensor).copy_(of.shared(there[name]))
        for now, before in common.items():
            of.of(tensor, now).copy_(of.of(there[name], before))
