"""A run killed at any moment, and started again with the same command, ends with the same bytes as one that was not."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from d2r.kernel.library import implementation
from tests.support.tiny import (
    PATIENCE,
    PROJECT,
    Training,
    alive,
    assert_equal,
    children,
    make_project,
    wait_until,
)

pytestmark = pytest.mark.slow
KILLS = 5
WORKERS = {
    "without workers": [0, 0, 0, 0, 0, 0],
    "two workers": [2, 2, 2, 2, 2, 2],
    "another number each time": [0, 2, 1, 3, 0, 2],
}
CASES = [
    ("d2r", "without workers", "at random"),
    ("d2r", "without workers", "while a checkpoint is written"),
    ("d2r", "two workers", "at random"),
    ("d2r", "another number each time", "while a checkpoint is written"),
    ("mtsac", "another number each time", "at random"),
    ("d2r-growing", "two workers", "at random"),
    ("paco", "another number each time", "while a checkpoint is written"),
]
CASES = [case for case in CASES if (PROJECT / f"config/methods/{case[0]}.yaml").is_file()]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """What a method's run leaves when nobody disturbs it."""
    known: dict[str, dict[str, Any]] = {}

    def of(method: str) -> dict[str, Any]:
        if method not in known:
            training = Training(make_project(tmp_path_factory.mktemp("undisturbed") / method), method)
            training.finish()
            if method == "d2r-growing":
                assert "modules_in_use,6" in (training.published / "metrics.csv").read_text(), (
                    "it has to grow"
                )
            known[method] = training.end_state()
        return known[method]

    return of


@pytest.mark.parametrize(("method", "workers", "moment"), CASES)
def test_a_killed_run_ends_with_the_same_bytes(
    method: str,
    workers: str,
    moment: str,
    tmp_path: Path,
    uninterrupted: Callable[[str], dict[str, Any]],
    counts: Counter[str],
) -> None:
    expected = uninterrupted(method)
    training = Training(make_project(tmp_path / "project"), method)
    generator = random.Random(f"{method} {workers} {moment}")
    steps = expected["record"]["steps"]
    for kill in range(KILLS):
        training.start(WORKERS[workers][kill])
        after = round(steps * kill / (KILLS + 1)) + generator.randrange(steps // (KILLS + 1))
        assert training.kill_when(_moment(training, after, moment, generator)), (
            "it ended before it could be killed"
        )
        counts["kills survived"] += 1
    training.finish(WORKERS[workers][KILLS])
    assert_equal(training.end_state(), expected)


@pytest.mark.skipif(implementation() != "compiled", reason="each kill leaves others to be trained together")
@pytest.mark.parametrize("moment", ["at random", "while a checkpoint is written"])
def test_killed_seeds_side_by_side_end_each_with_the_bytes_of_a_run_alone(
    moment: str, tmp_path: Path, uninterrupted: Callable[[str], dict[str, Any]], counts: Counter[str]
) -> None:
    """Some of them have a checkpoint that the others have not yet, and wait for those."""
    expected = uninterrupted("d2r")
    training = Training(make_project(tmp_path / "project"), "d2r", "1-3")
    generator = random.Random(f"side by side {moment}")
    steps = expected["record"]["steps"]
    for kill in range(KILLS):
        training.start(WORKERS["another number each time"][kill])
        after = round(steps * kill / (KILLS + 1)) + generator.randrange(steps // (KILLS + 1))
        assert training.kill_when(_moment(training, after, moment, generator))
        counts["kills survived"] += 1
    training.finish(2)
    assert_equal(training.end_state(), expected)
    for seed in (2, 3):
        alone = Training(make_project(tmp_path / f"alone{seed}"), "d2r", str(seed))
        alone.finish()
        assert_equal(training.end_state(seed), alone.end_state(seed))


@pytest.mark.parametrize("which", range(4))
def test_a_killed_worker_ends_the_run_in_one_line_and_the_next_one_with_the_same_bytes(
    which: int, tmp_path: Path, uninterrupted: Callable[[str], dict[str, Any]], counts: Counter[str]
) -> None:
    """Two of the four processes step the training environment, two that of evaluations."""
    training = Training(make_project(tmp_path / "project"), "mtsac")
    process = training.start(2)
    wait_until(lambda: training.checkpointed() >= 30 or process.poll() is not None)
    workers = sorted(children(process.pid))
    assert len(workers) == 4
    os.kill(workers[which], signal.SIGKILL)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, err
    assert f"died (killed by SIGKILL, process {workers[which]})" in err
    assert err.count("\n") == 1
    assert not any(map(alive, workers))
    assert "resumed at step" in training.finish(2)
    assert_equal(training.end_state(), uninterrupted("mtsac"))
    counts["kills survived"] += 1


def _moment(training: Training, after: int, moment: str, generator: random.Random) -> Callable[[], bool]:
    """Some time after the checkpoint of step ``after``, or when a later one is being written."""
    wait = generator.uniform(0, 0.3)
    reached: float | None = None

    def now() -> bool:
        nonlocal reached
        if moment != "at random":
            return training.checkpointed() >= after and training.is_writing()
        if reached is None and training.checkpointed() >= after:
            reached = time.monotonic()
        if reached is None:
            time.sleep(0.005)
        return reached is not None and time.monotonic() - reached >= wait

    return now
