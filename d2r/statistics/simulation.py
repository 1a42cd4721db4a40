"""What the rules do in made-up worlds whose truth is known: coverage of intervals, and false and right verdicts.

Beside the rules stand those that they replaced, which looked at one evaluation, paired runs by their seed on ``fixed``
benchmarks, adjusted nothing, and took a claim for refuted by any interval that held zero and was at most 10 points wide
to either side, whatever the measure.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy import stats

from d2r.statistics.aggregate import Aggregate, mean
from d2r.statistics.efficiency import area_under_curve
from d2r.statistics.intervals import CONFIDENCE, Estimate, Floats, is_constant, mean_interval
from d2r.statistics.model import Model
from d2r.statistics.verdicts import Verdict, verdict

RUN_COUNTS = (3, 5, 12, 20)
EVALUATIONS = 20
LATE = 8
SMALLEST = {"success": 0.075, "area": 0.05}
"""Smallest effects worth having that are judged by; the files of claims state the same."""
WORTH_SEEING = 0.10
"""Difference in success at which the share of right verdicts is given."""
NARROW = 0.10
"""Half-width at which an interval that held zero refuted, by the old rules."""
TRUTH_RUNS = 20_000
BOOTSTRAP_SHARE = 5
"""rliable's bootstrap is slow: it is simulated for one experiment in so many."""
CONTROL = "d2r"


@dataclass(frozen=True)
class World:
    """Made-up methods: success of a task is logistic in its easiness, the time trained, and luck that a run shares."""

    name: str
    methods: int
    """With D2R."""
    episodes: int
    """Of each task in an evaluation; 1 on ``fixed`` benchmarks."""
    is_fixed: bool
    run_effect: float = 1.0
    """Standard deviation over runs of a run's luck, in logits: one part on all tasks alike, one on each by itself."""
    easiness: tuple[float, float] = (-14.0, 6.0)
    """Of the hardest and the easiest of ten tasks at the end of training, in logits; the others lie evenly between."""
    rise: float = 4.0
    """By which training lifts all tasks from the first evaluation to the last, in logits."""
    control_spread: float = 1.0
    """Factor to D2R's ``run_effect``."""
    collapse: float = 0.0
    """Probability that a run learns next to nothing."""

    def draw(
        self, rng: np.random.Generator, runs: int, advantage: float = 0.0, spread: float = 1.0
    ) -> Floats:
        """Success rates, [run, evaluation, task], of runs of one method.

        Args:
            rng: the source of luck.
            runs: how many.
            advantage: in logits.
            spread: factor to the luck of runs.
        """
        luck = spread * self.run_effect * rng.standard_normal((runs, 1, 1))
        taste = self.run_effect * rng.standard_normal((runs, 1, 10))
        trained = np.linspace(-self.rise, 0.0, EVALUATIONS)[:, None]
        logits = np.linspace(*self.easiness, 10) + trained + luck + taste + advantage
        chance = 1 / (1 + np.exp(-logits))
        chance = np.where(rng.random((runs, 1, 1)) < self.collapse, 0.1 * chance, chance)
        return np.asarray(rng.binomial(self.episodes, chance) / self.episodes)

    def experiment(self, rng: np.random.Generator, runs: int, advantage: float) -> dict[str, Floats]:
        """Runs of D2R, which has an advantage, and of the other methods, which are all alike."""
        others = {f"method {place}": self.draw(rng, runs) for place in range(1, self.methods)}
        return {CONTROL: self.draw(rng, runs, advantage, self.control_spread), **others}


WORLDS = (
    World("one goal a task", 6, 1, is_fixed=True),
    World("random goals", 10, 5, is_fixed=False),
    World("one goal a task, D2R's runs spread 2.5 times as much", 6, 1, is_fixed=True, control_spread=2.5),
    World("one goal a task, one run in six collapses", 6, 1, is_fixed=True, collapse=1 / 6),
)
"""The first two are like the released runs of ``lite``: a mean success of 28 % over the last evaluations, which differs
between runs by 5 to 6 points (measured: 5 to 7) and final success by 6 to 8 (measured: 8), as standard deviations; one
evaluation flickers by 4 to 7 (measured: 6 to 7)."""


def final_success(curves: Floats) -> Floats:
    """Of each run, [run]."""
    return np.asarray(curves[:, -1].mean(axis=1))


def late_success(curves: Floats) -> Floats:
    """Mean of the last evaluations of each run, [run]."""
    return np.asarray(curves[:, -LATE:].mean(axis=(1, 2)))


def area(curves: Floats) -> Floats:
    """Area under the success curve of each run, [run]."""
    return area_under_curve(np.arange(1.0, EVALUATIONS + 1), curves.mean(axis=2))


