"""Methods, protocols and scales, and how they resolve to a run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from d2r.config.benchmarks import benchmark_ids, load_benchmark
from d2r.config.embeddings import read_task_embeddings
from d2r.config.networks import NetworkConfig, network_class, network_classes, size_names
from d2r.config.paths import config_root, project_root
from d2r.config.reader import read_yaml
from d2r.config.schema import (
    MAX_SEED,
    SEED,
    Budget,
    Method,
    Protocol,
    RunConfig,
    SacConfig,
    Scale,
)
from d2r.errors import UserError, nearest
from d2r.files import is_visible_file

Model = TypeVar("Model", bound=BaseModel)

NAME = "[a-z0-9-]+"
"""What methods, protocols and scales may be called: folders are named by it, and Snakemake's rules look for it."""

FILLED_IN = {"task_embeddings": "embeddings_file", "matched": "match_parameters_of"}
"""Keys of a network that only resolving a run sets, unchecked, and the key of a method's file that leads to each."""


class RunKey(NamedTuple):
    """The name of a run: what identifies its folder."""

    scale: str
    benchmark: str
    method: str
    seed: int

    def folder(self, results: Path) -> Path:
        """Folder of the run's published outputs below ``results`` (such as ``results/smoke``)."""
        return results / "runs" / self.benchmark / self.method / f"seed{self.seed}"

    def state_folder(self, results: Path) -> Path:
        """Folder of the run's resumable training state, which no workflow tool owns."""
        return results / "state" / self.benchmark / self.method / f"seed{self.seed}"


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
        while "$ref" in node:
            node = definitions[node["$ref"].rsplit("/", 1)[1]]
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


def config_folder(kind: str) -> Path:
    """Return ``config/<kind>`` (``methods``, ``protocols`` or ``scales``)."""
    return config_root() / kind


def _ids(kind: str) -> tuple[str, ...]:
    paths = sorted(filter(is_visible_file, config_folder(kind).glob("*.yaml")))
    for path in paths:
        if not re.fullmatch(NAME, path.stem):
            raise UserError(
                f"{path}: a name is made of lower-case letters, digits and hyphens; rename the file"
            )
    return tuple(path.stem for path in paths)


def method_ids() -> tuple[str, ...]:
    """Ids of all methods: one for each file in ``config/methods``."""
    return _ids("methods")


def scale_ids() -> tuple[str, ...]:
    """Ids of all scales."""
    return _ids("scales")


def _read_named(kind: str, name: str, named_in: Path | None = None) -> tuple[Path, dict[str, Any]]:
    known = _ids(kind)
    if name not in known:
        where = f"{named_in}: " if named_in else ""
        raise UserError(f"{where}unknown {kind[:-1]} '{name}'; {nearest(name, known)}")
    path = config_folder(kind) / f"{name}.yaml"
    data = read_yaml(path)
    if data.get("id") != name:
        raise UserError(f"{path}: 'id' must be the file's name, '{name}', not {data.get('id')!r}")
    return path, data


def check_seed(text: str) -> int:
    """Return the seed that is written so.

    Raises:
        UserError: if it is none.
    """
    if not re.fullmatch(SEED, text):
        raise UserError(
            f"seed {text}: must be a whole number from 0 to {MAX_SEED}, in digits without leading zeros"
        )
    return int(text)


def _method_data(name: str, seen: tuple[str, ...] = ()) -> tuple[Path, dict[str, Any]]:
    """A method's own keys laid over those of the method that it ``extends``."""
    path, data = _read_named("methods", name)
    network = data.get("network")
    for key, instead in FILLED_IN.items():
        if isinstance(network, dict) and key in network:
            raise UserError(
                f"{path}: 'network.{key}' is filled in when a run is resolved; set '{instead}' instead"
            )
    parent = data.pop("extends", None)
    if parent is None:
        return path, data
    if not isinstance(parent, str) or parent in (*seen, name):
        raise UserError(f"{path}: 'extends' must name another method, and not in a circle")
    _read_named("methods", parent, named_in=path)
    parent_path, base = _method_data(parent, (*seen, name))
    for section in ("network", "sac"):
        own = data.get(section, {})
        if not isinstance(own, dict):
            raise UserError(f"{path}: '{section}' must be a mapping")
        inherited = base.get(section, {})
        if not isinstance(inherited, dict):
            raise UserError(f"{parent_path}: '{section}' must be a mapping")
        replaces = section == "network" and own.get("type", inherited.get("type")) != inherited.get("type")
        data[section] = dict(own) if replaces else {**inherited, **own}
        if replaces:
            base.pop("mt50", None)  # sizes of another type
    return path, {**{key: base[key] for key in base if key not in ("deviations",)}, **data}


@cache
def load_method(name: str) -> Method:
    """Read ``config/methods/<name>.yaml``; its ``extends`` key names the method that it changes."""
    path, data = _method_data(name)
    method = parse(Method, data, str(path))
    network = type(method.network)
    _check_size_names(method.mt50, size_names(network), f"{path}: mt50")
    parse(network, method.network.model_dump() | method.mt50, f"{path}: mt50")
    return method


def _check_size_names(sizes: Mapping[str, int], valid: Sequence[str], where: str) -> None:
    for name in sizes:
        if name not in valid:
            raise UserError(f"{where}: unknown key '{name}'; {nearest(name, valid)}")


