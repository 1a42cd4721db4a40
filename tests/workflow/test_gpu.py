"""The scripts for a machine with a GPU, on a processor: what they do in which order, survive, and bring home."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import safetensors

from d2r.cli.main import main
from tests.support.projects import working_in
from tests.support.tiny import BENCHMARK, PATIENCE, PROJECT, Training, make_project, wait_until

STAND_IN = """\
#!/bin/sh
echo "$*" >>"$OUT/calls"
case "$*" in
  *"$FAILS"*) echo "asked to fail"; exit 3 ;;
  train*) mkdir -p "$CHECKPOINTS" && touch "$CHECKPOINTS/checkpoint-1.json"; exit 143 ;;
  bench*) sleep "$SLEEPS"
    echo '{"method": "d2r", "benchmark": "mt10-rand", "cohort": 2, "device": "cpu", "updates_per_second": 7}' ;;
esac
"""


OTHERS = ({"device": "cuda"}, {"policy_lag": 1})
"""What tells nothing about how fast this device trains as it is to."""


def called(script: str, folder: Path, fails: str = "nothing", **settings: str) -> tuple[int, list[str], str]:
    """Exit status of a script with a stand-in for d2r, the calls that it made, and what was said."""
    programs = folder / "environment/bin"
    programs.mkdir(parents=True)
    python = f'#!/bin/sh\ncase "$*" in *"-m pytest"*) exit 0 ;; esac\nexec {sys.executable} "$@"\n'
    for name, content in (("d2r", STAND_IN), ("python", python)):
        (programs / name).write_text(content)
        (programs / name).chmod(0o755)
    out = folder / "out"
    done = subprocess.run(
        [PROJECT / "workflow/gpu" / script],
        env=os.environ
        | {
            "OUT": str(out),
            "VENV": str(folder / "environment"),
            "DEVICE": "cpu",
            "THREADS": "1",
            "WORKERS": "0",
        }
        | {"FAILS": fails, "SLEEPS": "0", "METHODS": "d2r mtsac", "COHORTS": "1 2", "MINUTES": "1"}
        | settings,
        capture_output=True,
        text=True,
    )
    assert (out / f"{script}.log").read_text() == done.stdout
    return done.returncode, (out / "calls").read_text().splitlines(), done.stdout


def test_the_most_telling_is_measured_first(tmp_path: Path) -> None:
    status, calls, said = called("measure", tmp_path)
    assert status == 0, said
    assert "nothing failed" in said
    told = [" ".join(word for word in call.split() if not word.startswith("tests/golden")) for call in calls]
    assert told[0].startswith("verify golden --device cpu")
    for call, (kind, seeds) in zip(
        told[1:5], [("learner", 1), ("train", 1), ("learner", 2), ("train", 2)], strict=True
    ):
        assert call.startswith(f"bench {kind} --method d2r --benchmark mt10-rand --cohort {seeds}")
    assert "--cohort 2" in told[5]
    assert "--policy-lag 1" in told[5]
    assert "float32" in told[6]
    assert len([call for call in told if "bench" in call and "--policy-lag" not in call]) == 2 * 2 * 2 * 2, (
        "methods, benchmarks, seeds, kinds"
    )
    lines = (tmp_path / "out/measure.jsonl").read_text().splitlines()
    assert [json.loads(line)["bench"] for line in lines[:2]] == ["learner", "train"]
    assert "| learner | d2r | mt10-rand | 2 | cpu | 7 |" in said


def test_a_step_that_fails_is_named_at_the_end_and_the_others_go_on(tmp_path: Path) -> None:
    status, calls, said = called("measure", tmp_path, fails="golden")
    assert status == 1
    assert len([call for call in calls if "bench" in call]) == 17
    assert "asked to fail" in said
    assert said.splitlines()[-1] == "FAILED: golden float64, golden float32"


def test_when_the_time_is_up_what_was_measured_is_there(tmp_path: Path) -> None:
    status, _, said = called("measure", tmp_path, SLEEPS="1.2", LIMIT_S="3")
    assert status == 0, "nothing failed, and not everything was reached"
    assert "cut off by the time limit: learner d2r mt10-rand, " in said.replace("train", "learner")
    assert "not reached: " in said
    assert (tmp_path / "out/measure.jsonl").stat().st_size


@pytest.mark.parametrize(
    ("script", "setting", "value"),
    [
        ("measure", "LIMIT_S", "abc"),
        ("measure", "COHORTS", "1 x"),
        ("train", "MINUTES", "0"),
        ("train", "MINUTES", "abc"),
        ("train", "TAKE_MB", "many"),
    ],
)
def test_a_setting_that_is_no_number_is_one_line(
    script: str, setting: str, value: str, tmp_path: Path
) -> None:
    environment = os.environ | {"OUT": str(tmp_path), "DEVICE": "cpu", setting: value}
    done = subprocess.run(
        [PROJECT / "workflow/gpu" / script], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{setting}={value}: must be a whole number above 0\n"


@pytest.mark.parametrize("script", ["measure", "train"])
def test_no_method_is_one_line(script: str, tmp_path: Path) -> None:
    environment = os.environ | {"OUT": str(tmp_path), "DEVICE": "cpu", "METHODS": " "}
    done = subprocess.run(
        [PROJECT / "workflow/gpu" / script], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "METHODS= : names nothing\n")


def note_speeds(out: Path, *lines: tuple[str, int, float]) -> None:
    """Write what ``measure`` would have found of training: method, seeds side by side, steps a second."""
    out.mkdir()
    names = ("method", "cohort", "steps_per_second")
    about = {"benchmark": "mt10-rand", "device": "cpu"}
    found = [about | dict(zip(names, line, strict=True)) for line in lines]
    found += [about | {"method": "d2r", "cohort": 9, "steps_per_second": 999.0} | other for other in OTHERS]
    text = "".join(f"{json.dumps({'bench': 'train', 'found': {'official': one}})}\n" for one in found)
    (out / "measure.jsonl").write_text(text)


def test_as_many_seeds_as_made_most_steps_are_trained_together(tmp_path: Path) -> None:
    note_speeds(tmp_path / "out", ("d2r", 1, 100.0), ("d2r", 3, 250.0), ("d2r", 5, 200.0), ("paco", 7, 900.0))
    results = tmp_path / "results"
    checkpoints = results / "state/mt10-rand/d2r/seed1/0"
    status, calls, said = called(
        "train", tmp_path, RESULTS=str(results), CHECKPOINTS=str(checkpoints), METHODS="d2r"
    )
    assert status == 0, said
    assert f"--benchmark mt10-rand --method d2r --seeds 1-3 --results {results} --device cpu" in calls[0]
    assert list((tmp_path / "out").glob("training.tar.gz.*"))


def test_a_training_that_is_stopped_before_its_first_checkpoint_has_failed(tmp_path: Path) -> None:
    results = tmp_path / "results"
    checkpoints = results / "state/mt10-rand/d2r/seed1/0"
    status, calls, said = called("train", tmp_path, RESULTS=str(results), CHECKPOINTS=str(checkpoints))
    assert ["--method mtsac --seeds 1-10" in call for call in calls] == [False, True]
    assert status == 1
    assert said.splitlines()[-1] == "FAILED: train mtsac"


def pack(results: Path, megabytes: int, target: Path) -> str:
    """Pack a folder of results, unpack what was packed, and return what was said."""
    command = [sys.executable, "-P", PROJECT / "workflow/gpu/pack.py", results, str(megabytes)]
    done = subprocess.run(command, capture_output=True, check=True, cwd=PROJECT)
    target.mkdir(parents=True)
    archive = target.with_suffix(".tar.gz")
    archive.write_bytes(done.stdout)
    with tarfile.open(archive) as packed:
        packed.extractall(target, filter="data")
    return done.stderr.decode()


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two seeds side by side that were stopped by a signal."""
    project = make_project(tmp_path_factory.mktemp("gpu"))
    with working_in(project):
        training = Training(project, "d2r", seeds="1-2")
        process = training.start()
        wait_until(lambda: training.checkpointed() > 0)
        process.terminate()
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 143, err
    return training.results


