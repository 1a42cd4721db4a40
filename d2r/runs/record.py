"""``run.json``: what a run was, where its numbers come from, and the sha256 of each of its files.

A record carries its own sha256, is written last and is never edited. Whoever reads one comes through :func:`read_run`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
)

from d2r.config import RunConfig, RunKey, Stated
from d2r.config.benchmarks import meant_by_name
from d2r.config.execution import PLAIN, Execution
from d2r.errors import UserError
from d2r.files import is_packed, read_bytes, read_unpacked, sha256
from d2r.limits import refuse_shortage
from d2r.runs.layout import OUTPUTS, POLICY, RUN_RECORD, output_path
from d2r.text import NAME

SCHEMA = 2
"""Schema of the records; it is also the first one whose records hold the key ``sha256``."""
Name = Annotated[str, Field(pattern=f"^{NAME}$")]
Count = Annotated[int, Field(ge=0, lt=2**63)]


class Written(BaseModel):
    """Base of what this program wrote and reads again: values of the very types, whatever else is there."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class Damaged(UserError):
    """A file of a run is not what was written."""

    def __init__(self, path: Path, fault: str, remedy: str = "restore it, or train the run again"):
        super().__init__(f"{path}: {fault}; {remedy}")
        self.said = f"{path.name} {fault}"
        """Without the folder and the remedy."""


class Processor(Written):
    """A CPU, as far as it decides last bits."""

    model: str = ""
    flags: list[str] = []
    kernels: str = ""
    cores: int | None = None
    system: str = ""


class Graphics(Written):
    """A GPU, and what PyTorch drives it with."""

    model: str = ""
    cuda: str | None = None
    cudnn: int | None = None


class Process(Written):
    """What a record says of a process that trained the run: source, packages and machine."""

    until_step: Count | None = None
    """Where the next process took over; of the last one nothing is said."""
    packages: dict[str, str] = {}
    commit: str | None = None
    dirty: bool | None = None
    """Whether sources differed from the commit; none: it is not known."""
    image: str | None = None
    cpu: Processor = Processor()
    kernel: str = ""
    """Which implementation computed networks."""
    gpu: Graphics | None = None
    threads: Count | None = None
    workers: Count | None = None
    device: str = ""
    cohort: Count | None = None
    """Seeds that it trained side by side; records from before there were such do not say it."""

    def written(self) -> dict[str, Any]:
        """What is stated, as JSON; what is not known is left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class Parameters(Written):
    """Learned parameters."""

    actor: Count
    critic: Count


class Failure(Written):
    """Where numbers went wrong."""

    task: Name | None = None
    step: Count | None = None
    quantity: str | None = None
    message: str


class _Budget(Written):
    steps: Count


class _Network(Written):
    num_modules: Count | None = None


class _Shown(Written):
    """The configuration's part that is shown without today's classes."""

    tasks: list[Name] | None = None
    budget: _Budget
    network: _Network


class _Name(Written):
    schema_: int = Field(alias="schema", ge=SCHEMA, le=SCHEMA)
    scale: Name
    benchmark: Name
    method: Name
    seed: Count
    protocol: Name
    status: Literal["finished", "failed"]


class _Length(Written):
    steps: Count
    updates: Count


class RunRecord(Process, _Length, Stated, _Name):
    """A run's record. It is written in the order of its bases from the last to the first, and then of its own keys."""

    packages: dict[str, str]
    cpu: Processor
    execution: Execution = PLAIN
    """How updates were executed; only the first records do not say it."""
    started: str = ""
    ended: str = ""
    resumes: Count = 0
    earlier: list[Process] = []
    """The processes before the last one, in order; records from before they were kept name none."""
    parameters: Parameters
    simulator_exceptions: Count = 0
    failure: Failure | None
    outputs: dict[str, str]
    """sha256 of each of the run's files."""
    source: str | None = None
    """sha256 of the learner that the run started from; of a run that started afresh nothing is said."""

    @field_serializer("execution")
    def _every_option_is_said(self, execution: Execution) -> dict[str, Any]:
        return execution.model_dump()

    @field_validator("config")
    @classmethod
    def _shows_what_tables_show(cls, config: dict[str, Any]) -> dict[str, Any]:
        _Shown.model_validate(config)
        return config

    @field_validator("failure")
    @classmethod
    def _a_failed_run_alone_says_why(cls, failure: Failure | None, info: ValidationInfo) -> Failure | None:
        if (failure is not None) != (info.data.get("status") == "failed"):
            raise ValueError("must say why the run failed, if it did")
        return failure

    @field_validator("outputs")
    @classmethod
    def _every_file_has_a_hash(cls, outputs: dict[str, str]) -> dict[str, str]:
        if set(outputs) != set(OUTPUTS):
            raise ValueError(f"must name {', '.join(OUTPUTS)}")
        return outputs

    @property
    def key(self) -> RunKey:
        """The run's name."""
        return RunKey(self.scale, self.benchmark, self.method, self.seed)

    @property
    def place(self) -> str:
        """Where its folder belongs below ``runs``: ``benchmark/method/seedK``."""
        return f"{self.benchmark}/{self.method}/seed{self.seed}"

    @property
    def finished(self) -> bool:
        """Whether its numbers stayed numbers to the end."""
        return self.status == "finished"

    @property
    def processes(self) -> list[Process]:
        """Each process that trained it, in order; a run that was interrupted has several."""
        return [*self.earlier, self]

    @property
    def made_from_changed_sources(self) -> bool:
        """Whether any of these processes used sources that were not committed."""
        return any(process.dirty for process in self.processes)

    @cached_property
    def _shown(self) -> _Shown:
        return _Shown.model_validate(self.config)

    @property
    def planned_steps(self) -> int:
        """Steps of its budget."""
        return self._shown.budget.steps

    @property
    def num_tasks(self) -> int | None:
        """Tasks of its benchmark, if that is known."""
        meant = meant_by_name(self.benchmark)
        stated = self._shown.tasks or (None if meant is None else meant.tasks)
        return None if stated is None else len(stated)

    @property
    def num_modules(self) -> int | None:
        """Modules of its network, if that has such."""
        return self._shown.network.num_modules

    def to_bytes(self) -> bytes:
        """Return ``run.json``, which ends with the sha256 of all else."""
        return record_bytes(self.written())


