"""What ``dvc metrics`` and ``dvc plots`` show of a scale: success of every method, at the end and over training."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from d2r.errors import UserError
from d2r.files import write_bytes
from d2r.findings.measures import SUCCESS
from d2r.findings.results import Results
from d2r.report.tables.main import mean_of
from d2r.report.tables.rows import entries
from d2r.report.tables.table import csv_text
from d2r.statistics import Estimate, mean_interval

METRICS_FOLDER = "metrics"
"""Folder of a scale's results."""
AT_END, OVER_TRAINING = "success", "curves.csv"
"""In it: a folder with a file ``BENCHMARK/METHOD.json`` for each method, since DVC shows a row for each file; and one
file of all curves."""
CURVE_COLUMNS = ["benchmark", "method", "step", "success", "low", "high", "n"]


def write_metrics(results: Results) -> list[Path]:
    """Write ``<results>/metrics`` and remove what other methods left there; returns the files' paths.

    Raises:
        UserError: if the folder cannot be written.
    """
    folder = results.folder / METRICS_FOLDER
    texts = {folder / OVER_TRAINING: csv_text(curves(results))}
    for row in entries(results):
        path = folder / AT_END / row.benchmark / f"{row.id}.json"
        texts[path] = json.dumps(_numbers(mean_of(row, SUCCESS))) + "\n"
    try:
        for path in {*folder.glob(f"{AT_END}/*/*.json")} - texts.keys():
            path.unlink()
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, text.encode())
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror})") from None
    return list(texts)


def curves(results: Results) -> pd.DataFrame:
    """Success over training, mean over tasks and runs: one row for each benchmark, method and evaluation.

    ``step`` counts vector steps; ``low`` and ``high`` are the 95 % interval over ``n`` runs, empty where there is none.
    """
    rows = []
    for row in entries(results):
        for step, values in results.curves("success", row.benchmark, row.id).items():
            mean = mean_interval(values, SUCCESS.bounds)
            rows.append((row.benchmark, row.id, step, mean.value, mean.low, mean.high, mean.n))
    return pd.DataFrame(rows, columns=CURVE_COLUMNS)


def _numbers(mean: Estimate) -> dict[str, float | None]:
    """A share from 0 to 1, its interval and its number of runs; none is what does not exist.

    With the digits that tables have, as the last bits of a sum may differ between machines.
    """
    found = {"success": mean.value, "low": mean.low, "high": mean.high}
    rounded = {name: None if value is None else float(f"{value:.12g}") for name, value in found.items()}
    return {**rounded, "n": mean.n}
