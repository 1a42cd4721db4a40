"""Checkpoints that can be trusted: written atomically, hashed, read only after the hash is checked.

A checkpoint is a manifest ``checkpoint-<step>.json`` that names its files with their sha256: the state of
everything but the replay (``state-<step>-<hash>.pt``), and the replay in segments
(``replay-<from>-<to>-<hash>.safetensors``). A segment holds the transitions added between two checkpoints
and is never written again, so a checkpoint costs what is new and not what the replay holds. Many
checkpoints rest on one segment, so each is kept twice. The manifest is renamed into place last and carries
its own hash; until then the previous checkpoint stands. No file ever changes: a name holds the start of its
content's hash. The last two checkpoints are kept.
"""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from pydantic import Field, ValidationError, field_validator

from d2r.algorithms.replay import Ring
from d2r.files import read_bytes, sha256, write_bytes
from d2r.runs.layout import CHECKPOINT
from d2r.runs.record import Count, Written, json_object
from d2r.tensors import forms, read_state, read_tensors

KEEP = 2
FORMAT = 4
WITHOUT_SIZES = 3
"""The format before, which did not state how long files are."""
COPY = ".copy"
"""Ending of the second copy of a replay segment."""
MOST_MANIFEST = 16 * 2**20
"""Bytes; a manifest has some hundred for each file that it names."""


class Damaged(Exception):
    """A checkpoint is not what was written; the message says which file and how."""


class Segment(NamedTuple):
    """A stretch of the replay: transitions ``start`` to ``stop``, counted since the run began."""

    start: int
    stop: int
    name: str


