"""Where a run's time goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

PARTS = ("acting", "environment", "replay", "learner", "evaluation", "instruments", "checkpoint")


class Stopwatch:
    """Seconds spent in each of :data:`PARTS`, and in all, since this process began."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._parts = dict.fromkeys(PARTS, 0.0)
        self._within = 0.0

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Count the time within to ``part``, but for what is counted to another in between."""
        began, before = time.perf_counter(), self._within
        self._within = 0.0
        try:
            yield
        finally:
            spent = time.perf_counter() - began
            self._parts[part] += spent - self._within
            self._within = before + spent

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of each part, and ``total``."""
        return {**self._parts, "total": time.perf_counter() - self._began}
