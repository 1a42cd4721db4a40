"""Which source a run's numbers come from: commit and changes of the checkout that holds the code that runs.

Git is asked for names and hashes of committed files alone; whether those here are the same is found by hashing them.
So no setting of the user's (which untracked files to show, which to ignore, which changes to assume away) has a say.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

import d2r
from d2r.config.paths import is_project
from d2r.text import printable

CODE = Path(d2r.__file__).resolve().parents[1]
"""The folder that the code that runs lies in: the root of its checkout, if it is in one."""
UNKNOWN = "unknown"
"""The commit of a checkout that there is and that git does not tell about."""
CHANGED = "-dirty"
"""What ``git describe --dirty`` puts behind the commit of a changed checkout."""
NO_SOURCES = (".o", ".pyc", ".so")
"""Endings of what is made of sources and may lie among them."""


class Unanswered(Exception):
    """Git did not answer; the message says why."""


def source_state(root: Path, code: Path = CODE) -> dict[str, Any]:
    """Return the commit of the code that runs, whether code or configuration differ from that, and the image.

    What an image was built from (``D2R_COMMIT``) is believed only where there is no checkout to ask; one that was
    built from changed sources says so at its end. A container cannot see which image it runs from, so ``docker run
    --env D2R_IMAGE=<digest>`` states it.

    Args:
        root: the project whose configuration is used.
        code: where the code that runs lies.
    """
    image = _stated("D2R_IMAGE")
    commit, _ = _commit(code)
    if commit is not None:
        return {"commit": commit, "dirty": _is_changed(root, code, commit), "image": image}
    built = _stated("D2R_COMMIT") or ""
    dirty = True if built.endswith(CHANGED) else None
    return {"commit": built.removesuffix(CHANGED) or None, "dirty": dirty, "image": image}


def _stated(variable: str) -> str | None:
    value = os.environ.get(variable)
    return None if value is None else printable(value)


def remarks(root: Path, code: Path = CODE) -> list[str]:
    """Return what a user should know of the source before a run, a line for each.

    Args:
        root: the project that the command works in.
        code: where the code that runs lies.
    """
    running, why = _commit(code)
    said = []
    if why:
        said.append(f"warning: {code}: commit and changes are unknown, and run.json says so ({why})")
    elsewhere = root.resolve() != code and is_project(root)
    here, _ = _commit(root) if elsewhere else (running, "")
    if here not in (None, running):
        said.append(
            f"warning: the code that runs is that of {code}, commit {_short(running)}, and not that of {root}, commit "
            f"{_short(here)}; run.json names the former (pip install --editable {root} changes it)"
        )
    return said


def _short(commit: str | None) -> str:
    return (commit or UNKNOWN)[:12]


def _commit(root: Path) -> tuple[str | None, str]:
    """Return the commit of the checkout whose root is ``root``, none if it is no root of one; and why it is unknown.

    A project that merely lies in somebody else's repository has no commit.
    """
    if not os.path.lexists(root / ".git"):
        return None, ""
    try:
        return _git(root, "rev-parse", "--verify", "HEAD^{commit}").decode().strip(), ""
    except Unanswered as why:
        return UNKNOWN, printable(str(why))


def _git(root: Path, *arguments: str) -> bytes:
    """What git answers about the repository at ``root``, whichever one the environment names.

    Raises:
        Unanswered: with git's own reason.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name.startswith("GIT_CONFIG_")
    }
    environment |= {
        "LC_ALL": "C",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_CEILING_DIRECTORIES": str(root.resolve().parent),
    }
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, env=environment, capture_output=True, timeout=20, check=False
        )
    except OSError as error:
        raise Unanswered(f"git: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise Unanswered("git did not answer within 20 seconds") from None
    if done.returncode != 0:
        first = done.stderr.decode(errors="replace").strip().partition("\n")[0]
        raise Unanswered(first.removeprefix("fatal: ") or "git failed")
    return done.stdout


def _is_changed(root: Path, code: Path, commit: str) -> bool | None:
    """Whether code at ``code`` or configuration at ``root`` is not that of ``commit``; none if that is unknown."""
    places = {"d2r": code, "config": root.resolve()}
    try:
        committed = _git(code, "ls-tree", "-r", "-z", "--full-tree", commit, *places)
        left = {
            path for top, folder in places.items() for path in (folder / top).rglob("*") if _is_source(path)
        }
        for entry in filter(None, committed.split(b"\0")):
            form, _, name = entry.partition(b"\t")
            digest = form.split()[2].decode()
            relative = Path(os.fsdecode(name))
            path = places[relative.parts[0]] / relative
            if not path.is_file() or _blob(path, len(digest)) != digest:
                return True
            left.discard(path)
    except (Unanswered, OSError):
        return None
    return bool(left)


def _is_source(path: Path) -> bool:
    return path.is_file() and path.suffix not in NO_SOURCES and not path.name.startswith(".")


def _blob(path: Path, length: int) -> str:
    """The name by which git knows a file's content: SHA-1, or SHA-256 where the names are as long."""
    content = path.read_bytes()
    whole = b"blob %d\0" % len(content) + content
    algorithm = "sha1" if length == 40 else "sha256"
    return hashlib.new(algorithm, whole, usedforsecurity=False).hexdigest()
