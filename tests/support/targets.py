"""What reads files that a stranger may have written: each target takes a file's bytes and says no in one line, or yes.

A file that is covered by a hash elsewhere gets the right hash here, so that what lies behind the check is reached.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from d2r.algorithms.replay import Replay
from d2r.config import RunKey, config_hash, load_scale, plan_runs, resolve_run
from d2r.config.benchmarks import suite_tasks
from d2r.config.embeddings import read_task_embeddings
from d2r.errors import UserError
from d2r.findings.collect import collect
from d2r.findings.results import load_results
from d2r.release.publish import SCALES_FILE, release_scale, released_scales
from d2r.report.tables import write_tables
from d2r.runs.folders import NotThisRun, RunFolders
from d2r.runs.layout import CONFIG
from d2r.runs.manifest import MANIFEST, check_manifest
from d2r.runs.progress import run_progress
from d2r.runs.record import read_config, read_run, record_bytes
from d2r.runs.tidy import read_rows
from d2r.training.checkpoint import CheckpointStore, Manifest, Segment
from d2r.training.run import Machine
from d2r.training.train import train
from d2r.verify.artifact import verify_artifact
from d2r.verify.golden import verify_file
from d2r.verify.policy import load_actor
from tests.support.projects import forget_configuration, working_in
from tests.support.tiny import BENCHMARK, PROJECT, make_project

METHOD = "mtsac"


@dataclass
class World:
    """A finished, released run in a project of its own, and whole files of every kind."""

    project: Path
    scratch: Path

    def __post_init__(self) -> None:
        self.key = RunKey("tiny", BENCHMARK, METHOD, 1)
        self.results = self.project / "results/tiny"
        self.run = self.key.folder(self.results)
        self.released = self.project / "results/released/tiny"
        (self.state,) = (path.parent for path in self.key.state_folder(self.results).glob("*/metrics.csv"))

    def record(self) -> dict[str, Any]:
        return dict(json.loads((self.run / "run.json").read_bytes()))

    def copy_of_run(self, name: str, content: bytes) -> Path:
        """A copy of the results in which the run has another file, with its right hash; returns the results."""
        results = self.scratch / "tiny"
        shutil.rmtree(results, ignore_errors=True)
        folder = self.key.folder(results)
        shutil.copytree(self.run, folder)
        (folder / name).write_bytes(content)
        record = self.record()
        if name != "run.json":
            record["outputs"][name] = hashlib.sha256(content).hexdigest()
            (folder / "run.json").write_bytes(record_bytes(record))
        return results


@contextlib.contextmanager
def make_world(folder: Path) -> Iterator[World]:
    """Train and release a run below ``folder``, whose project is the current one meanwhile."""
    project = make_project(folder / "project")
    for name in ("requirements-cpu.lock", "requirements-cuda.lock"):
        shutil.copy(PROJECT / name, project)
    scale = project / "config/scales/tiny.yaml"
    scale.write_text(scale.read_text().replace("steps: 240", "steps: 60"))
    with working_in(project):
        assert (
            train(resolve_run(load_scale("tiny"), BENCHMARK, METHOD, 1), project / "results/tiny", Machine())
            == 0
        )
        release_scale(
            load_scale("tiny"), project / "results/tiny", project / "results/released/tiny", keep=True
        )
        scratch = folder / "scratch"
        scratch.mkdir()
        yield World(project, scratch)


@contextlib.contextmanager
def replaced(path: Path, content: bytes) -> Iterator[None]:
    """Another content for a file of the project, for a while."""
    whole = path.read_bytes()
    path.write_bytes(content)
    forget_configuration()
    try:
        yield
    finally:
        path.write_bytes(whole)
        forget_configuration()


def config_file(kind: str, name: str) -> tuple[Callable[[World], bytes], Callable[[World, bytes], None]]:
    def whole(world: World) -> bytes:
        return (world.project / f"config/{kind}/{name}.yaml").read_bytes()

    def read(world: World, content: bytes) -> None:
        with replaced(world.project / f"config/{kind}/{name}.yaml", content):
            scale = load_scale("tiny")
            plan_runs(scale)
            resolve_run(scale, BENCHMARK, METHOD, 1)

    return whole, read


def whole_embeddings(world: World) -> bytes:
    from d2r.config.benchmarks import load_benchmark

    names = load_benchmark(BENCHMARK).tasks
    return json.dumps({name.removesuffix("-v3"): [0.5, -1.0] for name in names}).encode()


def read_embeddings(world: World, content: bytes) -> None:
    path = world.scratch / "embeddings.json"
    path.write_bytes(content)
    read_task_embeddings(path, suite_tasks("mt10"))


def read_record_of_run(world: World, content: bytes) -> None:
    """``run.json`` as it is, and with the hashes that would make it believed."""
    contents = [content]
    with contextlib.suppress(ValueError, RecursionError, AttributeError, TypeError, KeyError):
        record = json.loads(content)
        contents.append(record_bytes(record))
        contents.append(record_bytes(record | {"config_hash": config_hash(record["config"])}))
    for version in contents:
        results = world.copy_of_run("run.json", version)
        config = resolve_run(load_scale("tiny"), BENCHMARK, METHOD, 1)
        with contextlib.suppress(NotThisRun):
            RunFolders(results, config).examine()
        with contextlib.suppress(UserError):
            folder = world.key.folder(results)
            read_config(folder, read_run(folder))
        with contextlib.suppress(UserError):
            collect(results)
        with contextlib.suppress(UserError):
            run_progress(world.key, results, load_scale("tiny"))


def read_configuration_of_state(world: World, content: bytes) -> None:
    """What a folder of training state is of, as it is and under a right hash."""
    contents = [content]
    with contextlib.suppress(ValueError, RecursionError, TypeError, KeyError):
        about = json.loads(content)
        contents.append(json.dumps(about | {"config_hash": config_hash(about["config"])}).encode())
    results = world.scratch / "stated"
    folder = world.key.state_folder(results) / "elsewhere"
    folder.mkdir(parents=True, exist_ok=True)
    for version in contents:
        (folder / CONFIG).write_bytes(version)
        RunFolders(results, resolve_run(load_scale("tiny"), BENCHMARK, METHOD, 1))


def read_progress(world: World, content: bytes) -> None:
    results = world.scratch / "waiting"
    state = world.key.state_folder(results)
    state.mkdir(parents=True, exist_ok=True)
    (state / "progress.json").write_bytes(content)
    run_progress(world.key, results, load_scale("tiny"))


def read_release(world: World, content: bytes) -> None:
    with replaced(world.released / MANIFEST, content):
        check_manifest(world.released)


def read_released_scales(world: World, content: bytes) -> None:
    path = world.scratch / SCALES_FILE
    path.write_bytes(content)
    released_scales(path)


def table(name: str) -> tuple[Callable[[World], bytes], Callable[[World, bytes], None]]:
    def whole(world: World) -> bytes:
        return (world.run / name).read_bytes()

    def read(world: World, content: bytes) -> None:
        results = world.copy_of_run(name, content)
        with contextlib.suppress(UserError):
            read_rows(world.key.folder(results) / name)
        collect(results)
        load_results(results)

    return whole, read


def read_collected(world: World, content: bytes) -> None:
    """Tables from metrics that a stranger wrote; slow, so it is fuzzed through one file."""
    results = world.copy_of_run("evaluation.csv", content)
    collect(results)
    write_tables(load_results(results))


def whole_policy(world: World) -> bytes:
    return (world.run / "policy.safetensors").read_bytes()


def read_policy(world: World, content: bytes) -> None:
    results = world.copy_of_run("policy.safetensors", content)
    folder = world.key.folder(results)
    record = read_run(folder)
    load_actor(folder, record, read_config(folder, record))


def small_replay() -> Replay:
    return Replay(40, 20, 10, True, None)


def checkpoint_folder(world: World) -> Path:
    folder = world.scratch / "checkpoints"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def whole_manifest(world: World) -> bytes:
    names = {"state-000000000020-abc.pt": "0" * 64, "replay-0-20-abc.safetensors": "1" * 64}
    return Manifest(20, *[next(iter(names)), [Segment(0, 20, [*names][1])], names, {}]).to_bytes()


def read_manifest(world: World, content: bytes) -> None:
    folder = checkpoint_folder(world)
    (folder / "checkpoint-000000000020.json").write_bytes(content)
    assert CheckpointStore(folder).load(small_replay().ring(0))[0] is None


def load_checkpoint(world: World, state: bytes, segment: bytes) -> None:
    folder = checkpoint_folder(world)
    files = {"state-20.pt": state, "replay-0-20.safetensors": segment}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    manifest = Manifest(20, "state-20.pt", [Segment(0, 20, "replay-0-20.safetensors")], hashes, {})
    (folder / "checkpoint-000000000020.json").write_bytes(manifest.to_bytes())
    CheckpointStore(folder).load(small_replay().ring(0))


def whole_state(world: World) -> bytes:
    return next(iter(world.state.glob("state-*.pt"))).read_bytes()


def whole_segment(world: World) -> bytes:
    replay = small_replay()
    replay.begin_episode(torch.zeros(1, 10, 39))
    for _ in range(20):
        replay.add(torch.zeros(1, 10, 4), torch.zeros(1, 10), torch.zeros(1, 10, 39), None)
    return save(replay.ring(0).export(0, 20))


def whole_golden(world: World) -> bytes:
    return (PROJECT / "tests/golden/d2r_update.npz").read_bytes()


def read_golden(world: World, content: bytes) -> None:
    path = world.scratch / "golden.npz"
    path.write_bytes(content)
    verify_file(path)


def read_artifact(world: World, content: bytes) -> None:
    """A whole checklist over a folder in which one file is hostile."""
    results = world.copy_of_run("routes.csv", content)
    verify_artifact(results, world.project)


@dataclass(frozen=True)
class Target:
    """A reader, a whole file for it, and whether that is structured text."""

    whole: Callable[[World], bytes]
    read: Callable[[World, bytes], None]
    form: str


TARGETS = {
    "scale": Target(*config_file("scales", "tiny"), "yaml"),
    "method": Target(*config_file("methods", METHOD), "yaml"),
    "protocol": Target(*config_file("protocols", "tiny"), "yaml"),
    "embeddings": Target(whole_embeddings, read_embeddings, "json"),
    "run record": Target(lambda world: (world.run / "run.json").read_bytes(), read_record_of_run, "json"),
    "progress": Target(
        lambda world: (world.key.state_folder(world.results) / "progress.json").read_bytes(),
        read_progress,
        "json",
    ),
    "configuration of a state": Target(
        lambda world: (world.state / CONFIG).read_bytes(), read_configuration_of_state, "json"
    ),
    "release manifest": Target(lambda world: (world.released / MANIFEST).read_bytes(), read_release, "json"),
    "released scales": Target(
        lambda world: (world.released.parent / SCALES_FILE).read_bytes(), read_released_scales, "yaml"
    ),
    "metrics": Target(*table("metrics.csv"), "csv"),
    "evaluation": Target(*table("evaluation.csv"), "csv"),
    "timing": Target(*table("timing.csv"), "csv"),
    "routes": Target(*table("routes.csv"), "csv"),
    "tables": Target(lambda world: (world.run / "evaluation.csv").read_bytes(), read_collected, "csv"),
    "policy": Target(whole_policy, read_policy, "binary"),
    "checkpoint manifest": Target(whole_manifest, read_manifest, "json"),
    "checkpoint state": Target(
        whole_state, lambda world, content: load_checkpoint(world, content, whole_segment(world)), "binary"
    ),
    "checkpoint replay": Target(
        whole_segment, lambda world, content: load_checkpoint(world, whole_state(world), content), "binary"
    ),
    "golden": Target(whole_golden, read_golden, "binary"),
    "artifact": Target(lambda world: (world.run / "routes.csv").read_bytes(), read_artifact, "csv"),
}


def feed(world: World, target: Target, content: bytes) -> None:
    """Give ``content`` to a target; anything but success and a refusal in one line propagates."""
    with contextlib.suppress(UserError):
        target.read(world, content)
