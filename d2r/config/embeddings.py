"""Language embeddings of the tasks, for methods that take them from a file."""

from __future__ import annotations

import json
import math
from pathlib import Path

from d2r.errors import UserError, nearest


def read_task_embeddings(path: Path, suite: str) -> tuple[tuple[float, ...], ...]:
    """Read a JSON object of task name -> list of numbers and return the vectors in the suite's task order.

    Names are those of Meta-World without or with their version (``reach`` or ``reach-v3``); tasks of other
    suites are ignored.

    Raises:
        UserError: if the file is not such an object, lacks a task, or its vectors differ in length or hold
            anything but finite numbers.
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
        vector = data.get(task, data.get(name))
        if vector is None:
            raise UserError(f"{path}: no embedding of task '{name}'; {nearest(name, data)}")
        if not isinstance(vector, list) or not vector or not all(_is_finite(number) for number in vector):
            raise UserError(f"{path}: the embedding of '{name}' must be a list of finite numbers")
        if vectors and len(vector) != len(vectors[0]):
            raise UserError(
                f"{path}: the embedding of '{name}' has {len(vector)} numbers, those before it {len(vectors[0])}; "
                "all must be of one length"
            )
        vectors.append(tuple(float(number) for number in vector))
    return tuple(vectors)


def _is_finite(number: object) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
