"""A reviewer's checklist for a folder of results: what was run, is it whole, and does it give the tables again.

Nothing here trusts the folder: files are hashed before they are parsed, and only JSON, CSV and safetensors are read.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

from d2r.config import RUNS, RunConfig, is_run, load_scale, plan_runs, resolve_run, scale_ids
from d2r.config.execution import PLAIN
from d2r.errors import UserError
from d2r.findings.collect import collect
from d2r.findings.results import Results, load_results
from d2r.limits import Shortage
from d2r.report.figures import write_figures
from d2r.report.metrics import METRICS_FOLDER, write_metrics
from d2r.report.page import write_report
from d2r.report.tables import write_tables
from d2r.runs.layout import EVALUATION, FILMS, LEARNER, POLICY, RELEASED, RUN_FILES, RUN_RECORD, policy_path
from d2r.runs.manifest import IN_GIT, MANIFEST, check_manifest
from d2r.runs.record import RunRecord, check_output, check_place, read_config, read_run
from d2r.runs.tables import read_table
from d2r.text import printable
from d2r.training.source import UNKNOWN
from d2r.verify.golden import TOLERANCE, verify_file
from d2r.verify.policy import load_actor

LOCKS = ("requirements-cpu.lock", "requirements-cuda.lock")
DECISIVE = {"metaworld", "mujoco", "torch"}
"""Packages whose versions every run states and every lock file pins."""
GOLDEN = "tests/golden"
WRITERS: dict[str, Callable[[Results], object]] = {
    "tables": write_tables,
    METRICS_FOLDER: write_metrics,
    "figures": write_figures,
    "report": write_report,
}
"""Folders that come out of the collected runs, in the order in which they are written, and by what."""
SHOWN = 3
"""How many examples a line names."""


class Line(NamedTuple):
    """One line of the checklist. A ``note`` is a fact that a reviewer should know and that is no fault."""

    check: str
    verdict: Literal["ok", "note", "FAIL"]
    detail: str


@dataclass
class Run:
    """One run's folder, its record and its configuration."""

    folder: Path
    record: RunRecord
    config: RunConfig

    @property
    def name(self) -> str:
        """Such as ``mt10-rand/d2r/seed1``."""
        return "/".join(self.folder.parts[-3:])

    @property
    def finished(self) -> bool:
        """Whether its numbers stayed numbers to the end."""
        return self.record.finished


@dataclass
class Artifact:
    """A folder of results under examination."""

    folder: Path
    root: Path
    """The project: its configuration, lock files and golden files."""
    runs: list[Run] = field(default_factory=list)
    """Those that could be read and are whole; the others are for the line ``runs`` alone."""
    damaged: int = 0
    policies_absent: int = 0

    @property
    def released(self) -> bool:
        """Whether it is a released scale, which has a manifest and whose policies may be elsewhere."""
        return (self.folder / MANIFEST).is_file() or self.folder.absolute().parent.name == RELEASED


def verify_artifact(folder: Path, root: Path) -> list[Line]:
    """Check a results folder, such as ``results/smoke`` or ``results/released/lite``.

    Args:
        root: the project's root.

    Returns:
        The checklist.

    Raises:
        UserError: if the folder holds no run at all.
    """
    artifact = Artifact(folder, root)
    if not (folder / RUNS).is_dir():
        raise UserError(
            f"{folder}: no folder '{RUNS}' in it; give the results of one scale, such as results/smoke"
        )
    checks: tuple[tuple[str, Callable[[Artifact], Line]], ...] = (
        ("manifest", _manifest),
        ("runs", _runs),
        ("plan", _of_runs(_plan)),
        ("outcome", _of_runs(_outcome)),
        ("configuration", _of_runs(_configuration)),
        ("numbers", _of_runs(_numbers)),
        ("policies", _of_runs(_policies)),
        ("pins", _of_runs(_pins)),
        ("source", _of_runs(_source)),
        ("golden", _golden),
        ("tables", _of_runs(_tables)),
    )
    lines = []
    for name, check in checks:
        try:
            line = check(artifact)
        except Shortage:  # of this process, and no fault of the folder
            raise
        except UserError as error:
            line = _fail(" ".join(str(error).split()))
        lines.append(Line(name, line.verdict, printable(line.detail)))
    return lines


