"""Tidy files of a run, written as it goes and cut back to a checkpoint when it resumes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from d2r.training.files import sha256, sync_file

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
    """An append-only CSV file whose state is its length and hash."""

    def __init__(self, folder: Path, name: str):
        self.path = folder / name
        self.header = csv_bytes(COLUMNS[name], ())

    def start(self) -> None:
        """Begin with the header alone."""
        self.path.write_bytes(self.header)

    def append(self, rows: Iterable[Row]) -> None:
        """Add rows; they are on disk at the next checkpoint."""
        with self.path.open("ab") as file:
            file.write(csv_bytes((), rows))

    def state_dict(self) -> dict[str, Any]:
        """Length and sha256 of the file now, which is on disk when this returns."""
        sync_file(self.path)
        size = self.path.stat().st_size
        return {"size": size, "sha256": sha256(self.path, size)}

    def matches(self, state: dict[str, Any]) -> bool:
        """Whether the file still begins with the bytes of ``state``."""
        if not self.path.is_file() or self.path.stat().st_size < state["size"]:
            return False
        return bool(sha256(self.path, state["size"]) == state["sha256"])

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Cut off what was written after ``state``."""
        with self.path.open("rb+") as file:
            file.truncate(state["size"])
