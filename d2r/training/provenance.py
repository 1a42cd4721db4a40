"""Where a run's numbers come from: versions, commit, machine."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("d2r", "torch", "numpy", "mujoco", "metaworld", "gymnasium", "scipy", "pandas", "safetensors")
RESULT_FLAGS = ("sse4_1", "fma", "avx", "amx", "asimd", "sve")
"""Beginnings of the CPU features that choose other kernels, and so other last bits."""


def now() -> str:
    """Return the current time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


CHANGED = "-dirty"
"""What ``git describe --dirty`` puts behind the commit of a changed checkout."""


def package_versions() -> dict[str, str]:
    """Return the installed versions of what decides a run's numbers."""
    return {name: metadata.version(name) for name in PACKAGES if _installed(name)} | {
        "python": platform.python_version()
    }


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def source_state(root: Path) -> dict[str, Any]:
    """Return the commit of the checkout or that of an image, whether sources differ from it, and the image.

    A project that merely lies in somebody else's repository has no commit. An image that was built from changed
    sources says so at the end of ``D2R_COMMIT``. A container cannot see which image it runs from, so ``docker run
    --env D2R_IMAGE=<digest>`` states it.
    """
    image = os.environ.get("D2R_IMAGE")
    top = _git(root, "rev-parse", "--show-toplevel")
    commit = _git(root, "rev-parse", "HEAD") if top is not None and Path(top) == root.resolve() else None
    if commit is None:
        built = os.environ.get("D2R_COMMIT") or ""
        dirty = True if built.endswith(CHANGED) else None
        return {"commit": built.removesuffix(CHANGED) or None, "dirty": dirty, "image": image}
    changed = _git(root, "status", "--porcelain", "--", "d2r", "config")
    return {"commit": commit, "dirty": bool(changed), "image": image}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def cpu() -> dict[str, Any]:
    """Return the processor's model and which result-changing features it has."""
    fields: dict[str, str] = {}
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    flags = fields.get("flags", fields.get("Features", "")).split()
    return {
        "model": fields.get("model name", platform.processor() or platform.machine()),
        "flags": sorted(flag for flag in flags if flag.startswith(RESULT_FLAGS)),
        "kernels": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
    }


def gpu(device: str) -> dict[str, Any] | None:
    """Return the GPU's model and the CUDA and cuDNN versions, or none on a CPU."""
    if device != "cuda":
        return None
    return {
        "model": torch.cuda.get_device_name(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
    }
