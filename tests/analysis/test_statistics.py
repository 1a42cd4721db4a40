"""Intervals, comparisons and sample efficiency: invariants, slow references and stated answers in degenerate cases."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from d2r.statistics import (
    AGGREGATES,
    Estimate,
    difference_interval,
    interquartile_mean,
    mean_interval,
    paired_difference_interval,
    stratified_bootstrap,
)
from d2r.statistics.comparison import (
    compare_scores,
    hedges_g,
    holm,
    mann_whitney_p,
    probability_of_improvement,
    smallest_rank_p,
    welch_p,
)
from d2r.statistics.coverage import WORLDS, coverage_table
from d2r.statistics.efficiency import area_under_curve, kaplan_meier_median, reach

shares = st.floats(0, 1, allow_nan=False)
runs = st.lists(shares, min_size=2, max_size=14)
three_tasks = st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=3, max_size=3)
score_tables = st.lists(three_tasks, min_size=1, max_size=12)


def check(estimate: Estimate) -> None:
    """An estimate never holds NaN, and has either an interval around its value or a reason for having none."""
    numbers = [value for value in (estimate.value, estimate.low, estimate.high) if value is not None]
    assert all(np.isfinite(numbers))
    if estimate.has_interval:
        assert estimate.low <= estimate.value <= estimate.high
        assert estimate.note == ""
    else:
        assert estimate.high is None
        assert estimate.note


@given(st.lists(shares, max_size=14))
def test_mean_interval_is_whole_or_explained(values: list[float]) -> None:
    estimate = mean_interval(values, bounds=(0.0, 1.0))
    check(estimate)
    assert estimate.n == len(values)
    if estimate.has_interval:
        assert estimate.low >= 0
        assert estimate.high <= 1


@given(runs, st.randoms(use_true_random=False))
def test_order_of_runs_does_not_matter_below_ten(values: list[float], random) -> None:
    values = values[:9]
    shuffled = values.copy()
    random.shuffle(shuffled)
    first, second = mean_interval(values), mean_interval(shuffled)
    assert first.value == pytest.approx(second.value)
    if first.has_interval and second.has_interval:
        assert (first.low, first.high) == pytest.approx((second.low, second.high))


@given(runs, st.floats(-3, 3), st.floats(0.1, 10))
def test_intervals_move_and_stretch_with_the_data(values: list[float], shift: float, factor: float) -> None:
    assume(np.ptp(values) > 1e-6)
    plain = mean_interval(values)
    moved = mean_interval([factor * value + shift for value in values])
    assert moved.low == pytest.approx(factor * plain.low + shift, abs=1e-6)
    assert moved.high == pytest.approx(factor * plain.high + shift, abs=1e-6)


@given(runs, runs)
def test_difference_is_antisymmetric(first: list[float], second: list[float]) -> None:
    first, second = first[:9], second[:9]
    forth, back = difference_interval(first, second), difference_interval(second, first)
    check(forth)
    assert forth.value == pytest.approx(-back.value)
    assert forth.has_interval == back.has_interval
    if forth.has_interval:
        assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low))


def test_t_interval_is_students() -> None:
    values = [0.31, 0.52, 0.44]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    estimate = mean_interval(values)
    assert (estimate.low, estimate.high) == pytest.approx(tuple(expected))
    assert estimate.method == "t"


def test_welch_interval_and_p_are_scipys() -> None:
    first, second = np.array([0.3, 0.5, 0.45, 0.6]), np.array([0.2, 0.21, 0.4])
    test = stats.ttest_ind(first, second, equal_var=False)
    estimate = difference_interval(first, second)
    assert (estimate.low, estimate.high) == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert welch_p(first, second) == pytest.approx(test.pvalue)


def test_the_bootstrap_takes_over_at_ten_runs_and_is_about_as_wide_as_t_for_normal_data() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.1, size=10)
    estimate = mean_interval(values)
    t = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert estimate.method == "bootstrap"
    assert estimate.high - estimate.low == pytest.approx(t.high - t.low, rel=0.1)
    assert mean_interval(values[:9]).method == "t"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "no finished run"),
        ([0.4], "one run"),
        ([0.0] * 3, "all 3 runs equal"),
        ([1.0] * 12, "all 12 runs equal"),
    ],
)
def test_degenerate_means_say_why_there_is_no_interval(values: list[float], words: str) -> None:
    estimate = mean_interval(values)
    check(estimate)
    assert words in estimate.note


def test_degenerate_differences_say_why_there_is_no_interval() -> None:
    assert "no finished run" in difference_interval([], [0.1, 0.2]).note
    assert "one run" in difference_interval([0.3], [0.1, 0.2]).note
    assert "all runs equal" in difference_interval([0.0, 0.0], [1.0, 1.0]).note
    assert "differ alike" in paired_difference_interval([0.5, 0.7], [0.25, 0.45]).note
    assert difference_interval([0.0, 0.0], [0.8, 0.9]).has_interval


def test_a_missing_run_must_not_be_passed_as_nan() -> None:
    with pytest.raises(ValueError, match="finite"):
        mean_interval([0.1, float("nan")])


@given(st.lists(st.lists(shares, min_size=8, max_size=8), min_size=1, max_size=6))
def test_iqm_is_scipys_trimmed_mean_and_lies_between_the_quartiles(scores: list[list[float]]) -> None:
    found = interquartile_mean(np.array(scores))
    assert found == pytest.approx(stats.trim_mean(np.array(scores), 0.25, axis=1))
    for value, row in zip(found, scores, strict=True):
        assert sorted(row)[2] - 1e-12 <= value <= sorted(row)[5] + 1e-12


@given(st.lists(st.lists(shares, min_size=3, max_size=3), min_size=1, max_size=5))
def test_gap_complements_the_mean(scores: list[list[float]]) -> None:
    array = np.array(scores)
    assert AGGREGATES["optimality_gap"](array) == pytest.approx(1 - AGGREGATES["mean"](array))


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=5), st.lists(st.integers(0, 5), min_size=1, max_size=5)
)
def test_exact_rank_test_against_counting_every_split(first: list[int], second: list[int]) -> None:
    pooled = np.array([*first, *second], dtype=float)
    if np.ptp(pooled) == 0:
        assert mann_whitney_p(pooled[: len(first)], pooled[len(first) :]) == 1.0
        return

    def statistic(chosen: tuple[int, ...]) -> float:
        rest = [pooled[i] for i in range(len(pooled)) if i not in chosen]
        wins = sum((pooled[i] > other) + 0.5 * (pooled[i] == other) for i in chosen for other in rest)
        return abs(wins - len(chosen) * len(rest) / 2)

    observed = statistic(tuple(range(len(first))))
    splits = list(combinations(range(len(pooled)), len(first)))
    expected = np.mean([statistic(split) >= observed - 1e-9 for split in splits])
    assert mann_whitney_p(pooled[: len(first)], pooled[len(first) :]) == pytest.approx(expected)


def test_means_that_differ_in_their_last_bits_are_ties() -> None:
    """Means over ten tasks of fifths: 6 of the 20 splits are as extreme, counted by hand on exact fractions."""
    ours, theirs = np.array([0.2, 0.28, 0.28]), np.array([0.2, 0.1, 0.2])
    shaken = theirs + np.array([3e-17, 0.0, -3e-17])
    assert (shaken != theirs).any()
    assert mann_whitney_p(ours, shaken) == mann_whitney_p(ours, theirs) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("first", "second", "smallest"), [(3, 3, 0.1), (5, 5, 2 / 252), (2, 3, 0.2), (10, 10, 2 / 184_756)]
)
def test_smallest_rank_p_is_reached_by_separated_runs(first: int, second: int, smallest: float) -> None:
    assert smallest_rank_p(first, second) == pytest.approx(smallest)
    separated = mann_whitney_p(np.arange(first) + 10.0, np.arange(second) * 1.0)
    assert separated == pytest.approx(smallest)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_against_its_definition(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for index, p in enumerate(p_values):
        smaller = [(q, i) for i, q in enumerate(p_values) if (q, i) <= (p, index)]
        steps = [min(1.0, q * (len(p_values) - rank)) for rank, (q, _) in enumerate(sorted(smaller))]
        assert adjusted[index] == pytest.approx(max(steps))


def test_holm_leaves_undefined_p_values_out() -> None:
    assert holm([0.01, None, 0.03]) == pytest.approx([0.02, None, 0.03])


def test_probability_of_improvement_is_the_mean_over_tasks_of_pairwise_wins() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 4, (3, 5)) / 3, rng.integers(0, 4, (4, 5)) / 3
    slow = np.mean(
        [
            (first[i, t] > second[j, t]) + 0.5 * (first[i, t] == second[j, t])
            for i in range(3)
            for j in range(4)
            for t in range(5)
        ]
    )
    estimate = probability_of_improvement(first, second)
    assert estimate.value == pytest.approx(slow)
    assert probability_of_improvement(second, first).value == pytest.approx(1 - slow)
    check(estimate)


def test_complete_separation_has_no_interval_and_says_so() -> None:
    estimate = probability_of_improvement(np.ones((3, 4)), np.zeros((3, 4)))
    assert estimate.value == 1.0
    assert "compares alike" in estimate.note


@given(score_tables, score_tables, st.booleans())
def test_comparisons_never_give_nan(
    first: list[list[float]], second: list[list[float]], paired: bool
) -> None:
    if paired:
        size = min(len(first), len(second))
        first, second = first[:size], second[:size]
    comparison = compare_scores(np.array(first), np.array(second), paired)
    check(comparison.difference)
    check(comparison.improvement)
    for value in (comparison.p, comparison.p_rank, comparison.smallest_p_rank, comparison.effect):
        assert value is None or np.isfinite(value)
    if comparison.verdict in ("higher", "lower"):
        assert comparison.difference.low > 0 or comparison.difference.high < 0


def test_hedges_g_of_a_known_case() -> None:
    assert hedges_g(np.array([2.0, 4.0]), np.array([1.0, 3.0])) == pytest.approx(1 / np.sqrt(2) * (1 - 3 / 7))
    assert hedges_g(np.array([1.0, 1.0]), np.array([1.0, 1.0])) == 0.0
    assert hedges_g(np.array([1.0, 1.0]), np.array([0.0, 0.0])) is None


def test_hedges_g_is_zero_where_means_differ_in_their_last_bits_alone() -> None:
    a, b = np.array([0.4, 0.3, 0.2]), np.array([0.2, 0.4, 0.3])
    assert a.mean() != b.mean()
    assert hedges_g(a, b) == 0.0


def test_censored_runs_count_as_censored() -> None:
    steps = np.array([100.0, 200.0, 300.0])
    curves = np.array([[0.2, 0.6, 0.7], [0.1, 0.2, 0.3], [0.5, 0.5, 0.5]])
    found = reach(steps, curves, 0.5)
    assert (found.reached, found.n, found.median) == (2, 3, 200.0)
    assert found.restricted_mean.value == pytest.approx((200 + 300 + 100) / 3)
    assert reach(steps, curves[1:2], 0.5).median is None


def test_kaplan_meier_by_hand_with_a_run_censored_early() -> None:
    assert kaplan_meier_median(np.array([1.0, 2.0, 3.0, 4.0]), [True, False, True, True]) == 3.0
    assert kaplan_meier_median(np.array([1.0, 1.0]), [False, False]) is None


@given(st.lists(shares, min_size=1, max_size=6))
def test_area_under_a_curve_lies_within_the_curve(values: list[float]) -> None:
    steps = np.arange(1.0, len(values) + 1)
    area = area_under_curve(steps, np.array([values]))[0]
    assert min(values) - 1e-12 <= area <= max(values) + 1e-12


def test_area_under_a_straight_line() -> None:
    assert area_under_curve(np.array([0.0, 10.0, 40.0]), np.array([[0.0, 0.25, 1.0]])) == pytest.approx([0.5])


def test_printed_intervals_cover_and_the_stratified_bootstrap_does_not() -> None:
    table = coverage_table(repeats=160, worlds=WORLDS[:1], seed_counts=(3,)).set_index(
        ["quantity", "interval"]
    )
    assert table.loc[("mean", "printed"), "coverage"] > 0.88
    assert table.loc[("difference", "printed, unpaired"), "coverage"] > 0.88
    assert table.loc[("difference", "printed, paired (goals shared)"), "coverage"] > 0.88
    assert table.loc[("mean", "percentile bootstrap"), "coverage"] < 0.88
    assert table.loc[("mean", "rliable's stratified bootstrap"), "coverage"] < 0.75


def test_against_rliable_where_it_is_installed() -> None:
    rliable = pytest.importorskip("rliable.library")
    metrics = pytest.importorskip("rliable.metrics")
    scores = np.random.default_rng(0).random((5, 10))
    np.random.seed(0)  # noqa: NPY002 - rliable draws from numpy's global generator
    point, interval = rliable.get_interval_estimates(
        {"d2r": scores}, lambda x: np.array([metrics.aggregate_iqm(x)]), reps=5000
    )
    ours = stratified_bootstrap(scores, interquartile_mean, replicates=5000)
    assert ours.value == pytest.approx(point["d2r"][0])
    assert (ours.low, ours.high) == pytest.approx(tuple(interval["d2r"][:, 0]), abs=0.01)
