"""The manifest of a released scale: sha256 and size of every run file and policy."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from pydantic import Field, ValidationError

from d2r.config import RUNS
from d2r.errors import UserError
from d2r.files import read_bytes, remove_temporaries, sha256, write_bytes
from d2r.runs.layout import POLICIES, RELEASED_SUFFIX, RUN_FILES, SEED_FOLDER, released_name
from d2r.runs.record import Count, Written, json_object

MANIFEST = "MANIFEST.json"
SCHEMA = 1

IN_GIT = {released_name(name) for name in RUN_FILES if name not in RELEASED_SUFFIX}
"""What a released run's folder holds."""


class Entry(Written):
    """What is known of one released file."""

    sha256: str
    bytes: Count


class Manifest(Written):
    """What ``MANIFEST.json`` states."""

    schema_: int = Field(alias="schema", ge=SCHEMA, le=SCHEMA)
    scale: str
    files: dict[str, Entry]
    """Entries by their path below the released scale."""

    def to_bytes(self) -> bytes:
        """Return JSON, names sorted, so that equal releases are equal bytes."""
        document = self.model_dump(mode="json", by_alias=True)
        document["files"] = dict(sorted(document["files"].items()))
        return json.dumps(document, indent=1).encode() + b"\n"


def released_path(run_folder: PurePosixPath, name: str) -> PurePosixPath:
    """Where a run's file lies below the released scale; ``run_folder`` is ``benchmark/method/seedK``.

    Policies and learners are DVC's, and so lie in a tree of their own; all else is in git.
    """
    if name in RELEASED_SUFFIX:
        return PurePosixPath(POLICIES) / f"{run_folder}{RELEASED_SUFFIX[name]}"
    return PurePosixPath(RUNS) / run_folder / released_name(name)


def place_of(name: str) -> PurePosixPath | None:
    """The run (``benchmark/method/seedK``) that a released file belongs to; none if it is no run's file."""
    path = PurePosixPath(name)
    if path.parts[0] == POLICIES and path.suffix == ".safetensors":
        place = PurePosixPath(*path.parts[1:-1], path.name.removesuffix(path.suffix).removesuffix(".learner"))
    elif path.parts[0] == RUNS and path.name in IN_GIT:
        place = PurePosixPath(*path.parts[1:-1])
    else:
        return None
    return place if is_place(place) else None


def is_place(place: PurePosixPath) -> bool:
    """Whether a relative path is a run's: ``benchmark/method/seedK``."""
    return len(place.parts) == 3 and re.fullmatch(SEED_FOLDER, place.name) is not None


def write_manifest(released: Path, scale: str, entries: Mapping[str, Entry]) -> Path:
    """Write ``released/MANIFEST.json``."""
    path = released / MANIFEST
    write_atomically(path, Manifest(schema=SCHEMA, scale=scale, files=dict(entries)).to_bytes())
    return path


def read_manifest(released: Path) -> dict[str, Entry]:
    """Read ``released/MANIFEST.json``: relative path to entry.

    Raises:
        UserError: if it is damaged, or a path in it would leave the folder.
    """
    path = released / MANIFEST
    try:
        content = read_bytes(path)
        manifest = Manifest.model_validate(json_object(content))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); restore it from git") from None
    except ValidationError:
        raise UserError(f"{path}: not a manifest of schema {SCHEMA}; restore it from git") from None
    for name in manifest.files:
        relative = PurePosixPath(name)
        if (
            not relative.parts
            or relative.is_absolute()
            or ".." in relative.parts
            or "\\" in name
            or "\0" in name
        ):
            raise UserError(f"{path}: '{name}' leaves the folder; do not trust this release")
        if place_of(name) is None:
            raise UserError(f"{path}: '{name}' is no run's file; restore it from git")
    if manifest.scale != released.absolute().name or manifest.to_bytes() != content:
        raise UserError(f"{path}: has been changed, or is of another scale; restore it from git")
    return manifest.files


def check_manifest(released: Path) -> tuple[int, int]:
    """Check every released file against the manifest.

    Returns:
        How many files agree, and how many policies are not here (``dvc pull`` brings them).

    Raises:
        UserError: naming the first file that is missing, changed, or not in the manifest.
    """
    entries = read_manifest(released)
    if not entries:
        raise UserError(f"{released / MANIFEST}: names no file; restore it from git")
    absent = 0
    for name, entry in entries.items():
        path = released / name
        try:
            present = path.is_file()
        except OSError as error:
            raise UserError(
                f"{released / MANIFEST}: a name in it cannot be a file's ({error.strerror})"
            ) from None
        if not present:
            if name.startswith(f"{POLICIES}/"):
                absent += 1
                continue
            raise UserError(f"{path}: is in {MANIFEST} but missing; restore it from git")
        if path.stat().st_size != entry.bytes or sha256(path) != entry.sha256:
            raise UserError(
                f"{path}: differs from its sha256 in {MANIFEST}; restore it from git, or dvc pull"
            )
    for tree in (RUNS, POLICIES):
        for path in sorted((released / tree).rglob("*")):
            name = path.relative_to(released).as_posix()
            if path.is_file() and name not in entries:
                raise UserError(f"{path}: is not in {MANIFEST}; remove it, or release its run")
    return len(entries) - absent, absent


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        UserError: if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_temporaries(path)
        write_bytes(path, content)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
