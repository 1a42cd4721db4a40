"""An installation from the lock heeds where a user's pip finds packages, and nothing else that pip was told."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def heeded(tmp_path: Path, file: str, **variables: str) -> dict[str, str]:
    """PIP_* as they stand after the script's output was taken over, given a user's pip.conf and variables."""
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "pip.conf").write_text(file)
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    script = f'eval "$({shlex.quote(sys.executable)} -I requirements/pip_settings.py)"; env -0'
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=ROOT,
        env={
            **plain,
            "XDG_CONFIG_HOME": str(tmp_path),
            "XDG_CONFIG_DIRS": str(tmp_path / "none"),
            **variables,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    pairs = (entry.partition("=") for entry in done.stdout.split("\0") if entry.startswith("PIP_"))
    return {name: value for name, _, value in pairs}


def test_what_would_install_elsewhere_or_other_things_is_left_out(tmp_path: Path) -> None:
    file = "[global]\nuser = true\nconstraint = some.txt\n[install]\nno-binary = :all:\nprefix = /somewhere\n"
    variables = {
        f"PIP_{name}": "1"
        for name in (
            "USER",
            "TARGET",
            "PREFIX",
            "ROOT",
            "REQUIRE_VIRTUALENV",
            "NO_BINARY",
            "NO_DEPS",
            "DRY_RUN",
        )
    }
    kept = heeded(tmp_path, file, **variables)
    bad = {*variables, "PIP_CONSTRAINT"}
    assert not bad & set(kept)
    assert kept["PIP_CONFIG_FILE"] == os.devnull, "or pip would read the user's file again"


def test_where_packages_come_from_is_kept(tmp_path: Path) -> None:
    file = (
        "[global]\nindex-url = https://a.invalid/simple\nproxy = http://proxy.invalid\n"
        "find-links =\n  /some/wheels\n  /more/wheels\n[install]\nindex-url = https://b.invalid/simple\n"
    )
    kept = heeded(tmp_path, file, PIP_PROXY="http://other.invalid", PIP_CERT="/it's/a path.pem")
    assert kept["PIP_INDEX_URL"] == "https://b.invalid/simple", "the section of the command wins"
    assert kept["PIP_PROXY"] == "http://other.invalid", "a variable wins over the file"
    assert kept["PIP_CERT"] == "/it's/a path.pem"
    assert kept["PIP_FIND_LINKS"].split() == ["/some/wheels", "/more/wheels"]
