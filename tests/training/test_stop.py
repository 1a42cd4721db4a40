"""Signals, locks and full disks: a run ends with one clear line, and the same command goes on."""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from d2r import files
from d2r.config import RunConfig
from d2r.envs.workers import WorkerDied
from d2r.errors import RunFailure, UserError
from d2r.runs.folders import Lock, NotThisRun, RunFolders
from d2r.runs.layout import OUTPUTS
from d2r.runs.record import record_bytes
from d2r.training.loop import Cohort
from d2r.training.run import Machine
from d2r.training.signals import ECHO_SECONDS, StopRequest
from d2r.training.train import train
from tests.support.records import record_of


@pytest.fixture
def not_under_nohup() -> Iterator[None]:
    """SIGHUP as a terminal's programs have it, whatever started the tests."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def signal_at(monkeypatch: pytest.MonkeyPatch, step: int, number: int) -> None:
    """Let a run get a signal when it has taken ``step`` steps."""
    take_step = Cohort.take_step

    def take_step_and_signal(run: Cohort) -> None:
        take_step(run)
        if run.step == step:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(Cohort, "take_step", take_step_and_signal)


def checkpoints(results: Path) -> list[int]:
    return sorted(
        int(path.stem.partition("-")[2]) for path in results.glob("state/*/*/*/*/checkpoint-*.json")
    )


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_a_run_at_the_next_step_with_a_checkpoint(
    number: int,
    status: int,
    config: RunConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    not_under_nohup: None,
) -> None:
    signal_at(monkeypatch, 23, number)
    assert train(config, tmp_path, Machine()) == status
    assert checkpoints(tmp_path)[-1] == 23
    assert train(config, tmp_path, Machine()) == 0
    (record,) = tmp_path.glob("runs/*/*/*/run.json")
    assert json.loads(record.read_bytes())["resumes"] == 1
    rows = [row.split(",") for row in (record.parent / "timing.csv").read_text().splitlines()]
    first, second = (float(value) for step, part, value in rows if (step, part) == ("23", "total"))
    assert first > 0, "time up to the stop"
    assert second == 0, "a new process begins"


def test_a_signal_that_is_ignored_stays_so() -> None:
    """What nohup sets for SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_during_an_evaluation_leaves_it_for_the_next_start(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal_at(monkeypatch, 30, signal.SIGTERM)
    assert train(config, tmp_path, Machine()) == 143
    (metrics,) = tmp_path.glob("state/*/*/*/*/metrics.csv")
    assert "\n30," not in metrics.read_text()
    assert train(config, tmp_path, Machine()) == 0
    assert "\n30," in metrics.read_text()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_second_signal_ends_the_process_at_once() -> None:
    pid = os.fork()
    if pid == 0:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            if stop.signal != signal.SIGTERM:
                os._exit(1)
            os.kill(os.getpid(), signal.SIGTERM)  # an echo of the first
            time.sleep(ECHO_SECONDS + 0.1)
            if stop.signal != signal.SIGTERM:
                os._exit(1)
            os.kill(os.getpid(), signal.SIGTERM)
        os._exit(2)
    status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGTERM


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_only_one_process_works_on_a_run_and_a_dead_one_does_not_count(tmp_path: Path) -> None:
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        with Lock(tmp_path):
            os.write(tell, b".")
            signal.pause()
    os.read(ready, 1)
    with pytest.raises(UserError, match=f"process {pid} on .* is working on this run"), Lock(tmp_path):
        pass
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with Lock(tmp_path):
        assert (tmp_path / "lock").read_text().startswith(f"{os.getpid()} on")


def test_a_full_disk_ends_the_run_with_one_line_and_the_last_checkpoint(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync, writes = os.fsync, iter(range(10**6))

    def fail_later(descriptor: int) -> None:
        if next(writes) > 30:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with monkeypatch.context() as full:
        full.setattr(files.os, "fsync", fail_later)
        with pytest.raises(RunFailure, match="No space left on device"):
            train(config, tmp_path, Machine())
    stopped_at = checkpoints(tmp_path)
    assert stopped_at
    signal_at(monkeypatch, stopped_at[-1] + 1, signal.SIGTERM)
    assert train(config, tmp_path, Machine()) == 143, "it goes on from the last checkpoint"
    assert checkpoints(tmp_path)[-1] == stopped_at[-1] + 1


def test_a_dead_worker_is_one_line(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(run: Cohort) -> None:
        raise WorkerDied("environment worker 1 died")

    monkeypatch.setattr(Cohort, "take_step", die)
    with pytest.raises(RunFailure, match="environment worker 1 died"):
        train(config, tmp_path, Machine())


@pytest.fixture
def published(config: RunConfig, tmp_path: Path) -> Path:
    """The folder of a run that has finished."""
    assert train(config, tmp_path, Machine()) == 0
    return RunFolders(tmp_path, config).published


def changed_record(folder: Path, **changes: object) -> None:
    """Give a run's record other values, under a right hash."""
    record = json.loads((folder / "run.json").read_bytes()) | changes
    (folder / "run.json").write_bytes(record_bytes({k: v for k, v in record.items() if v is not None}))


def test_what_is_replaced_is_said(
    published: Path, config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed_record(published, status=None)
    with pytest.raises(NotThisRun, match="is no record of a run"):
        RunFolders(tmp_path, config).examine()
    (published / "run.json").write_text('{"status": "finished", "config_hash": "0"}')
    assert train(config, tmp_path, Machine()) == 0
    said = capsys.readouterr().err
    assert f"replaces what is in {published}: run.json does not have the sha256 that it states" in said
    (published / "metrics.csv").write_text("")
    with pytest.raises(NotThisRun, match=r"metrics\.csv does not have the sha256 that run\.json states"):
        RunFolders(tmp_path, config).examine()


def test_other_steps_do_not_replace_a_finished_run(
    published: Path, config: RunConfig, tmp_path: Path
) -> None:
    before = (published / "run.json").read_bytes()
    shorter = config.model_copy(update={"budget": config.budget.model_copy(update={"steps": 30})})
    with pytest.raises(UserError, match="choose another --results") as refused:
        train(shorter, tmp_path, Machine(), overridden=True)
    assert refused.value.status == 2
    assert (published / "run.json").read_bytes() == before


@pytest.mark.parametrize("name", ["metrics.csv", "run.json", "policy.safetensors"])
def test_a_folder_in_the_place_of_an_output(name: str, config: RunConfig, tmp_path: Path) -> None:
    (RunFolders(tmp_path, config).published / name).mkdir(parents=True)
    with pytest.raises(UserError, match=f"{name}: is a folder where a file of the run belongs; move it away"):
        train(config, tmp_path, Machine())


def test_a_disk_that_fills_while_a_run_is_published_keeps_the_record(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = RunFolders(tmp_path, config)
    folders.create()
    outputs = dict.fromkeys(OUTPUTS, b"x")
    record = record_of(config, outputs)
    folders.publish(outputs, record)
    before = (folders.published / "run.json").read_bytes()

    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        folders.publish(outputs, record.model_copy(update={"steps": 1}))
    assert (folders.published / "run.json").read_bytes() == before
    assert sorted(path.name for path in folders.published.iterdir()) == sorted([*OUTPUTS, "run.json"])


def test_what_a_killed_process_left_of_publishing_is_swept_at_the_next_start(
    config: RunConfig, tmp_path: Path
) -> None:
    """SIGKILL while all outputs are on disk but for their names, which comes as often as any other moment."""
    folders = RunFolders(tmp_path, config)
    folders.create()
    outputs = dict.fromkeys(OUTPUTS, b"x")
    child = os.fork()
    if child == 0:
        try:
            files.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
            folders.publish(outputs, record_of(config, outputs))
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert len(list(folders.published.glob(".*"))) == len(OUTPUTS) + 1
    assert train(config, tmp_path, Machine()) == 0
    assert sorted(path.name for path in folders.published.iterdir()) == sorted([*OUTPUTS, "run.json"])


def test_an_error_names_its_file(config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(run: Cohort) -> None:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), "/somewhere/metrics.csv")

    monkeypatch.setattr(Cohort, "take_step", fail)
    with pytest.raises(RunFailure, match=r"^/somewhere/metrics\.csv: .*Permission denied.*mend this"):
        train(config, tmp_path, Machine())
