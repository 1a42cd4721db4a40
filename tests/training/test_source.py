"""The commit that a run states is that of the code that ran, whatever git's settings and the current folder are."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from d2r.config import RunConfig
from d2r.training.run import Machine
from d2r.training.source import CODE, UNKNOWN, remarks, source_state
from d2r.training.train import train

COMMIT = ("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "--message", "x")


@pytest.fixture(autouse=True)
def no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests may themselves run in an image."""
    monkeypatch.delenv("D2R_COMMIT", raising=False)
    monkeypatch.delenv("D2R_IMAGE", raising=False)


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def make_checkout(folder: Path, text: str = "x = 1\n") -> Path:
    (folder / "d2r/sub").mkdir(parents=True)
    (folder / "config/methods").mkdir(parents=True)
    (folder / "d2r/sub/code with \u00e9 and spaces.py").write_text(text)
    (folder / "config/methods/ours.yaml").write_text("id: ours\n")
    (folder / "notes.txt").write_text("no source\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, *COMMIT)
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A clean checkout with a source, a method and what is neither."""
    return make_checkout(tmp_path / "checkout")


def test_a_clean_checkout_states_its_commit(checkout: Path) -> None:
    (checkout / "d2r/__pycache__").mkdir()
    (checkout / "d2r/__pycache__/code.pyc").write_bytes(b"x")
    (checkout / "config/methods/.#ours.yaml").symlink_to("an editor's lock")
    (checkout / "notes.txt").write_text("changed\n")
    (checkout / "d2r/sub/code with \u00e9 and spaces.py").touch()
    assert source_state(checkout, checkout) == {
        "commit": git(checkout, "rev-parse", "HEAD"),
        "dirty": False,
        "image": None,
    }
    assert remarks(checkout, checkout) == []
    assert source_state(checkout, checkout / "d2r")["commit"] is None, (
        "a project in somebody else's repository"
    )


def change(checkout: Path) -> None:
    (checkout / "d2r/sub/code with \u00e9 and spaces.py").write_text("x = 2\n")


def change_and_stage(checkout: Path) -> None:
    change(checkout)
    git(checkout, "add", ".")


def change_unseen(checkout: Path) -> None:
    for flag in ("--assume-unchanged", "--skip-worktree"):
        git(checkout, "update-index", flag, "d2r/sub/code with \u00e9 and spaces.py")
    change(checkout)


def add(checkout: Path) -> None:
    (checkout / "config/methods/mine.yaml").write_text("id: mine\n")


def add_unseen(checkout: Path) -> None:
    git(checkout, "config", "status.showUntrackedFiles", "no")
    add(checkout)


def add_ignored(checkout: Path) -> None:
    (checkout / "ignored").write_text("*.yaml\n")
    git(checkout, "config", "core.excludesFile", str(checkout / "ignored"))
    (checkout / ".git/info/exclude").write_text("mine.yaml\n")
    add(checkout)


def remove(checkout: Path) -> None:
    (checkout / "config/methods/ours.yaml").unlink()


@pytest.mark.parametrize(
    "spoil", [change, change_and_stage, change_unseen, add, add_unseen, add_ignored, remove]
)
def test_a_changed_checkout_is_called_dirty(spoil: Callable[[Path], None], checkout: Path) -> None:
    clean = source_state(checkout, checkout)
    spoil(checkout)
    assert source_state(checkout, checkout) == clean | {"dirty": True}


def test_names_are_those_of_sha256_where_the_repository_has_it(checkout: Path) -> None:
    (checkout / ".git").rename(checkout / "sha1")
    git(checkout, "init", "--quiet", "--object-format=sha256")
    git(checkout, "add", "d2r", "config")
    git(checkout, *COMMIT)
    assert len(str(source_state(checkout, checkout)["commit"])) == 64
    assert source_state(checkout, checkout)["dirty"] is False


def test_a_repository_that_the_environment_names_is_not_asked(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a hook of another repository's."""
    clean = source_state(checkout, checkout)
    other = make_checkout(tmp_path / "other", "x = 3\n")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert source_state(checkout, checkout) == clean


def give_away(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    for level in ("GLOBAL", "SYSTEM"):
        monkeypatch.setenv(f"GIT_CONFIG_{level}", os.devnull)  # may trust any owner
    for path in (checkout, *checkout.rglob("*")):
        os.chown(path, 12345, 12345)
    return "detected dubious ownership"


def hide_git(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PATH", str(checkout))
    return "git: No such file or directory"


def break_the_repository(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (checkout / ".git/HEAD").unlink()
    make_checkout(checkout.parent / "elsewhere")
    (checkout.parent / "elsewhere/.git").rename(checkout.parent / ".git")
    return "not a git repository"


@pytest.mark.parametrize("spoil", [give_away, hide_git, break_the_repository])
def test_what_git_does_not_tell_is_unknown_and_said(
    spoil: Callable[[Path, pytest.MonkeyPatch], str], checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = spoil(checkout, monkeypatch)
    monkeypatch.setenv("D2R_COMMIT", "deadbeef")
    assert source_state(checkout, checkout) == {"commit": UNKNOWN, "dirty": None, "image": None}
    (said,) = remarks(checkout, checkout)
    assert "commit and changes are unknown" in said
    assert why in said


def test_what_an_image_states_is_believed_where_there_is_no_checkout(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = source_state(checkout, checkout)
    monkeypatch.setenv("D2R_COMMIT", "abc")
    assert source_state(checkout, checkout) == known
    monkeypatch.setenv("D2R_IMAGE", "sha256:def")
    assert source_state(tmp_path, tmp_path) == {"commit": "abc", "dirty": None, "image": "sha256:def"}
    monkeypatch.setenv("D2R_COMMIT", "abc-dirty")
    assert source_state(tmp_path, tmp_path) == {"commit": "abc", "dirty": True, "image": "sha256:def"}


def test_code_of_one_checkout_run_in_another_is_said(checkout: Path, tmp_path: Path) -> None:
    other = make_checkout(tmp_path / "other", "x = 3\n")
    (said,) = remarks(other, checkout)
    running, here = (git(folder, "rev-parse", "HEAD")[:12] for folder in (checkout, other))
    assert f"the code that runs is that of {checkout}, commit {running}, and not that of {other}" in said
    assert f"commit {here}" in said
    git(tmp_path, "clone", "--quiet", str(checkout), str(tmp_path / "same"))
    assert remarks(tmp_path / "same", checkout) == [], "the same commit"
    assert source_state(tmp_path / "same", checkout) == source_state(checkout, checkout)
    add(tmp_path / "same")
    assert source_state(tmp_path / "same", checkout)["dirty"] is True
    assert remarks(tmp_path, checkout) == [], "a folder with configuration alone"


def test_a_run_names_the_code_that_ran(
    config: RunConfig, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The project of this test is no part of the code, and has a commit of its own."""
    git(project, "init", "--quiet")
    git(project, "add", "config")
    git(project, *COMMIT)
    assert train(config, tmp_path, Machine()) == 0
    (path,) = tmp_path.glob("runs/*/*/*/run.json")
    record = json.loads(path.read_bytes())
    here = git(project, "rev-parse", "HEAD")
    assert record["commit"] == source_state(CODE)["commit"] != here
    assert record["dirty"] is (None if record["commit"] is None else True), (
        "that commit does not hold its scale"
    )
    assert f"not that of {project}, commit {here[:12]}" in capsys.readouterr().err
