"""Runs that start from others: those are trained first, and plans know of them."""

import json

from .conftest import SCALE, Project

VARIANT = """
variants:
  later: {of: d2r, start_from: {scale: first, benchmark: mt10-rand, method: d2r}, adapt: router}
"""
LATER = "d2r+adapt-router+start_from-first.mt10-rand.d2r"
ORDER = [("mt10-rand/d2r/seed1", 0), ("learner/d2r/seed1", 0), (f"mt10-rand/{LATER}/seed1", 0)]


def with_a_start(project: Project) -> None:
    scales = project.root / "config/scales"
    (scales / "first.yaml").write_text(SCALE.replace("id: smoke", "id: first"))
    smoke = SCALE.replace("methods: [d2r, mtsac]", "methods: [later]").replace("seeds: [1, 2]", "seeds: [1]")
    (scales / "smoke.yaml").write_text(smoke.replace("budget:", f"{VARIANT}budget:"))


def test_what_a_run_starts_from_is_trained_and_exported_first_and_once(project: Project) -> None:
    with_a_start(project)
    done = project.snakemake("runs")
    assert done.returncode == 0, done.stdout
    assert project.starts() == ORDER
    assert (project.root / "results/first/runs/mt10-rand/d2r/seed1/learner.safetensors").is_file()
    assert "Nothing to be done" in project.snakemake("runs").stdout
    project.shuffle_times()
    assert "Nothing to be done" in project.snakemake("runs").stdout


def test_another_source_trains_both_anew(project: Project) -> None:
    with_a_start(project)
    assert project.snakemake("runs").returncode == 0
    project.forget_starts()
    path = project.root / "config/scales/first.yaml"
    path.write_text(path.read_text().replace("steps: 800", "steps: 900"))
    done = project.snakemake("runs")
    assert done.returncode == 0, done.stdout
    assert {name for name, _ in project.starts()} == {name for name, _ in ORDER}


def test_seeds_side_by_side_wait_for_all_that_they_start_from(project: Project) -> None:
    with_a_start(project)
    path = project.root / "config/scales/smoke.yaml"
    path.write_text(path.read_text().replace("seeds: [1]", "seeds: [1, 2]"))
    done = project.snakemake("runs", "--config", "cohort=2")
    assert done.returncode == 0, done.stdout
    names = [name for name, _ in project.starts()]
    assert names[-2:] == [f"mt10-rand/{LATER}/seed{seed}" for seed in (1, 2)]
    assert sorted(names[:-2]) == sorted(
        f"{of}/d2r/seed{seed}" for of in ("learner", "mt10-rand") for seed in (1, 2)
    )


def test_a_plan_says_what_is_started_from(project: Project) -> None:
    with_a_start(project)
    said = project.call("d2r", "plan", "--scale", "smoke").stdout
    assert "They start from 1 runs of 'first', 0 of them finished" in said
    assert project.snakemake("runs").returncode == 0
    said = project.call("d2r", "plan", "--scale", "smoke", "--json").stdout
    assert json.loads(said)["sources"] == {"first": {"runs": 1, "finished": 1}}
