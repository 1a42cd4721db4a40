"""Language embeddings of the tasks, for methods that take them from a file."""

from __future__ import annotations

import json
from pathlib import Path

from d2r.errors import UserError, nearest

FLOAT32_MAX = (2 - 2**-23) * 2.0**127


def read_task_embeddings(path: Path, suite: str) -> tuple[tuple[float, ...], ...]:
    """Read a JSON object of task name -> list of numbers and return the vectors in the suite's task order.

    Names are those of Meta-World without or with their version (``reach`` or ``reach-v3``); tasks of other
    suites are ignored.

    Raises:
        UserError: if the file is not such an object, lacks a task, or its vectors differ in length or hold
            anything but numbers within the range of float32, in which networks compute.
    """
    # Imported here because it loads Meta-World, which only this option needs.
    from d2r.envs.tasks import parse_benchmark  # noqa: PLC0415

    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({(str(error).splitlines() or ['?'])[0]})") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: expected an object of task name -> list of numbers at the top")
    vectors: list[tuple[float, ...]] = []
    for task in parse_benchmark(f"{suite}-rand").task_names:
        name = task.rsplit("-v", 1)[0]
        key = task if task in data else name
        if key not in data:
            raise UserError(f"{path}: no embedding of task '{name}'; {nearest(name, data)}")
        vector = data[key]
        if not isinstance(vector, list) or not vector or not all(_fits_float32(number) for number in vector):
            raise UserError(
                f"{path}: the embedding of '{key}' must be a list of finite numbers within the range of float32"
            )
        if vectors and len(vector) != len(vectors[0]):
            raise UserError(
                f"{path}: the embedding of '{name}' has {len(vector)} numbers, those before it {len(vectors[0])}; "
                "all must be of one length"
            )
        vectors.append(tuple(float(number) for number in vector))
    return tuple(vectors)


def _fits_float32(number: object) -> bool:
    # compared before any conversion: an integer of 400 digits has no float; and no comparison holds for nan
    return isinstance(number, int | float) and not isinstance(number, bool) and abs(number) <= FLOAT32_MAX
