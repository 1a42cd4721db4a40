"""Mutual information of routes whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from d2r.information import conditional_information, information_above_chance, plug_in_bias


def test_routes_that_differ_for_every_task_tell_the_whole_task() -> None:
    one_source_a_task = np.eye(8)[None]
    assert conditional_information(one_source_a_task) == pytest.approx(3.0)
    assert conditional_information(np.concatenate([one_source_a_task] * 3)) == pytest.approx(3.0)


def test_of_tasks_that_are_not_equally_frequent_it_is_their_entropy() -> None:
    shares = np.array([0.5, 0.25, 0.125, 0.125])
    assert conditional_information(np.diag(shares)[None]) == pytest.approx(1.75)


def test_routes_that_do_not_depend_on_the_task_tell_nothing_of_it() -> None:
    tasks, sources = np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.2, 0.3, 0.4])
    assert conditional_information(np.outer(tasks, sources)[None]) == pytest.approx(0.0, abs=1e-12)
    assert conditional_information(np.zeros((2, 3, 4))) == 0


def test_which_reader_is_in_use_is_given_and_tells_nothing() -> None:
    weights = np.zeros((2, 2, 2))
    weights[0, 0] = weights[1, 1] = [0.5, 0.5]
    assert conditional_information(weights) == 0


def test_readers_count_as_often_as_they_are_in_use() -> None:
    telling, silent = 3 * np.eye(2), np.full((2, 2), 0.5)
    assert conditional_information(np.stack([telling, silent])) == pytest.approx(6 / 8)


def test_the_bias_is_about_what_independent_draws_give() -> None:
    generator = np.random.default_rng(1)
    drawn = [generator.multinomial(40, [0.25] * 4, size=(2, 5)).astype(float) for _ in range(300)]
    found = np.mean([conditional_information(counts) for counts in drawn])
    assert found == pytest.approx(3 * 4 / (2 * 200 * math.log(2)), rel=0.1)
    assert plug_in_bias(drawn[0]) == pytest.approx(2 * 3 * 4 / (2 * 400 * math.log(2)))
    assert plug_in_bias(np.zeros((1, 2, 2))) == 0


def test_what_chance_gives_is_taken_off() -> None:
    generator = np.random.default_rng(2)
    labels = np.tile(np.arange(4), 5)

    def of_sources(sources: np.ndarray) -> float:
        weights = np.eye(4)[sources][None]
        return information_above_chance(weights, labels, np.random.default_rng(0))

    by_chance = [of_sources(generator.integers(0, 4, 20)) for _ in range(100)]
    assert abs(float(np.mean(by_chance))) < 0.04
    assert 2 - of_sources(labels) == pytest.approx(9 / (2 * 20 * math.log(2)), abs=0.1), "the bias of chance"
    assert of_sources(np.zeros(20, dtype=int)) == 0
