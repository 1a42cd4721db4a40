"""Language embeddings of the tasks, for methods that take them from a file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from d2r.errors import UserError, nearest

FLOAT32_MAX = (2 - 2**-23) * 2.0**127


def read_task_embeddings(path: Path, tasks: Iterable[str]) -> tuple[tuple[float, ...], ...]:
    """Read a JSON object of task name -> list of numbers and return the vectors of ``tasks``, in their order.

    Names are those of Meta-World without or with their version (``reach`` or ``reach-v3``); other tasks are
    ignored.

    Raises:
        UserError: if the file is not such an object, lacks a task or names one twice, or its vectors are empty,
            differ in length or hold anything but numbers within the range of float32, in which networks compute.
    """
    try:
        if path.is_dir():
            raise UserError(f"{path}: is a folder; 'embeddings_file' must name a JSON file")
        data = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once_each)
    except _GivenTwice as twice:
        raise UserError(f"{path}: {twice}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({(str(error).splitlines() or ['?'])[0]})") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: expected an object of task name -> list of numbers at the top")
    if not data:
        raise UserError(f"{path}: the object is empty; give each task's name a list of numbers")
    vectors: list[tuple[float, ...]] = []
    for task in tasks:
        name = task.rsplit("-v", 1)[0]
        if task in data and name in data:
            raise UserError(
                f"{path}: both '{name}' and '{task}' are given, which are one task; keep one of them"
            )
        key = task if task in data else name
        if key not in data:
            raise UserError(f"{path}: no embedding of task '{name}'; {nearest(name, data)}")
        vector = data[key]
        if vector == []:
            raise UserError(f"{path}: the embedding of '{key}' is empty; it must have at least one number")
        if not isinstance(vector, list) or not all(_fits_float32(number) for number in vector):
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


class _GivenTwice(Exception):
    """A key of an object is given twice."""


def _once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise _GivenTwice(f"key '{key}' is given twice; keep one of them")
        found[key] = value
    return found


def _fits_float32(number: object) -> bool:
    # compared before any conversion: an integer of 400 digits has no float; and no comparison holds for nan
    return isinstance(number, int | float) and not isinstance(number, bool) and abs(number) <= FLOAT32_MAX
