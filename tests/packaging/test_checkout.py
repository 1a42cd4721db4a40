"""A checkout holds the bytes that were committed, whatever git is told elsewhere about line ends."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def git(*arguments: str, given: str | None = None) -> list[str]:
    done = subprocess.run(
        ["git", "-C", ROOT, *arguments], input=given, capture_output=True, text=True, check=True
    )
    return [entry for entry in done.stdout.replace("\n", "\0").split("\0") if entry]


needs_checkout = pytest.mark.skipif(
    not (ROOT / ".git").exists(), reason="needs the checkout, which an image does not hold"
)


@needs_checkout
def test_tracked_files_are_small_enough_to_be_carried() -> None:
    paths = [ROOT / name for name in git("ls-files", "-z")]
    assert sum(path.stat().st_size for path in paths if path.is_file()) < 25_000_000


@needs_checkout
@pytest.mark.parametrize("setting", ["core.autocrlf=true", "core.autocrlf=input", "core.eol=crlf"])
def test_line_ends_stay_as_committed(setting: str, tmp_path: Path) -> None:
    entries = [entry.split("\t") for entry in git("ls-files", "-z", "--stage")]
    committed = {name: about.split()[1] for about, name in entries}
    git("-c", setting, "checkout-index", "--all", f"--prefix={tmp_path}/")
    paths = "".join(f"{tmp_path / name}\n" for name in committed)
    found = git("hash-object", "--no-filters", "--stdin-paths", given=paths)
    changed = [name for name, id_ in zip(committed, found, strict=True) if committed[name] != id_]
    assert committed
    assert changed == []
