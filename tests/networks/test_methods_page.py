"""docs/methods.md and `d2r methods` say what the code has."""

from __future__ import annotations

import json

import pytest

from d2r.cli.main import main
from d2r.config import load_method, method_ids, project_root, resolve_network
from d2r.networks.registry import count_parameters


def page():
    return (project_root() / "docs" / "methods.md").read_text(encoding="utf-8")


def test_the_parameter_table_is_the_one_of_the_code(capsys):
    assert main(["methods", "--markdown"]) == 0
    assert capsys.readouterr().out.strip() in page()


def test_json_has_every_method_with_its_counts(capsys):
    assert main(["methods", "--json"]) == 0
    methods = json.loads(capsys.readouterr().out)
    assert {m["id"] for m in methods} == set(method_ids())
    for method in methods:
        assert method["kind"] in ("variant", "baseline")
        for suite in ("mt10", "mt50"):
            assert all(method["parameters"][suite][network] > 0 for network in ("actor", "critic"))


def test_the_plain_table_has_a_line_for_every_method(capsys):
    assert main(["methods"]) == 0
    names = [line.split(maxsplit=1)[0] for line in capsys.readouterr().out.splitlines() if line]
    assert set(method_ids()) <= set(names)


def card_of(method):
    """The part of the page below the heading that names ``method``."""
    cards = page().split("\n### ")[1:]
    (card,) = (card for card in cards if f"`{method}`" in card.splitlines()[0])
    return card


@pytest.mark.parametrize("method", [name for name in method_ids() if load_method(name).kind == "baseline"])
def test_every_baseline_has_a_card_with_its_counts(method):
    card = card_of(method)
    for heading in ("Network", "Parameters", "SAC of the source", "Deviations"):
        assert f"- **{heading}**" in card, heading
    for suite, tasks in (("mt10", 10), ("mt50", 50)):
        actor, critic = count_parameters(resolve_network(method, suite), tasks)
        assert f"{actor:,} and {critic:,} on {suite.upper()}" in card
