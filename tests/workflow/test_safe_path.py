"""Jobs of Snakemake start no Python that takes modules from the folder it works in."""

from __future__ import annotations

from tests.workflow.conftest import Project


def test_every_job_is_told_to_ignore_the_current_folder(project: Project) -> None:
    program = project.programs / "d2r"
    told = project.root / "told.log"
    first, rest = program.read_text().split("\n", maxsplit=1)
    program.write_text(f'{first}\necho "$1 $PYTHONSAFEPATH" >>"{told}"\n{rest}')
    project.environment.pop("PYTHONSAFEPATH", None)
    done = project.snakemake("--cores", "2", "all")
    assert done.returncode == 0, done.stdout
    jobs = [line.split(" ") for line in told.read_text().splitlines()]
    assert {"train", "collect", "tables", "figures", "report"} <= {command for command, _ in jobs}
    assert {value for _, value in jobs} == {"1"}
