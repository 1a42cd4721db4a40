"""Tidy files of a run, written as it goes and cut back to a checkpoint when it resumes."""

from __future__ import annotations

import csv
import io
import os
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from d2r.errors import UserError
from d2r.files import NOT_A_FILE, open_regular, read_bytes, read_start, write_bytes

COLUMNS = {
    "metrics.csv": ("step", "task", "quantity", "value"),
    "routes.csv": ("step", "task", "target", "source", "weight"),
    "timing.csv": ("step", "quantity", "value"),
    "evaluation.csv": ("task", "episode", "success", "return"),
}

Row = Sequence[str | int | float]


def number(value: float) -> str:
    """Write a number with nine significant digits, which is what float32 can hold."""
    return format(value, ".9g")


def csv_bytes(columns: Sequence[str], rows: Iterable[Row]) -> bytes:
    """Return rows as CSV with a header line (none if ``columns`` is empty) and Unix line ends."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if columns:
        writer.writerow(columns)
    writer.writerows([number(cell) if isinstance(cell, float) else cell for cell in row] for row in rows)
    return text.getvalue().encode()


class TidyFile:
    """A CSV file that grows as the run goes; a checkpoint holds its rows, so damage to the file loses nothing."""

    def __init__(self, folder: Path, name: str):
        self.path = folder / name
        self.header = csv_bytes(COLUMNS[name], ())

    def start(self) -> None:
        """Begin with the header alone.

        Raises:
            UserError: if something else than a file is in its place.
        """
        self._check_place()
        write_bytes(self.path, self.header)

    def append(self, rows: Iterable[Row]) -> None:
        """Add rows; the next checkpoint makes them last.

        Raises:
            OSError: if they cannot be written, or the file was replaced by a link or something else.
        """
        handle = open_regular(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW)
        with os.fdopen(handle, "ab") as file:
            file.write(csv_bytes((), rows))

    def state_dict(self) -> dict[str, Any]:
        """The text of the file now."""
        return {"text": read_bytes(self.path).decode()}

    def load_state_dict(self, state: dict[str, Any]) -> bool:
        """Go back to ``state``; returns whether the file still began with its text.

        Raises:
            UserError: if something else than a file is in its place.
        """
        text = state["text"].encode()
        self._check_place()
        whole = self.path.exists() and read_start(self.path, len(text)) == text
        write_bytes(self.path, text)
        return whole

    def _check_place(self) -> None:
        """Refuse what this program never made: a link, a folder, a FIFO."""
        with suppress(FileNotFoundError):
            if not stat.S_ISREG(self.path.lstat().st_mode):
                raise UserError(f"{self.path}: {NOT_A_FILE}; remove it")
