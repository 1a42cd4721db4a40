"""What the Snakefile asks of the package: the chosen scale, a run's settings, and who holds the folder."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from d2r.config import RunConfig, Scale, config_hash, load_scale, plan_runs, resolve_run
from d2r.errors import UserError, nearest
from d2r.planning.cost import memory_mb

CONFIG_KEYS = ("scale",)
DEFAULT_SCALE = "smoke"


class RunSettings(NamedTuple):
    """What Snakemake needs to know of a run beyond its name."""

    config_hash: str
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
    return RunSettings(config_hash(run), memory_mb(run))


def take_over_stale_lock(snakemake_folder: Path) -> bool:
    """Remove the lock that a killed Snakemake left behind, so that the same command goes on from there.

    Every Snakemake in a folder holds a shared ``flock`` for as long as it lives, which the kernel drops
    however it dies. Whoever can make that lock exclusive is alone, and any lock file is then stale.

    Returns:
        Whether a stale lock was removed.
    """
    locks = snakemake_folder / "locks"
    snakemake_folder.resolve().mkdir(parents=True, exist_ok=True)
    held = os.open(snakemake_folder / "alive", os.O_CREAT | os.O_RDWR)  # stays open until the process ends
    removed = 0
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for lock in locks.glob("*.lock"):
            lock.unlink(missing_ok=True)
            removed += 1
    except BlockingIOError:
        pass
    fcntl.flock(held, fcntl.LOCK_SH)
    if removed:
        print("d2r: took over the lock of a Snakemake that was killed", file=sys.stderr)
    return removed > 0
