"""Move finished runs from ``results/<scale>`` to ``results/released/<scale>``, and hash them."""

from __future__ import annotations

import bz2
import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import yaml

from d2r.config import RUNS, RunKey, is_run, plan_runs, resolve_run
from d2r.config.reader import read_yaml
from d2r.config.schema import Scale
from d2r.errors import UserError
from d2r.files import read_bytes, remove_temporaries, sha256, write_bytes
from d2r.runs.layout import LEARNER, POLICIES, RELEASED_PACKED, RELEASED_SUFFIX, RUN_FILES, RUN_RECORD
from d2r.runs.manifest import (
    MANIFEST,
    Entry,
    is_place,
    place_of,
    read_manifest,
    released_path,
    write_atomically,
    write_manifest,
)
from d2r.runs.record import RunRecord, check_output, check_place, read_run

SCALES_FILE = "scales.yaml"


@dataclass
class Candidate:
    """A finished run that can be released."""

    folder: Path
    place: PurePosixPath
    """``benchmark/method/seedK``."""
    failed: bool
    dirty: bool
    """Whether it was made from a source tree with changes that were not committed."""


@dataclass
class Release:
    """What a release did."""

    moved: list[PurePosixPath] = field(default_factory=list)
    already: list[PurePosixPath] = field(default_factory=list)
    """Runs that were released before, byte for byte."""
    failed: int = 0
    dirty: int = 0
    dropped: list[PurePosixPath] = field(default_factory=list)
    """Released runs that are lost, or of another configuration than ``config/`` now states, and have no successor."""
    missing: list[RunKey] = field(default_factory=list)
    """Planned runs that are in neither place."""
    files: int = 0
    size: int = 0
    """Files and bytes of the whole released scale."""


def release_scale(
    scale: Scale,
    results: Path,
    released: Path,
    *,
    partial: bool = False,
    keep: bool = False,
    replace: bool = False,
) -> Release:
    """Release every finished run below ``results``.

    All runs are checked before the first one is touched. A run appears in ``released`` by one rename; an
    interrupted release is completed by the same command.

    Args:
        scale: the scale whose runs lie in ``results``.
        results: such as ``results/lite``.
        released: such as ``results/released/lite``.
        partial: release what is finished although planned runs are not.
        keep: leave the files where they were, too, instead of links to the released ones.
        replace: let a run take the place of a released one with other bytes, and drop released runs that are
            lost or of another configuration, since no table may mix two.

    Raises:
        UserError: if a run is damaged, made with another configuration, unfinished (without ``partial``), or
            would replace a released one (without ``replace``); if runs released earlier are lost or of another
            configuration (without ``replace``); or if policies released earlier are not here.
    """
    outcome = Release()
    known = read_manifest(released) if (released / MANIFEST).is_file() else {}
    _require_policies(released, known)
    candidates = [
        _candidate(path.parent, scale, results)
        for path in sorted(results.glob(f"runs/*/*/seed*/{RUN_RECORD}"))
    ]
    if not candidates and not known:
        raise UserError(f"{results}: no finished run to release; train with snakemake first")
    places = {candidate.place for candidate in candidates}
    standing = _by_place(known)
    outcome.dropped = sorted(
        place
        for place in standing.keys() - places
        if not _made_as_stated(released, standing[place], place, scale)
    )
    present = (places | standing.keys()) - set(outcome.dropped)
    outcome.missing = [
        key
        for key in plan_runs(scale)
        if PurePosixPath(key.benchmark, key.method, f"seed{key.seed}") not in present
    ]
    if outcome.dropped and (not replace or not present):
        raise UserError(
            f"{len(outcome.dropped)} released runs are lost, or were made with another configuration than config/ now "
            f"states, such as {outcome.dropped[0]}; restore the runs or the configuration, or "
            + ("train a run to release in their place" if replace else "add --replace to drop these runs")
        )
    if outcome.missing and not partial:
        first = outcome.missing[0]
        raise UserError(
            f"{len(outcome.missing)} of {len(plan_runs(scale))} runs of '{scale.id}' are not finished, such as "
            f"{first.benchmark}/{first.method}/seed{first.seed}; finish them with snakemake, or add --partial"
        )
    entries = {name: entry for name, entry in known.items() if place_of(name) not in outcome.dropped}
    for candidate in candidates:
        fresh = _entries(candidate)
        released_before = standing.get(candidate.place, {})
        learner = released_path(candidate.place, LEARNER).as_posix()
        if _without(released_before, learner) == _without(fresh, learner):
            fresh = released_before | fresh  # a learner may be released later than its run
        if released_before == fresh and _stands(released, fresh):
            outcome.already.append(candidate.place)
        elif _without(released_before, learner) not in ({}, _without(fresh, learner)) and not replace:
            raise UserError(
                f"{released / RUNS / candidate.place}: already released with other content; "
                "add --replace if the new run is to take its place"
            )
        else:
            outcome.moved.append(candidate.place)
        entries = {name: entry for name, entry in entries.items() if name not in released_before} | fresh
        outcome.failed += candidate.failed
        outcome.dirty += candidate.dirty
    for candidate in candidates:
        if candidate.place in outcome.moved:
            _copy_run(candidate, released)
    for place in outcome.dropped:
        _remove_run(released / RUNS / place)
    write_manifest(released, scale.id, entries)
    for place in (*outcome.dropped, *outcome.moved):
        _remove_apart(released, place, entries)
    _add_scale(released.parent / SCALES_FILE, scale.id)
    if not keep:
        for candidate in candidates:
            _leave_links(candidate, released)
    outcome.files, outcome.size = len(entries), sum(entry.bytes for entry in entries.values())
    return outcome


