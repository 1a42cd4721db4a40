"""What Snakemake trains anew when a benchmark's file changes."""

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
