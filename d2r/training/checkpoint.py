"""Checkpoints that can be trusted: written atomically, hashed, read only after the hash is checked.

A checkpoint is a manifest ``checkpoint-<step>.json`` that names its files with their sha256: the state of everything but the replay
(``state-<step>.pt``), and the replay in segments (``replay-<from>-<to>.safetensors``). A segment holds the transitions added between two
checkpoints and is never written again, so a checkpoint costs what is new and not what the replay holds. The manifest is renamed into
place last and carries its own hash; until then the previous checkpoint stands. The last two checkpoints are kept.
"""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch

from d2r.algorithms.replay import Replay
from d2r.training.files import sha256, write_bytes

KEEP = 2


class Damaged(Exception):
    """A checkpoint is not what was written; the message says which file and how."""


class Manifest(NamedTuple):
    """What a checkpoint consists of: step, files with their sha256, and replay segments as (from, to)."""

    step: int
    files: dict[str, str]
    segments: list[tuple[int, int]]

    def to_bytes(self) -> bytes:
        """Return JSON that ends with its own hash."""
        body = {"step": self.step, "files": self.files, "segments": self.segments}
        return json.dumps(body | {"self": _digest(body)}, indent=1).encode()

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read and check a manifest.

        Raises:
            Damaged: if it is not exactly what was written.
        """
        try:
            body = json.loads(path.read_bytes())
            expected = body.pop("self")
            manifest = cls(body["step"], body["files"], [(a, b) for a, b in body["segments"]])
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise Damaged(f"{path.name} is not readable") from None
        if _digest(body) != expected or path.name != _manifest_name(manifest.step):
            raise Damaged(f"{path.name} has been changed")
        return manifest


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _manifest_name(step: int) -> str:
    return f"checkpoint-{step:012d}.json"


def _segment_name(start: int, stop: int) -> str:
    return f"replay-{start:012d}-{stop:012d}.safetensors"


class CheckpointStore:
    """The checkpoints of one run, in one folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._segments: list[tuple[int, int]] = []
        self._hashes: dict[str, str] = {}

    def save(self, step: int, state: dict[str, Any], replay: Replay) -> None:
        """Write a checkpoint; when this returns it is on disk, and the one before the previous is gone.

        Args:
            state: tensors, numbers, strings and containers of them.
            replay: what is new in it since the last checkpoint is written.

        Raises:
            OSError: if it could not be written; the checkpoints before are untouched.
        """
        self._save(step, state, self._save_replay(replay), KEEP)

    def save_last(self, step: int, state: dict[str, Any]) -> None:
        """Write the checkpoint of a run that is over: it needs no replay, and nothing before it is kept."""
        self._save(step, state, [], 1)

    def _save(self, step: int, state: dict[str, Any], segments: list[tuple[int, int]], keep: int) -> None:
        buffer = io.BytesIO()
        torch.save(state, buffer)
        name = f"state-{step:012d}.pt"
        data = buffer.getvalue()
        write_bytes(self.folder / name, data)
        files = {_segment_name(a, b): self._hashes[_segment_name(a, b)] for a, b in segments}
        files[name] = hashlib.sha256(data).hexdigest()
        write_bytes(self.folder / _manifest_name(step), Manifest(step, files, segments).to_bytes())
        self._segments = segments
        self._collect_garbage(keep)

    def _save_replay(self, replay: Replay) -> list[tuple[int, int]]:
        saved = self._segments[-1][1] if self._segments else 0
        oldest = max(0, replay.total - replay.capacity)
        segments = [(a, b) for a, b in self._segments if b > oldest]
        start = max(saved, oldest)
        if start < replay.total:
            name = _segment_name(start, replay.total)
            data = safetensors.torch.save(replay.export(start, replay.total))
            write_bytes(self.folder / name, data)
            self._hashes[name] = hashlib.sha256(data).hexdigest()
            segments.append((start, replay.total))
        return segments

    def load(self, replay: Replay) -> tuple[dict[str, Any] | None, list[str]]:
        """Read the newest checkpoint that is whole.

        Returns:
            Its state (none if there is no whole one) and a line for every damaged one that was passed over.
        """
        notes = []
        for path in sorted(self.folder.glob("checkpoint-*.json"), reverse=True):
            try:
                manifest = Manifest.read(path)
                self._check(manifest)
            except Damaged as damage:
                notes.append(f"checkpoint {path.stem.partition('-')[2]} is damaged and was passed over: {damage}")
                continue
            for start, stop in manifest.segments:
                data = (self.folder / _segment_name(start, stop)).read_bytes()
                replay.restore(start, safetensors.torch.load(data))
            self._segments = manifest.segments
            self._hashes = dict(manifest.files)
            state = torch.load(self.folder / f"state-{manifest.step:012d}.pt", weights_only=True, map_location="cpu")
            return state, notes
        return None, notes

    def _check(self, manifest: Manifest) -> None:
        expected = {f"state-{manifest.step:012d}.pt", *(_segment_name(a, b) for a, b in manifest.segments)}
        if set(manifest.files) != expected:
            raise Damaged("its manifest does not list its files")
        for name, digest in manifest.files.items():
            try:
                actual = sha256(self.folder / name)
            except OSError:
                raise Damaged(f"{name} is missing") from None
            if actual != digest:
                raise Damaged(f"{name} does not have the sha256 that was written")

    def _collect_garbage(self, keep: int) -> None:
        """Remove what the last checkpoints do not need, and temporary files of a killed process."""
        needed: set[str] = set()
        kept = 0
        for path in sorted(self.folder.glob("checkpoint-*.json"), reverse=True):
            try:
                manifest = Manifest.read(path)
            except Damaged:
                continue
            needed |= {path.name, *manifest.files}
            kept += 1
            if kept == keep:
                break
        for path in self.folder.iterdir():
            if path.name not in needed and path.name.startswith(("checkpoint-", "state-", "replay-", ".")):
                path.unlink(missing_ok=True)
