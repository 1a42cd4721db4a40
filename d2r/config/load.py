"""Methods, protocols and scales, and how they resolve to a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from d2r.config.benchmarks import in_order, load_benchmark, nearest_size, suite_size, suite_tasks
from d2r.config.changes import Values, changed_id, check_keys, read_source, split_id, word
from d2r.config.embeddings import read_task_embeddings
from d2r.config.files import NAME, ids_of, read_named
from d2r.config.identity import identity
from d2r.config.networks import FILLED_IN, MatchableConfig, NetworkConfig, network_classes, size_names
from d2r.config.parse import parse
from d2r.config.paths import project_root
from d2r.config.schema import (
    MAX_SEED,
    SEED,
    Budget,
    Method,
    Protocol,
    RunConfig,
    SacConfig,
    Scale,
    Source,
)
from d2r.errors import UserError, nearest

_SIZES = {"mt10": 10, "mt50": 50}
"""Sets of tasks that methods' sources state network sizes for, and how many tasks they have."""

OF_ONE_METHOD = ("color", "deviations")
"""Keys of a method's file that say something of that method alone, not of one with other values."""
WORDS = ("title", "source", "summary")
"""What a method that ``extends`` another must say of itself: under the words of the other it would be taken for it."""


RUNS, STATE = "runs", "state"
"""Folders of a scale's results: what runs published, and what they go on from."""


class RunKey(NamedTuple):
    """The name of a run: what identifies its folder."""

    scale: str
    benchmark: str
    method: str
    seed: int

    def folder(self, results: Path) -> Path:
        """Folder of the run's published outputs below ``results`` (such as ``results/smoke``)."""
        return results / RUNS / self.benchmark / self.method / f"seed{self.seed}"

    def state_folder(self, results: Path) -> Path:
        """Folder of the run's resumable training state, which no workflow tool owns."""
        return results / STATE / self.benchmark / self.method / f"seed{self.seed}"


def method_ids() -> tuple[str, ...]:
    """Ids of all methods: one for each file in ``config/methods``."""
    return ids_of("methods")


def scale_ids() -> tuple[str, ...]:
    """Ids of all scales."""
    return ids_of("scales")


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
    """A method's own keys laid over those of the method that it ``extends``, or some of whose values it changes."""
    unchanged, values = split_id(name)
    if values:
        path, data = _method_data(unchanged)
        return path, _with_values(load_method(unchanged), data, name, values)
    path, data = read_named("methods", name)
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
    read_named("methods", parent, named_in=path)
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
    return path, {**{key: base[key] for key in base if key not in (*OF_ONE_METHOD, *WORDS)}, **data}


def _with_values(method: Method, data: dict[str, Any], name: str, values: Values) -> dict[str, Any]:
    check_keys(method, values, f"method '{name}'")
    changed = {key: kept for key, kept in data.items() if key not in OF_ONE_METHOD}
    said = []
    for key, value in values.items():
        section, _, own = key.partition(".")
        if key == "start_from":
            source = read_source(value, f"method '{name}'")
            changed[key] = source.model_dump()
            said.append(f"from {source.benchmark}")
            continue
        if not own:
            changed[key] = value
            said.append(f"{key} {value}")
            continue
        changed[section] = {**changed.get(section, {}), own: value}
        if section == "network" and "mt50" in changed:
            changed["mt50"] = {size: of for size, of in changed["mt50"].items() if size != own}
        said.append(f"{own} {word(value)}")
    return changed | {"id": name, "title": f"{data['title']} ({', '.join(said)})"}


def changed_method(method: str, values: Values, where: str) -> str:
    """The id of a method with other values; without any, its own.

    Args:
        where: what states the values, for messages.

    Raises:
        UserError: for an unknown method, or values that it cannot have.
    """
    return changed_id(load_method(method), values, where) if values else method


def is_method(name: str) -> bool:
    """Whether an id is a method's: of a file, or of such a method with other values."""
    if "+" not in name:
        return name in method_ids()
    try:
        load_method(name)
    except UserError:
        return False
    return True


