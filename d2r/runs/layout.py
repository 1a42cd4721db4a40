"""Names of a run's files and of the folders of a scale: the contract between training, Snakemake and DVC."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from d2r.config import SEED, RunKey
from d2r.config.load import RUNS

RUN_RECORD = "run.json"
"""A run's provenance. It is published last, so a run that has it is whole."""

METRICS, ROUTES, EVALUATION, TIMING = "metrics.csv", "routes.csv", "evaluation.csv", "timing.csv"
GROWING = (METRICS, ROUTES, TIMING)
"""Tables that are written as the run goes; that of the final evaluation is written at its end."""
POLICY = "policy.safetensors"
LEARNER = "learner.safetensors"
"""The whole learner of a finished run, for others to start from. It is made from the run's last checkpoint when it is
asked for, and is no output of training."""

OUTPUTS = (METRICS, ROUTES, EVALUATION, TIMING, POLICY)
"""Everything that the record has a sha256 of."""
RUN_FILES = (RUN_RECORD, *OUTPUTS)
"""Everything that a finished run publishes."""
COLLECTED_FILES = (RUN_RECORD, METRICS, ROUTES, EVALUATION, TIMING)
"""Those of a run's files that tables and figures are made from."""

COLLECTED_TABLES = {
    "runs": "runs.csv",
    "metrics": f"{METRICS}.bz2",
    "evaluation": f"{EVALUATION}.bz2",
    "routes": f"{ROUTES}.bz2",
}
"""Files of the tables that all runs of a scale are gathered into; those that grow with every evaluation are packed."""

POLICIES = "policies"
FILMS = "films"
"""Films that ``d2r watch`` made of a scale's policies: its page shows those that are there."""
RELEASED = "released"
"""In ``results/released/<scale>`` the policies are DVC's, and so lie in a tree of their own."""

SEED_FOLDER = f"seed{SEED}"
"""What the folder of a run is called."""

PROGRESS = "progress.json"
"""How far a run has come; lies in its state folder while it trains."""
LOCK = "lock"
"""Held by the process that works on a run; lies beside its progress and names that process: ``PID on HOST``."""
CHECKPOINT = "checkpoint-"
"""With what the name of a checkpoint's manifest begins; it is written last, so a checkpoint that has it is whole."""
CONFIG = "config.json"
"""What the checkpoints beside it are of, as a run's record states it; it is there before any progress is."""


PACKED_SUFFIX = ".bz2"
RELEASED_PACKED = (METRICS,)
"""Tables that a released run holds packed, which makes the largest an eighth; records state the sha256 of what is
packed, so that it is the same before and after."""


def released_name(name: str) -> str:
    """What a release calls one of the files in a run's folder.

    Example:
        >>> released_name(METRICS), released_name(ROUTES)
        ('metrics.csv.bz2', 'routes.csv')
    """
    return f"{name}{PACKED_SUFFIX}" if name in RELEASED_PACKED else name


def output_path(run_folder: Path, name: str) -> Path:
    """Where one of a run's files lies: in its folder, of a released run perhaps packed, or where DVC keeps it.

    Example:
        >>> output_path(Path("/p/results/lite/runs/mt10-rand/d2r/seed1"), METRICS).name
        'metrics.csv'
    """
    if name == POLICY:
        return policy_path(run_folder)
    beside, released = run_folder / name, run_folder / released_name(name)
    return released if released.exists() and not beside.exists() else beside


def policy_path(run_folder: Path) -> Path:
    """Where a run's policy lies: in its folder, or for a released run, or a copy of one, in the tree that DVC keeps.

    Example:
        >>> policy_path(Path("/p/results/released/lite/runs/mt10-rand/d2r/seed1")).as_posix()
        '/p/results/released/lite/policies/mt10-rand/d2r/seed1.safetensors'
    """
    return _released_apart(run_folder, POLICY)


def learner_path(run_folder: Path) -> Path:
    """Where a run's learner lies: beside its policy, released or not.

    Example:
        >>> learner_path(Path("/p/results/released/lite/runs/mt10-rand/d2r/seed1")).as_posix()
        '/p/results/released/lite/policies/mt10-rand/d2r/seed1.learner.safetensors'
    """
    return _released_apart(run_folder, LEARNER)


RELEASED_SUFFIX = {POLICY: ".safetensors", LEARNER: ".learner.safetensors"}
"""What follows a run's folder in the names of files that DVC keeps."""


def _released_apart(run_folder: Path, name: str) -> Path:
    beside = run_folder / name
    if beside.exists() or len(run_folder.absolute().parents) < 4:
        return beside
    method, benchmark, runs, above = run_folder.absolute().parents[:4]
    released = above / POLICIES / benchmark.name / method.name / f"{run_folder.name}{RELEASED_SUFFIX[name]}"
    is_release = above.parent.name == RELEASED or released.exists()
    return released if runs.name == RUNS and is_release else beside


def collected_path(results: Path, table: str) -> Path:
    """Where a table of all runs lies.

    Args:
        results: folder of one scale, such as ``results/smoke``.
        table: a key of :data:`COLLECTED_TABLES`.
    """
    return results / "collected" / COLLECTED_TABLES[table]


def files_of_runs(keys: Iterable[RunKey], names: Iterable[str] = COLLECTED_FILES) -> list[str]:
    """Paths, relative to the project's root, of the named files of each run."""
    folders = [key.folder(Path("results") / key.scale) for key in keys]
    return [str(folder / name) for folder in folders for name in names]
