"""Train runs to their end: alone on their folders, from their last checkpoints, one line for whatever stops them."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import torch

from d2r.algorithms.adapting import check_router
from d2r.config import RunConfig, project_root
from d2r.envs.workers import WorkerDied
from d2r.errors import RunFailure, UserError
from d2r.networks.registry import check_size, shape_actor
from d2r.runs.folders import Lock, NotThisRun, RunFolders
from d2r.runs.record import RunRecord
from d2r.training.loop import Cohort
from d2r.training.memory import keep_freed_memory
from d2r.training.run import Machine, name_of
from d2r.training.signals import StopRequest
from d2r.training.source import remarks


def train(
    config: RunConfig,
    results: Path,
    machine: Machine,
    record_failure: bool = False,
    overridden: bool = False,
) -> int:
    """Train one run to its end: see :func:`train_together`."""
    return train_together([config], results, machine, record_failure, overridden)


def train_together(
    configs: Sequence[RunConfig],
    results: Path,
    machine: Machine,
    record_failure: bool = False,
    overridden: bool = False,
) -> int:
    """Train runs side by side to their end, each from its last checkpoint if there is one, and publish them.

    Args:
        configs: of one run, or of several that differ in their seed alone.
        results: folder of the scale, such as ``results/smoke``.
        record_failure: return 0 if numbers go wrong, so that a pipeline goes on; such a run is published as failed
            in any case, and the others go on.
        overridden: the configurations are not the scale's own, so they must not replace a finished run of another.

    Returns:
        Exit status: 0 finished, 143 or 130 stopped by a signal with a checkpoint.

    Raises:
        UserError: the networks are too large, another process works on a run, its folders cannot be written or
        used, or what lies in them must not be replaced.
        RunFailure: numbers went wrong and ``record_failure`` is not set, a worker died, or the disk is full; the
            last good checkpoint stands.
    """
    check_size(configs[0].network, configs[0].num_tasks, configs[0].method)
    check_router(shape_actor(configs[0].network, configs[0].num_tasks), configs[0].adapt or "all")
    all_folders = [RunFolders(results, config) for config in configs]
    for folders in all_folders:
        folders.create()
    with ExitStack() as locks:
        for folders in all_folders:
            locks.enter_context(Lock(folders.state))
        stop = locks.enter_context(StopRequest())
        waiting, failed, said = [], False, list[str]()
        for config, folders in zip(configs, all_folders, strict=True):
            folders.sweep()
            record = _published(config, folders, overridden)
            if record is None:
                waiting.append((config, folders))
                continue
            failed = failed or not record.finished
            print(
                f"{name_of(config)}: already {record.status}; to train it again remove {folders.published} "
                f"and {folders.state}"
            )
        if waiting:
            for remark in remarks(project_root()):
                print(f"{name_of(waiting[0][0])}: {remark}", file=sys.stderr)
            torch.set_num_threads(machine.threads)
            keep_freed_memory()
        ours = set[int]()  # seeds whose newest checkpoint is this process's
        while waiting:
            status, ended, failures = _go_on(waiting, machine, stop, ours)
            for config, _ in waiting:
                if config.seed in failures and record_failure:
                    print(f"{name_of(config)}: failed: {failures[config.seed]}", file=sys.stderr)
                elif config.seed in failures:
                    said.append(f"{name_of(config)}: {failures[config.seed]}; published as failed")
            if status:
                return status
            waiting = [(config, folders) for config, folders in waiting if config.seed not in ended]
    if said:
        raise RunFailure("; ".join(said))
    return RunFailure.status if failed and not record_failure else 0


def _go_on(
    waiting: Sequence[tuple[RunConfig, RunFolders]], machine: Machine, stop: StopRequest, ours: set[int]
) -> tuple[int, set[int], dict[int, str]]:
    """Train runs until those that have come furthest wait no more for the others, or to the end.

    Args:
        ours: seeds whose newest checkpoint is this process's; those that are trained now become so.

    Returns:
        Exit status, seeds of the runs that have ended, and what went wrong with those of them that failed.
    """
    configs, folders = [config for config, _ in waiting], [folder for _, folder in waiting]
    name = name_of(configs[0])
    try:
        with closing(Cohort(configs, folders, machine, stop, ours)) as cohort:
            ours |= {run.config.seed for run in cohort.runs}
            status = cohort.to_the_end()
            return status, cohort.ended, cohort.failures
    except WorkerDied as died:
        raise RunFailure(f"{name}: {died}") from None
    except BrokenPipeError:  # nobody reads the standard output any more
        raise
    except OSError as error:
        where = error.filename2 or error.filename or folders[0].state
        remedy = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "mend this"
        raise RunFailure(
            f"{where}: cannot be read or written ({error.strerror}); the last checkpoint is whole, "
            f"{remedy} and run the same command again"
        ) from None


def _published(config: RunConfig, folders: RunFolders, overridden: bool) -> RunRecord | None:
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