def _of_runs(check: Callable[[Artifact], Line]) -> Callable[[Artifact], Line]:
    """A check that looks at runs: of none it finds nothing wrong, which is not ``ok``, and of some it says so."""

    def checked(artifact: Artifact) -> Line:
        if not artifact.runs:
            return _fail("not checked, since no run could be read")
        line = check(artifact)
        if not artifact.damaged or line.verdict == "FAIL":
            return line
        return _note(f"{line.detail}; not looked at: {artifact.damaged} damaged runs")

    return checked


def _ok(detail: str) -> Line:
    return Line("", "ok", detail)


def _note(detail: str) -> Line:
    return Line("", "note", detail)


def _fail(detail: str) -> Line:
    return Line("", "FAIL", detail)


def _some(names: Iterable[object]) -> str:
    """The first few of some names, and how many more there are."""
    rest = [str(name) for name in names]
    more = f" and {len(rest) - SHOWN} more" if len(rest) > SHOWN else ""
    return ", ".join(rest[:SHOWN]) + more


def _manifest(artifact: Artifact) -> Line:
    """The release's own list of files."""
    if not artifact.released:
        return _note("not a released folder: its run.json files are checked in place of a manifest")
    agree, artifact.policies_absent = check_manifest(artifact.folder)
    tree = artifact.folder / RUNS
    links = [path for path in (tree, *tree.rglob("*")) if path.is_symlink()]
    if links:
        return _fail(f"{_some(links)}: links, which a release may not hold")
    absent = (
        f"; {artifact.policies_absent} policies are not here (dvc pull)" if artifact.policies_absent else ""
    )
    return _ok(f"{agree} files have the size and sha256 that {MANIFEST} states{absent}")


def _runs(artifact: Artifact) -> Line:
    """Every run's record and outputs are what was written, and lie where they belong."""
    problems: list[str] = []
    unfinished: list[str] = []
    for folder in _run_folders(artifact.folder):
        name = "/".join(folder.parts[-3:])
        record = folder / RUN_RECORD
        if not record.is_file():
            if os.path.lexists(record):
                problems.append(f"{record}: not a regular file; train the run again")
                continue
            unfinished.append(name)
            continue
        try:
            written = read_run(folder)
            run = Run(folder, written, read_config(folder, written))
            _check_run(artifact, run)
        except Shortage:
            raise
        except UserError as error:
            problems.append(str(error))
        else:
            artifact.runs.append(run)
    if artifact.released and unfinished:
        problems.append(f"{_some(unfinished)}: no {RUN_RECORD}")
    if problems:
        artifact.damaged = len(problems)
        return _fail(f"{len(problems)} damaged: {'; '.join(problems[:SHOWN])}")
    if not artifact.runs:
        return _fail("no finished run")
    said = (
        f"{len(artifact.runs)} runs are whole: every file has the sha256 in {RUN_RECORD}, which has its own"
    )
    return _ok(said + (f"; not finished: {_some(unfinished)}" if unfinished else ""))


def _run_folders(folder: Path) -> Iterator[Path]:
    yield from sorted(path for path in folder.glob(f"{RUNS}/*/*/*") if path.is_dir() and path.name[:1] != ".")


def _check_run(artifact: Artifact, run: Run) -> None:
    check_place(run.folder, run.record)
    stray = sorted({path.name for path in run.folder.iterdir()} - {*RUN_FILES, *IN_GIT, LEARNER})
    if stray:
        raise UserError(f"{run.folder / stray[0]}: not a file of a run; remove it")
    for name in run.record.outputs:
        if name == POLICY and artifact.policies_absent and not (run.folder / POLICY).is_file():
            continue
        check_output(run.folder, run.record, name)


def _plan(artifact: Artifact) -> Line:
    """Which of the scale's runs there are."""
    scales = sorted({run.config.scale for run in artifact.runs})
    if len(scales) != 1:
        return _fail(f"runs of the scales {_some(scales)}; one folder holds one scale")
    if scales[0] not in scale_ids():
        return _note(
            f"scale '{scales[0]}' is not in config/scales, so nothing says which runs it should have"
        )
    planned = set(plan_runs(load_scale(scales[0])))
    present = {run.record.key for run in artifact.runs}
    missing = [f"{key.benchmark}/{key.method}/seed{key.seed}" for key in sorted(planned - present)]
    extra = [f"{key.benchmark}/{key.method}/seed{key.seed}" for key in sorted(present - planned)]
    said = [f"{len(planned & present)} of the {len(planned)} runs that scale '{scales[0]}' plans"]
    if missing:
        said.append(f"missing: {_some(missing)}")
    if extra:
        said.append(f"not in the plan, and so in no mean: {_some(extra)}")
    return (_note if missing or extra else _ok)("; ".join(said))


