"""Files of strangers: each reader says yes or no in one line. What fuzzing found once is asked again here."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from d2r.analysis.collect import collect
from d2r.errors import UserError
from d2r.records import record_bytes
from tests.faults.mutations import contents
from tests.faults.targets import TARGETS, World, feed, make_world

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
        deadline=None,
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
