"""Plain text for terminals: aligned tables, and durations and sizes that people read at a glance."""

from __future__ import annotations

from collections.abc import Sequence

BENCHMARK_HELP = "a file of config/benchmarks, or mt1-TASK-fixed or mt1-TASK-rand for one task alone"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Align columns under ``header``; the first ``left`` of them to the left, the others to the right.

    Example:
        >>> print(table(["run", "steps"], [["a", "10"], ["bcd", "5"]]))
        run  steps
        a       10
        bcd      5
    """
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def duration(seconds: float | None) -> str:
    """Two leading units of a duration.

    Example:
        >>> [duration(s) for s in (0.2, 75, 3_725, 200_000, None)]
        ['1 s', '1 min 15 s', '1 h 2 min', '2 d 7 h', '-']
    """
    if seconds is None:
        return "-"
    whole = max(1, round(seconds))
    for unit, below, size, small in (("d", "h", 86_400, 3_600), ("h", "min", 3_600, 60), ("min", "s", 60, 1)):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {unit}" + (f" {rest} {below}" if rest else "")
    return f"{whole} s"


def size(count: float) -> str:
    """Bytes in decimal units.

    Example:
        >>> [size(b) for b in (12, 5_300, 7_100_000, 2.5e12)]
        ['12 B', '5.3 kB', '7.1 MB', '2.5 TB']
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
