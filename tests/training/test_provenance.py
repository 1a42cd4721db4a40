"""``run.json`` says where a run's numbers come from, and vouches for itself and for its files."""

from __future__ import annotations

import json
from pathlib import Path

from d2r.config import RunConfig, config_hash
from d2r.config.parse import parse
from d2r.files import sha256
from d2r.runs.record import is_unchanged, record_bytes
from d2r.training.run import Machine
from d2r.training.train import train

STATED = {
    "schema", "scale", "benchmark", "method", "seed", "protocol", "status", "config", "config_hash", "config_schema",
    "steps", "updates", "packages", "commit", "dirty", "image", "cpu", "kernel", "gpu", "threads", "workers", "device",
    "cohort", "execution", "started", "ended", "resumes", "earlier", "parameters", "simulator_exceptions",
    "failure", "outputs", "sha256",
}  # fmt: skip


def test_a_run_states_where_it_comes_from(config: RunConfig, tmp_path: Path) -> None:
    assert train(config, tmp_path, Machine()) == 0
    (path,) = tmp_path.glob("runs/*/*/*/run.json")
    content = path.read_bytes()
    record = json.loads(content)
    assert set(record) == STATED
    assert config_hash(record["config"]) == record["config_hash"]
    assert parse(RunConfig, record["config"], "run.json") == config
    assert record["config_schema"] == 1
    assert record["packages"]["metaworld"] == "3.1.1"
    assert record["packages"]["mujoco"] == "3.3.0"
    assert record["started"] <= record["ended"]
    assert {path.name for path in path.parent.iterdir()} == {"run.json", *record["outputs"]}
    for name, digest in record["outputs"].items():
        assert sha256(path.parent / name) == digest
    assert is_unchanged(content, record)
    assert not is_unchanged(
        content.replace(b'"steps": 60', b'"steps": 61'), json.loads(content) | {"steps": 61}
    )
    assert record_bytes(record) == content
