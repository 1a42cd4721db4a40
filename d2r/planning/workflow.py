"""What the Snakefile asks of the package: the chosen scale, a run's settings, and who holds the folder."""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import d2r
from d2r.config import RunConfig, Scale, identity, load_scale, plan_runs, project_root, resolve_run
from d2r.errors import UserError, nearest
from d2r.planning.cost import memory_mb

CONFIG_KEYS = ("scale",)
DEFAULT_SCALE = "smoke"
SOURCES = (".py", ".yaml", ".js", ".css", ".html")


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
    scale = load_scale(str(config.get("scale", DEFAULT_SCALE)))
    for run in plan_runs(scale):
        resolved_run(*run)
    return scale


@cache
def resolved_run(scale: str, benchmark: str, method: str, seed: int) -> RunConfig:
    """Resolve a run by name, once."""
    return resolve_run(load_scale(scale), benchmark, method, seed)


def run_settings(wildcards: Any) -> RunSettings:
    """Settings of the run that the ``wildcards`` of the rule ``train`` name."""
    run = resolved_run(wildcards.scale, wildcards.benchmark, wildcards.method, int(wildcards.seed))
    return RunSettings(identity(run), memory_mb(run))


def sources_of_analysis() -> str:
    """sha256 over the code and the configuration that tables, figures and page are made with."""
    root = project_root()
    folders = (Path(d2r.__file__).parent / "analysis", root / "config")
    files = sorted(path for folder in folders for path in folder.rglob("*") if path.suffix in SOURCES)
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
