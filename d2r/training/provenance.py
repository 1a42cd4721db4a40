"""Where a run's numbers come from: versions and machine; the source is the affair of ``source.py``."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import torch

from d2r.runs.record import Graphics, Processor

PACKAGES = ("d2r", "torch", "numpy", "mujoco", "metaworld", "gymnasium", "scipy", "pandas", "safetensors")
RESULT_FLAGS = ("sse4_1", "fma", "avx", "amx", "asimd", "sve")
"""Beginnings of the CPU features that choose other kernels, and so other last bits."""


def now() -> str:
    """Return the current time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


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


def cpu() -> Processor:
    """Return the processor's model and which result-changing features it has."""
    fields: dict[str, str] = {}
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    flags = fields.get("flags", fields.get("Features", "")).split()
    return Processor(
        model=fields.get("model name", platform.processor() or platform.machine()),
        flags=sorted(flag for flag in flags if flag.startswith(RESULT_FLAGS)),
        kernels=torch.backends.cpu.get_cpu_capability(),
        cores=os.cpu_count(),
        system=platform.platform(),
    )


def gpu(device: str) -> Graphics | None:
    """Return the GPU's model and the CUDA and cuDNN versions, or none on a CPU."""
    if device != "cuda":
        return None
    return Graphics(
        model=torch.cuda.get_device_name(),
        cuda=torch.version.cuda,
        cudnn=torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
    )
