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

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Count the time within to ``part``."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._parts[part] += time.perf_counter() - began

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of each part, and ``total``."""
        return {**self._parts, "total": time.perf_counter() - self._began}
