"""A method with other values, whose id says which: ``d2r+network.num_modules-8+sac.batch_per_task-32``.

Keys are sorted, and a key ends at its first hyphen, so that the same values have one id, which is the name of a folder.
Whoever has the id needs no file to know what it means.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from d2r.config.files import NAME
from d2r.config.networks import FILLED_IN, NetworkConfig
from d2r.config.parse import parse
from d2r.config.reader import read_scalar
from d2r.config.schema import Adapt, Method, SacConfig, Source
from d2r.errors import UserError, nearest
from d2r.text import LONGEST_NAME

Value = bool | int | float | str | None
Values = Mapping[str, Value]
"""By key, which begins with ``network.`` or ``sac.``, or is one of :data:`OF_A_START`."""
OF_A_START = ("start_from", "adapt")
"""Which run is begun with, as one word (``lite.mt10-fixed.d2r``), and what of it learns on."""
IN_ID = r"[A-Za-z0-9_.-]+"
"""How a value is written in an id."""
ANOTHER_METHOD = "or write a method's file with `extends:`"


class _Changed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    network: NetworkConfig
    sac: SacConfig
    adapt: Adapt | None


def read_values(texts: Iterable[str]) -> dict[str, Value]:
    """Read ``KEY=VALUE`` of the command line, values as in YAML.

    Raises:
        UserError: if one is not so, or a key is given twice.

    Example:
        >>> read_values(["sac.batch_per_task=32", "sac.max_log_alpha=null"])
        {'sac.batch_per_task': 32, 'sac.max_log_alpha': None}
    """
    found: dict[str, Value] = {}
    for text in texts:
        key, _, value = text.partition("=")
        if not key or not value:
            raise UserError(f"--set {text}: must be KEY=VALUE, such as sac.batch_per_task=32")
        if key in found:
            raise UserError(f"--set {text}: '{key}' is given twice; give it once")
        found[key] = read_scalar(value)
    return found


def split_id(name: str) -> tuple[str, dict[str, Value]]:
    """Return the method that an id begins with, and the values that it changes.

    Raises:
        UserError: if a key is given twice, or one has no value.

    Example:
        >>> split_id("d2r+sac.target_entropy--2.0")
        ('d2r', {'sac.target_entropy': -2.0})
    """
    method, *parts = name.split("+")
    found: dict[str, Value] = {}
    for part in parts:
        key, _, text = part.partition("-")
        if not text or key in found:
            raise UserError(f"unknown method '{name}'; such an id is like d2r+sac.batch_per_task-32")
        found[key] = read_scalar(text)
    return method, found


def changed_id(method: Method, values: Values, where: str) -> str:
    """Return the id of a method with these values, after checking them.

    Args:
        method: may have values changed itself.
        where: what states the values, for messages.

    Raises:
        UserError: for a key that is none of the method's or is changed already, a value that does not fit, or an id
            that no folder could have.
    """
    base, already = split_id(method.id)
    repeated = sorted(already.keys() & values.keys())
    if repeated:
        raise UserError(f"{where}: '{repeated[0]}' is given twice; '{method.id}' sets it, too")
    check_keys(method, values, where)
    parts: dict[str, Any] = {
        "network": method.network.model_dump(),
        "sac": method.sac.model_dump(),
        "adapt": values.get("adapt"),
    }
    for key, value in values.items():
        section, _, name = key.partition(".")
        if name:
            parts[section][name] = value
    checked = parse(_Changed, parts, where)
    for key, value in values.items():
        section, _, name = key.partition(".")
        already[key] = getattr(getattr(checked, section), name) if name else value
    found = "+".join([base, *(f"{key}-{_text(key, already[key], where)}" for key in sorted(already))])
    if len(found) > LONGEST_NAME:
        raise UserError(
            f"{where}: the name of its folder would have {len(found)} characters, of {LONGEST_NAME} allowed; "
            f"change fewer values, {ANOTHER_METHOD}"
        )
    return found


def check_keys(method: Method, values: Values, where: str) -> None:
    """See to it that a method has what is to be changed of it.

    Raises:
        UserError: naming the nearest key that it has; or a start is not wholly stated.
    """
    valid = [*OF_A_START, *(f"sac.{name}" for name in SacConfig.model_fields)]
    sizes = type(method.network).model_fields.keys() - FILLED_IN.keys() - {"type"}
    valid += [f"network.{name}" for name in sizes]
    for key in values:
        if key not in valid:
            raise UserError(f"{where}: '{method.id}' has no key '{key}'; {nearest(key, valid)}")
    said = [key for key in OF_A_START if key in values]
    if len(said) == 1:
        (missing,) = set(OF_A_START) - set(said)
        raise UserError(f"{where}: '{said[0]}' needs '{missing}' beside it")
    if said:
        read_source(values["start_from"], where)


def read_source(value: Value, where: str) -> Source:
    """Return the run that one word names: scale, benchmark and method with points between.

    Raises:
        UserError: if it is no such word.

    Example:
        >>> read_source("lite.mt10-fixed.d2r", "--set").benchmark
        'mt10-fixed'
    """
    parts = value.split(".") if isinstance(value, str) else []
    if len(parts) != 3 or not all(re.fullmatch(NAME, part) for part in parts):
        raise UserError(
            f"{where}: 'start_from' must be SCALE.BENCHMARK.METHOD, such as lite.mt10-fixed.d2r, not {word(value)}"
        )
    scale, benchmark, method = parts
    return Source(scale=scale, benchmark=benchmark, method=method)


def word(value: Value) -> str:
    """Return a value as YAML has it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value).replace("+", "")  # 1e+20


def _text(key: str, value: Value, where: str) -> str:
    """A value as it stands in an id."""
    text = word(value)
    if not re.fullmatch(IN_ID, text) or read_scalar(text) != value:
        raise UserError(f"{where}: '{key}': no folder can be named by {value!r}; {ANOTHER_METHOD[3:]}")
    return text