def _outcome(artifact: Artifact) -> Line:
    """Which runs failed; a table shows them and averages none away."""
    failed = [
        f"{run.name} ({failure.message})"
        for run in artifact.runs
        if (failure := run.record.failure) is not None
    ]
    if failed:
        return _note(f"{len(failed)} runs failed: {_some(failed)}")
    resumed = sum(1 for run in artifact.runs if run.record.resumes)
    return _ok(f"no run failed; {resumed} were interrupted and went on")


def _configuration(artifact: Artifact) -> Line:
    """Runs were made with what ``config/`` states now."""
    changed = []
    for run in artifact.runs:
        config = run.config
        if config.scale not in scale_ids():
            return _note(
                f"scale '{config.scale}' is not in config/scales; each run.json holds its whole configuration"
            )
        current = resolve_run(load_scale(config.scale), config.benchmark, config.method, config.seed)
        if not is_run(run.record, current):
            changed.append(run.name)
    if changed:
        return _fail(f"{_some(changed)}: made with another configuration than config/ states now")
    protocols = _some(sorted({run.config.protocol.id for run in artifact.runs}))
    said = f"every run's configuration is the one that config/ gives; protocol {protocols}"
    executed = [run.record.execution for run in artifact.runs]
    unusual = sorted({options.options() for options in executed if options != PLAIN})
    return _note(f"{said}; some were executed with {_some(unusual)}") if unusual else _ok(said)


def _numbers(artifact: Artifact) -> Line:
    """Finished runs spent their budget and evaluated every task; every rate is one."""
    finished = [run for run in artifact.runs if run.finished]
    if not finished:
        return _note("not checked, since no run finished")
    for run in finished:
        if run.record.steps != run.config.budget.steps:
            return _fail(f"{run.name}: {run.record.steps} steps of {run.config.budget.steps}, yet 'finished'")
        path = run.folder / EVALUATION
        episodes = read_table(path)
        per_task = episodes.groupby("task")["success"].size()
        if len(per_task) != run.config.num_tasks or set(per_task) != {run.config.evaluation_episodes}:
            return _fail(
                f"{path}: not {run.config.evaluation_episodes} episodes of each of {run.config.num_tasks} tasks"
            )
        if set(per_task.index) != set(run.config.tasks):
            return _fail(f"{path}: does not hold the tasks of {run.config.benchmark}")
        if not set(episodes["success"]) <= {0, 1}:
            return _fail(f"{path}: a success that is neither 0 nor 1")
    return _ok("finished runs spent their whole budget and evaluated every task as their protocol says")


def _policies(artifact: Artifact) -> Line:
    """Policies fit their networks; they are tensors, so loading them runs no code."""
    loaded = 0
    for run in artifact.runs:
        if artifact.policies_absent and not policy_path(run.folder).is_file():
            continue
        try:
            load_actor(run.folder, run.record, run.config)
        except Shortage:
            raise
        except UserError as error:
            return _fail(str(error))
        loaded += 1
    absent = f"; {artifact.policies_absent} are not here (dvc pull)" if artifact.policies_absent else ""
    if not loaded:
        return _note(f"not checked{absent}")
    return _ok(f"{loaded} policies hold the tensors of their networks{absent}")


