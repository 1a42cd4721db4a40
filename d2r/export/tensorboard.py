"""What runs recorded over training, as event files that TensorBoard shows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pandas as pd

from d2r.config import RUNS
from d2r.errors import UserError
from d2r.export.event_file import FILE_NAME, event_file
from d2r.files import write_bytes
from d2r.runs.layout import METRICS, RUN_RECORD
from d2r.runs.record import RunRecord, check_output, check_place, read_run
from d2r.runs.tables import read_table

MEAN = "mean"
"""What stands in a tag in place of a task, for the mean over tasks."""


def export_runs(results: Path, output: Path) -> list[Path]:
    """Write an event file for each published run of a scale, finished or failed, as ``BENCHMARK/METHOD/seedK``.

    Tags are ``quantity/task`` and ``quantity/mean``, and ``quantity`` where it is of no task; steps are vector steps.

    Args:
        results: folder of one scale, such as ``results/smoke``.
        output: a folder that is new or empty.

    Returns:
        The files.

    Raises:
        UserError: if there is no run, one is damaged, or the folder holds something or cannot be written.
    """
    folders = sorted(path.parent for path in results.glob(f"{RUNS}/*/*/seed*/{RUN_RECORD}"))
    if not folders:
        raise UserError(
            f"{results}: no finished run below it (runs/BENCHMARK/METHOD/seedK/run.json); train first"
        )
    records = [read_run(folder) for folder in folders]
    tables = []
    for folder, record in zip(folders, records, strict=True):
        check_place(folder, record)
        tables.append(check_output(folder, record, METRICS))
    written = []
    try:
        output.mkdir(parents=True, exist_ok=True)
        if any(output.iterdir()):
            raise UserError(f"{output}: is not empty; give a new folder")
        for table, record in zip(tables, records, strict=True):
            path = output / record.place / FILE_NAME
            path.parent.mkdir(parents=True)
            write_bytes(path, event_file(_started(record), scalars(read_table(table))))
            written.append(path)
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror}); give another folder") from None
    return written


def scalars(metrics: pd.DataFrame) -> Iterator[tuple[int, dict[str, float]]]:
    """Each step of a run's ``metrics.csv``, and the value of each tag there."""
    for step, rows in metrics.groupby("step"):
        values: dict[str, float] = {}
        for quantity, part in rows.groupby("quantity", sort=False):
            of_tasks = zip(part["task"], part["value"], strict=True)
            by_task = {f"{quantity}/{task}": float(value) for task, value in of_tasks if task}
            mean = {f"{quantity}/{MEAN}": float(part["value"].mean())}
            values |= {**mean, **by_task} if by_task else {str(quantity): float(part["value"].iloc[0])}
        yield int(str(step)), values


def _started(record: RunRecord) -> float:
    """When a run started, in seconds since 1970: it records no time of its steps."""
    try:
        return datetime.fromisoformat(record.started).timestamp()
    except ValueError:
        return 0.0