OfRuns = Callable[[Floats], Floats]


@lru_cache(maxsize=64)
def advantage_of(world: World, of_runs: OfRuns, points: float) -> float:
    """Advantage of D2R in logits at which its true mean is higher by ``points``, found by halving."""
    low, high = 0.0, 8.0
    for _ in range(12):
        middle = (low + high) / 2
        too_small = true_difference(world, of_runs, middle) < points
        low, high = (middle, high) if too_small else (low, middle)
    return (low + high) / 2


@lru_cache(maxsize=256)
def true_difference(world: World, of_runs: OfRuns, advantage: float) -> float:
    """Difference of the true means of D2R and another method; both see the same luck, so nothing at all is exact."""
    if advantage == 0 and world.control_spread == 1:
        return 0.0
    ours = world.draw(np.random.default_rng(1), TRUTH_RUNS, advantage, world.control_spread)
    return float(of_runs(ours).mean() - true_mean(world, of_runs))


@lru_cache(maxsize=64)
def true_mean(world: World, of_runs: OfRuns) -> float:
    """True mean of a method without an advantage."""
    return float(of_runs(world.draw(np.random.default_rng(1), TRUTH_RUNS)).mean())


def new_rules(runs: Mapping[str, Floats]) -> dict[str, Estimate]:
    """D2R minus each other method: one model, Dunnett's intervals."""
    model = Model.of(runs, CONTROL, (0.0, 1.0))
    return {name: -model.to_control(name) for name in runs if name != CONTROL}


def old_rules(world: World, runs: Mapping[str, Floats]) -> dict[str, Estimate]:
    """D2R minus each other method, one by one: within seeds on ``fixed`` benchmarks, else Welch's interval."""
    ours = runs[CONTROL]
    if world.is_fixed:
        return {name: mean_interval(ours - other) for name, other in runs.items() if name != CONTROL}
    return {name: _welch(ours, other) for name, other in runs.items() if name != CONTROL}


def _welch(a: Floats, b: Floats) -> Estimate:
    value = float(a.mean() - b.mean())
    if is_constant(a) and is_constant(b):
        return Estimate(value, None, None, len(a), "none", "all runs equal on both sides")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that one side may be constant
        low, high = stats.ttest_ind(a, b, equal_var=False).confidence_interval(CONFIDENCE)
    return Estimate(value, float(low), float(high), len(a), "t")


def old_verdict(estimate: Estimate) -> Verdict:
    """As the old rules had it, ``not supported`` being called refuted."""
    if estimate.low is None or estimate.high is None:
        return "open"
    side = estimate.separated_from(0.0)
    narrow = estimate.high - estimate.low <= 2 * NARROW
    return "supported" if side > 0 else "refuted" if side < 0 or narrow else "open"


def stratified_bootstrap(scores: Floats, aggregate: Aggregate, replicates: int = 2000) -> Estimate:
    """Rliable's interval (Agarwal et al., NeurIPS 2021): runs resampled for each task by itself, percentiles.

    It takes the tasks of one run for independent, which they are not: one seed of a multi-task method succeeds or
    fails on many of them together, and so the interval is too narrow.

    Args:
        scores: success rates, [run, task].
        aggregate: a function of the last axis; runs and tasks are flattened into it.
        replicates: bootstrap samples.
    """
    runs, tasks = scores.shape
    picks = np.random.default_rng(0).integers(runs, size=(replicates, runs, tasks))
    samples = np.take_along_axis(scores[None], picks, axis=1).reshape(replicates, runs * tasks)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(aggregate(samples), [tail, 1 - tail])
    return Estimate(float(aggregate(scores.reshape(-1))), float(low), float(high), runs, "bootstrap")


def simulate(
    repeats: int, worlds: Sequence[World] = WORLDS, run_counts: Sequence[int] = RUN_COUNTS
) -> pd.DataFrame:
    """Simulate experiments by both rules.

    Args:
        repeats: experiments behind each number; 500 give it a standard error of at most 2.2 points.
        worlds: what to simulate.
        run_counts: runs of each method.

    Returns:
        One row per world, question and number of runs: ``before`` and ``after``, shares of experiments.
    """
    rows = []
    for world in worlds:
        for runs in run_counts:
            rng = np.random.default_rng([2, runs, world.methods, world.episodes])
            for question, (before, after) in _answers(world, runs, rng, repeats).items():
                keys = {"world": world.name, "question": question, "runs": runs}
                rows.append({**keys, "before": before, "after": after})
    return pd.DataFrame(rows)


