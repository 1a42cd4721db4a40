"""``run.json`` says where a run's numbers come from, and vouches for itself and for its files."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from d2r.config import RunConfig, config_hash
from d2r.config.load import parse
from d2r.files import sha256
from d2r.records import is_unchanged, record_bytes
from d2r.training import provenance
from d2r.training.loop import Machine
from d2r.training.train import train

STATED = {
    "schema", "scale", "benchmark", "method", "seed", "protocol", "status", "config", "config_hash", "config_schema",
    "steps", "updates", "packages", "commit", "dirty", "image", "cpu", "kernel", "gpu", "threads", "workers", "device",
    "execution", "started", "ended", "resumes", "earlier", "parameters", "simulator_exceptions",
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


def test_a_changed_checkout_is_called_dirty(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True, capture_output=True)

    git("init", "--quiet")
    (tmp_path / "d2r").mkdir()
    (tmp_path / "d2r/code.py").write_text("x = 1\n")
    git("add", "d2r")
    git("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "--message", "x")
    clean = provenance.source_state(tmp_path)
    assert clean["dirty"] is False
    assert len(clean["commit"]) == 40
    (tmp_path / "config/methods").mkdir(parents=True)
    (tmp_path / "config/methods/mine.yaml").write_text("id: mine\n")
    assert provenance.source_state(tmp_path) == clean | {"dirty": True}, "the commit does not hold it"
    (tmp_path / "config/methods/mine.yaml").unlink()
    (tmp_path / "d2r/code.py").write_text("x = 2\n")
    assert provenance.source_state(tmp_path) == clean | {"dirty": True}
    assert provenance.source_state(tmp_path / "d2r")["commit"] is None, (
        "a project in somebody else's repository"
    )


def test_an_image_states_the_commit_it_was_built_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("D2R_COMMIT", "abc")
    monkeypatch.setenv("D2R_IMAGE", "sha256:def")
    assert provenance.source_state(tmp_path) == {"commit": "abc", "dirty": None, "image": "sha256:def"}
    monkeypatch.setenv("D2R_COMMIT", "abc-dirty")
    assert provenance.source_state(tmp_path) == {"commit": "abc", "dirty": True, "image": "sha256:def"}
