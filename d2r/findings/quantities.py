"""The range that each measured quantity cannot leave, to which its intervals are cut."""

from __future__ import annotations

Bounds = tuple[float, float]

SHARES = frozenset(
    {"success", "area", "hard_tasks", "route_entropy", "top1_share", "route_jaccard", "route_change"}
    | {"agreement", "blocked_share", "masked"}
)
NOT_NEGATIVE = frozenset(
    {"modules_used", "depth", "multiply_adds", "multiply_adds_dense", "alpha", "route_temperature", "q_loss"}
    | {"update_seconds", "hours"}
)


def bounds(quantity: str) -> Bounds | None:
    """Smallest and largest value of a quantity of ``metrics.csv`` or of a run; none where there is no limit."""
    if quantity in SHARES:
        return (0.0, 1.0)
    if quantity in NOT_NEGATIVE:
        return (0.0, float("inf"))
    if "cosine" in quantity or quantity.endswith("_rho"):
        return (-1.0, 1.0)
    return None


def difference_bounds(quantity: str) -> Bounds | None:
    """Smallest and largest difference of two values of a quantity."""
    known = bounds(quantity)
    return None if known is None else (known[0] - known[1], known[1] - known[0])