def _answers(
    world: World, runs: int, rng: np.random.Generator, repeats: int
) -> dict[str, tuple[float, float]]:
    """Answers to each question before and after, as shares."""

    def experiments(of_runs: OfRuns, points: float) -> list[dict[str, Floats]]:
        advantage = advantage_of(world, of_runs, points) if points else 0.0
        return [world.experiment(rng, runs, advantage) for _ in range(repeats)]

    alike = experiments(late_success, 0.0)
    worth_having = experiments(late_success, SMALLEST["success"])
    faster = experiments(area, SMALLEST["area"])
    worth_seeing = experiments(late_success, WORTH_SEEING)
    return {
        "interval of a mean holds the truth (before: rliable's)": _means(world, alike),
        "interval of a difference holds the truth": _coverage(world, alike),
        "all alike: some method is called higher or lower": _separated(world, alike),
        "D2R better by 7.5 points of success: refuted": _judged(
            world, worth_having, (final_success, late_success), SMALLEST["success"], "refuted"
        ),
        "D2R better by 5 points of area: refuted": _judged(
            world, faster, (area, area), SMALLEST["area"], "refuted"
        ),
        "D2R better by 10 points of success: supported": _judged(
            world, worth_seeing, (final_success, late_success), SMALLEST["success"], "supported"
        ),
    }


def _both(
    world: World, curves: Mapping[str, Floats], of_runs: tuple[OfRuns, OfRuns]
) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
    """Differences by the old rules and by the new ones."""
    before, after = ({name: of(part) for name, part in curves.items()} for of in of_runs)
    return old_rules(world, before), new_rules(after)


def _means(world: World, experiments: Sequence[Mapping[str, Floats]]) -> tuple[float, float]:
    truth, name = true_mean(world, late_success), "method 1"
    ours = [mean_interval(late_success(curves[name]), (0.0, 1.0)) for curves in experiments]
    theirs = [
        stratified_bootstrap(curves[name][:, -LATE:].mean(axis=1), mean)
        for curves in experiments[::BOOTSTRAP_SHARE]
    ]
    return _holding(theirs, truth), _holding(ours, truth)


def _coverage(world: World, experiments: Sequence[Mapping[str, Floats]]) -> tuple[float, float]:
    measures = (final_success, late_success)
    found = [_both(world, curves, measures) for curves in experiments]
    before, after = (
        _holding(
            [estimate for pair in found for estimate in pair[side].values()],
            true_difference(world, of_runs, 0.0),
        )
        for side, of_runs in enumerate(measures)
    )
    return before, after


def _holding(estimates: Sequence[Estimate], truth: float) -> float:
    """Share of the intervals that hold the truth, of those that there are."""
    known = [
        (found.low, found.high) for found in estimates if found.low is not None and found.high is not None
    ]
    return float(np.mean([low <= truth <= high for low, high in known]))


def _separated(world: World, experiments: Sequence[Mapping[str, Floats]]) -> tuple[float, float]:
    found = [_both(world, curves, (final_success, late_success)) for curves in experiments]
    before, after = (
        float(np.mean([any(e.separated_from(0.0) for e in pair[side].values()) for pair in found]))
        for side in (0, 1)
    )
    return before, after


def _judged(
    world: World,
    experiments: Sequence[Mapping[str, Floats]],
    measures: tuple[OfRuns, OfRuns],
    smallest: float,
    wanted: Verdict,
) -> tuple[float, float]:
    """Share of the experiments in which the comparison with one other method has this verdict."""
    found = [_both(world, curves, measures) for curves in experiments]
    before = [old_verdict(pair[0]["method 1"]) == wanted for pair in found]
    after = [verdict(pair[1]["method 1"], smallest)[0] == wanted for pair in found]
    return float(np.mean(before)), float(np.mean(after))


def simulation_markdown(table: pd.DataFrame, repeats: int) -> str:
    """The simulation as one Markdown table: before and after in percent of experiments, numbers of runs as columns."""
    counts = sorted(table["runs"].unique())
    lines = [
        f"Percent of {repeats} simulated experiments, before and after, by runs of each method.",
        "",
        "| world | | " + " | ".join(f"{count} runs" for count in counts) + " |",
        "| --- | --- |" + " --- |" * len(counts),
    ]
    for world, part in table.groupby("world", sort=False):
        for place, (question, rows) in enumerate(part.groupby("question", sort=False)):
            shares = zip(*(rows.sort_values("runs")[side] for side in ("before", "after")), strict=True)
            cells = " | ".join(f"{100 * before:.0f}, {100 * after:.0f}" for before, after in shares)
            lines.append(f"| {'' if place else str(world)} | {question} | {cells} |")
    return "\n".join(lines) + "\n"