def _require_policies(released: Path, known: dict[str, Entry]) -> None:
    """DVC records the folder of policies as a whole, so a release on top of absent ones would drop them."""
    absent = [name for name in known if name.startswith(f"{POLICIES}/") and not (released / name).is_file()]
    if absent:
        raise UserError(f"{len(absent)} released policies are not here; run `dvc pull` first")


def _candidate(folder: Path, scale: Scale, results: Path) -> Candidate:
    record = read_run(folder)
    place = PurePosixPath(folder.relative_to(results / RUNS).as_posix())
    if not is_place(place):
        raise UserError(f"{folder}: is not named BENCHMARK/METHOD/seedK; move it out of {results / 'runs'}")
    check_place(folder, record)
    if record.scale != scale.id:
        raise UserError(
            f"{folder / RUN_RECORD}: of the scale '{record.scale}', not '{scale.id}'; move the folder to its results"
        )
    for name in record.outputs:
        check_output(folder, record, name)
    if not _as_stated(record, scale):
        raise UserError(
            f"{folder}: was made with another configuration than config/ now states; train the run again"
        )
    return Candidate(
        folder,
        place,
        not record.finished,
        record.made_from_changed_sources,
    )


def _as_stated(record: RunRecord, scale: Scale) -> bool:
    return is_run(record, resolve_run(scale, record.benchmark, record.method, record.seed))


def _made_as_stated(released: Path, entries: Mapping[str, Entry], place: PurePosixPath, scale: Scale) -> bool:
    """Whether a released run has the configuration that ``config/`` now states; a lost one has none.

    Raises:
        UserError: if files of it are missing or changed: the others may be all that is left of it.
    """
    if not (released / RUNS / place).exists():
        return False
    if not _stands(released, entries):
        raise UserError(f"{released / RUNS / place}: differs from {MANIFEST}; restore it from git")
    record = read_run(released / RUNS / place)
    check_place(released / RUNS / place, record)
    try:
        return _as_stated(record, scale)
    except UserError:  # a method or a budget that config/ no longer has
        return False


def _by_place(entries: Mapping[str, Entry]) -> dict[PurePosixPath, dict[str, Entry]]:
    """Entries of a manifest, run by run."""
    runs: dict[PurePosixPath, dict[str, Entry]] = {}
    for name, entry in entries.items():
        place = place_of(name)
        assert place is not None, "read_manifest refuses it"
        runs.setdefault(place, {})[name] = entry
    return runs


