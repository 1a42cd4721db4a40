"""JSON schemas of the files in ``config/``, for editors and for Snakemake, made from the classes that read them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from d2r.config.benchmarks import BenchmarkFile
from d2r.config.load import WORDS
from d2r.config.networks import FILLED_IN, network_classes
from d2r.config.schema import Method, Protocol, Scale

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def file_schemas() -> dict[str, Schema]:
    """The schema of the files in each folder of ``config/``, by the folder's name."""
    return {folder: {"$schema": DIALECT, **make()} for folder, make in MAKERS.items()}


def _method_file() -> Schema:
    """A method as it is written: it may extend another, and a network's keys are those of its type."""
    schema = Method.model_json_schema()
    networks = {name: _own_keys(network) for name, network in sorted(network_classes().items())}
    for network in networks.values():
        schema["$defs"] |= network.pop("$defs", {})  # where references look for them
    every_key = sorted({key for network in networks.values() for key in network["properties"]})
    schema["properties"]["network"] = {
        "type": "object",
        "properties": {"type": {"enum": list(networks)}},
        "propertyNames": {"enum": every_key},
        "allOf": [
            {"if": {"properties": {"type": {"const": name}}, "required": ["type"]}, "then": network}
            for name, network in networks.items()
        ],
    }
    schema["properties"]["extends"] = {"description": "A method that this one changes.", "type": "string"}
    own = ("id", *WORDS)
    stated = {
        "required": [key for key in schema.pop("required") if key not in own],
        "properties": {"network": {"required": ["type"]}},
    }
    return {**schema, "required": [*own], "if": {"not": {"required": ["extends"]}}, "then": stated}


def _own_keys(network: type[BaseModel]) -> Schema:
    """Without what only resolving a run fills in."""
    schema = network.model_json_schema()
    properties = {key: value for key, value in schema["properties"].items() if key not in FILLED_IN}
    return {**schema, "properties": properties}


MAKERS: dict[str, Callable[[], Schema]] = {
    "benchmarks": BenchmarkFile.model_json_schema,
    "methods": _method_file,
    "protocols": Protocol.model_json_schema,
    "scales": Scale.model_json_schema,
}
"""How the schema of each folder's files is made."""
