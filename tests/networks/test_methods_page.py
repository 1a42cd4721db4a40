"""`d2r methods` and the cards of baselines say what the code has."""

from __future__ import annotations

import json
import re

import pytest

from d2r.cli.main import main
from d2r.config import load_method, method_ids, project_root


def page():
    return (project_root() / "docs" / "appendix" / "baselines.md").read_text(encoding="utf-8")


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


CARDS = page().split("\n## Cards\n")[1].split("\n## ")[0].split("\n### ")[1:]


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.split(":")[0])
def test_a_card_is_about_methods_that_there_are_and_says_all_that_cards_say(card):
    heading = card.splitlines()[0]
    named = re.findall("`(.*?)`", heading)
    assert named
    assert set(named) <= set(method_ids())
    said = ["Network"]
    if any(load_method(name).kind == "baseline" for name in named):
        said += ["SAC of the source", "Deviations"]
    for part in said:
        assert f"- **{part}**" in card, part