@cache
def load_method(name: str) -> Method:
    """Read ``config/methods/<name>.yaml``; its ``extends`` key names the method that it changes.

    An id such as ``d2r+sac.batch_per_task-32`` is that method with other values.
    """
    unchanged, values = split_id(name)
    if values and name != (right := changed_method(unchanged, values, f"method '{name}'")):
        raise UserError(f"unknown method '{name}'; did you mean '{right}'?")
    path, data = _method_data(name)
    method = parse(Method, data, str(path))
    network = type(method.network)
    _check_size_names(method.mt50, size_names(network), f"{path}: mt50")
    parse(network, method.network.model_dump() | method.mt50, f"{path}: mt50")
    if method.start_from is not None:
        _check_source(method.start_from, f"{path}: start_from" if name == path.stem else f"method '{name}'")
    return method


def _check_source(source: Source, where: str) -> None:
    """See to it that there are such a scale, benchmark and method, which does not start from another run itself."""
    for kind, of_kind in (("scale", scale_ids()), ("method", method_ids())):
        name = getattr(source, kind)
        if name not in of_kind:
            raise UserError(f"{where}: unknown {kind} '{name}'; {nearest(name, of_kind)}")
    try:
        load_benchmark(source.benchmark)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    if "start_from" in _method_data(source.method)[1]:
        raise UserError(f"{where}: '{source.method}' starts from another run itself; name one that does not")


def _check_size_names(sizes: Mapping[str, int], valid: Sequence[str], where: str) -> None:
    for name in sizes:
        if name not in valid:
            raise UserError(f"{where}: unknown key '{name}'; {nearest(name, valid)}")


@cache
def load_protocol(name: str) -> Protocol:
    """Read ``config/protocols/<name>.yaml``."""
    path, data = read_named("protocols", name)
    return parse(Protocol, data, str(path))


@cache
def load_scale(name: str) -> Scale:
    """Read ``config/scales/<name>.yaml`` and check that what it names exists.

    Raises:
        UserError: for an unknown method, protocol, benchmark or set of tasks, or a bad size.
    """
    path, data = read_named("scales", name)
    scale = parse(Scale, data, str(path))
    read_named("protocols", scale.protocol, named_in=path)
    load_protocol(scale.protocol)
    _check_variants(scale, path)
    for group in scale.runs:
        for method in group.methods if group.methods != "all" else ():
            if "+" in method:
                _said_in(path, load_method, method)
            elif method not in (*method_ids(), *scale.variants):
                known = (*method_ids(), *scale.variants)
                raise UserError(f"{path}: unknown method '{method}'; {nearest(method, known)}")
        for benchmark in group.benchmarks:
            _said_in(path, load_benchmark, benchmark)
    for suite in scale.budget:
        _said_in(path, suite_size, suite)
    valid = size_names(*network_classes(in_their_own_files=False).values())
    if not set(scale.network) <= set(valid):
        valid = size_names(*network_classes().values())
    _check_size_names(scale.network, valid, f"{path}: network")
    parse(SacConfig, scale.sac, f"{path}: sac")
    return scale


def _check_variants(scale: Scale, path: Path) -> None:
    """See to it that each variant is one, has a name of its own, and is no other's double."""
    names: dict[str, str] = {}
    for name, variant in scale.variants.items():
        where = f"{path}: variants.{name}"
        if not re.fullmatch(NAME, name) or name in method_ids():
            raise UserError(
                f"{where}: must have a name of its own, of lower-case letters, digits and hyphens"
            )
        if not is_method(variant.of):
            raise UserError(f"{where}: unknown method '{variant.of}'; {nearest(variant.of, method_ids())}")
        changed = changed_method(variant.of, variant.values, where)
        if variant.start_from is not None:
            _check_source(variant.start_from, where)
        if changed in names:
            raise UserError(f"{where}: is '{names[changed]}' once more; remove one of them")
        names[changed] = name


def method_id(scale: Scale, name: str) -> str:
    """The id of a method that a scale names: of its own variants the one that says what they change."""
    variant = scale.variants.get(name)
    if variant is None:
        return name
    return changed_method(variant.of, variant.values, f"variants.{name} of scale '{scale.id}'")


def _said_in(path: Path, look_up: Callable[[str], object], name: str) -> None:
    try:
        look_up(name)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def budget_suite(scale: Scale, suite: str) -> str:
    """The set of tasks whose budget in a scale holds for ``suite``: itself, or else that of the nearest size.

    Raises:
        UserError: if there is no such set of tasks.
    """
    if suite in scale.budget:
        return suite
    return nearest_size(suite_size(suite), {name: suite_size(name) for name in scale.budget})


