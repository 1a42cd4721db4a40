"""Train a run to its end: alone on its folders, from its last checkpoint, and with one line for whatever stops it."""

from __future__ import annotations

import errno
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from d2r.config import RunConfig, project_root
from d2r.envs.workers import WorkerDied
from d2r.errors import RunFailure, UserError
from d2r.networks.registry import check_size
from d2r.runs.folders import Lock, NotThisRun, RunFolders
from d2r.training.loop import Machine, NumbersWentWrong, Run, name_of
from d2r.training.memory import keep_freed_memory
from d2r.training.signals import StopRequest
from d2r.training.source import remarks


def train(
    config: RunConfig,
    results: Path,
    machine: Machine,
    record_failure: bool = False,
    overridden: bool = False,
) -> int:
    """Train one run to its end, from its last checkpoint if there is one, and publish it.

    Args:
        results: folder of the scale, such as ``results/smoke``.
        record_failure: return 0 if numbers go wrong, so that a pipeline goes on; the run is published as failed
            in any case.
        overridden: the configuration is not the scale's own, so it must not replace a finished run of another.

    Returns:
        Exit status: 0 finished, 143 or 130 stopped by a signal with a checkpoint.

    Raises:
        UserError: the networks are too large, another process works on the run, its folders cannot be written or
        used, or what lies in them must not be replaced.
        RunFailure: numbers went wrong and ``record_failure`` is not set, a worker died, or the disk is full; the
            last good checkpoint stands.
    """
    check_size(config.network, config.num_tasks, config.method)
    folders = RunFolders(results, config)
    folders.create()
    with Lock(folders.state), StopRequest() as stop:
        folders.sweep()
        record = _published(config, folders, overridden)
        if record is not None:
            print(
                f"{name_of(config)}: already {record['status']}; to train it again remove {folders.published} "
                f"and {folders.state}"
            )
            return 0 if record["status"] == "finished" or record_failure else RunFailure.status
        for remark in remarks(project_root()):
            print(f"{name_of(config)}: {remark}", file=sys.stderr)
        torch.set_num_threads(machine.threads)
        keep_freed_memory()
        try:
            with closing(Run(config, folders, machine, stop)) as run:
                try:
                    return run.to_the_end()
                except NumbersWentWrong as wrong:
                    run.publish(None, wrong.failure)
                    if record_failure:
                        print(f"{name_of(config)}: failed: {wrong}", file=sys.stderr)
                        return 0
                    raise RunFailure(f"{name_of(config)}: {wrong}; published as failed") from None
        except WorkerDied as died:
            raise RunFailure(f"{name_of(config)}: {died}") from None
        except BrokenPipeError:  # nobody reads the standard output any more
            raise
        except OSError as error:
            where = error.filename2 or error.filename or folders.state
            remedy = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "mend this"
            raise RunFailure(
                f"{where}: cannot be read or written ({error.strerror}); the last checkpoint is whole, "
                f"{remedy} and run the same command again"
            ) from None


def _published(config: RunConfig, folders: RunFolders, overridden: bool) -> dict[str, Any] | None:
    """Return the record of this run if it has ended; say so if something else will be replaced.

    Raises:
        UserError: what is there must not be replaced, or cannot be.
    """
    record, replaced = None, None
    try:
        record = folders.examine()
    except NotThisRun as other:
        if overridden and other.finished:
            raise UserError(
                f"{folders.published}: holds a finished run of another configuration, which --steps must not "
                "replace; choose another --results"
            ) from None
        replaced = str(other)
    if record is None:
        folders.check_places()
    if replaced is not None:
        print(
            f"{name_of(config)}: replaces what is in {folders.published}: {replaced}",
            file=sys.stderr,
            flush=True,
        )
    return record
