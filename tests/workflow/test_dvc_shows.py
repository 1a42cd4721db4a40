"""``dvc metrics show``, ``dvc plots show`` and ``dvc params diff`` of the released results."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from d2r.runs.layout import RELEASED
from tests.support.tiny import PROJECT

LITE = f"results/{RELEASED}/lite"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one commit of what DVC reads."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(PROJECT / "config", folder / "config")
    shutil.copytree(
        PROJECT / "results/released",
        folder / "results/released",
        ignore=shutil.ignore_patterns("policies", "remote", "runs", "collected", "figures", "films"),
    )
    shutil.copytree(PROJECT / ".dvc/plots", folder / ".dvc/plots")
    for name in ("dvc.yaml", "dvc.lock", ".dvc/config", ".gitignore"):
        shutil.copy(PROJECT / name, folder / name)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "All"]):
        subprocess.run([*git, *command], cwd=folder, check=True)
    return folder


def dvc(project: Path, *arguments: str) -> Any:
    """What a command of DVC says in JSON."""
    done = subprocess.run(
        [Path(sys.executable).parent / "dvc", *arguments, "--json"],
        cwd=project,
        env=os.environ | {"DVC_SITE_CACHE_DIR": str(project / ".dvc/site")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def rows(project: Path, name: str) -> list[dict[str, str]]:
    with (project / LITE / name).open() as file:
        return list(csv.DictReader(file))


def test_metrics_are_those_of_the_main_table(project: Path) -> None:
    files = dvc(project, "metrics", "show")[""]["data"]
    shown = {tuple(Path(path).with_suffix("").parts[-2:]): file["data"] for path, file in files.items()}
    table = {(row["benchmark"], row["method"]): row for row in rows(project, "tables/main.csv")}
    assert shown.keys() == table.keys()
    for key, row in table.items():
        assert shown[key]["success"] == pytest.approx(float(row["success"]))
        assert shown[key]["low"] == pytest.approx(float(row["success_low"]))
        assert shown[key]["n"] == int(row["runs_finished"])


def test_the_plot_has_a_curve_of_each_method(project: Path) -> None:
    (plot,) = dvc(project, "plots", "show")["data"][f"{LITE}/metrics/curves.csv"]
    points = plot["content"]["data"]["values"]
    curves = {(point["benchmark"], point["method"]) for point in points}
    assert curves == {(row["benchmark"], row["method"]) for row in rows(project, "tables/main.csv")}
    drawn = plot["content"]["spec"]["encoding"]
    assert [drawn[axis]["field"] for axis in ("x", "y", "color")] == ["step", "success", "method"]
    assert plot["content"]["facet"]["field"] == "benchmark"
    assert drawn["x"]["field"] in points[0]
    assert "DVC_METRIC" not in json.dumps(plot["content"])


def test_a_changed_value_of_the_scale_is_a_difference_and_a_comment_is_none(project: Path) -> None:
    scale = project / "config/scales/lite.yaml"
    as_it_was = scale.read_text()
    scale.write_text(f"# A comment.\n{as_it_was}")
    assert dvc(project, "params", "diff") == {}
    scale.write_text(as_it_was.replace("width: 0.24", "width: 0.5"))
    changed = dvc(project, "params", "diff")
    scale.write_text(as_it_was)
    assert changed == {"config/scales/lite.yaml": {"width": {"old": 0.24, "new": 0.5, "diff": 0.26}}}
