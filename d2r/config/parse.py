"""Data checked against a typed class, with the first problem told in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from d2r.config.networks import FILLED_IN, network_class, network_classes
from d2r.errors import UserError, nearest

Model = TypeVar("Model", bound=BaseModel)


def parse(model: type[Model], data: Mapping[str, Any], where: str) -> Model:
    """Validate ``data`` against ``model``, turning the first problem into one line.

    Raises:
        UserError: naming the place, and for an unknown key the nearest valid one.
    """
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        raise UserError(f"{where}: {_describe(error, model, data)}") from None


def _describe(error: ValidationError, model: type[BaseModel], data: Mapping[str, Any]) -> str:
    problems = error.errors(include_url=False)
    first = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    location = [str(part) for part in first["loc"]]
    place = ".".join(_keys(first["loc"], data) + (location[-1:] if first["type"] == "missing" else []))
    if first["type"] == "extra_forbidden":
        valid = [name for name in _fields_at(model, location[:-1], data) if name not in FILLED_IN]
        return f"unknown key '{place}'; {nearest(location[-1], valid)}"
    if first["type"] == "missing":
        return f"key '{place}' is missing"
    if first["type"] == "network_type_missing":
        return f"key '{place}.type' is missing; {nearest('', network_classes())}"
    if first["type"] == "network_type_unknown":
        name = first["ctx"]["name"]
        return f"'{place}.type': unknown type '{name}'; {nearest(name, network_classes())}"
    if first["type"] == "too_short":
        return f"'{place}': must not be empty"
    message = first["msg"].removeprefix("Value error, ")
    given = first.get("input")
    shown = f", not {_shown(given)}" if isinstance(given, str | int | float | bool) else ""
    prefix = f"'{place}': " if place else ""
    return f"{prefix}{message[0].lower()}{message[1:]}{shown}"


def _keys(location: Sequence[str | int], data: Any) -> list[str]:
    """The parts of a location that are keys of ``data``; pydantic also names the members of a union on the way."""
    keys = []
    for part in location:
        if (isinstance(data, Mapping) and part in data) or (
            isinstance(data, list | tuple) and isinstance(part, int)
        ):
            keys.append(str(part))
            data = data[part]  # type: ignore[index]
    return keys


def _shown(given: str | float) -> str:
    try:
        return repr(given)
    except ValueError:  # an integer of more digits than Python turns into text
        return "a number of thousands of digits"


def _fields_at(model: type[BaseModel], location: Sequence[str], data: Any) -> list[str]:
    """Names valid at a place in ``model``, found by walking its JSON schema, and into ``data`` for a network's type."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})

    def follow(node: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in node or "anyOf" in node:  # the latter where null may stand, too
            node = definitions[node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else node["anyOf"][0]
        return node

    node = follow(schema)
    for position, part in enumerate(location):
        data = data[part] if isinstance(data, Mapping) and part in data else None
        if part in ("network", "matched") and isinstance(data, Mapping) and "type" in data:
            network = network_class(data["type"])
            return [] if network is None else _fields_at(network, location[position + 1 :], data)
        if part in node.get("properties", {}):
            node = follow(node["properties"][part])
        elif isinstance(node.get("additionalProperties"), dict):
            node = follow(node["additionalProperties"])
        elif "items" in node:
            node = follow(node["items"])
    return list(node.get("properties", {}))
