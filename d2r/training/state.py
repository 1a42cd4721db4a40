"""The form of a checkpoint's state: what a file under a right hash must hold to be a state of this run.

A state of another run or version is told from ours here, before any of it is used. Whatever is raised afterwards, while
it is put back, is a fault of this program and is seen as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import ConfigDict, Field, ValidationError
from torch import Tensor

from d2r.config.execution import Execution
from d2r.errors import Unfit
from d2r.runs.record import Count, Process, Written, json_object
from d2r.tensors import forms
from d2r.training.instruments import Instruments, Seat
from d2r.training.seeding import is_generator_state


class _Part(Written):
    model_config = ConfigDict(arbitrary_types_allowed=True)


class _Optimiser(_Part):
    state: dict[int, dict[str, Tensor]]


class _Learner(_Part):
    actor: dict[str, Tensor]
    critics: dict[str, Tensor]
    targets: dict[str, Tensor]
    log_alpha: Tensor
    optimiser: _Optimiser


class _Averages(_Part):
    count: Count
    of_task: Tensor
    norms: Tensor


class _Growth(_Part):
    best: float
    waited: Count


class _Instruments(_Part):
    averages: _Averages
    frequency: Tensor | None
    last_step: Count
    growth: _Growth | None


class _Tidy(_Part):
    text: str


class RunState(_Part):
    """What :meth:`Run.checkpoint` writes, but for the replay; older checkpoints lack what has a default."""

    learner: _Learner
    acting: Tensor
    learning: Tensor
    instruments: _Instruments
    tidy: dict[str, _Tidy]
    step: Count
    updates: Count
    evaluated: Annotated[int, Field(ge=-1)]
    success: float | None
    started: str
    resumes: Count
    environment: str
    environment_actions: Tensor
    process: Process = Process()
    earlier: list[Process] = Field(default_factory=list)
    execution: Execution | None = None
    source: str | None = None


class _Environment(Written):
    simulator_exceptions: list[Count]


def check_state(
    state: Mapping[str, Any], seat: Seat, instruments: Instruments, tidy: set[str], steps: int
) -> None:
    """Check that a state is one of this run.

    Args:
        seat: the run's, for names, shapes and types of its tensors; as are the instruments.
        tidy: names of the run's tidy files.
        steps: that the run takes.

    Raises:
        Unfit: naming what in it is not.
    """
    try:
        read = RunState.model_validate(state)
    except ValidationError as error:
        place = error.errors(include_url=False)[0]["loc"]
        raise Unfit(f"'{'.'.join(map(str, place))}' in it is missing or no such thing") from None
    _check_learner(read.learner, seat)
    _check_instruments(read.instruments, instruments, seat)
    for name, generator in (("acting", read.acting), ("learning", read.learning)):
        if not is_generator_state(generator):
            raise Unfit(f"'{name}' in it is no state of a random generator")
    if set(read.tidy) != tidy:
        raise Unfit("'tidy' in it does not hold this run's files")
    if read.step > steps:
        raise Unfit(f"'step' in it is {read.step}, and this run ends at {steps}")
    environment = json_object(read.environment.encode())
    try:
        _Environment.model_validate(environment)
    except ValidationError:
        raise Unfit("'environment' in it is no state of environments") from None


def _check_learner(read: _Learner, seat: Seat) -> None:
    own = seat.learner.state_dict(seat.place)
    for name in ("actor", "critics", "targets"):
        if forms(getattr(read, name)) != forms(own[name]):
            raise Unfit(f"'learner.{name}' in it does not have the tensors of this run's network")
    if forms({"": read.log_alpha}) != forms({"": own["log_alpha"]}):
        raise Unfit("'learner.log_alpha' in it is not of this run's tasks")
    moved = seat.learner.optimiser.shapes()
    for number, moments in read.optimiser.state.items():
        if not 0 <= number < len(moved) or not _are_moments(moments, moved[number]):
            raise Unfit("'learner.optimiser' in it does not have the moments of this run's parameters")


def _are_moments(moments: Mapping[str, Tensor], shape: torch.Size) -> bool:
    shapes = {"step": torch.Size(()), "exp_avg": shape, "exp_avg_sq": shape}
    return {name: tensor.shape for name, tensor in moments.items()} == shapes


def _check_instruments(read: _Instruments, instruments: Instruments, seat: Seat) -> None:
    sums = {"of_task": read.averages.of_task, "norms": read.averages.norms}
    averages = seat.averages
    if forms(sums) != forms({"of_task": averages.of_task[0], "norms": averages.norms[0]}):
        raise Unfit("'instruments.averages' in it are not of this run's tasks")
    if (read.growth is None) != (instruments.growth is None):
        raise Unfit("'instruments.growth' in it is that of another method")
    if read.frequency is not None and read.frequency.shape[:1] != seat.learner.log_alpha.shape[1:]:
        raise Unfit("'instruments.frequency' in it is not of this run's tasks")
