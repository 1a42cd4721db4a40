"""Progress for people: a rewriting line on a terminal, plain lines in a log, a file for ``d2r status``."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence

from d2r.runs.progress import Progress
from d2r.runs.record import Failure
from d2r.training import provenance
from d2r.training.run import Reached, Run

TERMINAL_SECONDS = 0.5
LOG_SECONDS = 30.0
FILE_SECONDS = 2.0


class Reporter:
    """Reports how far the runs of a process are, how fast they go and when they will end.

    Args:
        name: what they are called together.
        steps: of each; ``first_step``: where they go on.
    """

    def __init__(self, name: str, steps: int, runs: Sequence[Run], first_step: int):
        self.name, self.steps, self.runs = name, steps, runs
        self._first_step = first_step
        self._began = self._printed = self._written = time.monotonic()
        self._terminal = sys.stdout.isatty()

    def update(self, progress: Reached) -> None:
        """Report if it is time to."""
        now = time.monotonic()
        if now - self._written >= FILE_SECONDS:
            self._written = now
            for run in self.runs:
                self._write(run, progress)
        if now - self._printed >= (TERMINAL_SECONDS if self._terminal else LOG_SECONDS):
            self._printed = now
            line = self._line(progress.step)
            print(
                f"\r\033[K{line}" if self._terminal else line, end="" if self._terminal else "\n", flush=True
            )

    def say(self, name: str, message: str) -> None:
        """Print one line about a run."""
        print(f"\r\033[K{name}: {message}" if self._terminal else f"{name}: {message}", flush=True)

    def done(self, run: Run, progress: Reached, failure: Failure | None) -> None:
        """Report a run's end."""
        self._write(run, progress)
        finished = failure is None and run.success is not None
        self.say(run.name, f"finished, success {run.success:.3f}" if finished else "failed")

    def _rate(self, step: int) -> float:
        return (step - self._first_step) / max(time.monotonic() - self._began, 1e-9)

    def _line(self, step: int) -> str:
        """How far the runs are; on a terminal no longer than it is wide, so that the next one takes its place."""
        rate = self._rate(step)
        seconds = int((self.steps - step) / rate) if rate > 0 else None
        left = (
            "unknown" if seconds is None else f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        )
        found = [f"{100 * run.success:.1f}" for run in self.runs if run.success is not None]
        known = f", success so far {' '.join(found)} %" if found else ""
        share = f"{step / self.steps:.0%}"
        if not self._terminal:
            return f"{self.name}: step {step}/{self.steps} ({share}), {rate:.1f} steps/s, left {left}{known}"
        line = f"{share:>4s}, {rate:.1f} steps/s, left {left}{known}, {self.name}"
        return line[: shutil.get_terminal_size().columns - 1]

    def _write(self, run: Run, progress: Reached) -> None:
        Progress(
            run=run.name,
            step=progress.step,
            steps=self.steps,
            updates=progress.updates,
            success=run.success,
            started=run.started,
            updated=provenance.now(),
            steps_per_second=self._rate(progress.step),
            cohort=len(self.runs),
            pid=os.getpid(),
            host=os.uname().nodename,
        ).write(run.folders.state)
