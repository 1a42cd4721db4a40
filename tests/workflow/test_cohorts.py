"""Snakemake trains seeds side by side where it is told to, and what was trained so stays as it is."""

import json
import shutil
import signal
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from d2r.config import RunKey
from d2r.errors import UserError
from d2r.planning.cohorts import assign, cohorts_of, read_assignment
from d2r.runs.layout import RUN_RECORD

from .conftest import RUNS, Project

NOTHING = "Nothing to be done"
TOGETHER = ("--config", "cohort=2")


def jobs(project: Project) -> list[str]:
    log = project.root / "jobs.log"
    found = sorted(line.split()[0] for line in log.read_text().splitlines()) if log.exists() else []
    log.unlink(missing_ok=True)
    return found


def with_seeds(project: Project, *seeds: int) -> None:
    path = project.root / "config/scales/smoke.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"seeds": list(seeds)}))


def test_seeds_of_a_method_are_one_job_and_a_later_seed_is_trained_alone(project: Project) -> None:
    first = project.snakemake("all", *TOGETHER)
    assert first.returncode == 0, first.stdout
    assert jobs(project) == ["mt10-rand/d2r/1-2", "mt10-rand/mtsac/1-2"]
    for arguments in (TOGETHER, ()):
        assert NOTHING in project.snakemake("all", *arguments).stdout
    with_seeds(project, 1, 2, 3)
    later = project.snakemake("all", *TOGETHER)
    assert later.returncode == 0, later.stdout
    assert jobs(project) == ["mt10-rand/d2r/3", "mt10-rand/mtsac/3"]
    for arguments in (TOGETHER, ()):
        assert NOTHING in project.snakemake("all", *arguments).stdout


def test_of_runs_trained_together_one_can_be_trained_again_and_all_follow_their_configuration(
    project: Project,
) -> None:
    assert project.snakemake("all", *TOGETHER).returncode == 0
    jobs(project)
    shutil.rmtree(project.root / "results/smoke/runs/mt10-rand/d2r/seed2")
    shutil.rmtree(project.root / "results/smoke/state/mt10-rand/d2r/seed2")
    assert project.snakemake("all").returncode == 0
    assert jobs(project) == ["mt10-rand/d2r/2"]
    assert NOTHING in project.snakemake("all", *TOGETHER).stdout
    path = project.root / "config/methods/mtsac.yaml"
    content = yaml.safe_load(path.read_text())
    content["network"]["hidden_dim"] = 200
    path.write_text(yaml.safe_dump(content))
    assert project.snakemake("all").returncode == 0
    assert jobs(project) == ["mt10-rand/mtsac/1-2"]
    assert NOTHING in project.snakemake("all").stdout


def test_a_killed_snakemakes_cohorts_go_on(project: Project) -> None:
    child = project.start_snakemake("runs", *TOGETHER, STAND_IN_SECONDS="60")
    project.wait_for_steps(4)
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=60)
    again = project.snakemake("runs", *TOGETHER, STAND_IN_SECONDS="0")
    assert again.returncode == 0, again.stdout
    assert {name for name, step in project.starts() if step > 0} == set(RUNS)


def test_a_profile_says_how_jobs_train(project: Project) -> None:
    settings = project.root / "profiles/cohorts/training.yaml"
    settings.write_text("cohort: 10\ndevice: cuda\n")
    done = project.snakemake("runs", "--profile", "profiles/cohorts", "--config", "scale=smoke")
    assert done.returncode == 0, done.stdout
    lines = (project.root / "jobs.log").read_text().split("\n")
    assert sorted(filter(None, lines)) == ["mt10-rand/d2r/1-2 cuda", "mt10-rand/mtsac/1-2 cuda"]
    for wrong in ("cohort=0", "cohort=many", "device=tpu"):
        refused = project.snakemake("-n", "--config", wrong)
        assert refused.returncode == 2
        assert f"d2r: error: --config {wrong}" in refused.stdout


def test_what_was_decided_of_a_method_that_is_gone_stops_nothing_and_stays(project: Project) -> None:
    path = project.root / "results/smoke/cohorts.json"
    path.parent.mkdir(parents=True)
    decided = {f"mt10-rand/gone/seed{seed}": "1-2" for seed in (1, 2)}
    path.write_text(json.dumps(decided))
    done = project.snakemake("-n", "runs", *TOGETHER)
    assert done.returncode == 0, done.stdout
    assert decided.items() <= json.loads(path.read_text()).items()


@pytest.mark.parametrize(
    "wrong",
    [
        {"mt10-rand/d2r/seed1-2": "1-2"},
        {"mt10-rand/d2r/seed1": "9-7"},
        {"mt10-rand/d2r/seed1": "2-3"},
        {"mt10-rand/../seed1": "1-2"},
    ],
    ids=str,
)
def test_a_decision_that_says_nothing_is_one_line(tmp_path: Path, wrong: dict[str, str]) -> None:
    (tmp_path / "cohorts.json").write_text(json.dumps(wrong))
    with pytest.raises(UserError, match=r"cohorts\.json: does not say which runs were trained side by side"):
        read_assignment("smoke", tmp_path)


@given(
    there=st.sets(st.integers(1, 12)),
    size=st.integers(1, 5),
    earlier=st.lists(st.tuples(st.integers(1, 12), st.integers(1, 5)), max_size=3),
)
def test_every_missing_run_is_in_one_job_and_none_that_is_there_moves(
    tmp_path_factory, there: set[int], size: int, earlier: list[tuple[int, int]]
) -> None:
    results = tmp_path_factory.mktemp("results")
    runs = [RunKey("smoke", "mt10-rand", "d2r", seed) for seed in range(1, 13)]
    known: dict[RunKey, list[int]] = {}
    for planned, of_size in earlier:
        known = assign(runs[:planned], results, of_size, known)
    for key in runs:
        if key.seed in there:
            folder = key.folder(results)
            folder.mkdir(parents=True)
            (folder / RUN_RECORD).write_text(json.dumps({}))
    before = {key: known[key] for key in runs if key.seed in there and key in known}
    assigned = assign(runs, results, size, known)
    assert {key: seeds for key, seeds in assigned.items() if key.seed in there} == before
    members = [seed for cohort in cohorts_of(assigned) for seed in cohort.members]
    assert len(set(members)) == len(members)
    missing = [key for key in runs if key.seed not in there]
    assert len({tuple(assigned.get(key, [key.seed])) for key in missing}) == -(-len(missing) // size)
    assert all(key.seed in assigned.get(key, [key.seed]) for key in runs)
    assert all(len(assigned.get(key, [0])) <= size for key in missing)
