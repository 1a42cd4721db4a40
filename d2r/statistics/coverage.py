"""How often the printed intervals hold the truth, by simulating runs whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from d2r.statistics.aggregate import interquartile_mean, mean, stratified_bootstrap
from d2r.statistics.comparison import probability_of_improvement
from d2r.statistics.intervals import (
    CONFIDENCE,
    REPLICATES,
    Estimate,
    Floats,
    difference_interval,
    mean_interval,
    paired_difference_interval,
)

SEED_COUNTS = (2, 3, 5, 9, 10, 20)
TRUTH_RUNS = 2_000_000
"""Runs times tasks from which a world's true values are taken."""
RLIABLE = "rliable's stratified bootstrap"

Simulation = Callable[[np.random.Generator, int], Estimate]
"""Simulates one experiment with a number of runs."""


@dataclass(frozen=True)
class World:
    """A made-up method: success of a task is logistic in its easiness plus an effect that its run shares."""

    name: str
    tasks: int
    easiness: tuple[float, float]
    """Of the hardest and the easiest task, in logits; the others lie evenly between."""
    run_effect: float
    """Standard deviation over runs of the shared effect, in logits: what makes tasks of one run alike."""
    episodes: int
    """Per task; 1 on ``fixed`` benchmarks."""
    collapse: float = 0.0
    """Probability that a run learns next to nothing."""

    def draw(self, rng: np.random.Generator, runs: int, goals: Floats | None = None) -> Floats:
        """Success rates [run, task]; ``goals`` [run] is an effect shared with another method's runs."""
        effect = self.run_effect * rng.standard_normal(runs)
        logits = np.linspace(*self.easiness, self.tasks) + effect[:, None]
        logits = logits + (0.0 if goals is None else goals[:, None])
        chance = 1 / (1 + np.exp(-logits))
        chance = np.where(rng.random(runs)[:, None] < self.collapse, 0.1 * chance, chance)
        return np.asarray(rng.binomial(self.episodes, chance) / self.episodes)


WORLDS = (
    World("mt10-rand, half solved", 10, (-2.5, 2.5), 0.8, 32),
    World("mt10-fixed, half solved", 10, (-2.5, 2.5), 0.8, 1),
    World("mt50-rand, half solved", 50, (-3.0, 3.0), 0.8, 32),
    World("mt10-rand, nearly all solved", 10, (1.5, 5.0), 1.0, 32),
    World("mt10-rand, one run in six collapses", 10, (-1.0, 3.0), 0.5, 32, collapse=1 / 6),
)


def coverage_table(
    repeats: int = 1000, worlds: Sequence[World] = WORLDS, seed_counts: Sequence[int] = SEED_COUNTS
) -> pd.DataFrame:
    """Simulate every interval at every seed count.

    Args:
        repeats: simulated experiments behind each number; 1000 give it a standard error of 0.7 points.
        worlds: what to simulate.
        seed_counts: runs per method.

    Returns:
        One row per quantity, interval, world and number of runs: ``coverage`` (share of the intervals that
        hold the truth), ``none`` (share of experiments without an interval) and ``width`` (mean).
    """
    rows = []
    for world in worlds:
        truth_runs = world.draw(np.random.default_rng(1), TRUTH_RUNS // world.tasks)
        for runs in seed_counts:
            rng = np.random.default_rng([2, runs, world.tasks, world.episodes])
            for quantity, interval, truth, estimate in _experiments(world, truth_runs):
                count = repeats // 4 if interval == RLIABLE else repeats
                estimates = [estimate(rng, runs) for _ in range(count)]
                rows.append(_summary(quantity, interval, world.name, runs, truth, estimates))
    return pd.DataFrame(rows)


def _experiments(world: World, truth_runs: Floats) -> Iterator[tuple[str, str, float, Simulation]]:
    """Quantity, name of the interval, true value, and a function that simulates one experiment."""
    true_mean, true_iqm = float(truth_runs.mean()), float(interquartile_mean(truth_runs).mean())

    def pair(rng: np.random.Generator, runs: int) -> tuple[Floats, Floats]:
        goals = 0.8 * rng.standard_normal(runs)
        return world.draw(rng, runs, goals), world.draw(rng, runs, goals)

    def share(rng: np.random.Generator, runs: int) -> Estimate:
        first, second = pair(rng, runs)
        return paired_difference_interval(first.mean(axis=1), second.mean(axis=1))

    def means(rng: np.random.Generator, runs: int) -> Floats:
        scores: Floats = world.draw(rng, runs).mean(axis=1)
        return scores

    estimators: dict[tuple[str, str, float], Simulation] = {
        ("mean", "printed", true_mean): lambda rng, n: mean_interval(means(rng, n), (0.0, 1.0)),
        ("mean", "percentile bootstrap", true_mean): lambda rng, n: percentile(means(rng, n)),
        ("mean", RLIABLE, true_mean): lambda rng, n: stratified_bootstrap(world.draw(rng, n), mean),
        ("IQM", "printed", true_iqm): lambda rng, n: mean_interval(
            interquartile_mean(world.draw(rng, n)), (0.0, 1.0)
        ),
        ("difference", "printed, unpaired", 0.0): lambda rng, n: difference_interval(
            means(rng, n), means(rng, n)
        ),
        ("difference", "printed, paired (goals shared)", 0.0): share,
        ("P(improvement)", "printed", 0.5): lambda rng, n: probability_of_improvement(
            world.draw(rng, n), world.draw(rng, n)
        ),
    }
    yield from ((*key, estimate) for key, estimate in estimators.items())


def percentile(values: Floats) -> Estimate:
    """The textbook percentile bootstrap, for comparison only: far too narrow at few runs."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(REPLICATES // 10, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(float(values.mean()), float(low), float(high), len(values), "bootstrap")


def _summary(
    quantity: str, interval: str, world: str, runs: int, truth: float, estimates: Sequence[Estimate]
) -> dict[str, str | int | float | None]:
    known = [(e.low, e.high) for e in estimates if e.low is not None and e.high is not None]
    inside = [low <= truth <= high for low, high in known]
    return {
        "quantity": quantity,
        "interval": interval,
        "world": world,
        "runs": runs,
        "coverage": float(np.mean(inside)) if inside else None,
        "none": 1 - len(known) / len(estimates),
        "width": float(np.mean([high - low for low, high in known])) if known else None,
    }


def coverage_markdown(table: pd.DataFrame, repeats: int) -> str:
    """The simulated coverage as Markdown: a table per quantity, worlds as rows, numbers of runs as columns."""
    counts = sorted(table["runs"].unique())
    lines = [
        f"Simulated experiments per number: {repeats} ({repeats // 4} for {RLIABLE}). Nominal: 95 %.",
        "",
    ]
    for (quantity, interval), part in table.groupby(["quantity", "interval"], sort=False):
        lines += [
            f"**{quantity}, {interval}** (coverage in percent, mean width in brackets)",
            "",
            "| world | " + " | ".join(f"{count} runs" for count in counts) + " |",
            "| --- |" + " --- |" * len(counts),
        ]
        for world, rows in part.groupby("world", sort=False):
            cells = {row.runs: _coverage_cell(row.coverage, row.width) for row in rows.itertuples()}
            lines.append(f"| {world} | " + " | ".join(cells[count] for count in counts) + " |")
        lines.append("")
    return "\n".join(lines)


def _coverage_cell(coverage: object, width: object) -> str:
    if pd.isna(coverage):  # type: ignore[call-overload]
        return "no interval"
    return f"{100 * float(str(coverage)):.1f} ({float(str(width)):.2f})"
