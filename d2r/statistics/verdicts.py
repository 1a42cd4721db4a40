"""Three verdicts on a claim about one difference, from its interval and the smallest effect worth having."""

from __future__ import annotations

from typing import Literal

from d2r.statistics.intervals import Estimate

Verdict = Literal["supported", "refuted", "open"]
Direction = Literal["higher", "lower", "equal"]

OTHER_SIDE = "on the other side of zero"


def verdict(
    estimate: Estimate, smallest: float | None, direction: Direction = "higher"
) -> tuple[Verdict, str]:
    """What the interval of a difference says about a claim, and why.

    Args:
        estimate: first minus second, with an interval.
        smallest: effect worth having, at least 0; none: any.
        direction: of the first against the second that is claimed; ``equal``: that they differ by less than
            ``smallest`` either way.
    """
    if estimate.low is None or estimate.high is None:
        return "open", estimate.note
    if estimate.no_verdict is not None:
        return "open", estimate.no_verdict
    if direction == "equal":
        return _equal(estimate.low, estimate.high, smallest or 0.0)
    low, high = (estimate.low, estimate.high) if direction == "higher" else (-estimate.high, -estimate.low)
    if low > 0:
        small = smallest is not None and high < smallest
        return "supported", "on the claimed side of zero" + (
            ", but too small to be worth having" if small else ""
        )
    if high < 0:
        return "refuted", OTHER_SIDE
    if smallest is not None and high < smallest:
        return "refuted", "ends below the smallest effect worth having"
    return "open", "holds zero" if smallest is None else "holds zero and an effect worth having"


def _equal(low: float, high: float, smallest: float) -> tuple[Verdict, str]:
    if -smallest < low and high < smallest:
        return "supported", "no effect worth having either way"
    if low > 0 or high < 0:
        return "refuted", "excludes zero"
    return "open", "holds zero and an effect worth having"
