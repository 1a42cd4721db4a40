"""What ``workflow/gpu/measure`` found: a table of its lines, or how many seeds side by side were fastest.

speeds.py FILE                                     the table
speeds.py FILE --fastest METHOD BENCHMARK DEVICE   the number of seeds; exit status 1 if it was not measured
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def read(path: Path) -> list[dict[str, Any]]:
    """The benchmarks, in the order in which they were made."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{"bench": line["bench"], **line["found"].get("official", line["found"])} for line in lines]


def table(found: list[dict[str, Any]]) -> str:
    """Updates of each seed, or environment steps of all seeds together, a second."""
    rows = [
        "| bench | method | benchmark | seeds | executed | updates/s of each seed | environment steps/s of all |"
    ]
    rows.append("|---|---|---|---|---|---|---|")
    for one in found:
        speeds = (one.get("updates_per_second", ""), one.get("steps_per_second", ""))
        cells = (one["bench"], one["method"], one["benchmark"], one["cohort"], executed(one), *speeds)
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(rows)


def executed(one: dict[str, Any]) -> str:
    """What was chosen beside the device, such as ``cuda graph``."""
    chosen = [name for name, value in one.get("execution", {}).items() if value not in (False, "none")]
    lag = ["policy_lag 1"] if one.get("policy_lag") else []
    return " ".join([one["device"], *chosen, *lag])


def fastest(found: list[dict[str, Any]], method: str, benchmark: str, device: str) -> int | None:
    """Seeds side by side with which most environment steps were made in a second, none if none was measured.

    What trains keeps the protocol's order of acting and updates, so that no other is looked at.
    """
    speeds = {
        one["cohort"]: one["steps_per_second"]
        for one in found
        if (one["bench"], one["method"], one["benchmark"], one["device"], one.get("policy_lag", 0))
        == ("train", method, benchmark, device, 0)
    }
    return max(speeds, key=lambda seeds: speeds[seeds], default=None)


def main(path: str, *asked: str) -> int:
    """Print what is asked for."""
    found = read(Path(path))
    if not asked:
        print(table(found))
        return 0
    seeds = fastest(found, *asked[1:])
    if seeds is not None:
        print(seeds)
    return 0 if seeds is not None else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