def plan_runs(scale: Scale) -> list[RunKey]:
    """Every run of a scale, once, seed by seed so that an interrupted scale has whole rounds of seeds."""
    every = (*method_ids(), *scale.variants)
    place = {
        name: number for number, name in enumerate(in_order({b for g in scale.runs for b in g.benchmarks}))
    }
    keys = {
        RunKey(scale.id, benchmark, method_id(scale, method), seed): (order, position)
        for group in reversed(scale.runs)
        for position, method in enumerate(every if group.methods == "all" else group.methods)
        for benchmark in group.benchmarks
        for order, seed in enumerate(group.seeds or scale.seeds)
    }
    return sorted(keys, key=lambda key: (keys[key][0], place[key.benchmark], keys[key][1]))


def resolve_run(
    scale: Scale, benchmark: str, method: str, seed: int, overrides: Mapping[str, Any] | None = None
) -> RunConfig:
    """Resolve one run: the official defaults, then the scale, then the method.

    Args:
        overrides: optional ``budget`` keys (such as ``steps``) that replace the scale's.

    Raises:
        UserError: for an unknown benchmark or method, or a value out of range.
    """
    trained_on = load_benchmark(benchmark)
    suite = trained_on.suite
    check_seed(str(seed))
    path, data = _method_data(method)
    network = resolve_network(method, suite, scale.width, scale.network)
    budget = scale.budget[budget_suite(scale, suite)].model_dump() | dict(overrides or {})
    declared = load_method(method)
    begun = {} if declared.start_from is None else _resolve_start(declared.start_from, declared.adapt)
    if begun and isinstance(network, MatchableConfig) and network.matched is not None:
        # as wide as the source, whose number of tasks decided its width
        network = network.model_copy(update={"matched_tasks": len(begun["start_from"]["tasks"])})
    return parse(
        RunConfig,
        {
            "scale": scale.id,
            "benchmark": benchmark,
            "method": method,
            "seed": seed,
            "tasks": trained_on.tasks,
            "goals": trained_on.goals,
            "protocol": load_protocol(scale.protocol).model_dump(),
            "network": network.model_dump(),
            "sac": {**scale.sac, **data.get("sac", {})},
            "budget": parse(Budget, budget, f"budget of scale '{scale.id}'").model_dump(),
            **begun,
        },
        f"{path} at scale '{scale.id}'",
    )


def _resolve_start(source: Source, adapt: str | None) -> dict[str, Any]:
    """What a run's configuration says of the run that it begins with."""
    begun = resolve_run(load_scale(source.scale), source.benchmark, source.method, seed=0)
    stated = {**source.model_dump(), "tasks": begun.tasks, "identity": identity(begun)}
    return {"start_from": stated, "adapt": adapt}


def resolve_network(
    method: str, suite: str, width: float = 1.0, sizes: Mapping[str, int] | None = None
) -> NetworkConfig:
    """Resolve a method's network: its own sizes, then those for MT50 if the suite is as large, then a scale's.

    Args:
        suite: a set of tasks, such as ``mt10``.
        width: factor on every ``*_dim``.
        sizes: a scale's other sizes, for methods that do not set them themselves.

    Raises:
        UserError: if there is no such set, a size is out of range, the method to be matched is itself matched, or a
        file of task embeddings is unfit.
    """
    tasks = suite_tasks(suite)
    path, data = _method_data(method)
    declared = load_method(method)
    network = declared.network.model_dump()
    own = set(data.get("network", {}))
    if nearest_size(len(tasks), _SIZES) == "mt50":
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
        read_named("methods", partner, named_in=path)
        further = getattr(load_method(partner).network, "match_parameters_of", None)
        if method in (partner, further):
            raise UserError(f"{path}: 'match_parameters_of' must name another method, and not in a circle")
        if further is not None:
            raise UserError(f"{path}: '{partner}' is matched to a method itself; match that one instead")
        network["matched"] = resolve_network(partner, suite, width, sizes).model_dump()
    if network.get("embeddings_file") is not None:
        network["task_embeddings"] = read_task_embeddings(project_root() / network["embeddings_file"], tasks)
    where = f"{path} with the scale's network sizes ({', '.join(changed)})" if changed else str(path)
    return parse(_Network, {"network": network}, where).network


class _Network(BaseModel):
    network: NetworkConfig


def _scaled(dim: int, width: float) -> int:
    return dim if width == 1 else max(8, round(dim * width / 8) * 8)
