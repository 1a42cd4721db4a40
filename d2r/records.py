"""Records that carry their own sha256: the ``run.json`` of a run, as bytes and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

SCHEMA = 2
"""Schema of the records; it is also the first one whose records hold the key ``sha256``."""
TYPES: dict[str, type | tuple[type, ...]] = {
    "scale": str, "benchmark": str, "method": str, "seed": int, "protocol": str, "status": str, "config": dict,
    "config_hash": str, "steps": int, "updates": int, "packages": dict, "cpu": dict, "outputs": dict,
    "parameters": dict, "failure": (dict, type(None)),
}  # fmt: skip
"""Keys that every run's record has, and what they hold."""
EXECUTION = {"compile": bool, "graph": bool, "autocast": str, "tf32": bool}
"""How updates were executed; only the first records do not say it."""


def record_bytes(record: Mapping[str, Any]) -> bytes:
    r"""Return JSON, one value to a line, whose last key is the sha256 of all others.

    Example:
        >>> record_bytes({"schema": 2})[:16]
        b'{\n "schema": 2,\n'
    """
    body = {key: value for key, value in record.items() if key != "sha256"}
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    return json.dumps(body | {"sha256": hashlib.sha256(canonical).hexdigest()}, indent=1).encode() + b"\n"


def malformed(record: Mapping[str, Any]) -> str | None:
    """Return the first key of a run's record that does not hold what training writes; none if all do."""
    for key, kind in TYPES.items():
        if not isinstance(record.get(key), kind):
            return key
    if not all(isinstance(version, str) for version in record["packages"].values()):
        return "packages"
    if record.get("schema") != SCHEMA:
        return "schema"
    earlier = record.get("earlier", [])
    if not isinstance(earlier, list) or not all(isinstance(process, dict) for process in earlier):
        return "earlier"
    execution = record.get("execution", {})
    if not isinstance(execution, dict) or not all(
        isinstance(value, EXECUTION.get(option, ())) for option, value in execution.items()
    ):
        return "execution"
    if record["status"] == "failed" and "message" not in (record["failure"] or {}):
        return "failure"
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
