"""What DVC cannot do is said in its own words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from d2r.errors import UserError
from d2r.release.remote import store_policies

PIPELINE = """\
stages:
  train:
    foreach: [tiny]
    do: {cmd: "true", frozen: true, outs: ["policies-${item}"]}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with policies to store; its remote is ``remote``, a folder beside ``.dvc``."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    root = tmp_path / "project"
    (root / "workflow/train/policies-tiny").mkdir(parents=True)
    (root / "workflow/train/policies-tiny/seed1.safetensors").write_text("a policy")
    (root / "workflow/train/dvc.yaml").write_text(PIPELINE)
    (root / ".dvc").mkdir()
    (root / ".dvc/config").write_text(
        "[core]\n    analytics = false\n    remote = there\n['remote \"there\"']\n    url = ../remote\n"
    )
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    return root


def test_policies_are_stored_in_the_remote(project: Path) -> None:
    store_policies(project, "tiny")
    stored = [path.read_text() for path in (project / "remote").rglob("*") if path.is_file()]
    assert "a policy" in stored


def test_a_remote_that_cannot_be_written_is_named_with_the_cause(project: Path) -> None:
    (project / "remote").write_text("no folder")
    with pytest.raises(UserError, match=r"dvc push .*: .*Not a directory: '.*/remote/") as error:
        store_policies(project, "tiny")
    assert "troubles" not in str(error.value)


def test_a_pipeline_that_dvc_cannot_read_is_said(project: Path) -> None:
    (project / "workflow/train/dvc.yaml").write_text("stages: [")
    with pytest.raises(UserError, match=r"dvc commit .*dvc\.yaml' is invalid"):
        store_policies(project, "tiny")
