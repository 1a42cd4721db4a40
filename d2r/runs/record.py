"""Records that carry their own sha256: the ``run.json`` of a run, as bytes and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from d2r.text import NAME

SCHEMA = 2
"""Schema of the records; it is also the first one whose records hold the key ``sha256``."""
Name = Annotated[str, Field(pattern=f"^{NAME}$")]
Count = Annotated[int, Field(ge=0, lt=2**63)]


class Written(BaseModel):
    """Base of what training wrote and others read: values of the very types, whatever else is there."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class Process(Written):
    """What a record says of a process that trained the run, as far as anybody reads it."""

    packages: dict[str, str] = {}
    commit: str | None = None
    dirty: bool | None = None
    cpu: dict[str, Any] = {}


class Budget(Written):
    """The budget's part that tables show."""

    steps: Count


class Network(Written):
    """The network's part that tables show."""

    num_modules: Count | None = None


class Config(Written):
    """A run's configuration, as far as it is read without today's classes."""

    budget: Budget
    network: Network


class Execution(Written):
    """How updates were executed; only the first records do not say it."""

    model_config = ConfigDict(extra="forbid")

    compile: bool = False
    graph: bool = False
    autocast: Literal["none", "bf16"] = "none"
    tf32: bool = False


class Parameters(Written):
    """Learned parameters."""

    actor: Count
    critic: Count


class Failure(Written):
    """Where numbers went wrong."""

    message: str
    task: Name | None = None
    step: Count | None = None
    quantity: str | None = None


class RunRecord(Process):
    """The ``run.json`` of a run."""

    schema_: int = Field(alias="schema", ge=SCHEMA, le=SCHEMA)
    scale: Name
    benchmark: Name
    method: Name
    seed: Count
    protocol: Name
    status: Name
    config: Config
    config_hash: str
    steps: Count
    updates: Count
    packages: dict[str, str]
    cpu: dict[str, Any]
    outputs: dict[str, str]
    parameters: Parameters
    device: str = ""
    threads: Count | None = None
    started: str = ""
    ended: str = ""
    resumes: Count = 0
    earlier: list[Process] = []
    execution: Execution = Execution()
    failure: Failure | None

    @field_validator("failure")
    @classmethod
    def _a_failed_run_says_why(cls, failure: Failure | None, info: ValidationInfo) -> Failure | None:
        if failure is None and info.data.get("status") == "failed":
            raise ValueError("missing")
        return failure


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


def malformed(record: Mapping[str, Any]) -> str | None:
    """Return the first key of a run's record that does not hold what training writes; none if all do."""
    try:
        RunRecord.model_validate(record)
    except ValidationError as error:
        return str(error.errors(include_url=False)[0]["loc"][0])
    return None


def processes(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what a run's record says of each process that trained it: source, packages and machine, in order.

    A run that was interrupted has several. Records from before they were kept name the last one only, and what else
    is no list of objects is left to :func:`malformed`.
    """
    earlier = record.get("earlier")
    known = earlier if isinstance(earlier, list) else []
    return [*(process for process in known if isinstance(process, dict)), record]


def made_from_changed_sources(record: Mapping[str, Any]) -> bool:
    """Whether any process of a run used sources that were not committed."""
    return any(process.get("dirty") for process in processes(record))


def is_unchanged(content: bytes, record: Mapping[str, Any]) -> bool:
    """Whether ``content``, which was read as ``record``, is what :func:`record_bytes` wrote, to the byte."""
    try:
        return record_bytes(record) == content
    except RecursionError:  # JSON is read to a greater depth than it is written
        return False
