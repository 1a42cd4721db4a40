"""The lock files pin what pyproject.toml asks for, completely, and agree with each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements-cpu.lock", "requirements-cuda.lock")


def locked(name: str) -> dict[str, Requirement]:
    """Return the requirements of a lock file by package, each checked to carry hashes."""
    pins = {}
    for block in re.split(r"\n(?=\S)", (ROOT / name).read_text(encoding="utf-8")):
        if block.startswith("#"):
            continue
        line, *rest = block.split("\\\n")
        assert any("--hash=sha256:" in part for part in rest), f"{name}: {line.strip()} has no hash"
        requirement = Requirement(line)
        pins[canonicalize_name(requirement.name)] = requirement
    return pins


def version(requirement: Requirement) -> Version:
    (pin,) = requirement.specifier
    assert pin.operator == "=="
    return Version(pin.version)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_every_direct_dependency_at_its_pin(lock: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = locked(lock)
    for line in project["dependencies"] + project["optional-dependencies"]["dev"]:
        wanted = Requirement(line)
        found = version(pins[canonicalize_name(wanted.name)])
        assert Version(found.public) == version(wanted), f"{lock}: run `make lock`"


def test_both_locks_pin_the_same_versions_but_for_the_build_of_torch() -> None:
    cpu, cuda = (locked(name) for name in LOCKS)
    assert str(version(cpu["torch"])) == f"{version(cuda['torch'])}+cpu"
    assert set(cpu) <= set(cuda)
    assert {name: version(cpu[name]) for name in cpu if name != "torch"} == {
        name: version(cuda[name]) for name in cpu if name != "torch"
    }


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("python", ["3.12", "3.13"])
def test_every_supported_python_gets_the_same_packages(lock: str, python: str) -> None:
    def installed(python: str) -> set[str]:
        environment = {
            "python_version": python,
            "python_full_version": f"{python}.0",
            "sys_platform": "linux",
            "platform_machine": "x86_64",
        }
        pins = locked(lock).items()
        return {name for name, pin in pins if pin.marker is None or pin.marker.evaluate(environment)}

    assert installed(python) == installed("3.11")


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_package_index_but_pytorchs(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert set(re.findall(r"https?://([^/\s]+)", text)) <= {"download.pytorch.org"}
