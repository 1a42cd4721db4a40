"""Measure the rates of a run on this machine by running a little of it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from d2r.config import RunConfig
from d2r.networks.registry import check_size
from d2r.planning.rates import Rates
from d2r.training.loop import Machine, Run
from d2r.training.rundir import RunFolders
from d2r.training.signals import StopRequest

MEASURE_SECONDS = 0.5
"""Time to spend on measuring steps, and again on updates, at least two of each."""


def measure(config: RunConfig) -> Rates:
    """Take a few steps and updates of this very run in a temporary folder, with one thread.

    Raises:
        UserError: if its networks are too large to build.
    """
    check_size(config.network, config.num_tasks, config.method)
    torch.set_num_threads(1)
    acting_only = config.budget.model_copy(update={"warmup_steps": config.budget.steps})
    config = config.model_copy(update={"budget": acting_only})
    with tempfile.TemporaryDirectory() as folder:
        folders = RunFolders(Path(folder), config)
        folders.create()
        run = Run(config, folders, Machine(), StopRequest())
        try:
            return Rates(_seconds_per_call(run.take_step), _seconds_per_call(run.update))
        finally:
            run.close()


def _seconds_per_call(call: Callable[[], None]) -> float:
    call()  # the first one allocates
    calls = 0
    began = time.perf_counter()
    while calls < 2 or time.perf_counter() - began < MEASURE_SECONDS:
        call()
        calls += 1
    return (time.perf_counter() - began) / calls