def _entries(candidate: Candidate) -> dict[str, Entry]:
    files = {name: _as_released(candidate.folder / name) for name in _files_of(candidate)}
    return {
        released_path(candidate.place, name).as_posix(): Entry(
            sha256=hashlib.sha256(content).hexdigest(), bytes=len(content)
        )
        for name, content in files.items()
    }


def _as_released(path: Path) -> bytes:
    """What a release holds of one of a run's files."""
    content = read_bytes(path)
    return bz2.compress(content) if path.name in RELEASED_PACKED else content


def _files_of(candidate: Candidate) -> Sequence[str]:
    """What is released of a run: its files, and its learner if that was exported."""
    return (*RUN_FILES, LEARNER) if (candidate.folder / LEARNER).exists() else RUN_FILES


def _without(entries: Mapping[str, Entry], name: str) -> dict[str, Entry]:
    return {other: entry for other, entry in entries.items() if other != name}


def _stands(released: Path, entries: Mapping[str, Entry]) -> bool:
    """Whether the release really holds these files; one that lost or damaged them gets them again."""
    return all(
        (released / name).is_file() and sha256(released / name) == entry.sha256
        for name, entry in entries.items()
    )


def _copy_run(candidate: Candidate, released: Path) -> None:
    """Copy the policy, then the other files; their folder appears by rename and completes the run.

    Where the candidate's files are links to released ones, those are the only copy: what is there stays.
    """
    target = released / RUNS / candidate.place
    partial = _aside(target)
    places = {name: released / released_path(candidate.place, name) for name in _files_of(candidate)}
    in_place = {
        name for name, path in places.items() if (candidate.folder / name).resolve() == path.resolve()
    }
    try:
        if partial.exists():
            shutil.rmtree(partial)
        for name, path in places.items():
            if name not in in_place:
                at = path if in_place or name in RELEASED_SUFFIX else partial / path.name
                at.parent.mkdir(parents=True, exist_ok=True)
                remove_temporaries(at)
                write_bytes(at, _as_released(candidate.folder / name))
        if not in_place:
            if target.exists():
                shutil.rmtree(target)
            partial.rename(target)
    except OSError as error:
        raise UserError(
            f"{target}: cannot be written ({error.strerror}); the same command goes on from here"
        ) from None


def _remove_run(target: Path) -> None:
    """Remove a run's folder, which disappears by rename."""
    aside = _aside(target)
    try:
        if aside.exists():
            shutil.rmtree(aside)
        if target.exists():
            target.rename(aside)
            shutil.rmtree(aside)
    except OSError as error:
        raise UserError(
            f"{target}: cannot be removed ({error}); the same command goes on from here"
        ) from None


def _remove_apart(released: Path, place: PurePosixPath, entries: Mapping[str, Entry]) -> None:
    """Remove what DVC would keep of a run and the release no longer names."""
    for name in RELEASED_SUFFIX:
        path = released_path(place, name)
        if path.as_posix() not in entries:
            (released / path).unlink(missing_ok=True)


def _aside(target: Path) -> Path:
    """Where a run's folder is while it is not whole."""
    return target.with_name(f".{target.name}.partial")


def _leave_links(candidate: Candidate, released: Path) -> None:
    """Replace a released run's files by links, so that Snakemake, whose folder it is, sees it as done.

    A table that the release holds packed stays, since a link would name it as what it is not.
    """
    for name in _files_of(candidate):
        here = candidate.folder / name
        if here.is_symlink() or name in RELEASED_PACKED:
            continue
        target = os.path.relpath(released / released_path(candidate.place, name), candidate.folder)
        link = here.with_name(f".{name}.link")
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        link.replace(here)


def released_scales(path: Path) -> Sequence[str]:
    """Scales named in ``results/released/scales.yaml``, from which DVC makes its stages."""
    if not path.is_file():
        return []
    scales = read_yaml(path).get("scales")
    if not isinstance(scales, list) or not all(isinstance(name, str) for name in scales):
        raise UserError(f"{path}: expected 'scales', a list of names; restore it from git")
    return scales


def _add_scale(path: Path, scale: str) -> None:
    scales = sorted({*released_scales(path), scale})
    header = "# Written by `d2r release`: DVC has one pipeline for each.\n"
    write_atomically(path, (header + yaml.safe_dump({"scales": scales})).encode())
