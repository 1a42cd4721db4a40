"""``d2r status`` says the whole in its first line and leaves out what has nothing to say."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from d2r.cli.main import main
from d2r.config import RunKey, load_scale, plan_runs
from d2r.runs.layout import PROGRESS
from d2r.runs.starts import sources_of

PLAN = plan_runs(load_scale("smoke"))


def begin(results: Path, key: RunKey, host: str = "elsewhere", updated: str = "2999-01-01T00:00:00Z") -> None:
    """Leave what a process on another machine leaves that trains a run, or did so long ago."""
    folder = key.state_folder(results)
    folder.mkdir(parents=True)
    said = {"run": "smoke/x", "step": 120, "steps": 240, "steps_per_second": 2.0, "success": 0.25}
    (folder / PROGRESS).write_text(json.dumps(said | {"host": host, "updated": updated}))


def status(capsys: pytest.CaptureFixture[str], *words: str | Path) -> list[str]:
    assert main(["status", *map(str, words)]) == 0
    return capsys.readouterr().out.splitlines()


def test_the_first_line_counts_all_runs_and_those_that_wait_are_folded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "smoke"
    begin(results, PLAN[5], updated="2001-01-01T00:00:00Z")
    begin(results, PLAN[7])
    lines = status(capsys, "--results", results)
    first = lines[0].removeprefix(f"{results}: ")
    assert first.startswith(f"1 running, 1 stopped, {len(PLAN) - 2} waiting; ")
    begun = [line.split() for line in lines if "/seed" in line]
    assert [(run[0], run[1]) for run in begun] == [
        (f"{key.benchmark}/{key.method}/seed{key.seed}", state)
        for key, state in ((PLAN[7], "running"), (PLAN[5], "stopped"))
    ]
    left = Counter(key.benchmark for key in PLAN if key not in (PLAN[5], PLAN[7]))
    each = ", ".join(f"{count} of {benchmark}" for benchmark, count in left.items())
    assert lines[-1] == f"waiting: {each} (--all lists them)"


def test_all_lists_every_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begin(tmp_path / "smoke", PLAN[7])
    lines = status(capsys, "--results", tmp_path / "smoke", "--all")
    assert sum("/seed" in line for line in lines) == len(PLAN)
    assert not any(line.startswith("waiting:") for line in lines)


def test_nothing_but_waiting_runs_is_two_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "smoke").mkdir()
    first, empty, folded = status(capsys, "--results", tmp_path / "smoke")
    assert f"{len(PLAN)} waiting" in first
    assert (empty, folded[:8]) == ("", "waiting:")


def test_runs_that_others_start_from_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "transfer").mkdir()
    runs = sources_of(load_scale("transfer"))
    assert (len(runs), {key.scale for key in runs}) == (30, {"lite"})
    last = status(capsys, "--results", tmp_path / "transfer")[-1]
    assert last == "to start from: 30 runs of 'lite', 0 of them finished (d2r status --scale lite)"
    document = json.loads("".join(status(capsys, "--results", tmp_path / "transfer", "--json")))
    assert document["sources"] == {"lite": {"runs": 30, "finished": 0}}
