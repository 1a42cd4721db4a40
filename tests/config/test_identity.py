"""What is one run and what is another, as records, plans and Snakemake tell them apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest

from d2r.config import RunConfig, config_hash, identity, is_run, load_scale, method_ids, resolve_run, stated
from d2r.config.identity import CONFIG_SCHEMA
from d2r.config.networks import network_classes
from d2r.config.schema import Descriptive, Protocol, SacConfig
from tests.support.tiny import PROJECT

DEFAULTS = Path(__file__).with_name("defaults.json")
RELEASED = sorted((PROJECT / "results/released/lite/runs").glob("*/*/*/run.json"))
Record = dict[str, Any]


@pytest.fixture
def planned() -> RunConfig:
    return resolve_run(load_scale("lite"), "mt10-rand", "d2r", 1)


def resealed(record: Record) -> Record:
    return record | {"config_hash": config_hash(record["config"])}


def without_a_key(record: Record) -> None:
    """As if it had been written before there was such a key."""
    del record["config"]["sac"]["clip_per"]
    del record["config"]["network"]["growth_patience"]
    del record["config"]["protocol"]["policy_lag"]


def in_other_words(record: Record) -> None:
    record["config"]["protocol"]["description"] = "Said otherwise."


def without_the_schema(record: Record) -> None:
    del record["config_schema"]


@pytest.mark.parametrize("change", [without_a_key, in_other_words, without_the_schema])
def test_a_record_of_another_time_is_of_the_same_run(
    change: Callable[[Record], None], planned: RunConfig
) -> None:
    record = stated(planned)
    change(record)
    assert is_run(resealed(record), planned)


def with_another_value(record: Record) -> None:
    record["config"]["sac"]["clip_per"] = "task"
    record["config"]["sac"]["task_weights"] = "uniform"


def with_another_seed(record: Record) -> None:
    record["config"]["seed"] = 2


def with_a_key_of_its_own(record: Record) -> None:
    record["config"]["network"]["unheard_of"] = False


def of_another_meaning(record: Record) -> None:
    record["config_schema"] = CONFIG_SCHEMA + 1


@pytest.mark.parametrize(
    "change", [with_another_value, with_another_seed, with_a_key_of_its_own, of_another_meaning]
)
def test_a_record_that_says_something_else_is_of_another_run(
    change: Callable[[Record], None], planned: RunConfig
) -> None:
    record = stated(planned)
    change(record)
    assert not is_run(resealed(record), planned)


@pytest.mark.parametrize(
    "record", [{}, {"config": None}, {"config": {}}, {"config": {"seed": 1}, "config_hash": 3}]
)
def test_what_holds_no_configuration_is_of_no_run(record: Record, planned: RunConfig) -> None:
    assert not is_run(record, planned)


def test_a_configuration_that_was_changed_is_of_no_run(planned: RunConfig) -> None:
    record = stated(planned)
    in_other_words(record)
    assert not is_run(record, planned), "its hash is that of what was written"


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: "/".join(path.parts[-4:-1]))
def test_a_released_record_is_whole_and_of_the_run_that_is_planned(path: Path) -> None:
    record = json.loads(path.read_bytes())
    assert config_hash(record["config"]) == record["config_hash"]
    assert is_run(
        record, resolve_run(load_scale("lite"), record["benchmark"], record["method"], record["seed"])
    )


def test_every_choice_makes_another_run() -> None:
    scale = load_scale("paper")
    one = resolve_run(scale, "mt10-rand", "d2r", 1)
    assert identity(one) == identity(resolve_run(scale, "mt10-rand", "d2r", 1))
    others = [
        resolve_run(scale, "mt10-rand", "d2r", 2),
        resolve_run(scale, "mt10-fixed", "d2r", 1),
        resolve_run(scale, "mt10-rand", "d2r", 1, {"steps": 500_000}),
        *(resolve_run(scale, "mt10-rand", method, 1) for method in method_ids() if method != "d2r"),
    ]
    assert len({identity(config) for config in [one, *others]}) == 1 + len(others)


@pytest.mark.parametrize("network", network_classes().values(), ids=lambda network: network.__name__)
def test_types_with_the_same_sizes_are_different_networks(network: type, planned: RunConfig) -> None:
    of_this = identity(planned.model_copy(update={"network": network()}))
    others = [other for other in network_classes().values() if other is not network]
    assert of_this not in {identity(planned.model_copy(update={"network": other()})) for other in others}


def test_what_is_planned_anew_follows_values_and_not_how_they_came_about(planned: RunConfig) -> None:
    class GrownSac(SacConfig):
        new_switch: bool = False

    class GrownProtocol(Protocol):
        note: Annotated[str, Descriptive()] = "for readers"

    sac, protocol = planned.sac.model_dump(), planned.protocol.model_dump()
    grown = planned.model_copy(update={"sac": GrownSac(**sac), "protocol": GrownProtocol(**protocol)})
    assert identity(grown) == identity(planned)
    used = planned.model_copy(update={"sac": GrownSac(**sac, new_switch=True)})
    assert identity(used) != identity(planned)
    said = planned.model_copy(update={"protocol": GrownProtocol(**protocol, note="more")})
    assert identity(said) == identity(planned)


def test_a_default_changes_with_the_schema_alone() -> None:
    """What Snakemake notes of a run leaves defaults out, so it cannot see that one changed. New ones may be added."""
    known = json.loads(DEFAULTS.read_bytes())
    parts = {name: RunConfig.model_fields[name].annotation for name in ("protocol", "sac", "budget")}
    parts |= {f"network {name}": network for name, network in network_classes().items()}
    now = {
        part: {name: field.default for name, field in model.model_fields.items()}
        for part, model in parts.items()
    }
    changed = [
        f"{part}: {name}"
        for part, values in known["defaults"].items()
        for name, value in values.items()
        if now[part].get(name, "no such key") != value
    ]
    assert not changed, (
        f"raise CONFIG_SCHEMA in d2r/config/identity.py, and write the new values to {DEFAULTS}"
    )
    assert known["schema"] == CONFIG_SCHEMA, f"write the defaults of this schema to {DEFAULTS}"
