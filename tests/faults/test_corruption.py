"""A thousand random corruptions of checkpoints, published runs and releases: none accepted, none a traceback."""

from __future__ import annotations

import itertools
import random
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from d2r.algorithms.replay import Replay
from d2r.config import RunConfig, load_scale, resolve_run
from d2r.errors import UserError
from d2r.findings.collect import collect
from d2r.networks.registry import build_actor
from d2r.release.publish import release_scale
from d2r.runs.folders import NotThisRun, RunFolders
from d2r.runs.layout import CONFIG, GROWING, OUTPUTS
from d2r.runs.manifest import MANIFEST, check_manifest
from d2r.runs.record import check_output, read_config, read_run
from d2r.runs.tidy import TidyFile
from d2r.training.checkpoint import COPY, CheckpointStore
from d2r.training.loop import Cohort
from d2r.training.run import Machine
from d2r.training.train import train
from d2r.verify import artifact
from tests.support.damage import damage_one
from tests.support.projects import working_in
from tests.support.tiny import BENCHMARK, PATIENCE, Training, assert_equal, make_project, wait_until

pytestmark = pytest.mark.slow
CHECKPOINTS, PUBLISHED, RELEASED = 500, 250, 250


class Interrupted(BaseException):
    """Ends a run in the middle."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A project with a run that was interrupted at step 137, and the same run finished and released."""
    folder = make_project(tmp_path_factory.mktemp("world") / "project")
    with working_in(folder) as patch:
        scale = load_scale("tiny")
        config = resolve_run(scale, BENCHMARK, "mtsac", 1)
        take_step = Cohort.take_step

        def take_step_or_end(run: Cohort) -> None:
            take_step(run)
            if run.step == 137:
                raise Interrupted

        patch.setattr(Cohort, "take_step", take_step_or_end)
        with pytest.raises(Interrupted):
            train(config, folder / "results/tiny", Machine())
        patch.setattr(Cohort, "take_step", take_step)
        interrupted = RunFolders(folder / "results/tiny", config).checkpoints
        shutil.copytree(interrupted, folder / "interrupted")
        assert train(config, folder / "results/tiny", Machine()) == 0
        released = folder / "results/released/tiny"
        release_scale(scale, folder / "results/tiny", released, keep=True)
        yield SimpleNamespace(
            config=config,
            interrupted=folder / "interrupted",
            results=folder / "results/tiny",
            released=released,
        )


def load(folder: Path, config: RunConfig) -> tuple[dict[str, Any] | None, Any, list[str]]:
    """Load a checkpoint as a run does; returns state, replay contents and notes."""
    actor = build_actor(config.network, config.num_tasks, torch.Generator())
    replay = Replay(
        config.budget.replay_capacity, config.protocol.horizon, config.num_tasks, True, actor.route_shape
    )
    state, notes = CheckpointStore(folder).load(replay.ring(0))
    if state is None:
        return None, None, notes
    for name in GROWING:
        file = TidyFile(folder, name)
        if not file.load_state_dict(state["tidy"][name]):
            notes.append(f"{name} was restored")
        assert file.state_dict() == state["tidy"][name]
    return state, replay.ring(0).export(replay.total - len(replay), replay.total), notes


def test_checkpoints(world: Any, tmp_path: Path, counts: Counter[str]) -> None:
    newest = load(world.interrupted, world.config)
    shutil.copytree(world.interrupted, tmp_path / "before")
    max((tmp_path / "before").glob("checkpoint-*.json")).unlink()
    before = load(tmp_path / "before", world.config)
    assert newest[0] is not None
    assert before[0] is not None
    assert (newest[0]["step"], before[0]["step"]) == (130, 120)
    fell_back = mended = started_again = 0
    for seed in range(CHECKPOINTS):
        folder = tmp_path / "damaged"
        shutil.copytree(world.interrupted, folder)
        what = damage_one(folder, random.Random(seed))
        state, held, notes = load(folder, world.config)
        if state is None:
            assert "swapped" in what, "one damaged file never costs both checkpoints"
            assert notes
            started_again += 1
        else:
            assert_equal((state, held), (newest if state["step"] == 130 else before)[:2], what)
            fell_back += state["step"] == 120
            mended += any("restored" in note for note in notes)
            said = bool(notes) or "checkpoint-000000000130.json missing" in what
            assert said or _is_not_needed(what), what
        counts["corruptions detected"] += 1
        shutil.rmtree(folder)
    assert fell_back
    assert mended
    assert started_again < CHECKPOINTS / 20