class Manifest(NamedTuple):
    """What a checkpoint consists of: step, name of the state, replay segments, sha256 and bytes of all these files."""

    step: int
    state: str
    segments: list[Segment]
    files: dict[str, str]
    sizes: dict[str, int]
    """Empty in a manifest of the format before."""

    def to_bytes(self) -> bytes:
        """Return JSON that ends with its own hash."""
        body = {"format": FORMAT, **self._asdict(), "segments": [list(segment) for segment in self.segments]}
        if not self.sizes:
            body["format"] = WITHOUT_SIZES
            del body["sizes"]
        return json.dumps(body | {"self": _digest(body)}, indent=1).encode()

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read and check a manifest.

        Raises:
            Damaged: if it is not exactly what was written, or names files outside its folder.
        """
        try:
            content = read_bytes(path, MOST_MANIFEST)
        except OSError:
            raise Damaged(f"{path.name} is not readable") from None
        try:
            written = _Written.model_validate(json_object(content))
        except ValidationError:
            raise Damaged(f"{path.name} is no manifest") from None
        segments = [Segment(*entry) for entry in written.segments]
        manifest = cls(written.step, written.state, segments, written.files, written.sizes)
        in_place = path.name == manifest_name(manifest.step)
        listed = set(manifest.files) == {manifest.state, *(segment.name for segment in segments)}
        if manifest.to_bytes() != content or not in_place or not listed:
            raise Damaged(f"{path.name} has been changed")
        if any(Path(name).name != name for name in manifest.files):
            raise Damaged(f"{path.name} names files outside its folder")
        if not all(name.isascii() and name.isprintable() for name in manifest.files):
            raise Damaged(f"{path.name} names files as no file is named here")
        return manifest


class _Written(Written):
    """A manifest as it lies in its file; its hash is compared with all else."""

    step: Count
    state: str
    segments: list[tuple[Count, Count, str]]
    files: dict[str, str]
    sizes: dict[str, Count] = Field(default_factory=dict)

    @field_validator("segments", mode="before")
    @classmethod
    def _json_has_no_tuples(cls, segments: Any) -> Any:
        if not isinstance(segments, list):
            return segments
        return [tuple(entry) if isinstance(entry, list) else entry for entry in segments]


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def manifest_name(step: int) -> str:
    """File of the manifest of the checkpoint at a step."""
    return f"{CHECKPOINT}{step:012d}.json"


def manifests_newest_first(folder: Path) -> list[Path]:
    """Manifests of the checkpoints in a folder, whole or not."""
    return sorted(folder.glob(f"{CHECKPOINT}*.json"), reverse=True)


class CheckpointStore:
    """The checkpoints of one run, in one folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._good: list[Manifest] = []
        self._foreign: set[str] = set()

    def save(self, step: int, state: dict[str, Any], replay: Ring | None) -> list[str]:
        """Write a checkpoint; when this returns it is on disk, and the one before the previous is gone.

        Args:
            step: the state's environment step.
            state: tensors, numbers, strings and containers of them.
            replay: what is new in it since the last checkpoint is written; none for a run that needs it no
            more.

        Returns:
            A line for everything that lies here, is no file of a good checkpoint, and cannot be removed.

        Raises:
            OSError: if it could not be written; the checkpoints before are untouched.
        """
        segments, files, sizes = self._save_replay(replay) if replay is not None else ([], {}, {})
        buffer = io.BytesIO()
        torch.save(state, buffer)
        name = self._write(f"state-{step:012d}", ".pt", buffer.getvalue(), files, sizes)
        manifest = Manifest(step, name, segments, files, sizes)
        write_bytes(self.folder / manifest_name(step), manifest.to_bytes())
        self._good = [*(m for m in self._good if m.step != step), manifest][-KEEP:]
        return self._remove_others()

    def keep_last(self) -> None:
        """Remove all checkpoints but the last."""
        self._good = self._good[-1:]
        self._remove_others()

    def _save_replay(self, replay: Ring) -> tuple[list[Segment], dict[str, str], dict[str, int]]:
        oldest = max(0, replay.total - replay.capacity)
        segments: list[Segment] = []
        files: dict[str, str] = {}
        sizes: dict[str, int] = {}
        if self._good:
            before = self._good[-1]
            segments = [segment for segment in before.segments if segment.stop > oldest]
            files = {segment.name: before.files[segment.name] for segment in segments}
            sizes = {name: before.sizes[name] for name in files if name in before.sizes}
        start = max(segments[-1].stop if segments else 0, oldest)
        if start < replay.total:
            data = safetensors.torch.save(replay.export(start, replay.total))
            name = self._write(f"replay-{start:012d}-{replay.total:012d}", ".safetensors", data, files, sizes)
            write_bytes(self.folder / (name + COPY), data)
            segments.append(Segment(start, replay.total, name))
        return segments, files, sizes

    def _write(
        self, stem: str, suffix: str, data: bytes, files: dict[str, str], sizes: dict[str, int]
    ) -> str:
        digest = hashlib.sha256(data).hexdigest()
        name = f"{stem}-{digest[:12]}{suffix}"
        write_bytes(self.folder / name, data)
        files[name], sizes[name] = digest, len(data)
        return name

    @property
    def newest(self) -> int:
        """Step of the checkpoint that was written or loaded last."""
        return self._good[-1].step

    def load(self, replay: Ring, older_than: int | None = None) -> tuple[dict[str, Any] | None, list[str]]:
        """Read the newest checkpoint that is whole, and fill ``replay`` from it.

        Args:
            replay: what it held before is lost.
            older_than: a step; checkpoints from there on are left out.

        Returns:
            Its state (none if there is no whole one) and a line for everything damaged that was passed over
            or mended.
        """
        notes: list[str] = []
        for path in manifests_newest_first(self.folder):
            if older_than is not None and path.name >= manifest_name(older_than):
                continue
            try:
                manifest = Manifest.read(path)
                for name, digest in manifest.files.items():
                    self._check(name, digest, manifest.sizes.get(name), notes)
                state = self._read(manifest, replay)
            except Damaged as damage:
                notes.append(
                    f"checkpoint {path.stem.partition('-')[2]} is damaged and was passed over: {damage}"
                )
                continue
            self._good = [manifest]
            return state, notes
        return None, notes

    def state_alone(self, step: int) -> dict[str, Any]:
        """The state of the checkpoint at a step, without the replay.

        Raises:
            Damaged: if there is none, or it is not what was written.
        """
        manifest = Manifest.read(self.folder / manifest_name(step))
        name = manifest.state
        problem = self._problem(name, manifest.files[name], manifest.sizes.get(name))
        state = read_state(self.folder / name) if problem is None else None
        if not isinstance(state, dict):
            raise Damaged(problem or f"{name} holds something else than a state")
        return state

    def _check(self, name: str, digest: str, size: int | None, notes: list[str]) -> None:
        """Check a file's length and hash; take its copy if that is whole."""
        problem = self._problem(name, digest, size)
        if problem is None:
            return
        if self._problem(name + COPY, digest, size) is not None:
            raise Damaged(problem)
        try:
            write_bytes(self.folder / name, read_bytes(self.folder / (name + COPY)))
        except OSError as error:
            raise Damaged(f"{problem}, and its copy cannot take its place ({error.strerror})") from None
        notes.append(f"{problem}; it was restored from its copy")

    def _problem(self, name: str, digest: str, size: int | None) -> str | None:
        path = self.folder / name
        try:
            if (
                size is not None and path.stat().st_size != size
            ):  # and a sparse file may be longer than can be hashed
                return f"{name} does not have the {size:,} bytes that were written"
            actual = sha256(path)
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
        return None if actual == digest else f"{name} does not have the sha256 that was written"

    def _read(self, manifest: Manifest, replay: Ring) -> dict[str, Any]:
        replay.total = 0
        state = read_state(self.folder / manifest.state)
        if not isinstance(state, dict):
            raise Damaged(f"{manifest.state} holds something else than a state")
        for start, stop, name in manifest.segments:
            tensors = read_tensors(self.folder / name)
            if not start < stop <= start + replay.capacity or tensors is None:
                raise Damaged(f"{name} is no segment of this run's replay")
            if forms(tensors) != replay.forms(start, stop):
                raise Damaged(f"{name} holds other transitions than this run's")
            replay.restore(start, tensors)
        return state

    def _remove_others(self) -> list[str]:
        """Remove what the good checkpoints do not need, and temporary files of a killed process.

        Returns:
            A line for each thing that cannot be removed, the first time.
        """
        needed = {manifest_name(manifest.step) for manifest in self._good}
        for manifest in self._good:
            needed |= set(manifest.files) | {segment.name + COPY for segment in manifest.segments}
        notes = []
        for path in self.folder.iterdir():
            if path.name in needed or not path.name.startswith((CHECKPOINT, "state-", "replay-", ".")):
                continue
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                if path.name not in self._foreign:
                    notes.append(
                        f"{path.name} is no file of a checkpoint, cannot be removed ({error.strerror}) and stays"
                    )
                self._foreign.add(path.name)
        return notes
