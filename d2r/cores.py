"""How many processor cores this process may use: not those of the machine, but those that it is given."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


def available_cores() -> int:
    """Cores that the affinity (``taskset``, SLURM) and the CPU quotas (containers, systemd) leave, at least one."""
    allowed = len(os.sched_getaffinity(0))
    return max(1, int(min([allowed, *_quotas(OWN_GROUPS, CGROUPS)])))


def _quotas(own_groups: Path, root: Path) -> Iterator[float]:
    """Limits of this process's control groups and of those above them, in cores.

    Source: the kernel's Documentation/admin-guide/cgroup-v2.rst (``cpu.max``) and scheduler/sched-bwc.rst
    (``cpu.cfs_quota_us``, version 1). Inside a container its own group may be the root of what is mounted.
    """
    try:
        lines = own_groups.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, own = line.split(":", 2)
        if number != "0" and "cpu" not in controllers.split(","):
            continue
        mount = root if number == "0" else root / "cpu"
        group = mount / own.strip("/")
        for folder in (group, *group.parents):
            yield from _quota(folder)
            if folder == mount:
                break


def _quota(folder: Path) -> Iterator[float]:
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = (word for name in names for word in (folder / name).read_text().split())
            if int(period) > 0 and quota not in ("max", "-1"):
                yield int(quota) / int(period)
        except (OSError, ValueError):
            continue


if __name__ == "__main__":
    print(available_cores())
