"""Few-shot transfer: how runs that start from others do after so many episodes, and what they begin with."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from d2r.config import is_method, load_method, load_protocol
from d2r.config.changes import split_id
from d2r.config.schema import Source
from d2r.errors import UserError
from d2r.findings.results import MethodInfo, Results
from d2r.statistics import Estimate, Model


@dataclass(frozen=True)
class Transfer:
    """A method on a benchmark that some method of the same results was transferred to.

    Attributes:
        start_from: none for a method from scratch; adapt: what of it learns on, empty for that, too.
        scratch: the same method from scratch.
    """

    results: Results
    benchmark: str
    method: MethodInfo
    start_from: Source | None
    adapt: str
    scratch: str

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of its runs by status."""
        return self.results.run_counts(self.benchmark, self.method.id)

    def after(self, quantity: str, episodes: int) -> pd.Series[float]:
        """Success or return after so many episodes of each task, mean over tasks: one number for each finished run."""
        return _after(self.results, quantity, self.benchmark, self.method.id, episodes)

    def jump(self) -> Estimate:
        """Success before the first step, minus that of the same method from scratch."""
        if self.start_from is None:
            return Estimate(None, None, None, 0, "none", "from scratch")
        runs = {
            method: _after(self.results, "success", self.benchmark, method, 0)
            for method in (self.method.id, self.scratch)
        }
        return Model.of(runs, self.scratch, (0.0, 1.0)).to_control(self.method.id)


def start_of(method: str) -> tuple[Source | None, str]:
    """The run that a method's runs start from, and what of it learns on; nothing for a method from scratch."""
    if not is_method(method):
        return None, ""
    declared = load_method(method)
    return declared.start_from, declared.adapt or ""


def transfers(results: Results) -> list[Transfer]:
    """Methods on the benchmarks on which some start from other runs, those from scratch beside them; maybe none."""
    found: list[Transfer] = []
    for benchmark in results.benchmarks:
        planned = [m for m in results.methods if results.run_counts(benchmark, m.id)["all"]]
        rows = [
            Transfer(results, benchmark, method, *start_of(method.id), split_id(method.id)[0])
            for method in planned
        ]
        if any(row.start_from is not None for row in rows):
            found += sorted(rows, key=lambda row: (row.scratch != "d2r", row.scratch, row.adapt))
    return found


def episodes_shown(results: Results) -> list[int]:
    """Numbers of episodes of each task after which the runs of all transfers were evaluated; maybe none yet."""
    horizon = _horizon(results)
    steps = {
        int(step)
        for row in transfers(results)
        for step in results.recorded("success", row.benchmark, row.method.id).columns
    }
    return sorted({step // horizon for step in steps if step % horizon == 0}) if horizon else []


def _horizon(results: Results) -> int | None:
    """Steps of an episode; none where the protocol's file is gone."""
    try:
        return load_protocol(results.protocol).horizon
    except UserError:
        return None


def _after(results: Results, quantity: str, benchmark: str, method: str, episodes: int) -> pd.Series[float]:
    table, horizon = results.curves(quantity, benchmark, method), _horizon(results)
    step = None if horizon is None else episodes * horizon
    return table[step].dropna() if step in table.columns else pd.Series(dtype=float)
