"""The folders of a run: published outputs, training state, a lock, and the progress that others may watch."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import TextIO

from pydantic import ValidationError

from d2r.config import RunConfig, RunKey, Stated, config_hash, is_run, stated
from d2r.config.identity import CONFIG_SCHEMA
from d2r.errors import UserError
from d2r.files import open_regular, read_bytes, remove_temporaries, replacing, write_bytes
from d2r.runs.layout import CONFIG, LOCK, OUTPUTS, PROGRESS, RUN_FILES, RUN_RECORD
from d2r.runs.record import Damaged, RunRecord, check_output, json_object, read_run


class NotThisRun(Exception):
    """What is published is not the whole run of this configuration; the message says why."""

    def __init__(self, why: str, finished: bool = False):
        super().__init__(why)
        self.finished = finished
        """Whether it is a finished run of another configuration."""


def hashes_of(files: Mapping[str, bytes]) -> dict[str, str]:
    """sha256 of each of a run's outputs, as its record states them."""
    return {name: hashlib.sha256(files[name]).hexdigest() for name in OUTPUTS}


class RunFolders:
    """Where one run keeps what.

    Training state lies in a folder that says of which configuration it is, so that a changed configuration
    starts anew and an older state is still there if the change is taken back.
    """

    def __init__(self, results: Path, config: RunConfig):
        self.key = RunKey(config.scale, config.benchmark, config.method, config.seed)
        self.config, self.results = config, results
        self.published = self.key.folder(results)
        self.state = self.key.state_folder(results)
        self._about = json.dumps(stated(config).model_dump(), indent=1).encode()
        named = self.state / hashlib.sha256(self._about).hexdigest()[:12]
        self.checkpoints = next(
            (path for path in sorted(self.state.glob("*/")) if self._is_ours(path)), named
        )

    def _is_ours(self, state: Path) -> bool:
        """Whether a folder of training state is this run's; the first ones say it by their name alone."""
        try:
            return is_run(Stated.model_validate(json_object(read_bytes(state / CONFIG))), self.config)
        except FileNotFoundError:
            return CONFIG_SCHEMA == 1 and state.name == config_hash(self.config)[:12]
        except (OSError, ValidationError):
            return False

    def create(self) -> None:
        """Make the folders, and note beside the checkpoints what they are of.

        Raises:
            UserError: if one cannot be written.
        """
        for folder in (self.published, self.checkpoints):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(
                    f"{folder}: cannot be created ({error.strerror}); choose another --results"
                ) from None
            if not os.access(folder, os.W_OK):
                raise UserError(
                    f"{folder}: cannot be written; mend its permissions or choose another --results"
                )
        note = self.checkpoints / CONFIG
        try:
            if not (note.is_file() and read_bytes(note) == self._about):
                write_bytes(note, self._about)
        except OSError as error:
            raise UserError(f"{note}: cannot be written ({error.strerror}); mend this") from None

    def sweep(self) -> None:
        """Remove the temporary files of a process that was killed while it wrote; only the lock's holder may."""
        for path in (*(self.published / name for name in RUN_FILES), self.state / PROGRESS):
            remove_temporaries(path)

    def examine(self) -> RunRecord | None:
        """Return the published record if the run is whole and this configuration's, none if nothing is published.

        Raises:
            NotThisRun: something else is published; says why it does not count.
        """
        if not os.path.lexists(self.published / RUN_RECORD):
            return None
        try:
            record = read_run(self.published)
            if not is_run(record, self.config):
                raise NotThisRun("it has another configuration", finished=record.finished)
            for name in OUTPUTS:
                check_output(self.published, record, name)
        except Damaged as damaged:
            raise NotThisRun(damaged.said) from None
        return record

    def check_places(self) -> None:
        """See to it that outputs can take their places.

        Raises:
            UserError: a folder is in the place of one.
        """
        for name in RUN_FILES:
            place = self.published / name
            if place.is_dir() and not place.is_symlink():
                raise UserError(f"{place}: is a folder where a file of the run belongs; move it away")

    def publish(self, files: Mapping[str, bytes], record: RunRecord) -> None:
        """Write outputs by rename, ``run.json`` last.

        What was published before, of another configuration or damaged, goes when all is on disk but the names.

        Args:
            files: content of each of :data:`OUTPUTS`.
            record: with their hashes.

        Raises:
            OSError: if something cannot be written.
            UserError: as :meth:`check_places`.
        """
        self.published.mkdir(parents=True, exist_ok=True)
        self.check_places()
        # renames come in reverse: the record, which is entered first, gets its name last
        with ExitStack() as renames:
            for name in RUN_FILES:
                file = renames.enter_context(replacing(self.published / name))
                file.write(record.to_bytes() if name == RUN_RECORD else files[name])
                file.flush()
                os.fsync(file.fileno())  # a full disk may show only here, while the old record is still there
            (self.published / RUN_RECORD).unlink(missing_ok=True)


class Lock:
    """Only one process may work on a run. The kernel drops the lock with its holder, so a dead one's is free."""

    def __init__(self, folder: Path):
        self.path = folder / LOCK
        self._file: TextIO | None = None

    def __enter__(self) -> Lock:
        try:
            # Its text will be replaced, so what a link names must not be taken for it.
            handle = open_regular(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
        except OSError as error:
            raise UserError(
                f"{self.path}: cannot be opened ({error.strerror}); remove it or mend its permissions"
            ) from None
        self._file = os.fdopen(handle, "r+", encoding="utf-8", errors="replace")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self._file.read(500).strip() or "unknown"
            self._file.close()
            raise UserError(
                f"{self.path.parent}: process {holder} is working on this run; wait for it or stop it"
            ) from None
        except OSError as error:
            self._file.close()
            raise UserError(
                f"{self.path}: cannot be locked ({error.strerror}); choose another --results"
            ) from None
        with suppress(OSError):  # who holds it is only a courtesy to the next one
            self._file.truncate(0)
            self._file.write(f"{os.getpid()} on {os.uname().nodename}\n")
            self._file.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._file is not None
        with suppress(OSError):  # a full disk may not even take the holder's number
            self._file.close()
