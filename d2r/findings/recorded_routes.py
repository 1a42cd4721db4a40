"""The routes that runs recorded at their evaluations, and the modules that they use."""

from __future__ import annotations

import pandas as pd

from d2r.findings.results import Results


def routes_of(results: Results, benchmark: str, method: str, seed: int) -> pd.DataFrame:
    """Routes of one run: step, task, target, source, weight."""
    rows = results.routes
    chosen = (rows["benchmark"] == benchmark) & (rows["method"] == method) & (rows["seed"] == seed)
    return rows.loc[chosen, ["step", "task", "target", "source", "weight"]]


def used_modules(edges: pd.DataFrame) -> set[str]:
    """Modules that reach the output of one route (target, source, weight): backwards along its edges from ``out``."""
    sources: dict[str, list[str]] = {}
    for target, source in zip(edges["target"].astype(str), edges["source"].astype(str), strict=True):
        sources.setdefault(target, []).append(source)
    used: set[str] = set()
    waiting = list(sources.get("out", []))
    while waiting:
        module = waiting.pop()
        if module not in used:
            used.add(module)
            waiting += sources.get(module, [])
    return used


def num_modules(results: Results, benchmark: str, method: str) -> int:
    """Number of modules of a routed method, in the end; the routes themselves mention only those that are read."""
    grown = results.last_values("modules_in_use", benchmark, method)
    if len(grown):
        return int(grown.max())
    runs = results.finished
    stated = runs.loc[(runs["benchmark"] == benchmark) & (runs["method"] == method), "modules"].dropna()
    rows = results.routes
    rows = rows[(rows["benchmark"] == benchmark) & (rows["method"] == method)]
    seen = pd.to_numeric(pd.concat([rows["target"], rows["source"]]), errors="coerce").max()
    return int(max([*stated, *([seen] if pd.notna(seen) else [])], default=0))
