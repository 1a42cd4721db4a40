"""The folders of a run: published outputs, training state, a lock, and the progress that others may watch."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from d2r.config import RunConfig, RunKey, config_hash, is_run, stated
from d2r.config.identity import CONFIG_SCHEMA
from d2r.errors import UserError
from d2r.files import open_regular, read_bytes, remove_temporaries, replacing, sha256, write_bytes
from d2r.runs.layout import CONFIG, PROGRESS, RUN_RECORD
from d2r.runs.record import is_unchanged, json_object, malformed, record_bytes

OUTPUTS = ("metrics.csv", "routes.csv", "evaluation.csv", "timing.csv", "policy.safetensors")


class NotThisRun(Exception):
    """What is published is not the whole run of this configuration; the message says why."""

    def __init__(self, why: str, finished: bool = False):
        super().__init__(why)
        self.finished = finished
        """Whether it is a finished run of another configuration."""


class RunFolders:
    """Where one run keeps what.

    Training state lies in a folder that says of which configuration it is, so that a changed configuration
    starts anew and an older state is still there if the change is taken back.
    """

    def __init__(self, results: Path, config: RunConfig):
        self.key = RunKey(config.scale, config.benchmark, config.method, config.seed)
        self.config = config
        self.published = self.key.folder(results)
        self.state = self.key.state_folder(results)
        self._about = json.dumps(stated(config), indent=1).encode()
        named = self.state / hashlib.sha256(self._about).hexdigest()[:12]
        self.checkpoints = next(
            (path for path in sorted(self.state.glob("*/")) if self._is_ours(path)), named
        )

    def _is_ours(self, state: Path) -> bool:
        """Whether a folder of training state is this run's; the first ones say it by their name alone."""
        try:
            about = json.loads(read_bytes(state / CONFIG))
            return isinstance(about, dict) and is_run(about, self.config)
        except FileNotFoundError:
            return CONFIG_SCHEMA == 1 and state.name == config_hash(self.config)[:12]
        except (OSError, ValueError, RecursionError):
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
        for path in (*(self.published / name for name in (*OUTPUTS, RUN_RECORD)), self.state / PROGRESS):
            remove_temporaries(path)

    def examine(self) -> dict[str, Any] | None:
        """Return the published ``run.json`` if it is whole and this configuration's, none if nothing is published.

        Raises:
            NotThisRun: something else is published; says why it does not count.
        """
        try:
            content = read_bytes(self.published / RUN_RECORD)
            record = json_object(content)
            if record is None:
                raise NotThisRun(f"{RUN_RECORD} is no record of a run")
            if not is_unchanged(content, record):
                raise NotThisRun(f"{RUN_RECORD} does not have the sha256 that it states")
            wrong = malformed(record)
            if wrong is not None:
                raise NotThisRun(f"{RUN_RECORD} is no record of a run: '{wrong}'")
            status = record["status"]
            if status not in ("finished", "failed"):
                raise NotThisRun(f"{RUN_RECORD} does not say that the run ended")
            if not is_run(record, self.config):
                raise NotThisRun("it has another configuration", finished=status == "finished")
            outputs = record["outputs"]
            for name in OUTPUTS:
                if sha256(self.published / name) != outputs.get(name):
                    raise NotThisRun(f"{name} does not have the sha256 that {RUN_RECORD} states")
        except FileNotFoundError as error:
            if error.filename == str(self.published / RUN_RECORD):
                return None
            raise NotThisRun(f"{Path(error.filename).name} is missing") from None
        except OSError as error:
            what = Path(error.filename or self.published).name  # a broken disk names no file
            raise NotThisRun(f"{what} cannot be read ({error.strerror})") from None
        return record

    def check_places(self) -> None:
        """See to it that outputs can take their places.

        Raises:
            UserError: a folder is in the place of one.
        """
        for name in (*OUTPUTS, RUN_RECORD):
            place = self.published / name
            if place.is_dir() and not place.is_symlink():
                raise UserError(f"{place}: is a folder where a file of the run belongs; move it away")

    def publish(self, files: dict[str, bytes], record: dict[str, Any]) -> None:
        """Write outputs by rename, ``run.json`` with their hashes last.

        What was published before, of another configuration or damaged, goes when all is on disk but the names.

        Raises:
            OSError: if something cannot be written.
            UserError: as :meth:`check_places`.
        """
        self.published.mkdir(parents=True, exist_ok=True)
        self.check_places()
        hashes = {name: hashlib.sha256(files[name]).hexdigest() for name in OUTPUTS}
        # renames come in reverse: the record, which is entered first, gets its name last
        with ExitStack() as renames:
            for name in (RUN_RECORD, *OUTPUTS):
                content = record_bytes(record | {"outputs": hashes}) if name == RUN_RECORD else files[name]
                file = renames.enter_context(replacing(self.published / name))
                file.write(content)
                file.flush()
                os.fsync(file.fileno())  # a full disk may show only here, while the old record is still there
            (self.published / RUN_RECORD).unlink(missing_ok=True)


class Lock:
    """Only one process may work on a run. The kernel drops the lock with its holder, so a dead one's is free."""

    def __init__(self, folder: Path):
        self.path = folder / "lock"
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


def write_progress(folder: Path, progress: dict[str, Any]) -> None:
    """Replace ``progress.json``, which ``d2r status`` reads. Losing it loses nothing, so it is not forced to disk."""
    with suppress(OSError):
        write_bytes(folder / PROGRESS, json.dumps(progress).encode(), durable=False)
