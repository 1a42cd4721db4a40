"""Intervals, the model, verdicts and sample efficiency: invariants, slow references, and degenerate cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from d2r.statistics import (
    AGGREGATES,
    Estimate,
    Model,
    interquartile_mean,
    mean_interval,
    probability_of_improvement,
    runs_to_settle,
    verdict,
)
from d2r.statistics.efficiency import area_under_curve, kaplan_meier_median, reach
from d2r.statistics.model import dunnett_critical_value
from d2r.statistics.simulation import (
    WORLDS,
    advantage_of,
    late_success,
    simulate,
    stratified_bootstrap,
    true_mean,
)

shares = st.floats(0, 1, allow_nan=False)
runs = st.lists(shares, min_size=2, max_size=14)


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
def test_order_of_runs_does_not_matter(values: list[float], random) -> None:
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


def test_t_interval_is_students() -> None:
    values = [0.31, 0.52, 0.44]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    estimate = mean_interval(values)
    assert (estimate.low, estimate.high) == pytest.approx(tuple(expected))
    assert estimate.method == "t"


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


def groups(*sizes: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    names = ["d2r", *(f"m{place}" for place in range(1, len(sizes)))]
    return {name: rng.normal(0.3, 0.06, size) for name, size in zip(names, sizes, strict=True)}


@pytest.mark.parametrize("sizes", [(3, 3, 3, 3, 3, 3), (12, 12, 6, 6), (3, 1, 2), (10, 10)])
def test_differences_to_the_control_are_scipys_dunnett(sizes: tuple[int, ...]) -> None:
    """SciPy is sure of the critical value to about three digits, and so are we."""
    runs = groups(*sizes)
    control, *others = runs.values()
    expected = stats.dunnett(*others, control=control, rng=np.random.default_rng(0)).confidence_interval(0.95)
    model = Model.of(runs, "d2r")
    for name, low, high in zip(list(runs)[1:], expected.low, expected.high, strict=True):
        found = model.to_control(name)
        assert found.value == pytest.approx((low + high) / 2)
        assert found.high - found.low == pytest.approx(high - low, rel=0.01)
        assert found.method == "Dunnett"


def test_the_critical_value_is_dunnetts() -> None:
    """Two-sided 5 % points from Dunnett, "New Tables for Multiple Comparisons with a Control", Biometrics 20, 1964."""
    for comparisons, runs, printed in ((2, 4, 2.61), (5, 3, 2.90), (3, 6, 2.54), (5, 11, 2.58)):
        found = dunnett_critical_value((runs,) * comparisons, runs)
        assert found == pytest.approx(printed, abs=0.015), (comparisons, runs)


def test_the_spread_is_pooled_over_all_methods_as_in_an_analysis_of_variance() -> None:
    runs = groups(3, 5, 1, 4)
    model = Model.of(runs, "d2r")
    residuals = np.concatenate([values - values.mean() for values in runs.values()])
    assert model.freedom == 13 - 4
    assert model.spread == pytest.approx(np.sqrt((residuals**2).sum() / 9))


def test_two_methods_compared_without_adjustment_are_students_test() -> None:
    runs = groups(4, 6)
    expected = stats.ttest_ind(runs["m1"], runs["d2r"]).confidence_interval(0.95)
    found = Model.of(runs, "d2r").between("m1", "d2r")
    assert (found.low, found.high) == pytest.approx(tuple(expected))


@given(
    st.lists(st.lists(shares, min_size=0, max_size=5), min_size=2, max_size=4),
    st.floats(-2, 2),
    st.floats(0.5, 3),
)
def test_differences_are_whole_or_explained_and_move_with_the_data(
    values: list[list[float]], shift: float, factor: float
) -> None:
    names = ["d2r", "a", "b", "c"][: len(values)]
    plain = Model.of(dict(zip(names, values, strict=True)), "d2r")
    scaled = [[factor * value + shift for value in group] for group in values]
    moved = Model.of(dict(zip(names, scaled, strict=True)), "d2r")
    for name in names[1:]:
        found, other = plain.to_control(name), moved.to_control(name)
        check(found)
        if found.has_interval and plain.spread > 1e-6:
            assert other.low == pytest.approx(factor * found.low, abs=1e-6)
            assert other.high == pytest.approx(factor * found.high, abs=1e-6)


def test_degenerate_models_say_why_there_is_no_interval() -> None:
    none = Model.of({"d2r": [], "a": [0.1, 0.2]}, "d2r").to_control("a")
    assert "no finished run on one side" in none.note
    assert "alone" in Model.of({"d2r": [0.3], "a": [0.1]}, "d2r").to_control("a").note
    assert "equal" in Model.of({"d2r": [0.3, 0.3], "a": [0.1, 0.1]}, "d2r").to_control("a").note
    assert Model.of({"d2r": [0.3, 0.3], "a": [0.1], "b": [0.2, 0.3]}, "d2r").to_control("a").has_interval


def test_equal_differences_keep_their_interval() -> None:
    """Three runs that lie ten points above the control's, each: the evidence is not thrown away."""
    found = Model.of({"d2r": [0.4, 0.3, 0.2], "a": [0.5, 0.4, 0.3]}, "d2r").to_control("a")
    assert found.value == pytest.approx(0.1)
    assert found.has_interval


