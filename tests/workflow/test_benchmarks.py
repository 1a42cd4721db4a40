"""Snakemake with sets of tasks and with values of the user's own."""

from __future__ import annotations

from .conftest import SCALE, Project

DOORS = """\
id: mt3-doors
description: Three doors.
goals: rand
tasks: [door-open-v3, door-close-v3, door-lock-v3]
"""


def test_a_changed_set_of_tasks_trains_its_own_runs_anew_and_other_words_none(project: Project) -> None:
    file = project.root / "config/benchmarks/mt3-doors.yaml"
    file.write_text(DOORS)
    scale = SCALE.replace("[mt10-rand]", "[mt10-rand, mt3-doors, mt1-reach-v3-rand]").replace("[1, 2]", "[1]")
    (project.root / "config/scales/smoke.yaml").write_text(scale)
    first = project.snakemake("runs")
    assert first.returncode == 0, first.stdout
    assert len(project.starts()) == 6
    for text, names in (
        (DOORS.replace("Three doors", "Said otherwise"), []),
        (DOORS.replace(", door-lock-v3", ""), ["mt3-doors/d2r/seed1", "mt3-doors/mtsac/seed1"]),
        (DOORS.replace("goals: rand", "goals: fixed"), ["mt3-doors/d2r/seed1", "mt3-doors/mtsac/seed1"]),
    ):
        project.forget_starts()
        file.write_text(text)
        again = project.snakemake("runs")
        assert again.returncode == 0, again.stdout
        assert sorted(name for name, _ in project.starts()) == names


def test_a_sweep_runs_each_value_in_a_folder_that_says_it(project: Project) -> None:
    def sweep(*sizes: int) -> str:
        variants = [f"  of-{size}: {{of: d2r, set: {{sac.batch_per_task: {size}}}}}" for size in sizes]
        return SCALE.replace("[d2r, mtsac]", "all").replace("[1, 2]", "[1]") + "\n".join(
            ["variants:", *variants, ""]
        )

    for path in (project.root / "config/methods").glob("*.yaml"):
        if path.stem not in ("d2r", "mtsac"):
            path.unlink()
    scale = project.root / "config/scales/smoke.yaml"
    scale.write_text(sweep(8, 32))
    first = project.snakemake("all")
    assert first.returncode == 0, first.stdout
    names = {name for name, _ in project.starts()}
    assert names == {
        f"mt10-rand/{method}/seed1"
        for method in ("d2r", "mtsac", "d2r+sac.batch_per_task-8", "d2r+sac.batch_per_task-32")
    }
    project.forget_starts()
    scale.write_text(sweep(8, 64, 32))
    assert project.snakemake("all").returncode == 0
    assert project.starts() == [("mt10-rand/d2r+sac.batch_per_task-64/seed1", 0)]
    target = "results/smoke/runs/mt10-rand/d2r+sac.batch_per_task-64/seed2/run.json"
    assert project.snakemake(target).returncode == 0
