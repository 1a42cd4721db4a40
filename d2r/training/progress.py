"""Progress for people: a rewriting line on a terminal, plain lines in a log, a file for ``d2r status``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from d2r.runs.folders import write_progress
from d2r.training import provenance
from d2r.training.run import Progress, Run

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

    def update(self, progress: Progress) -> None:
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

    def done(self, run: Run, progress: Progress, failure: dict[str, Any] | None) -> None:
        """Report a run's end."""
        self._write(run, progress)
        finished = failure is None and run.success is not None
        self.say(run.name, f"finished, success {run.success:.3f}" if finished else "failed")

    def _rate(self, step: int) -> float:
        return (step - self._first_step) / max(time.monotonic() - self._began, 1e-9)

    def _line(self, step: int) -> str:
        rate = self._rate(step)
        left = (self.steps - step) / rate if rate > 0 else float("inf")
        eta = (
            "unknown"
            if left == float("inf")
            else f"{int(left // 3600)}:{int(left // 60) % 60:02d}:{int(left) % 60:02d}"
        )
        known = [run.success for run in self.runs if run.success is not None]
        success = f", success {' '.join(f'{value:.3f}' for value in known)}" if known else ""
        done = f"step {step}/{self.steps} ({step / self.steps:.0%})"
        return f"{self.name}: {done}, {rate:.1f} steps/s, left {eta}{success}"

    def _write(self, run: Run, progress: Progress) -> None:
        write_progress(
            run.folders.state,
            {
                "run": run.name,
                "step": progress.step,
                "steps": self.steps,
                "updates": progress.updates,
                "success": run.success,
                "started": run.started,
                "updated": provenance.now(),
                "steps_per_second": self._rate(progress.step),
                "cohort": len(self.runs),
                "pid": os.getpid(),
                "host": os.uname().nodename,
            },
        )
