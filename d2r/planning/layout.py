"""Names of a run's files and of the folders of a scale: the contract between training, Snakemake and DVC."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from d2r.config import RunKey

RUN_RECORD = "run.json"
"""A run's provenance. It is published last, so a run that has it is whole."""

POLICY = "policy.safetensors"

RUN_FILES = (RUN_RECORD, "metrics.csv", "evaluation.csv", "timing.csv", "routes.csv", POLICY)
"""Everything that a finished run publishes."""

COLLECTED_FILES = (RUN_RECORD, "metrics.csv", "evaluation.csv", "routes.csv", "timing.csv")
"""Those of a run's files that tables and figures are made from."""

PROGRESS = "progress.json"
"""How far a run has come; lies in its state folder while it trains."""


def files_of_runs(keys: Iterable[RunKey], names: Iterable[str] = COLLECTED_FILES) -> list[str]:
    """Paths, relative to the project's root, of the named files of each run."""
    folders = [key.folder(Path("results") / key.scale) for key in keys]
    return [str(folder / name) for folder in folders for name in names]
