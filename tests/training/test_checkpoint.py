"""A checkpoint is whole or it is not there: after a crash at any system call, and after damage to any of its files."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from d2r.algorithms.replay import Replay
from d2r.training.checkpoint import COPY, CheckpointStore, Damaged, Manifest
from tests.support.damage import damage_one
from tests.support.tiny import assert_equal

HORIZON, TASKS = 4, 2
SYSTEM_CALLS = {"open", "os.rename", "os.remove", "os.chmod"}


def make_replay() -> Replay:
    return Replay(12, HORIZON, TASKS, True, (3, 2))


def add(replay: Replay, count: int) -> None:
    """Add transitions that follow from how many there are already."""
    for _ in range(count):
        generator = torch.Generator().manual_seed(replay.total)
        if replay.total % HORIZON == 0:
            replay.begin_episode(torch.rand(1, TASKS, 39, generator=generator))
        action, reward = (
            torch.rand(1, TASKS, 4, generator=generator),
            torch.rand(1, TASKS, generator=generator),
        )
        routes = torch.randint(3, (1, TASKS, 3, 2), generator=generator, dtype=torch.uint8)
        replay.add(action, reward, torch.rand(1, TASKS, 39, generator=generator), routes)


def contents(replay: Replay) -> dict[str, Any]:
    """What can still be drawn from the replay, and where it goes on."""
    held = replay.ring(0).export(max(0, replay.total - len(replay)), replay.total) if replay.total else {}
    return {"total": replay.total, **held}


def state_at(step: int) -> dict[str, Any]:
    return {"step": step, "numbers": torch.arange(step, step + 5)}


def save_until(store: CheckpointStore, replay: Replay, last: int) -> None:
    """Checkpoint after every second transition, as a run would."""
    for step in range(replay.total, last + 1, 2):
        add(replay, step - replay.total)
        store.save(step, state_at(step), replay.ring(0))


@pytest.mark.parametrize("steps", [0, 2, 8, 12, 14, 30, 52])
def test_what_was_saved_comes_back(tmp_path: Path, steps: int) -> None:
    replay = make_replay()
    save_until(CheckpointStore(tmp_path), replay, steps)
    restored = make_replay()
    state, notes = CheckpointStore(tmp_path).load(restored.ring(0))
    assert notes == []
    assert_equal(state, state_at(steps))
    assert_equal(contents(restored), contents(replay))


def test_a_checkpoint_writes_only_what_is_new(tmp_path: Path) -> None:
    store, replay = CheckpointStore(tmp_path), make_replay()
    save_until(store, replay, 8)
    before = {path.name: path.stat().st_ino for path in tmp_path.glob("replay-*")}
    save_until(store, replay, 10)
    after = {path.name: path.stat().st_ino for path in tmp_path.glob("replay-*")}
    assert before.items() <= after.items()
    assert len(after) - len(before) == 2  # one segment and its copy


def test_two_checkpoints_are_kept_and_nothing_else(tmp_path: Path) -> None:
    store, replay = CheckpointStore(tmp_path), make_replay()
    (tmp_path / ".state-left-by-a-killed-process").touch()
    save_until(store, replay, 40)
    assert sorted(p.name for p in tmp_path.glob("checkpoint-*")) == [
        f"checkpoint-{step:012d}.json" for step in (38, 40)
    ]
    assert len(list(tmp_path.glob("state-*"))) == 2
    assert not list(tmp_path.glob(".*"))
    segments = list(tmp_path.glob("replay-*.safetensors"))
    assert min(int(path.name.split("-")[2]) for path in segments) > 38 - replay.capacity
    store.keep_last()
    assert [p.name for p in tmp_path.glob("checkpoint-*")] == ["checkpoint-000000000040.json"]


def crashes_at(call: int, folder: Path) -> bool:
    """Fork a process that goes on from ``folder`` and is killed at a system call; False if it had fewer of them."""
    pid = os.fork()
    if pid == 0:
        left = call

        def count(event: str, arguments: Any) -> None:
            nonlocal left
            if event in SYSTEM_CALLS:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        store, replay = CheckpointStore(folder), make_replay()
        store.load(replay.ring(0))
        sys.addaudithook(count)
        save_until(store, replay, replay.total + 4)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_crash_at_any_system_call_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    save_until(CheckpointStore(tmp_path / "before"), make_replay(), 14)
    call = 0
    while True:
        folder = tmp_path / str(call)
        shutil.copytree(tmp_path / "before", folder)
        if not crashes_at(call, folder):
            break
        replay, undisturbed = make_replay(), make_replay()
        state, notes = CheckpointStore(folder).load(replay.ring(0))
        assert state is not None
        assert state["step"] in (14, 16, 18)
        assert notes == [], "an unfinished write is no damage"
        assert_equal(state, state_at(state["step"]))
        add(undisturbed, state["step"])
        assert_equal(contents(replay), contents(undisturbed))
        call += 1
    assert call > 20


def test_damage_is_found_and_passed_over(tmp_path: Path) -> None:
    save_until(CheckpointStore(tmp_path / "whole"), make_replay(), 20)
    for seed in range(60):
        folder = tmp_path / str(seed)
        shutil.copytree(tmp_path / "whole", folder)
        what = damage_one(folder, random.Random(seed))
        replay, undisturbed = make_replay(), make_replay()
        state, notes = CheckpointStore(folder).load(replay.ring(0))
        assert state is not None, what
        assert state["step"] == 20 or notes or "missing" in what, what
        assert_equal(state, state_at(state["step"]), what)
        add(undisturbed, state["step"])
        assert_equal(contents(replay), contents(undisturbed), what)


def test_a_damaged_segment_is_restored_from_its_copy(tmp_path: Path) -> None:
    save_until(CheckpointStore(tmp_path), make_replay(), 20)
    segment = max(tmp_path.glob("replay-*.safetensors"))
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-1] + b"!")
    state, notes = CheckpointStore(tmp_path).load(make_replay().ring(0))
    assert state is not None
    assert state["step"] == 20
    assert "restored from its copy" in notes[0]
    assert segment.read_bytes() == whole


def test_damage_to_a_segment_and_its_copy_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    save_until(CheckpointStore(tmp_path), make_replay(), 20)
    newest = max(tmp_path.glob("replay-*.safetensors"))
    for path in (newest, newest.with_name(newest.name + COPY)):
        path.write_bytes(b"")
    replay = make_replay()
    state, notes = CheckpointStore(tmp_path).load(replay.ring(0))
    assert state is not None
    assert (state["step"], replay.total) == (18, 18)
    assert "000000000020 is damaged and was passed over" in notes[0]


def test_a_manifest_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "secret.pt").write_bytes(b"x")
    manifest = Manifest(2, "../secret.pt", [], {"../secret.pt": "0" * 64}, {})
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "checkpoint-000000000002.json").write_bytes(manifest.to_bytes())
    with pytest.raises(Damaged, match="outside its folder"):
        Manifest.read(folder / "checkpoint-000000000002.json")
    assert CheckpointStore(folder).load(make_replay().ring(0))[0] is None


@pytest.mark.parametrize("name", ["state\0.pt", "state\ud800.pt"])
def test_a_manifest_that_names_what_no_file_can_be_called(name: str, tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    save_until(store, make_replay(), 4)
    newest = max(tmp_path.glob("checkpoint-*.json"))
    manifest = Manifest.read(newest)
    newest.write_bytes(
        manifest._replace(state=name, files={name: "0" * 64}, sizes={}, segments=[]).to_bytes()
    )
    state, (note,) = CheckpointStore(tmp_path).load(make_replay().ring(0))
    assert state is not None
    assert state["step"] == 2
    assert "000000000004 is damaged and was passed over" in note