def _is_not_needed(what: str) -> bool:
    """Whether what was damaged is the checkpoint before, a second copy, the end of a CSV, or told by a name."""
    unread = ("replay-000000000020", CONFIG)  # the name of its folder is the hash of a configuration
    return "000000000120" in what or COPY in what or ".csv" in what or what.startswith(unread)


def check_run(folder: Path) -> None:
    record = read_run(folder)
    read_config(folder, record)
    for name in OUTPUTS:
        check_output(folder, record, name)


def stands(folders: RunFolders) -> bool:
    """Whether a start of the run would take it for done."""
    try:
        return folders.examine() is not None
    except NotThisRun:
        return False


def test_published_runs(world: Any, tmp_path: Path, counts: Counter[str]) -> None:
    for seed in range(PUBLISHED):
        results = tmp_path / "tiny"
        shutil.copytree(world.results / "runs", results / "runs")
        folders = RunFolders(results, world.config)
        assert stands(folders)
        what = damage_one(results, random.Random(seed))
        assert not stands(folders), what
        with pytest.raises(UserError):
            check_run(folders.published)
        if "policy" not in what:
            with pytest.raises(UserError):
                collect(results)
        assert artifact._runs(artifact.Artifact(results, tmp_path)).verdict == "FAIL", what
        counts["corruptions detected"] += 1
        shutil.rmtree(results)


def test_releases(world: Any, tmp_path: Path, counts: Counter[str]) -> None:
    for seed in range(RELEASED):
        released = tmp_path / "released/tiny"
        shutil.copytree(world.released, released)
        assert check_manifest(released) == (6, 0)
        what = damage_one(released, random.Random(seed))
        if "seed1.safetensors missing" in what:  # a policy that is not pulled is no damage, but is said
            assert check_manifest(released) == (5, 1)
        else:
            with pytest.raises(UserError):
                check_manifest(released)
            lines = {}
            for check in (artifact._manifest, artifact._runs):
                try:
                    lines[check] = check(artifact.Artifact(released, tmp_path)).verdict
                except UserError:
                    lines[check] = "FAIL"
            assert "FAIL" in lines.values(), what
        counts["corruptions detected"] += 1
        shutil.rmtree(released)


def fill(path: Path) -> None:
    """Write to a file until there is no room left."""
    with path.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        file.writelines(itertools.repeat(bytes(4096)))


def test_a_full_disk(world: Any, tmp_path: Path) -> None:
    """A real, small file system that fills up while a run writes to it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a tmpfs needs root")
    try:
        training = Training(make_project(tmp_path / "project"), "mtsac")
        (training.project / "results").symlink_to(disk)
        process = training.start()
        wait_until(lambda: training.checkpointed() >= 50)
        filler = disk / "filler"
        fill(filler)
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1, err
        assert "No space left on device" in err
        assert err.count("\n") == 1, err
        stopped_at = training.checkpointed()
        filler.unlink()
        assert f"resumed at step {stopped_at}" in training.finish()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_the_manifest_vouches_for_all(world: Any, tmp_path: Path) -> None:
    """What is added to a release is found as surely as what is changed."""
    shutil.copytree(world.released, tmp_path / "released/tiny")
    (tmp_path / "released/tiny/runs/extra.pkl").write_bytes(b"cos\nsystem\n")
    with pytest.raises(UserError, match=f"is not in {MANIFEST}"):
        check_manifest(tmp_path / "released/tiny")


def test_no_copy_is_made_of_what_is_never_shared(world: Any) -> None:
    copies = {path.name for path in world.interrupted.glob(f"*{COPY}")}
    assert copies == {f"{path.name}{COPY}" for path in world.interrupted.glob("replay-*.safetensors")}
