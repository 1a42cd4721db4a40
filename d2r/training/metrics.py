"""Tidy files of a run, written as it goes and cut back to a checkpoint when it resumes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from d2r.training.files import write_bytes

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
        """Begin with the header alone."""
        self.path.write_bytes(self.header)

    def append(self, rows: Iterable[Row]) -> None:
        """Add rows; the next checkpoint makes them last."""
        with self.path.open("ab") as file:
            file.write(csv_bytes((), rows))

    def state_dict(self) -> dict[str, Any]:
        """The text of the file now."""
        return {"text": self.path.read_text(encoding="utf-8")}

    def load_state_dict(self, state: dict[str, Any]) -> bool:
        """Go back to ``state``; returns whether the file still began with its text."""
        text = state["text"].encode()
        whole = self.path.is_file() and self.path.read_bytes().startswith(text)
        write_bytes(self.path, text)
        return whole
