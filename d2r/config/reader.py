"""The only place that reads YAML, and what a value in it is taken for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from d2r.errors import UserError


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a mapping from a YAML file.

    Raises:
        UserError: if the file is missing, not YAML, holds a key twice or a tag, or is not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({_first_line(error)})") from None
    try:
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark is not None else f"{path}"
        problem = getattr(error, "problem", None) or _first_line(error)
        raise UserError(f"{where}: not valid YAML ({problem}); mend the file") from None
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise UserError(f"{path}: expected a mapping of names to values at the top")
    return data


def read_scalar(text: str) -> bool | int | float | str | None:
    """Return what a plain word of YAML stands for.

    Example:
        >>> read_scalar("1e-4"), read_scalar("true"), read_scalar("010")
        (0.0001, True, '010')
    """
    loader = _Loader("")
    tag = loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    try:
        value: bool | int | float | str | None = loader.construct_object(yaml.ScalarNode(tag, text))
    except ValueError:  # an integer of more digits than Python reads
        return text
    return value


class _Loader(yaml.SafeLoader):
    """YAML in which a value is what it looks like.

    Plain values are read by the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema), less its second
    spellings of integers: decimal numbers without leading zeros, such as ``400`` and ``1e-4``, ``true`` and ``false``,
    and ``null``. All else is a string, also what YAML 1.1 and so PyYAML takes for a boolean, an integer or a date:
    ``off``, ``010``, ``1_000``, ``0x10``, ``1:30``, ``2024-01-01``. A tag, which would bring those back, is an error,
    and so is a key that is given twice, of which PyYAML silently keeps the last.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            shown = event.tag.replace("tag:yaml.org,2002:", "!!")
            raise yaml.composer.ComposerError(None, None, f"tag '{shown}' is not allowed", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            try:
                repeated = key in seen
            except TypeError:
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be a plain name", key_node.start_mark
                ) from None
            if repeated:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key '{key}' is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {}
for _kind, _pattern, _first in (
    ("null", r"|~|null|Null|NULL", ["", "~", "n", "N"]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    (
        "float",
        r"[-+]?((\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?|\.(inf|Inf|INF))|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(rf"(?:{_pattern})\Z"), _first)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
