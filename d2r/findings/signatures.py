"""The failure signatures of routing as named checks of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from d2r.findings.results import Results

ONE_ROUTE_FROM = 0.95
"""Mean overlap of tasks' edges from which they count as one route."""
UNIFORM_FROM = 0.95
"""Mean normalised route entropy from which routing counts as uniform."""
DROP_FROM = 0.10
"""Fall of mean success below its best that counts as a drop."""
ROUNDING = 1e-9
"""By which a difference of shares may miss its exact value."""
STARVED_BELOW = 0.01
"""Share of the median module's gradient norm below which a module counts as starved."""


@dataclass(frozen=True)
class Finding:
    """One failure signature in one run; None where the run did not record what the check needs."""

    present: bool
    numbers: dict[str, float]
    names: dict[str, str] = field(default_factory=dict)
    """What was found that has a name and no size."""


@dataclass(frozen=True)
class Signature:
    """A failure signature: what it is called, what it would mean, and how a run is checked for it."""

    name: str
    meaning: str
    rule: str
    check: Callable[[Results, str, str, int], Finding | None]


def _series(results: Results, quantity: str, benchmark: str, method: str, seed: int) -> pd.Series[float]:
    table = results.recorded(quantity, benchmark, method)
    return table[table.index.get_level_values("seed") == seed].mean().dropna()


def routes_are_chosen(results: Results, benchmark: str, method: str) -> bool:
    """Whether routes could differ: not without a router, and not where every module reads all before it."""
    return bool(
        len(results.metric("route_entropy", benchmark, method))
        and len(results.metric("agreement", benchmark, method))
    )


def _one_route(results: Results, benchmark: str, method: str, seed: int) -> Finding | None:
    if not routes_are_chosen(results, benchmark, method):
        return None
    overlaps = _series(results, "route_jaccard", benchmark, method, seed)
    if overlaps.empty:
        return None
    overlap = float(overlaps.iloc[-1])
    return Finding(overlap >= ONE_ROUTE_FROM, {"overlap of tasks": overlap})


def _uniform(results: Results, benchmark: str, method: str, seed: int) -> Finding | None:
    entropy = _series(results, "route_entropy", benchmark, method, seed)
    if entropy.empty:
        return None
    numbers = {"route entropy (1 = uniform)": float(entropy.iloc[-1])}
    top = _series(results, "top1_share", benchmark, method, seed)
    if len(top):
        numbers["top-1 share"] = float(top.iloc[-1])
    return Finding(float(entropy.iloc[-1]) >= UNIFORM_FROM, numbers)


def _disagreement(results: Results, benchmark: str, method: str, seed: int) -> Finding | None:
    success = _series(results, "success", benchmark, method, seed)
    agreement = _series(results, "agreement", benchmark, method, seed)
    shared = success.index.intersection(agreement.index)
    if len(shared) < 2:
        return None
    success, agreement = success[shared], agreement[shared]
    best = int(success.to_numpy().argmax())
    drop = float(success.iloc[best] - success.iloc[-1])
    before, now = float(agreement.iloc[best]), float(agreement.iloc[-1])
    numbers = {"fall of success from its best": drop, "agreement at the best": before, "agreement now": now}
    return Finding(drop >= DROP_FROM - ROUNDING and now < before, numbers)


def _starved(results: Results, benchmark: str, method: str, seed: int) -> Finding | None:
    prefix = "module_grad_norm."
    norms = {}
    for quantity in (name for name in results.quantities if name.startswith(prefix)):
        series = _series(results, quantity, benchmark, method, seed)
        if len(series):
            norms[int(quantity.removeprefix(prefix))] = float(series.iloc[len(series) // 2 :].mean())
    if len(norms) < 2:
        return None
    median = float(np.median(list(norms.values())))
    weakest = min(norms, key=lambda module: norms[module])
    share = norms[weakest] / median if median > 0 else 0.0
    return Finding(share < STARVED_BELOW, {"its gradient / median": share}, {"weakest module": str(weakest)})


SIGNATURES = (
    Signature(
        "one-route",
        "All tasks take one route: the router has not learned to tell tasks apart.",
        f"overlap of edges between tasks at the last evaluation is at least {ONE_ROUTE_FROM}",
        _one_route,
    ),
    Signature(
        "uniform-routing",
        "Routing is close to uniform: the router has no preference among modules.",
        f"normalised route entropy at the last evaluation is at least {UNIFORM_FROM}",
        _uniform,
    ),
    Signature(
        "disagreement-drop",
        "Success falls while replayed and current routes disagree more: a sign that ResRouting does not protect.",
        f"success ends at least {100 * DROP_FROM:.0f} points below its best, with less agreement than there; the "
        "best of many evaluations is above the mean by chance alone, and on fixed a task is one episode",
        _disagreement,
    ),
    Signature(
        "starved-module",
        "A module gets next to no gradient: it is not trained any more.",
        f"a module's gradient norm over the second half is below {STARVED_BELOW} of the median module's",
        _starved,
    ),
)
