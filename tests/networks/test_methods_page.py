"""docs/methods.md and `d2r methods` say what the code has."""

from __future__ import annotations

import json

import pytest

from d2r.cli.main import main
from d2r.config import load_method, method_ids, project_root


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


@pytest.mark.parametrize("method", [name for name in method_ids() if load_method(name).kind == "baseline"])
def test_every_baseline_has_a_card(method):
    headings = [line for line in page().splitlines() if line.startswith("### ")]
    assert any(f"`{method}`" in heading for heading in headings)
