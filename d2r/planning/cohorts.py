"""Which seeds of a method Snakemake trains side by side, decided once and kept beside the results.

A job may run in a process of its own, where the workflow is read again while other jobs publish their runs; and a run
that is there must not be made again because another seed was added. So what was decided stays as long as the run does:
``results/<scale>/cohorts.json`` says for each run that was given to a cohort which seeds it has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from d2r.config import SEED, RunKey
from d2r.config.seeds import parse_seeds, write_seeds
from d2r.errors import UserError
from d2r.files import read_bytes, write_bytes
from d2r.runs.layout import RUN_RECORD
from d2r.runs.record import json_object
from d2r.text import NAME

COHORTS = "cohorts.json"

Assignment = dict[RunKey, list[int]]
"""Seeds of the cohort that each run was given to, itself among them; a run alone is not in it."""


class TrainedTogether(NamedTuple):
    """Runs that one job trains side by side, of a cohort of ``seeds``: those of them that are still its."""

    scale: str
    benchmark: str
    method: str
    seeds: tuple[int, ...]
    members: tuple[int, ...]

    @property
    def name(self) -> str:
        """A name for the rule, of letters, digits and underscores."""
        words = (self.benchmark, self.method, "seeds", write_seeds(self.seeds))
        return re.sub("[^A-Za-z0-9]", "_", "train_" + "_".join(words).replace(",", "_and_"))

    @property
    def files(self) -> str:
        """Where its log lies among those of runs."""
        return f"{self.benchmark}/{self.method}/seeds{write_seeds(self.members)}"

    @property
    def keys(self) -> list[RunKey]:
        """The runs."""
        return [RunKey(self.scale, self.benchmark, self.method, seed) for seed in self.members]


def assign(runs: Sequence[RunKey], results: Path, size: int, known: Mapping[RunKey, list[int]]) -> Assignment:
    """Give the runs that are not there to cohorts of up to ``size`` seeds of one method; those that are there stay.

    Args:
        runs: that are planned.
        results: folder of the scale, such as ``results/smoke``.
        known: what was decided before.
    """
    assigned, missing = dict(known), dict[tuple[str, str], list[RunKey]]()
    for key in runs:
        if not (key.folder(results) / RUN_RECORD).exists():
            assigned.pop(key, None)
            missing.setdefault((key.benchmark, key.method), []).append(key)
    for keys in missing.values():
        keys.sort(key=lambda key: key.seed)
        for first in range(0, len(keys), size):
            together = keys[first : first + size]
            if len(together) > 1:
                assigned |= {key: [other.seed for other in together] for key in together}
    return assigned


def cohorts_of(assigned: Mapping[RunKey, list[int]]) -> list[TrainedTogether]:
    """The jobs that an assignment makes."""
    members: dict[tuple[str, str, str, tuple[int, ...]], list[int]] = {}
    for key, seeds in assigned.items():
        members.setdefault((key.scale, key.benchmark, key.method, tuple(seeds)), []).append(key.seed)
    return [TrainedTogether(*name, tuple(sorted(of))) for name, of in sorted(members.items())]


def read_assignment(scale: str, results: Path) -> Assignment:
    """Read what was decided; nothing if there is no such file.

    Raises:
        UserError: if the file is not what :func:`write_assignment` writes.
    """
    path = results / COHORTS
    try:
        written = json_object(read_bytes(path))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); mend this") from None
    wrong = UserError(f"{path}: does not say which runs were trained side by side; restore it")
    if written is None:
        raise wrong
    found: Assignment = {}
    for name, together in written.items():
        place = re.fullmatch(f"({NAME})/({NAME})/seed({SEED})", name)
        if place is None or not isinstance(together, str):
            raise wrong
        try:
            seeds = parse_seeds(together)
        except UserError:
            raise wrong from None
        if int(place[3]) not in seeds:
            raise wrong
        found[RunKey(scale, place[1], place[2], int(place[3]))] = seeds
    return found


def write_assignment(assigned: Mapping[RunKey, list[int]], results: Path) -> None:
    """Keep what was decided."""
    written = {
        f"{key.benchmark}/{key.method}/seed{key.seed}": write_seeds(seeds)
        for key, seeds in sorted(assigned.items())
    }
    if written or (results / COHORTS).exists():
        results.mkdir(parents=True, exist_ok=True)
        write_bytes(results / COHORTS, (json.dumps(written, indent=1) + "\n").encode())
