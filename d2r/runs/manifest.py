"""The manifest of a released scale: sha256 and size of every run file and policy."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from d2r.errors import UserError
from d2r.files import remove_temporaries, write_bytes
from d2r.runs.layout import POLICIES, POLICY, RUN_FILES, RUN_RECORD, RUNS, SEED_FOLDER
from d2r.runs.progress import read_record

MANIFEST = "MANIFEST.json"
SCHEMA = 1


@dataclass(frozen=True)
class Entry:
    """What is known of one released file."""

    sha256: str
    size: int
    """Bytes."""


def sha256_of(path: Path) -> str:
    """Hash a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def released_path(run_folder: PurePosixPath, name: str) -> PurePosixPath:
    """Where a run's file lies below the released scale; ``run_folder`` is ``benchmark/method/seedK``.

    Policies are DVC's, and so lie in a tree of their own; all else is in git.
    """
    if name == POLICY:
        return PurePosixPath(POLICIES) / run_folder.with_suffix(".safetensors")
    return PurePosixPath(RUNS) / run_folder / name


def place_of(name: str) -> PurePosixPath | None:
    """The run (``benchmark/method/seedK``) that a released file belongs to; none if it is no run's file."""
    path = PurePosixPath(name)
    if path.parts[0] == POLICIES and path.suffix == ".safetensors":
        place = PurePosixPath(*path.parts[1:]).with_suffix("")
    elif path.parts[0] == RUNS and path.name in RUN_FILES:
        place = PurePosixPath(*path.parts[1:-1])
    else:
        return None
    return place if is_place(place) else None


def is_place(place: PurePosixPath) -> bool:
    """Whether a relative path is a run's: ``benchmark/method/seedK``."""
    return len(place.parts) == 3 and re.fullmatch(SEED_FOLDER, place.name) is not None


def check_outputs(run_folder: Path, record: Mapping[str, Any]) -> None:
    """Check a run's files against the hashes in its ``run.json``.

    Raises:
        UserError: naming the first file that is missing, unknown or changed.
    """
    outputs = record.get("outputs")
    if not isinstance(outputs, dict) or not outputs:
        raise UserError(f"{run_folder / RUN_RECORD}: 'outputs' names no file; train the run again")
    for name, expected in outputs.items():
        if name not in RUN_FILES:
            raise UserError(f"{run_folder / RUN_RECORD}: 'outputs' names the unknown file '{name}'")
        path = run_folder / name
        if not path.is_file():
            raise UserError(f"{path}: is missing; restore it, or delete the folder and train the run again")
        if sha256_of(path) != expected:
            raise UserError(f"{path}: sha256 differs from the one in {RUN_RECORD}; train the run again")


def write_manifest(released: Path, scale: str, entries: Mapping[str, Entry]) -> Path:
    """Write ``released/MANIFEST.json``, keys sorted, so that equal releases are equal bytes."""
    path = released / MANIFEST
    write_atomically(path, _manifest_text(scale, entries))
    return path


def _manifest_text(scale: str, entries: Mapping[str, Entry]) -> str:
    document = {
        "schema": SCHEMA,
        "scale": scale,
        "files": {name: {"sha256": e.sha256, "bytes": e.size} for name, e in sorted(entries.items())},
    }
    return json.dumps(document, indent=1) + "\n"


def read_manifest(released: Path) -> dict[str, Entry]:
    """Read ``released/MANIFEST.json``: relative path to entry.

    Raises:
        UserError: if it is damaged, or a path in it would leave the folder.
    """
    path = released / MANIFEST
    document = read_record(path)
    files = document.get("files")
    if document.get("schema") != SCHEMA or not isinstance(files, dict):
        raise UserError(f"{path}: not a manifest of schema {SCHEMA}; restore it from git")
    entries: dict[str, Entry] = {}
    for name, known in files.items():
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
        digest, size = (known.get("sha256"), known.get("bytes")) if isinstance(known, dict) else (None, None)
        if not isinstance(digest, str) or type(size) is not int:
            raise UserError(f"{path}: entry '{name}' lacks 'sha256' or 'bytes'; restore it from git")
        entries[name] = Entry(digest, size)
    if _manifest_text(released.absolute().name, entries).encode() != path.read_bytes():
        raise UserError(f"{path}: has been changed, or is of another scale; restore it from git")
    return entries


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
        if path.stat().st_size != entry.size or sha256_of(path) != entry.sha256:
            raise UserError(
                f"{path}: differs from its sha256 in {MANIFEST}; restore it from git, or dvc pull"
            )
    for tree in (RUNS, POLICIES):
        for path in sorted((released / tree).rglob("*")):
            name = path.relative_to(released).as_posix()
            if path.is_file() and name not in entries:
                raise UserError(f"{path}: is not in {MANIFEST}; remove it, or release its run")
    return len(entries) - absent, absent


def write_atomically(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        UserError: if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_temporaries(path)
        write_bytes(path, text.encode())
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