def _pins(artifact: Artifact) -> Line:
    """Versions in every run.json are the locked ones."""
    pinned: dict[str, set[str]] = {}
    for lock in LOCKS:
        for name, version in re.findall(
            r"^([a-z0-9._-]+)==([^ \\\n]+)", _text(artifact.root / lock), re.MULTILINE
        ):
            pinned.setdefault(name, set()).add(version)
    unpinned = sorted(DECISIVE - pinned.keys())
    if unpinned:
        return _fail(f"{_some(unpinned)}: not pinned in {' or '.join(LOCKS)}; restore these files")
    other = {
        f"{name} {version}, locked {' or '.join(sorted(pinned[name]))}"
        for run in artifact.runs
        for name, version in run.record.packages.items()
        if name in pinned and version not in pinned[name]
    }
    unnamed = [run.name for run in artifact.runs if not set(run.record.packages) >= DECISIVE]
    if other or unnamed:
        return _fail(_some(sorted(other)) if other else f"{_some(unnamed)}: packages are not stated")
    return _ok(f"package versions of every run are those of {' or '.join(LOCKS)}")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise UserError(f"{path}: cannot be read; run this in a checkout of the project") from None


def _source(artifact: Artifact) -> Line:
    """Which source made the runs, and on which machines."""
    commits = sorted({str(process.commit) for run in artifact.runs for process in run.record.processes})
    dirty = [run.name for run in artifact.runs if run.record.made_from_changed_sources]
    cpus = sorted({run.record.cpu.model or "an unknown processor" for run in artifact.runs})
    said = f"commit {_some(commit[:12] for commit in commits)} on {_some(cpus)}"
    if dirty:
        return _note(f"{said}; made from changed sources: {_some(dirty)}")
    if {"None", UNKNOWN} & set(commits):
        return _note(f"{said}; a commit is unknown")
    untold = [
        run.name for run in artifact.runs if any(process.dirty is None for process in run.record.processes)
    ]
    if untold:
        return _note(f"{said}; whether sources were changed is unknown of {_some(untold)}")
    return _ok(said)


def _golden(artifact: Artifact) -> Line:
    """The learner in this checkout reproduces the recorded official updates."""
    files = sorted((artifact.root / GOLDEN).glob("*.npz"))
    if not files:
        return _fail(f"{artifact.root / GOLDEN}: no golden files there")
    worst = 0.0
    for path in files:
        for comparison in verify_file(path):
            if not comparison.error <= TOLERANCE:
                return _fail(f"{path.name}: {comparison.name} differs by {comparison.error:.1e}")
            worst = max(worst, comparison.error)
    return _ok(
        f"{len(files)} recorded official updates reproduced, worst error {worst:.0e} of {TOLERANCE:.0e}"
    )


def _tables(artifact: Artifact) -> Line:
    """The runs give tidy files, tables, figures and the report page again, byte for byte."""
    derived = ("collected", *WRITERS)
    present = [name for name in derived if (artifact.folder / name).is_dir()]
    if not present:
        return _note("no tables yet (d2r collect, d2r tables)")
    with tempfile.TemporaryDirectory() as scratch:
        again = Path(scratch) / artifact.folder.absolute().parent.name / artifact.folder.absolute().name
        again.mkdir(parents=True)
        for name in (RUNS, FILMS):
            (again / name).symlink_to((artifact.folder / name).absolute())
        collect(again)
        results = load_results(again)
        for name, write in WRITERS.items():
            if name in present:
                write(results)
        compared = 0
        for name in present:
            different = list(islice(_differences(artifact.folder / name, again / name), SHOWN + 1))
            if different:
                return _fail(f"{_some(different)}: not what the runs give")
            compared += sum(1 for path in (again / name).rglob("*") if path.is_file())
    said = f"{compared} files of {', '.join(present)} come out of the runs again, byte for byte"
    absent = [name for name in derived if name not in present]
    return _note(f"{said}; not here: {_some(absent)}") if absent else _ok(said)


def _differences(stated: Path, again: Path) -> Iterator[str]:
    """Relative names of files that are in one folder only or differ; hidden ones are notes of tools (Snakemake's)."""
    names = {
        path.relative_to(base)
        for base in (stated, again)
        for path in base.rglob("*")
        if path.is_file() and path.name[:1] != "."
    }
    for name in sorted(names):
        left, right = stated / name, again / name
        if not (left.is_file() and right.is_file() and left.read_bytes() == right.read_bytes()):
            yield f"{stated.name}/{name}"


def as_json(folder: Path, lines: list[Line]) -> str:
    """The checklist as one line of JSON."""
    passed = all(line.verdict != "FAIL" for line in lines)
    return json.dumps({"folder": str(folder), "passed": passed, "checks": [line._asdict() for line in lines]})
