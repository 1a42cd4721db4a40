"""How numbers are written, the same in every table, figure and page."""

from __future__ import annotations

from d2r.statistics import Estimate


def percent(value: float | None) -> str:
    """A share in percent with one decimal."""
    return "–" if value is None else f"{100 * value:.1f}"


def percent_interval(estimate: Estimate) -> str:
    """Such as ``63.5 [58.1, 68.9]``; without an interval the value alone, without a run a dash."""
    if estimate.low is None or estimate.high is None:
        return percent(estimate.value)
    return f"{percent(estimate.value)} [{percent(estimate.low)}, {percent(estimate.high)}]"


def points(value: float | None) -> str:
    """A difference of shares in percentage points, always with its sign."""
    if value is None:
        return "–"
    return f"{round(100 * value, 1) + 0.0:+.1f}".replace("-", "−")  # + 0.0 makes minus zero plus zero


def points_interval(estimate: Estimate) -> str:
    """Such as ``−3.0 [−10.8, +4.9]``."""
    if estimate.low is None or estimate.high is None:
        return points(estimate.value)
    return f"{points(estimate.value)} [{points(estimate.low)}, {points(estimate.high)}]"


def number(value: float | None, digits: int = 3) -> str:
    """A plain number with ``digits`` significant digits and thousands separated."""
    if value is None:
        return "–"
    return _plain(value, digits).replace("-", "−")


def _plain(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    magnitude = abs(value)
    if magnitude >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    if magnitude < 1e-4:
        return f"{value:.{digits - 1}e}"
    places = digits - 1
    while magnitude < 1 and places < 8:
        magnitude *= 10
        places += 1
    while magnitude >= 10:
        magnitude /= 10
        places -= 1
    return f"{value:.{max(places, 0)}f}"


def number_interval(estimate: Estimate) -> str:
    """Such as ``5.20 [4.90, 5.50]``."""
    if estimate.low is None or estimate.high is None:
        return number(estimate.value)
    return f"{number(estimate.value)} [{number(estimate.low)}, {number(estimate.high)}]"


def steps(value: float | None) -> str:
    """Environment steps: ``15.0M``, ``800k``, ``400``."""
    if value is None:
        return "–"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        # what three digits would round up to a thousand belongs to the next unit
        if value >= 0.9995 * size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.0f}"


def run_count(counts: dict[str, int]) -> str:
    """Such as ``n=3``, or ``n=2 of 3 (1 failed)`` where a run is failed or missing."""
    finished = counts["finished"]
    if finished == counts["all"]:
        return f"n={finished}"
    lost = ", ".join(f"{counts[status]} {status}" for status in ("failed", "missing") if counts[status])
    return f"n={finished} of {counts['all']} ({lost})"
