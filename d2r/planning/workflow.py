"""What the Snakefile asks of the package: scale, settings of a run, what to refuse, and who holds the folder."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import d2r
from d2r.config import (
    RUNS,
    RunConfig,
    RunKey,
    Scale,
    identity,
    load_scale,
    plan_runs,
    project_root,
    resolve_run,
)
from d2r.errors import UserError, nearest
from d2r.files import is_visible_file
from d2r.planning.cohorts import TrainedTogether
from d2r.planning.cost import memory_mb
from d2r.runs.layout import CHECKPOINT, RELEASED, SEED_FOLDER, learner_path
from d2r.runs.starts import source_folder, source_of

CONFIG_KEYS = ("scale", "cohort", "device", "image")
MOST_SEEDS = 64
DEVICES = {"cpu": "", "cuda": "--device cuda --graph"}
"""What a job's command says of each device that the configuration may name."""
DEFAULT_SCALE = "smoke"
DEFAULT_IMAGE = "docker-daemon://d2r:latest"
"""What `make image` makes, as Apptainer calls it."""
SOURCES = (".py", ".yaml", ".js", ".css", ".html")


REPORTED = ("tables", "figures", "report/index.html")
"""What rules mark for Snakemake's report, below the scale's folder."""


class RunSettings(NamedTuple):
    """What Snakemake needs to know of a run beyond its name."""

    identity: str
    """A change of it, and nothing else about the code or the files' times, trains the run anew."""
    memory_mb: int


def choose_scale(config: Mapping[str, Any]) -> Scale:
    """Return the scale that Snakemake's ``config`` names, after resolving every run of it.

    Raises:
        UserError: for an unknown key or scale, or a run whose configuration does not resolve.
    """
    for key in config:
        if key not in CONFIG_KEYS:
            raise UserError(f"--config {key}=...: unknown key '{key}'; {nearest(key, CONFIG_KEYS)}")
    scale = load_scale(str(config.get("scale", DEFAULT_SCALE) or ""))
    for run in plan_runs(scale):
        resolved_run(*run)
    return scale


def check_cohort_config(config: Mapping[str, Any], shared_folder: bool) -> int:
    """Return how many seeds a job trains side by side at most.

    Args:
        shared_folder: whether all jobs see the folder that the workflow is planned in.

    Raises:
        UserError: if the configuration says it wrongly, or jobs could not know of it.
    """
    size = config.get("cohort", 1)
    if type(size) is not int or not 1 <= size <= MOST_SEEDS:
        raise UserError(f"--config cohort={size}: must be a number of seeds from 1 to {MOST_SEEDS}")
    if size > 1 and not shared_folder:
        raise UserError(
            f"--config cohort={size}: jobs must share this folder, not object storage; leave it out"
        )
    return size


def options_of_device(config: Mapping[str, Any]) -> str:
    """Return the options of ``d2r train`` for the device that the configuration names.

    Raises:
        UserError: if there is no such device.
    """
    device = str(config.get("device", "cpu"))
    if device not in DEVICES:
        raise UserError(f"--config device={device}: must be cpu or cuda")
    return DEVICES[device]


def image_of_jobs(config: Mapping[str, Any]) -> str:
    """Return the image that jobs run in under ``--sdm apptainer``: an address, or a file.

    Raises:
        UserError: if the configuration names a file that is not there.
    """
    image = str(config.get("image", DEFAULT_IMAGE))
    if "://" not in image and not Path(image).is_file():
        raise UserError(
            f"--config image={image}: no such file; make it with `make apptainer`, or give an address such as "
            "docker://REGISTRY/d2r"
        )
    return image


def path_with_own_commands() -> str:
    """Return a PATH on which programs of the environment that runs this come first, whatever the PATH is."""
    programs = str(Path(sys.executable).absolute().parent)
    return os.pathsep.join([programs, os.environ.get("PATH", os.defpath)])


def find_own_commands_first() -> None:
    """Let the jobs of this process find ``d2r`` of the environment that runs it, on the PATH or not."""
    os.environ["PATH"] = path_with_own_commands()


def check_targets(arguments: Iterable[str]) -> None:
    """See to it that the files that Snakemake is asked for belong to scales and runs that there can be.

    Args:
        arguments: of Snakemake's command line; a workflow is not told its targets while it is read.

    Raises:
        UserError: naming the first target of which that is not so.
    """
    check: Callable[[], object]
    for argument in arguments:
        match PurePosixPath(argument).parts:
            case ("results", scale, tree, benchmark, method, folder, _) if tree == RUNS:
                check = partial(_check_run, scale, benchmark, method, folder)
            case ("results", scale, "collected" | "tables" | "metrics" | "figures" | "report", *_):
                check = partial(load_scale, scale)
            case _:
                continue
        try:
            check()
        except UserError as error:
            raise UserError(f"{argument}: {error}") from None


def _check_run(scale: str, benchmark: str, method: str, folder: str) -> None:
    if not re.fullmatch(SEED_FOLDER, folder):
        raise UserError(f"'{folder}' is no run's folder; that of seed 1 is 'seed1'")
    resolved_run(scale, benchmark, method, int(folder.removeprefix("seed")))