@cache
def load_protocol(name: str) -> Protocol:
    """Read ``config/protocols/<name>.yaml``."""
    path, data = _read_named("protocols", name)
    return parse(Protocol, data, str(path))


@cache
def load_scale(name: str) -> Scale:
    """Read ``config/scales/<name>.yaml`` and check that what it names exists.

    Raises:
        UserError: for an unknown method or protocol, a suite without a budget, or a bad size.
    """
    path, data = _read_named("scales", name)
    scale = parse(Scale, data, str(path))
    _read_named("protocols", scale.protocol, named_in=path)
    load_protocol(scale.protocol)
    for group in scale.runs:
        if group.methods != "all":
            for method in group.methods:
                if method not in method_ids():
                    raise UserError(f"{path}: unknown method '{method}'; {nearest(method, method_ids())}")
        for benchmark in group.benchmarks:
            suite = load_benchmark(benchmark).suite
            if suite not in scale.budget:
                raise UserError(f"{path}: '{benchmark}' is to be run but 'budget' has no '{suite}'")
    valid = size_names(*network_classes(in_their_own_files=False).values())
    if not set(scale.network) <= set(valid):
        valid = size_names(*network_classes().values())
    _check_size_names(scale.network, valid, f"{path}: network")
    parse(SacConfig, scale.sac, f"{path}: sac")
    return scale


def plan_runs(scale: Scale) -> list[RunKey]:
    """Every run of a scale, once, seed by seed so that an interrupted scale has whole rounds of seeds."""
    order_of_benchmarks = benchmark_ids()
    keys = {
        RunKey(scale.id, benchmark, method, seed): (order, position)
        for group in reversed(scale.runs)
        for position, method in enumerate(method_ids() if group.methods == "all" else group.methods)
        for benchmark in group.benchmarks
        for order, seed in enumerate(group.seeds or scale.seeds)
    }
    return sorted(
        keys, key=lambda key: (keys[key][0], order_of_benchmarks.index(key.benchmark), keys[key][1])
    )


def resolve_run(
    scale: Scale, benchmark: str, method: str, seed: int, overrides: Mapping[str, Any] | None = None
) -> RunConfig:
    """Resolve one run: the official defaults, then the scale, then the method.

    Args:
        overrides: optional ``budget`` keys (such as ``steps``) that replace the scale's.

    Raises:
        UserError: for an unknown benchmark or method, or a value out of range.
    """
    suite = load_benchmark(benchmark).suite
    check_seed(str(seed))
    path, data = _method_data(method)
    if suite not in scale.budget:
        raise UserError(f"scale '{scale.id}' has no budget for '{suite}'; add one to its file")
    network = resolve_network(method, suite, scale.width, scale.network)
    budget = scale.budget[suite].model_dump() | dict(overrides or {})
    return parse(
        RunConfig,
        {
            "scale": scale.id,
            "benchmark": benchmark,
            "method": method,
            "seed": seed,
            "protocol": load_protocol(scale.protocol).model_dump(),
            "network": network.model_dump(),
            "sac": {**scale.sac, **data.get("sac", {})},
            "budget": parse(Budget, budget, f"budget of scale '{scale.id}'").model_dump(),
        },
        f"{path} at scale '{scale.id}'",
    )


def resolve_network(
    method: str, suite: str, width: float = 1.0, sizes: Mapping[str, int] | None = None
) -> NetworkConfig:
    """Resolve a method's network: its own sizes, then MT50's if that is the suite, then a scale's.

    Args:
        suite: ``mt10`` or ``mt50``.
        width: factor on every ``*_dim``.
        sizes: a scale's other sizes, for methods that do not set them themselves.

    Raises:
        UserError: if a size is out of range, the method to be matched is itself matched, or a file of task
        embeddings is unfit.
    """
    path, data = _method_data(method)
    declared = load_method(method)
    network = declared.network.model_dump()
    own = set(data.get("network", {}))
    if suite == "mt50":
        network |= declared.mt50
        own |= set(declared.mt50)
    changed = {name: value for name, value in (sizes or {}).items() if name in network and name not in own}
    network |= changed
    network |= {
        name: _scaled(value, width)
        for name, value in network.items()
        if name.endswith("_dim") and isinstance(value, int)
    }
    partner = network.get("match_parameters_of")
    if partner is not None:
        _read_named("methods", partner, named_in=path)
        further = getattr(load_method(partner).network, "match_parameters_of", None)
        if method in (partner, further):
            raise UserError(f"{path}: 'match_parameters_of' must name another method, and not in a circle")
        if further is not None:
            raise UserError(f"{path}: '{partner}' is matched to a method itself; match that one instead")
        network["matched"] = resolve_network(partner, suite, width, sizes).model_dump()
    if network.get("embeddings_file") is not None:
        network["task_embeddings"] = read_task_embeddings(project_root() / network["embeddings_file"], suite)
    where = f"{path} with the scale's network sizes ({', '.join(changed)})" if changed else str(path)
    return parse(_Network, {"network": network}, where).network


class _Network(BaseModel):
    network: NetworkConfig


def _scaled(dim: int, width: float) -> int:
    return dim if width == 1 else max(8, round(dim * width / 8) * 8)