def read_run(folder: Path) -> RunRecord:
    """Read a run's record.

    Raises:
        Damaged: if there is none, or it is not what training writes, to the byte.
    """
    path = folder / RUN_RECORD
    try:
        content = read_bytes(path)
    except OSError as error:
        raise Damaged(
            path, f"cannot be read ({error.strerror})", "give a run's folder, or restore it"
        ) from None
    written = json_object(content)
    if written is None:
        raise Damaged(path, "is no record of a run (no JSON object)")
    if not is_unchanged(content, written):
        raise Damaged(path, "does not have the sha256 that it states, so it was changed")
    try:
        return RunRecord.model_validate(written)
    except ValidationError as error:
        key = error.errors(include_url=False)[0]["loc"][0]
        raise Damaged(
            path, f"is no record of a run ('{key}' is missing or not what training writes)"
        ) from None


def check_place(folder: Path, record: RunRecord) -> None:
    """See to it that a record lies where it says, since folders name runs.

    Raises:
        UserError: if it does not.
    """
    if record.place != "/".join(folder.absolute().parts[-3:]):
        raise UserError(
            f"{folder / RUN_RECORD}: describes {record.place}, so it lies in the wrong folder; move it there"
        )


def read_config(folder: Path, record: RunRecord) -> RunConfig:
    """The configuration of a run's record, as today's classes read it.

    Raises:
        UserError: if it was changed, is not theirs, or is of another run than the record.
    """
    path = folder / RUN_RECORD
    config = record.run_config(str(path))
    for name in RunKey._fields:
        if getattr(record, name) != getattr(config, name):
            raise UserError(f"{path}: '{name}' is not that of its configuration; the file has been changed")
    return config


def check_output(folder: Path, record: RunRecord, name: str) -> Path:
    """Return the path of one of a run's files whose sha256, of what is packed if it is, is the recorded one.

    Raises:
        Damaged: if it is missing or has been changed.
    """
    path = output_path(folder, name)
    try:
        digest = hashlib.sha256(read_unpacked(path)).hexdigest() if is_packed(path) else sha256(path)
    except FileNotFoundError:
        hint = (
            "'dvc pull' brings released policies" if name == POLICY else "restore it, or train the run again"
        )
        raise Damaged(path, "is missing", hint) from None
    except OSError as error:
        refuse_shortage(error)
        raise Damaged(path, f"cannot be read ({error.strerror})") from None
    if digest != record.outputs[name]:
        raise Damaged(path, f"does not have the sha256 that {RUN_RECORD} states, so it was changed")
    return path


def record_bytes(record: Mapping[str, Any]) -> bytes:
    r"""Return JSON, one value to a line, whose last key is the sha256 of all others.

    Example:
        >>> record_bytes({"schema": 2})[:16]
        b'{\n "schema": 2,\n'
    """
    body = {key: value for key, value in record.items() if key != "sha256"}
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    return json.dumps(body | {"sha256": hashlib.sha256(canonical).hexdigest()}, indent=1).encode() + b"\n"


def json_object(content: bytes) -> dict[str, Any] | None:
    """Return the JSON object that ``content`` is, none if it is anything else."""
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def is_unchanged(content: bytes, record: Mapping[str, Any]) -> bool:
    """Whether ``content``, which was read as ``record``, is what :func:`record_bytes` wrote, to the byte."""
    try:
        return record_bytes(record) == content
    except RecursionError:  # JSON is read to a greater depth than it is written
        return False
