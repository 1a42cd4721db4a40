"""Progress for people: a rewriting line on a terminal, plain lines in a log, a file for ``d2r status``."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from d2r.runs.folders import write_progress
from d2r.training import provenance

TERMINAL_SECONDS = 0.5
LOG_SECONDS = 30.0
FILE_SECONDS = 2.0


class Reporter:
    """Reports how far a run is, how fast it goes and when it will end."""

    def __init__(self, name: str, steps: int, folder: Path, started: str, first_step: int):
        self.name, self.steps, self.folder, self.started = name, steps, folder, started
        self._first_step = first_step
        self._began = self._printed = self._written = time.monotonic()
        self._terminal = sys.stdout.isatty()

    def update(self, step: int, updates: int, success: float | None) -> None:
        """Report if it is time to."""
        now = time.monotonic()
        if now - self._written >= FILE_SECONDS:
            self._written = now
            self._write(step, updates, success)
        if now - self._printed >= (TERMINAL_SECONDS if self._terminal else LOG_SECONDS):
            self._printed = now
            line = self._line(step, success)
            print(
                f"\r\033[K{line}" if self._terminal else line, end="" if self._terminal else "\n", flush=True
            )

    def say(self, message: str) -> None:
        """Print one line about the run."""
        print(f"\r\033[K{self.name}: {message}" if self._terminal else f"{self.name}: {message}", flush=True)

    def done(self, step: int, updates: int, success: float | None, failure: dict[str, Any] | None) -> None:
        """Report the end."""
        self._write(step, updates, success)
        self.say(f"finished, success {success:.3f}" if failure is None and success is not None else "failed")

    def _rate(self, step: int) -> float:
        return (step - self._first_step) / max(time.monotonic() - self._began, 1e-9)

    def _line(self, step: int, success: float | None) -> str:
        rate = self._rate(step)
        left = (self.steps - step) / rate if rate > 0 else float("inf")
        eta = (
            "unknown"
            if left == float("inf")
            else f"{int(left // 3600)}:{int(left // 60) % 60:02d}:{int(left) % 60:02d}"
        )
        known = "" if success is None else f", success {success:.3f}"
        return f"{self.name}: step {step}/{self.steps} ({step / self.steps:.0%}), {rate:.1f} steps/s, left {eta}{known}"

    def _write(self, step: int, updates: int, success: float | None) -> None:
        write_progress(
            self.folder,
            {
                "run": self.name,
                "step": step,
                "steps": self.steps,
                "updates": updates,
                "success": success,
                "started": self.started,
                "updated": provenance.now(),
                "steps_per_second": self._rate(step),
                "pid": os.getpid(),
                "host": os.uname().nodename,
            },
        )
