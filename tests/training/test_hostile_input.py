"""Files of strangers: each reader says yes or no in one line. What fuzzing found once is asked again here."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from d2r.config import RunConfig, load_scale
from d2r.errors import UserError
from d2r.findings.collect import collect
from d2r.runs.folders import Lock, NotThisRun, RunFolders
from d2r.runs.progress import Progress, last_success, run_progress
from d2r.runs.record import read_run, record_bytes
from d2r.runs.tidy import TidyFile, read_rows
from d2r.training.checkpoint import CheckpointStore
from tests.support.mutations import contents
from tests.support.targets import TARGETS, World, feed, make_world, small_replay

SLOW = {"tables", "artifact", "golden"}
"""Targets that take a good part of a second each; only their regressions are asked here."""


class Bomb:
    """Unpickling this would make a file."""

    def __init__(self, path: str):
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (self.path, "w"))


REGRESSIONS = [
    ("progress", b'{"step": null, "steps": 240}'),
    ("progress", b'{"step": 1e999, "steps": {}, "steps_per_second": NaN, "updated": 1}'),
    ("run record", b'{"schema": 1, "outputs": [], "config": {}}'),
    ("run record", b"[" * 100_000),
    ("release manifest", b'{"schema": 1, "scale": "tiny", "files": {"../../x": {"sha256": "", "bytes": 0}}}'),
    (
        "release manifest",
        b'{"schema": 1, "scale": "tiny", "files": {"/etc/passwd": {"sha256": "", "bytes": 0}}}',
    ),
    ("metrics", b"step,task,quantity,value\n1,reach-v3,success,abc\n"),
    ("timing", b"step,quantity,value\n1,total,abc\n"),
    ("evaluation", b"task,episode,success,return\n"),
    ("checkpoint state", b""),
    ("checkpoint state", b"M"),
    ("golden", b"PK\x03\x04"),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A finished, released run in a project of its own."""
    with make_world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture
