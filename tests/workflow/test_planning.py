"""``d2r plan`` and ``d2r status``: what they say follows from the files and the rates, and from nothing else."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from d2r.algorithms.replay import Replay
from d2r.cli.main import main
from d2r.config import RunConfig, RunKey, load_scale, method_ids, plan_runs, resolve_run
from d2r.config.schema import RunGroup
from d2r.errors import UserError
from d2r.networks.compute import dense_multiply_adds
from d2r.networks.registry import build_actor, build_critics, shape_actor
from d2r.planning.cost import Block, Estimate, Rates, replay_bytes, seconds_of_run, wall_seconds
from d2r.planning.measure import update_work
from d2r.planning.plan import plan_blocks
from d2r.planning.workflow import choose_scale
from d2r.runs.folders import RunFolders
from d2r.runs.layout import policy_path
from d2r.runs.progress import has_ended, remaining_seconds, run_progress
from d2r.runs.record import record_bytes

from .stand_in import publish

KEY = plan_runs(load_scale("smoke"))[0]


def test_scale_is_smoke_unless_another_is_named() -> None:
    assert choose_scale({}).id == "smoke"
    assert choose_scale({"scale": "lite"}).id == "lite"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"scale": "lit"}, "did you mean 'lite'"),
        ({"scale": 3}, "unknown scale '3'"),
        ({"scale": "../secret"}, "unknown scale"),
        ({"Scale": "lite"}, "did you mean 'scale'"),
        ({"seeds": 3}, "unknown key 'seeds'"),
    ],
)
def test_bad_snakemake_configuration_names_the_nearest(config: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        choose_scale(config)


def block(seconds: float, runs: int) -> Block:
    return Block("mt10-rand", "d2r", runs, 0, Estimate(seconds, "measured now"), 0, 0, 0)


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.integers(1, 5)), min_size=1, max_size=6),
    st.integers(1, 20),
)
def test_wall_time_lies_between_the_bounds_of_any_schedule(
    blocks: list[tuple[float, int]], cores: int
) -> None:
    total = sum(seconds * runs for seconds, runs in blocks)
    longest = max(seconds for seconds, _ in blocks)
    wall = wall_seconds([block(*b) for b in blocks], cores)
    slack = 1e-9 * (1 + total)
    assert wall >= max(longest, total / cores) - slack
    assert wall <= longest + total / cores + slack


def test_time_of_a_run_counts_steps_updates_and_evaluations() -> None:
    config = resolve_run(
        load_scale("smoke"), "mt10-rand", "d2r", 1,
        {"steps": 1000, "warmup_steps": 200, "update_every": 4, "evaluate_every": 400, "evaluation_episodes": 3},
    )  # fmt: skip
    idle = seconds_of_run(config, Rates(0, 0))
    assert seconds_of_run(config, Rates(0, 1)) - idle == 200, "an update every fourth step after the warm-up"
    evaluation_steps = 3 * 3 * config.protocol.horizon  # at 400, 800 and at the end
    assert seconds_of_run(config, Rates(1, 0)) - idle == 1000 + evaluation_steps


@pytest.mark.parametrize("method", method_ids())
def test_replay_bytes_are_those_of_the_replay(method: str) -> None:
    config = resolve_run(load_scale("smoke"), "mt10-rand", method, 1, {"steps": 400})  # enough to fill it
    shape = shape_actor(config.network, config.num_tasks).route_shape
    replay = Replay(config.budget.replay_capacity, config.protocol.horizon, config.num_tasks, True, shape)
    assert replay_bytes(config) == replay.capacity * config.num_tasks * replay.bytes_per_transition


def test_plan_measures_one_method_of_each_kind_and_believes_finished_runs_more(tmp_path: Path) -> None:
    scale = load_scale("smoke")
    two = RunGroup(benchmarks=("mt10-fixed", "mt10-rand"), methods=("d2r", "mtsac", "mmoe", "film", "pcgrad"))
    scale = scale.model_copy(update={"runs": (two,)})
    config = resolve_run(scale, *KEY[1:])
    publish(KEY, config, KEY.folder(tmp_path), "2026-01-01T00:00:00+00:00", config.budget.steps)
    (KEY.folder(tmp_path) / "timing.csv").write_text("step,quantity,value\n1,total,30\n2,total,70\n")
    asked: list[str] = []
    work = {"d2r": 9, "mtsac": 3, "mmoe": 12, "film": 6, "pcgrad": 5}

    def measure(config):
        asked.append(config.method)
        return Rates(0.01, 0.1)

    blocks = plan_blocks(scale, tmp_path, measure, lambda config: work[config.method])
    assert sum(b.runs for b in blocks) == len(plan_runs(scale))
    assert sorted(asked) == ["d2r", "film", "pcgrad"], (
        "one with routes, the median of the others, one with surgery"
    )
    rates = {b.method: b.estimate.rates for b in blocks if b.benchmark == "mt10-rand"}
    updates = {method: round(of.update_seconds, 9) for method, of in rates.items()}
    assert updates == {"d2r": 0.1, "film": 0.1, "pcgrad": 0.1, "mtsac": 0.05, "mmoe": 0.2}, (
        "in proportion to work"
    )
    sources = {b.method: b.estimate.source for b in blocks if b.benchmark == "mt10-rand"}
    assert sources["mmoe"] == "multiply-adds"
    assert sources["film"] == "measured now"
    known = next(b for b in blocks if (b.benchmark, b.method) == (KEY.benchmark, KEY.method))
    assert known.estimate.source == "finished runs"
    assert 70 <= known.estimate.seconds <= 80
    assert known.finished == 1
    assert known.core_seconds == pytest.approx((known.runs - 1) * known.estimate.seconds)


@pytest.mark.parametrize("method", method_ids())
def test_work_of_an_update_is_that_of_the_networks_that_it_trains(method: str) -> None:
    """Counted without arithmetic, against counting while the networks compute."""
    config = resolve_run(load_scale("smoke"), "mt10-rand", method, 1)
    rows, generator = config.sac.batch_per_task, torch.Generator().manual_seed(1)
    actor, critics = (
        make(config.network, config.num_tasks, generator) for make in (build_actor, build_critics)
    )
    alone = dense_multiply_adds(actor, 39) + 2 * dense_multiply_adds(critics, 43)
    together = dense_multiply_adds(actor, 39, rows) + 2 * dense_multiply_adds(critics, 43, rows)
    assert update_work(config) == together
    assert together <= alone, "rows share what is computed once for a task"


def test_plan_says_what_it_does_before_it_takes_its_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = []

    def plan(*_: object) -> list[Block]:
        said.append(capsys.readouterr().out)
        return [block(60, 2)]

    monkeypatch.setattr("d2r.planning.plan.plan_blocks", plan)
    assert main(["plan", "--results", str(tmp_path)]) == 0
    assert said[0].startswith("smoke: times from runs that finished in ")
    capsys.readouterr()
    assert main(["plan", "--results", str(tmp_path), "--json"]) == 0
    assert said[1] == ""
    assert json.loads(capsys.readouterr().out)["runs"] == 2


def published(tmp_path: Path, **changes: object) -> RunConfig:
    """Publish ``KEY`` with changes to its record; returns its configuration."""
    config = resolve_run(load_scale("smoke"), *KEY[1:])
    publish(KEY, config, KEY.folder(tmp_path), "2026-01-01T00:00:00+00:00", config.budget.steps)
    path = KEY.folder(tmp_path) / "run.json"
    path.write_bytes(record_bytes(json.loads(path.read_text()) | changes))
    return config


def progress_of(tmp_path: Path):
    return run_progress(KEY, tmp_path, load_scale("smoke"))


def write_progress(tmp_path: Path, pid: int, key: RunKey = KEY, **changes: object) -> None:
    state = key.state_folder(tmp_path)
    state.mkdir(parents=True, exist_ok=True)
    (state / "lock").write_text(f"{pid} on {os.uname().nodename}\n")
    now = datetime.now(UTC).isoformat()
    progress = {"step": 100, "steps": 400, "updates": 1, "success": 0.25, "started": now, "updated": now}
    (state / "progress.json").write_text(
        json.dumps(progress | {"steps_per_second": 50.0, "pid": pid} | changes)
    )


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--interval", "nan"), "--interval nan"),
        (("--interval", "inf"), "--interval inf"),
        (("--interval", "0"), "--interval 0.0"),
        (("--cores", "0"), "--cores 0"),
        (("--scale", ""), "''"),
    ],
)
def test_status_refuses_what_it_cannot_do(
    words: tuple[str, str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", *words]) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_status_knows_the_scale_of_a_run_that_has_only_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = resolve_run(load_scale("smoke"), "mt10-fixed", "mtsac", 1)
    RunFolders(tmp_path, config).create()
    assert main(["status", "--all", "--results", str(tmp_path)]) == 0
    assert "mt10-fixed/mtsac/seed1" in capsys.readouterr().out


def test_status_tells_waiting_running_and_stopped_runs_apart(tmp_path: Path) -> None:
    assert progress_of(tmp_path).status == "waiting"
    program = "import sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program, "train"], stdin=-1, stdout=-1) as child:
        child.stdout.read(1)
        write_progress(tmp_path, child.pid)
        running = progress_of(tmp_path)
        child.stdin.close()
        child.wait()
    assert (running.status, running.eta_seconds, running.success) == ("running", 6.0, 0.25)
    stopped = progress_of(tmp_path)
    assert (stopped.status, stopped.eta_seconds, stopped.step) == ("stopped", None, 100)


def test_status_of_a_run_on_another_machine_depends_on_when_it_last_spoke(tmp_path: Path) -> None:
    write_progress(tmp_path, 1, host="elsewhere")
    assert progress_of(tmp_path).status == "running"
    long_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    write_progress(tmp_path, 1, host="elsewhere", updated=long_ago)
    assert progress_of(tmp_path).status == "stopped"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "finished"),
        ({"status": "failed"}, "failed"),
        ({"config_hash": "0" * 64}, "outdated"),
        ({"config_hash": "0" * 64, "status": "failed"}, "outdated"),
    ],
)
def test_status_of_a_published_run_is_what_its_record_says(
    tmp_path: Path, changes: dict[str, str], status: str
) -> None:
    published(tmp_path, **changes)
    progress = progress_of(tmp_path)
    assert progress.status == status
    assert progress.success == 0.5


def test_a_run_of_another_configuration_is_still_to_be_trained(tmp_path: Path) -> None:
    now = published(tmp_path)
    assert has_ended(KEY, tmp_path, now)
    ended = progress_of(tmp_path)
    assert ended.rate
    assert remaining_seconds([ended], 1) == 0
    published(tmp_path, config_hash="0" * 64)
    assert not has_ended(KEY, tmp_path, now)
    outdated = progress_of(tmp_path)
    assert outdated.rate
    assert remaining_seconds([outdated], 1) == pytest.approx(outdated.steps / outdated.rate)


def test_pauses_of_an_interrupted_run_are_not_taken_for_its_speed(tmp_path: Path) -> None:
    published(tmp_path, resumes=1)
    assert progress_of(tmp_path).rate is None


@pytest.mark.parametrize("folder", ["/run", "/", "/a/run"])
def test_a_run_at_the_top_of_a_disk_has_its_policy_beside_it(folder: str) -> None:
    assert policy_path(Path(folder)) == Path(folder) / "policy.safetensors"


def test_time_left_is_unknown_where_no_run_of_a_benchmark_has_a_rate(tmp_path: Path) -> None:
    scale = load_scale("smoke")
    runs = [run_progress(key, tmp_path, scale) for key in plan_runs(scale)]
    assert remaining_seconds(runs, 2) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["status", "--results", "nowhere"], "no such folder"),
        (["status", "--scale", "smok"], "did you mean 'smoke'"),
        (["status", "--cores", "0"], "must be positive"),
        (["plan", "--scale", "smok"], "did you mean 'smoke'"),
        (["plan", "--cores", "-1"], "must be at least 1"),
        (["release", "smok"], "did you mean 'smoke'"),
    ],
)
def test_bad_arguments_end_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


def test_status_as_json_has_one_entry_for_each_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "smoke").mkdir()
    assert main(["status", "--results", str(tmp_path / "smoke"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["runs"]) == len(plan_runs(load_scale("smoke")))
    assert {run["status"] for run in document["runs"]} == {"waiting"}


def status_of(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    assert main(["status", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_status_of_a_folder_of_any_name_is_of_the_scale_that_its_runs_name(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    published(tmp_path / "mine")
    beyond = KEY._replace(seed=77)
    write_progress(tmp_path / "mine", 1, key=beyond, run="smoke/x/y/seed77", host="elsewhere")
    document = status_of(capsys, "--results", str(tmp_path / "mine"))
    assert document["scale"] == "smoke"
    assert [run["status"] for run in document["runs"] if run["planned"]].count("finished") == 1
    (other,) = (run for run in document["runs"] if not run["planned"])
    assert (other["method"], other["seed"], other["status"]) == (beyond.method, 77, "running")
    assert main(["status", "--results", str(tmp_path / "mine")]) == 0
    assert f"{beyond.benchmark}/{beyond.method}/seed77 (not in the plan)" in capsys.readouterr().out


def test_status_of_a_run_that_has_not_ended_is_found_by_its_progress(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write_progress(tmp_path, 1, run="lite/mt10-rand/d2r/seed1")
    assert status_of(capsys, "--results", str(tmp_path))["scale"] == "lite"


def test_status_of_a_link_to_another_disk_is_of_the_scale_that_the_link_names(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "lite").symlink_to(tmp_path / "disk")
    assert status_of(capsys, "--results", str(tmp_path / "lite"))["scale"] == "lite"
    assert status_of(capsys, "--results", str(tmp_path / "disk"), "--scale", "paper")["scale"] == "paper"
    assert main(["status", "--results", str(tmp_path / "disk")]) == 2
    assert "give --scale" in capsys.readouterr().err
