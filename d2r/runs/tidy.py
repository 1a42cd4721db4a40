"""A run's tables: their columns, how they are written as the run goes, and how they are read again."""

from __future__ import annotations

import csv
import io
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from d2r.errors import UserError
from d2r.files import NOT_A_FILE, open_regular, read_bytes, read_start, write_bytes
from d2r.runs.layout import EVALUATION, METRICS, ROUTES, TIMING

Kind = type[str] | type[int] | type[float]
"""Of the values of a column; truth values are whole numbers to Python, too."""
COLUMNS: Mapping[str, Mapping[str, Kind]] = {
    METRICS: {"step": int, "task": str, "quantity": str, "value": float},
    ROUTES: {"step": int, "task": str, "target": str, "source": str, "weight": float},
    EVALUATION: {"task": str, "episode": int, "success": int, "return": float},
    TIMING: {"step": int, "quantity": str, "value": float},
}
"""Columns of each table. Text is a name, or empty where a row is of no task; numbers are finite."""
LARGEST = 3.5e38
"""No number that a run records is larger: networks and losses are float32. Figures compute with sums and squares."""

Row = Sequence[str | int | float]


def number(value: float) -> str:
    """Write a number with nine significant digits, which is what float32 can hold."""
    return format(value, ".9g")


def csv_bytes(columns: Iterable[str], rows: Iterable[Row]) -> bytes:
    """Return rows as CSV with a header line (none if ``columns`` is empty) and Unix line ends."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header = list(columns)
    if header:
        writer.writerow(header)
    writer.writerows([number(cell) if isinstance(cell, float) else cell for cell in row] for row in rows)
    return text.getvalue().encode()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read one of a run's tables without pandas: of each row, each column's value in its type.

    Raises:
        UserError: if it cannot be read, or has other columns or values.
    """
    columns = COLUMNS[path.name]
    other = UserError(f"{path}: not a table of {','.join(columns)}; restore it, or train the run again")
    try:
        header, *rows = csv.reader(read_bytes(path).decode().splitlines(), strict=True)
        values = [
            {name: kind(cell) for (name, kind), cell in zip(columns.items(), row, strict=True)}
            for row in rows
        ]
    except (OSError, ValueError, csv.Error):
        raise other from None
    numbers = (value for row in values for value in row.values() if not isinstance(value, str))
    if header != list(columns) or not all(-LARGEST <= value <= LARGEST for value in numbers):
        raise other
    return values


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
