"""Cores are those that a process is given, and not those of the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from d2r import cores
from d2r.config import load_scale, resolve_run
from d2r.runs.folders import RunFolders


def test_affinity_limits_every_count_of_cores(tmp_path: Path) -> None:
    RunFolders(tmp_path, resolve_run(load_scale("smoke"), "mt10-fixed", "mtsac", 1)).create()
    one = min(os.sched_getaffinity(0))
    program = (
        f"import os, sys; os.sched_setaffinity(0, {{{one}}})\n"
        "from d2r.cores import available_cores\nfrom d2r.cli.main import main\n"
        "print(available_cores()); main(['status', '--results', sys.argv[1]])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[0] == "1"
    assert done.stdout.splitlines()[1].endswith("left on 1 core")


@pytest.mark.parametrize(
    ("groups", "files", "limits"),
    [
        ("0::/", {"cpu.max": "150000 100000\n"}, [1.5]),
        ("0::/", {"cpu.max": "max 100000\n"}, []),
        ("0::/", {}, []),
        ("0::/a/b", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, [3.0]),
        ("0::/not/mounted/here", {"cpu.max": "200000 100000\n"}, [2.0]),
        ("0::/../../outside", {"cpu.max": "200000 100000\n"}, [2.0]),
        (
            "4:memory:/a\n1:cpu,cpuacct:/a",
            {"cpu/a/cpu.cfs_quota_us": "50000", "cpu/a/cpu.cfs_period_us": "100000"},
            [0.5],
        ),
        ("1:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, []),
        ("0::/", {"cpu.max": "rubbish"}, []),
    ],
)  # fmt: skip
def test_quotas_of_control_groups(
    groups: str, files: dict[str, str], limits: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, root = tmp_path / "own", tmp_path / "root"
    own.write_text(groups + "\n")
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    assert list(cores._quotas(own, root)) == limits
    monkeypatch.setattr(cores, "OWN_GROUPS", own)
    monkeypatch.setattr(cores, "CGROUPS", root)
    free = len(os.sched_getaffinity(0))
    assert cores.available_cores() == max(1, int(min([free, *limits])))
    shutil.rmtree(tmp_path)
    assert cores.available_cores() == free, "no control groups at all"