def project(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The project of these tests is the world's."""
    monkeypatch.setenv("D2R_ROOT", str(world.project))
    return world


@pytest.mark.parametrize(("name", "content"), REGRESSIONS)
def test_found_before(name: str, content: bytes, world: World) -> None:
    feed(world, TARGETS[name], content)


@pytest.mark.parametrize(
    ("key", "value"), [("scale", []), ("seed", None), ("outputs", []), ("parameters", 3), ("config", {})]
)
def test_a_value_of_another_type_in_a_run_record(key: str, value: object, world: World) -> None:
    results = world.copy_of_run("run.json", record_bytes(world.record() | {key: value}))
    with pytest.raises(UserError):
        collect(results)


def test_a_broken_stream_in_a_golden_file(world: World) -> None:
    file = io.BytesIO()
    np.savez_compressed(file, meta=np.zeros(1000))
    content = bytearray(file.getvalue())
    start = content.index(b"meta.npy") + len(b"meta.npy") + 20
    content[start : start + 10] = b"\xff" * 10
    with pytest.raises(UserError, match=r"not a readable \.npz file"):
        TARGETS["golden"].read(world, bytes(content))


@pytest.mark.parametrize("name", sorted(set(TARGETS) - SLOW))
def test_nothing_but_one_line(name: str, world: World) -> None:
    target = TARGETS[name]
    whole = target.whole(world)
    target.read(world, whole)

    @settings(
        max_examples=15,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(contents(whole, target.form))
    def fuzz(content: bytes) -> None:
        feed(world, target, content)

    fuzz()


@pytest.mark.parametrize("name", ["checkpoint state", "checkpoint replay", "policy", "golden"])
def test_nothing_is_unpickled(name: str, world: World) -> None:
    harm = world.scratch / "harm"
    feed(world, TARGETS[name], pickle.dumps(Bomb(str(harm)), protocol=2))
    assert not harm.exists()


def link_to(victim: Path, place: Path) -> None:
    place.symlink_to(victim)


def fifo_beside(victim: Path, place: Path) -> None:
    del victim
    os.mkfifo(place)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file outside the results."""
    path = tmp_path / "victim"
    path.write_text("precious\n")
    return path


@pytest.mark.parametrize("put", [link_to, fifo_beside])
def test_a_lock_that_is_no_file(put: Callable[[Path, Path], None], victim: Path, tmp_path: Path) -> None:
    put(victim, tmp_path / "lock")
    with pytest.raises(UserError, match=r"lock: cannot be opened \(is .*\); remove it"), Lock(tmp_path):
        pass
    assert victim.read_text() == "precious\n"


@pytest.mark.parametrize("put", [link_to, fifo_beside])
def test_a_tidy_file_that_is_no_file(put: Callable[[Path, Path], None], victim: Path, tmp_path: Path) -> None:
    file = TidyFile(tmp_path, "metrics.csv")
    put(victim, file.path)
    with pytest.raises(UserError, match=r"metrics.csv: is not a regular file; remove it"):
        file.start()
    with pytest.raises(UserError, match=r"metrics.csv: is not a regular file; remove it"):
        file.load_state_dict({"text": ""})
    with pytest.raises(OSError, match=r"symbolic link|not a regular file|No such device"):
        file.append([(1, "", "success", 0.5)])
    assert victim.read_text() == "precious\n"


@pytest.mark.parametrize("name", ["progress.json", ".progress.json"])
def test_progress_is_not_written_through_a_link(name: str, victim: Path, tmp_path: Path) -> None:
    (tmp_path / name).symlink_to(victim)
    Progress(step=3, steps=9).write(tmp_path)
    assert victim.read_text() == "precious\n"
    progress = Progress.read(tmp_path)
    assert progress is not None
    assert progress.step == 3


def test_a_fifo_among_records_is_no_wait(config: RunConfig, tmp_path: Path) -> None:
    folders = RunFolders(tmp_path, config)
    folders.create()
    os.mkfifo(folders.published / "run.json")
    with pytest.raises(NotThisRun, match="not a regular file"):
        folders.examine()
    with pytest.raises(UserError, match=r"run\.json: cannot be read \(.*not a regular file"):
        read_run(folders.published)
    os.mkfifo(folders.published / "evaluation.csv")
    assert last_success(folders.published) is None
    os.mkfifo(folders.state / "lock")
    assert run_progress(folders.key, tmp_path, load_scale("tiny")).status == "waiting"
    os.mkfifo(folders.checkpoints / "checkpoint-000000000010.json")
    state, (note,) = CheckpointStore(folders.checkpoints).load(small_replay().ring(0))
    assert state is None
    assert "is not readable" in note


@pytest.mark.parametrize("name", ["runs.csv", "metrics.csv.bz2"])
def test_a_table_is_not_written_through_a_link(name: str, victim: Path, world: World) -> None:
    results = world.copy_of_run("run.json", record_bytes(world.record()))
    collected = results / "collected"
    collected.mkdir(exist_ok=True)
    (collected / name).unlink(missing_ok=True)
    (collected / name).symlink_to(victim)
    collect(results)
    assert victim.read_text() == "precious\n"
    assert not (collected / name).is_symlink()


@pytest.mark.parametrize("number", ["9" * 400, "-" + "9" * 400, "1e39", "nan", "-inf"])
def test_numbers_that_no_run_records_are_refused(number: str, tmp_path: Path) -> None:
    path = tmp_path / "timing.csv"
    path.write_text(f"step,quantity,value\n10,total,0.5\n20,total,{number}\n")
    with pytest.raises(UserError, match="not a table of step,quantity,value"):
        read_rows(path)
    path.write_text(f"step,quantity,value\n{number},total,0.5\n")
    with pytest.raises(UserError, match="not a table of step,quantity,value"):
        read_rows(path)