@pytest.mark.slow
def test_a_stopped_training_goes_on_where_the_archive_is_unpacked(stopped: Path, tmp_path: Path) -> None:
    home = tmp_path / "results/tiny"
    said = pack(stopped, 60, home)
    assert "left out" not in said
    (state,) = home.glob(f"state/{BENCHMARK}/d2r/seed2/*/")
    assert json.loads((state / "config.json").read_text())["config"]["seed"] == 2
    (policy,) = home.glob(f"policies/{BENCHMARK}/d2r/seed2-step*.safetensors")
    with safetensors.safe_open(policy, "pt") as tensors:
        assert tensors.metadata()["config_hash"]
    with working_in(stopped.parents[1]):
        command = ["train", "--scale", "tiny", "--benchmark", BENCHMARK, "--method", "d2r", "--seeds", "1-2"]
        assert main([*command, "--results", str(home)]) == 0
    record = json.loads((home / f"runs/{BENCHMARK}/d2r/seed2/run.json").read_text())
    assert (record["status"], record["resumes"]) == ("finished", 1)


def test_what_is_most_telling_is_packed_when_not_everything_fits(stopped: Path, tmp_path: Path) -> None:
    large = tmp_path / "large"
    shutil.copytree(stopped, large)
    for state in large.glob("state/*/*/*/*/state-*.pt"):
        with state.open("ab") as file:
            file.truncate(3 * 10**6)
    said = pack(large, 2, tmp_path / "home")
    packed = {path.name.partition("-")[0] for path in (tmp_path / "home").rglob("*") if path.is_file()}
    assert {"metrics.csv", "config.json"} <= packed
    assert "checkpoint" not in packed
    assert said.count("left out, of 3 MB: state/") == 2
