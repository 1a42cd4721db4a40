"""The workflow with real training and real analysis, as a user runs it; minutes, so not in the default run."""

import json
import re
import signal
import time

import pytest

from .conftest import Project

pytestmark = pytest.mark.slow

SCALE = """
id: smoke
description: Two real runs of some hundred steps.
protocol: d2r-official
seeds: [1]
runs: [{benchmarks: [mt10-fixed], methods: [d2r, mtsac]}]
width: 0.1
sac: {batch_per_task: 16}
budget:
  mt10:
    {steps: 600, warmup_steps: 200, update_every: 8, replay_capacity: 600, evaluate_every: 300,
     evaluation_episodes: 1, checkpoint_every: 200}
"""


@pytest.fixture
def real(project: Project) -> Project:
    (project.root / "config/scales/smoke.yaml").write_text(SCALE)
    program = project.programs / "d2r"
    program.write_text(program.read_text().replace(str(project.stand_in), "-m d2r.cli.main"))
    return project


def wait_for_progress(project: Project) -> None:
    end = time.monotonic() + 300
    while not list(project.root.glob("results/smoke/state/*/*/*/progress.json")):
        assert time.monotonic() < end, "no run reported progress"
        time.sleep(0.1)


def test_killed_pipeline_ends_with_the_same_bytes_and_is_then_done(real: Project) -> None:
    child = real.start_snakemake("all")
    wait_for_progress(real)
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=60)
    logs = real.root / "results/smoke/logs/train"
    end = time.monotonic() + 120
    while not any("stopped by signal 15" in path.read_text() for path in logs.rglob("*.log")):
        assert time.monotonic() < end, "a killed Snakemake takes its runs along, and they save a checkpoint"
        time.sleep(0.1)
    again = real.snakemake("all")
    assert again.returncode == 0, again.stdout
    assert any("resumed at step" in path.read_text() for path in logs.rglob("*.log"))
    assert (real.root / "results/smoke/report/index.html").stat().st_size > 0
    checked = real.call("d2r", "verify", "artifact", "results/smoke").stdout
    assert re.search("ok +tables .* come out of the runs again, byte for byte", checked), checked
    real.shuffle_times()
    assert "Nothing to be done" in real.snakemake("all").stdout

    for record in real.root.glob("results/smoke/runs/*/*/*/run.json"):
        run = json.loads(record.read_text())
        name = ("--benchmark", run["benchmark"], "--method", run["method"], "--seed", str(run["seed"]))
        assert real.call("d2r", "train", *name, "--results", "uninterrupted/smoke").returncode == 0
        other = json.loads(
            (real.root / "uninterrupted/smoke" / record.relative_to(real.root / "results/smoke")).read_text()
        )
        for output in ("metrics.csv", "evaluation.csv", "routes.csv", "policy.safetensors"):
            assert run["outputs"][output] == other["outputs"][output], (run["method"], output)


def test_interrupt_of_the_group_ends_the_pipeline_and_the_report_has_captions(real: Project) -> None:
    child = real.start_snakemake("all")
    wait_for_progress(real)
    child.send_signal(signal.SIGTERM)  # Snakemake alone: it waits for the runs under way
    child.communicate(timeout=300)
    assert child.returncode != 0
    assert real.snakemake("all").returncode == 0
    report = real.snakemake("--report", "report.html")
    assert report.returncode == 0, report.stdout
    page = (real.root / "report.html").read_text()
    assert "learning_curves" in page
    assert "Bands are intervals over seeds" in page
