"""The run that another one starts from: which it is, and where it lies."""

from __future__ import annotations

from pathlib import Path

from d2r.config import RunConfig, RunKey, Scale, is_run, load_scale, plan_runs, resolve_run
from d2r.errors import UserError
from d2r.runs.layout import RELEASED, RUN_RECORD, learner_path
from d2r.runs.record import RunRecord, read_run


def source_of(config: RunConfig) -> RunConfig | None:
    """The run that a run starts from, of the same seed; none if it starts with fresh networks."""
    source = config.start_from
    if source is None:
        return None
    return resolve_run(load_scale(source.scale), source.benchmark, source.method, config.seed)


def source_folder(source: RunConfig, results: Path) -> Path:
    """Folder of the run to start from: where it was trained, or where it was released.

    Args:
        results: folder of the scale of the run that starts, such as ``results/transfer``; others lie beside it.
    """
    key = _key(source)
    here, released = (
        key.folder(folder / key.scale) for folder in (results.parent, results.parent / RELEASED)
    )
    trained_here = (here / RUN_RECORD).exists()
    return released if not trained_here and _is_released(released, source) else here


def _is_released(folder: Path, source: RunConfig) -> bool:
    try:
        return learner_path(folder).exists() and is_run(read_run(folder), source)
    except UserError:
        return False


def sources_of(scale: Scale) -> dict[RunKey, RunConfig]:
    """Every run that some run of a scale starts from, once."""
    planned = (source_of(resolve_run(scale, *key[1:])) for key in plan_runs(scale))
    return {_key(source): source for source in planned if source is not None}


def _key(run: RunConfig) -> RunKey:
    return RunKey(run.scale, run.benchmark, run.method, run.seed)


def is_finished(source: RunConfig, results: Path) -> bool:
    """Whether a run to start from has finished.

    Args:
        results: as of :func:`source_folder`.
    """
    try:
        return read_source(source_folder(source, results), source).finished
    except UserError:
        return False


def count_sources(scale: Scale, results: Path) -> dict[str, dict[str, int]]:
    """By scale, how many runs are started from (``runs``), and how many of them have finished (``finished``).

    Args:
        results: as of :func:`source_folder`.
    """
    found: dict[str, dict[str, int]] = {}
    for key, source in sources_of(scale).items():
        counts = found.setdefault(key.scale, {"runs": 0, "finished": 0})
        counts["runs"] += 1
        counts["finished"] += is_finished(source, results)
    return found


def read_source(folder: Path, source: RunConfig) -> RunRecord:
    """The record of the run to start from.

    Raises:
        UserError: if it is not there, has failed, or is of another configuration than the scale now states.
    """
    name = f"{source.scale}/{source.benchmark}/{source.method}/seed{source.seed}"
    if not (folder / RUN_RECORD).exists():
        raise UserError(f"{folder}: the run to start from is not there; train {name} first")
    record = read_run(folder)
    if not record.finished:
        raise UserError(f"{folder}: the run to start from has failed; nothing can start from it")
    if not is_run(record, source):
        raise UserError(
            f"{folder}: the run to start from has another configuration than scale '{source.scale}' now states; "
            f"train {name} again"
        )
    return record