def check_report(arguments: Sequence[str], scale: Scale) -> None:
    """See to it that ``snakemake --report`` finds what it is to pack.

    Args:
        arguments: of Snakemake's command line.

    Raises:
        UserError: saying what has to be run first.
    """
    names = {argument.partition("=")[0] for argument in arguments}
    if "--report" not in names or "--report-after-run" in names:
        return
    missing = [name for name in REPORTED if not (Path("results") / scale.id / name).exists()]
    if missing:
        raise UserError(
            f"--report: results/{scale.id} has no {' and no '.join(missing)} yet; run `snakemake --cores 8 all "
            f"--config scale={scale.id}` first (released runs have their page in results/{RELEASED}/SCALE/report)"
        )


def refuse_to_repeat(forced: Sequence[RunKey]) -> None:
    """Refuse runs that Snakemake was told to do again whatever there is (``--forcerun``, ``--forceall``).

    They would go on from their training state, the last step maybe, and publish the same policy again.

    Raises:
        UserError: if one has training state.
    """
    begun = [
        key for key in forced if any(key.state_folder(Path("results") / key.scale).rglob(f"{CHECKPOINT}*"))
    ]
    if begun:
        first = begun[0]
        others = f" and {len(begun) - 1} others" if len(begun) > 1 else ""
        raise UserError(
            f"{first.benchmark}/{first.method}/seed{first.seed}{others}: training goes on from its last checkpoint, so "
            f"forcing it would publish the same policy again; to train anew remove a run's folders below "
            f"results/{first.scale}/runs and results/{first.scale}/state, and do not force"
        )


@cache
def resolved_run(scale: str, benchmark: str, method: str, seed: int) -> RunConfig:
    """Resolve a run by name, once."""
    return resolve_run(load_scale(scale), benchmark, method, seed)


def run_settings(wildcards: Any) -> RunSettings:
    """Settings of the run that the ``wildcards`` of the rule ``train`` name."""
    run = resolved_run(wildcards.scale, wildcards.benchmark, wildcards.method, int(wildcards.seed))
    return RunSettings(identity(run), memory_mb(run))


def learners_to_start_from(keys: Iterable[RunKey]) -> list[str]:
    """Files of the learners that these runs start from: what has to be there before they are trained."""
    found = []
    for key in keys:
        config = resolved_run(*key)
        source = source_of(config)
        if source is not None:
            found.append(str(learner_path(source_folder(source, Path("results") / config.scale))))
    return found


def is_known(cohort: TrainedTogether) -> bool:
    """Whether ``config/`` has the runs of a cohort; what was decided of runs that it no longer has waits for them."""
    try:
        settings_together(cohort)
    except UserError:
        return False
    return True


def gpus_of_job(config: Mapping[str, Any]) -> int:
    """How many cards a training job takes, of those that Snakemake or a cluster shares out."""
    return int(config.get("device") == "cuda")


def settings_together(cohort: TrainedTogether) -> RunSettings:
    """Settings of a job for several runs: the identities of all that were given to it, there or not."""
    runs = [resolved_run(cohort.scale, cohort.benchmark, cohort.method, seed) for seed in cohort.seeds]
    return RunSettings(" ".join(map(identity, runs)), memory_mb(runs[0], len(cohort.members)))


def sources_of_analysis() -> str:
    """sha256 over the code and the configuration that tables, figures and page are made with."""
    root = project_root()
    package = Path(d2r.__file__).parent
    folders = (*(package / room for room in ("statistics", "findings", "report")), root / "config")
    paths = (path for folder in folders for path in folder.rglob("*") if path.suffix in SOURCES)
    files = sorted(filter(is_visible_file, paths))
    contents = (hashlib.sha256(path.read_bytes()).digest() for path in files)
    return hashlib.sha256(b"".join(contents)).hexdigest()


def take_over_stale_lock(snakemake_folder: Path) -> bool:
    """Remove the lock that a killed Snakemake left behind, so that the same command goes on from there.

    Every Snakemake in a folder holds a shared ``flock`` for as long as it lives, which the kernel drops
    however it dies. Whoever can make that lock exclusive is alone, and any lock file is then stale.

    Returns:
        Whether a stale lock was removed.
    """
    snakemake_folder.resolve().mkdir(parents=True, exist_ok=True)
    alive = snakemake_folder / "alive"
    try:
        held = os.open(alive, os.O_CREAT | os.O_RDWR, 0o666)  # stays open until the process ends
        removed = _remove_stale(held, snakemake_folder / "locks")
        fcntl.flock(held, fcntl.LOCK_SH)
    except OSError as error:
        print(
            f"d2r: {alive}: cannot be locked ({error.strerror}); after a `kill -9` give `snakemake --unlock`",
            file=sys.stderr,
        )
        return False
    if removed:
        print("d2r: took over the lock of a Snakemake that was killed", file=sys.stderr)
    return removed > 0


def _remove_stale(held: int, locks: Path) -> int:
    """Remove all lock files if nobody else holds ``held``; returns how many."""
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0
    stale = list(locks.glob("*.lock"))
    for lock in stale:
        lock.unlink(missing_ok=True)
    return len(stale)