@pytest.mark.parametrize(
    ("interval", "direction", "expected"),
    [
        ((0.01, 0.40), "higher", "supported"),
        ((0.01, 0.05), "higher", "supported"),
        ((-0.40, -0.01), "higher", "refuted"),
        ((-0.10, 0.07), "higher", "refuted"),
        ((-0.10, 0.08), "higher", "open"),
        ((-0.01, 0.40), "higher", "open"),
        ((-0.40, -0.01), "lower", "supported"),
        ((-0.07, 0.10), "lower", "refuted"),
        ((-0.08, 0.10), "lower", "open"),
        ((0.01, 0.40), "lower", "refuted"),
        ((-0.07, 0.07), "equal", "supported"),
        ((0.01, 0.07), "equal", "supported"),
        ((-0.08, 0.07), "equal", "open"),
        ((0.01, 0.08), "equal", "refuted"),
    ],
)
def test_verdicts(interval: tuple[float, float], direction: str, expected: str) -> None:
    estimate = Estimate(sum(interval) / 2, *interval, 5, "Dunnett")
    assert verdict(estimate, 0.075, direction)[0] == expected


def test_no_verdict_without_a_smallest_effect_but_by_zero() -> None:
    assert verdict(Estimate(0.0, -1e-9, 1e-9, 9, "t"), None)[0] == "open"
    assert verdict(Estimate(-1.0, -2.0, -0.1, 9, "t"), None)[0] == "refuted"


def test_no_verdict_with_two_runs_or_without_an_interval() -> None:
    assert verdict(Estimate(0.5, 0.4, 0.6, 2, "Dunnett"), 0.075) == ("open", "fewer than 3 runs")
    assert verdict(Estimate(0.5, None, None, 3, "none", "why"), 0.075) == ("open", "why")


@given(st.floats(0.01, 0.2), st.floats(-0.2, 0.2), st.integers(1, 7))
def test_the_runs_that_settle_a_question_settle_it_and_one_fewer_do_not(
    spread: float, difference: float, methods: int
) -> None:
    smallest = 0.075
    runs = runs_to_settle(spread, difference, smallest, methods)
    distance = max(difference, smallest - difference)

    def is_enough(n: int) -> bool:
        freedom = methods * (n - 1)
        error = spread * np.sqrt((2 if methods > 1 else 1) / n)
        critical = stats.t.ppf(1 - 0.025 / max(1, methods - 1), freedom)
        return (critical + stats.t.ppf(0.8, freedom)) * error <= distance

    assert not is_enough(1000) if runs is None else is_enough(runs)
    assert runs in (None, 2) or not is_enough(runs - 1)


def test_nothing_settles_a_difference_of_nothing_without_a_smallest_effect() -> None:
    assert runs_to_settle(0.06, 0.0, None) is None
    assert runs_to_settle(0.06, -0.1, None) is None
    assert runs_to_settle(0.06, 0.1, None, direction="lower") is None
    assert runs_to_settle(0.06, -0.1, None, direction="lower") == runs_to_settle(0.06, 0.1, None)


def test_probability_of_improvement_is_the_mean_over_solved_tasks_of_pairwise_wins() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 4, (3, 5)) / 3, rng.integers(0, 4, (4, 5)) / 3
    first[:, 2] = second[:, 2] = 0.0
    slow = np.mean(
        [
            (first[i, t] > second[j, t]) + 0.5 * (first[i, t] == second[j, t])
            for i in range(3)
            for j in range(4)
            for t in (0, 1, 3, 4)
        ]
    )
    found, tasks = probability_of_improvement(first, second)
    assert (found, tasks) == (pytest.approx(slow), 4)
    assert probability_of_improvement(second, first)[0] == pytest.approx(1 - slow)
    assert probability_of_improvement(np.zeros((3, 2)), np.zeros((3, 2))) == (None, 0)


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


def test_the_rules_keep_their_promise_in_a_simulated_world_and_the_old_ones_do_not() -> None:
    table = simulate(repeats=150, worlds=WORLDS[:1], run_counts=(5,)).set_index("question")
    assert table.filter(like="difference holds", axis=0)["after"].item() > 0.93
    assert table.filter(like="all alike", axis=0)["after"].item() < 0.10
    refuted = table.filter(like="area: refuted", axis=0)
    assert refuted["after"].item() < 0.08
    assert refuted["before"].item() > 0.2
    means = table.filter(like="mean holds", axis=0)
    assert means["before"].item() < means["after"].item()


def test_the_advantage_of_a_simulated_world_is_what_it_is_asked_for() -> None:
    world = WORLDS[2]
    advantage = advantage_of(world, late_success, 0.1)
    rng = np.random.default_rng(9)
    ours = late_success(world.draw(rng, 20_000, advantage, world.control_spread)).mean()
    assert ours - true_mean(world, late_success) == pytest.approx(0.1, abs=0.01)


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
