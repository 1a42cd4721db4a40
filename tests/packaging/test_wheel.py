"""A wheel works outside a checkout: its configuration comes along."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from d2r.config import load_scale, method_ids

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("d2r", "config", "pyproject.toml", "setup.py", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which a wheel of this source was installed."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source]
    subprocess.run(build, check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", wheel], check=True)
    return folder / "site"


def in_folder(folder: Path, site: Path, *command: str | Path) -> str:
    """What a command prints that runs with the wheel, in ``folder``."""
    environment = os.environ | {"PYTHONPATH": str(site)}
    environment.pop("D2R_ROOT", None)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_methods_and_a_training_in_an_empty_folder(site: Path, tmp_path: Path) -> None:
    d2r = site / "bin/d2r"
    listed = in_folder(tmp_path, site, d2r, "methods")
    assert {line.split()[0] for line in listed.splitlines() if line} >= set(method_ids())
    (shipped,) = site.glob("d2r/config/shipped/benchmarks/mt25-rand.yaml")
    assert shipped.read_bytes() == (ROOT / "config/benchmarks/mt25-rand.yaml").read_bytes()
    budget = load_scale("smoke").budget["mt10"]
    steps = str(budget.warmup_steps + 2 * budget.update_every)
    asked = ["--benchmark", "mt10-fixed", "--method", "d2r", "--seed", "1", "--steps", steps]
    assert "finished" in in_folder(tmp_path, site, d2r, "train", *asked)
    run = tmp_path / "results/smoke/runs/mt10-fixed/d2r/seed1"
    assert (run / "policy.safetensors").is_file()
    assert "mt10-fixed/d2r/seed1" in in_folder(tmp_path, site, d2r, "status")
    code = f"import d2r; print(d2r.__file__, d2r.load_policy({str(run)!r}))"
    place, *policy = in_folder(tmp_path, site, sys.executable, "-c", code).split(maxsplit=1)
    assert Path(place).is_relative_to(site)
    assert policy == ["<policy of smoke/mt10-fixed/d2r/seed1>\n"]


def test_a_project_above_is_taken_before_what_came_along(site: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    own = (tmp_path / "config/methods/mtsac.yaml").read_text().replace("id: mtsac", "id: my-own")
    (tmp_path / "config/methods/my-own.yaml").write_text(own)
    (tmp_path / "below").mkdir()
    assert "my-own" in in_folder(tmp_path / "below", site, site / "bin/d2r", "methods")


def test_another_project_s_repository_is_no_checkout(site: Path, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    settings = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(
        ["git", *settings, "commit", "--quiet", "--allow-empty", "-m", "x"], cwd=tmp_path, check=True
    )
    asked = ["--benchmark", "mt10-fixed", "--method", "mtsac", "--seed", "1", "--steps", "60"]
    in_folder(tmp_path, site, site / "bin/d2r", "train", *asked)
