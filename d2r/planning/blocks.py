"""Blocks of a plan: the runs of one method on one benchmark, and the time that blocks take together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from d2r.planning.rates import Estimate


@dataclass(frozen=True)
class Block:
    """All runs of one method on one benchmark."""

    benchmark: str
    method: str
    runs: int
    finished: int
    estimate: Estimate
    """Of one run, or of as many side by side as a cohort has."""
    memory_mb: int
    """Of one process."""
    disk_bytes: int
    """Of one run when it has finished."""
    working_bytes: int
    """Of one run just before it finishes, when its replay is on disk too."""

    cohort: int = 1
    """Runs that one process trains side by side."""

    @property
    def processes(self) -> int:
        """That the runs which have not finished take."""
        return -(-(self.runs - self.finished) // self.cohort)

    @property
    def core_seconds(self) -> float:
        """Time of the runs that have not finished, one core for each process."""
        return self.processes * self.estimate.seconds


def wall_seconds(blocks: Sequence[Block], cores: int) -> float:
    """Time until all runs have finished with ``cores`` processes at a time, the longest first."""
    lengths = [b.estimate.seconds for b in blocks for _ in range(b.processes)]
    ends = [0.0] * max(1, cores)
    for length in sorted(lengths, reverse=True):
        first = min(range(len(ends)), key=ends.__getitem__)
        ends[first] += length
    return max(ends)
