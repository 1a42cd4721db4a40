"""What a method file may say about a baseline's network, through to the network that is built."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from d2r.cli.main import main
from d2r.config import (
    SacConfig,
    load_method,
    load_scale,
    method_ids,
    project_root,
    resolve_network,
    resolve_run,
)
from d2r.errors import UserError
from d2r.networks.registry import build_actor, count_parameters
from tests.support.embeddings import mt10_embeddings


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of its own, to which a test adds method files."""
    shutil.copytree(project_root() / "config", tmp_path / "config")
    monkeypatch.setenv("D2R_ROOT", str(tmp_path))
    return tmp_path


def add_method(project, name, text):
    header = f"id: {name}\ntitle: T\nkind: baseline\nsource: S\nsummary: S\n"
    (project / "config" / "methods" / f"{name}.yaml").write_text(header + text)


@pytest.mark.parametrize("method", method_ids())
def test_methods_share_every_value_of_sac_but_their_own_idea(method):
    """Rates, discount, batch, bounds and masks are the same for all, so that what differs is what a method is about."""
    ideas = {
        "task_weights", "policy_route", "critic_route", "route_balancing", "gradient_surgery", "clip_per",
    }  # fmt: skip
    own, shared = load_method(method).sac.model_dump(), SacConfig().model_dump()
    assert {name for name in own if own[name] != shared[name]} <= ideas


@pytest.mark.parametrize(
    ("method", "own"),
    [
        ("sac", {"clip_per": "task", "task_weights": "uniform"}),
        ("pcgrad", {"gradient_surgery": "pcgrad"}),
        *((name, {}) for name in ("care", "film", "mmoe", "moore", "mtmhsac", "mtmhsac-matched", "mtsac")),
        *((name, {}) for name in ("mtsac-matched", "paco", "softmod-deep", "softmod-shallow")),
    ],
)
def test_what_a_baseline_changes_of_sac(method, own):
    assert load_method(method).sac == SacConfig(**own)


def test_switches_that_make_a_baseline_what_it_is():
    assert load_method("paco").network.reset_masked
    assert load_method("care").network.embeddings_file is None
    assert not load_method("mtmhsac").network.task_input
    assert load_method("pcgrad").network == load_method("mtmhsac").network
    for matched in ("mtsac", "mtmhsac"):
        network = load_method(f"{matched}-matched").network
        assert network.match_parameters_of == "d2r"
        assert network.type == load_method(matched).network.type


@pytest.mark.parametrize("section", ["network: null", "network: 3", "network: {type: mlp}\nsac: null"])
def test_a_parents_sections_must_be_mappings_too(project, section):
    add_method(project, "by-hand", f"{section}\n")
    add_method(project, "child", "extends: by-hand\n")
    with pytest.raises(UserError, match=r"by-hand.yaml: '(network|sac)' must be a mapping"):
        resolve_network("child", "mt10")


def test_another_type_of_network_does_not_inherit_the_parents_sizes(project):
    add_method(project, "child", "extends: care\nnetwork: {type: mlp}\n")
    assert resolve_network("child", "mt50") == resolve_network("mtsac", "mt50")


@pytest.mark.parametrize("value", ["0x" + "f" * 4000, "0x" + "f" * 10_000])
def test_numbers_of_thousands_of_digits_get_one_line(project, value):
    add_method(project, "huge", f"network: {{type: mlp, hidden_dim: {value}}}\n")
    with pytest.raises(UserError, match="hidden_dim"):
        resolve_network("huge", "mt10")


def test_care_takes_language_embeddings_from_a_file(project):
    add_method(project, "care-language", "extends: care\nnetwork: {embeddings_file: words.json}\n")
    (project / "words.json").write_text(json.dumps(mt10_embeddings()))
    run = resolve_run(load_scale("smoke"), "mt10-rand", "care-language", 1)
    assert run.network.task_embeddings[3] == (3.0, 0.5, -1.0)
    actor = build_actor(run.network, 10, torch.Generator().manual_seed(0))
    assert actor.embedding.shape == (1, 10, 3)
    assert actor(torch.zeros(1, 2, 10, 39)).value.isfinite().all()
    with pytest.raises(UserError, match="no embedding of task"):
        resolve_network("care-language", "mt50")
    add_method(project, "care-nowhere", f"extends: care\nnetwork: {{embeddings_file: {'x' * 300}}}\n")
    with pytest.raises(UserError, match="cannot be read"):
        resolve_network("care-nowhere", "mt10")


@pytest.mark.parametrize(
    ("network", "instead"),
    [
        ("{type: care, task_embeddings: [[1.0, 2.0], [3.0]]}", "embeddings_file"),
        ("{type: care, task_embeddings: [[1.0, 2.0]]}", "embeddings_file"),
        ("{type: care, task_embeddings: null}", "embeddings_file"),
        ("{type: mlp, matched: {type: routed}}", "match_parameters_of"),
    ],
)
def test_a_method_file_cannot_set_what_resolving_fills_in(project, network, instead):
    add_method(project, "by-hand", f"network: {network}\n")
    add_method(project, "child", "extends: by-hand\n")
    for name in ("by-hand", "child"):
        with pytest.raises(UserError, match=f"by-hand.yaml: 'network.*set '{instead}' instead") as error:
            resolve_network(name, "mt10")
        assert len(str(error.value).splitlines()) == 1


def test_a_method_cannot_match_one_that_is_matched_itself(project):
    add_method(project, "twice-matched", "network: {type: mlp, match_parameters_of: mtsac-matched}\n")
    with pytest.raises(UserError, match="match that one instead"):
        resolve_network("twice-matched", "mt10")


def test_matching_an_unknown_method_names_the_nearest(project):
    add_method(project, "mis-matched", "network: {type: mlp, match_parameters_of: dtwor}\n")
    with pytest.raises(UserError, match=r"mis-matched\.yaml: unknown method 'dtwor'"):
        resolve_network("mis-matched", "mt10")


def test_sizes_for_mt50_are_checked(project):
    add_method(project, "paco-typo", "extends: paco\nmt50: {num_set: 20}\n")
    with pytest.raises(
        UserError, match=r"paco-typo\.yaml: mt50: unknown key 'num_set'; did you mean 'num_sets'"
    ):
        resolve_network("paco-typo", "mt10")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("network: {type: mlp}\nmt50: {match_parameters_of: 3}", "mt50: unknown key 'match_parameters_of'"),
        ("network: {type: mlp}\nmt50: {matched: 3}", "mt50: unknown key 'matched'; valid: hidden_dim, inner"),
        ("network: {type: mlp}\nmt50: {type: 3}", "mt50: unknown key 'type'"),
        ("extends: care\nmt50: {embeddings_file: 3}", "mt50: unknown key 'embeddings_file'"),
        ("extends: care\nmt50: {task_embeddings: 3}", "mt50: unknown key 'task_embeddings'"),
        ("extends: paco\nmt50: {num_sets: 0}", "'mt50.num_sets': input should be greater than 0"),
        ("extends: paco\nmt50: {num_sets: true}", "'mt50.num_sets': input should be a valid integer"),
        (
            "extends: paco\nmt50: {num_sets: 257}",
            "mt50: 'num_sets': input should be less than or equal to 256",
        ),
        ("extends: moore\nmt50: {hidden_dim: 3}", "mt50: num_experts .4. must not exceed hidden_dim"),
    ],
)
def test_what_changes_on_mt50_is_checked_as_the_file_is_read(project, text, says):
    add_method(project, "on-mt50", text)
    with pytest.raises(UserError, match=f"on-mt50.yaml: {says}") as error:
        load_method("on-mt50")
    assert len(str(error.value).splitlines()) == 1


def test_matching_in_a_circle_is_refused(project):
    add_method(project, "itself", "network: {type: mlp, match_parameters_of: itself}\n")
    add_method(project, "one", "network: {type: mlp, match_parameters_of: other}\n")
    add_method(project, "other", "network: {type: mlp, match_parameters_of: one}\n")
    for name in ("itself", "one", "other"):
        with pytest.raises(UserError, match=f"{name}.yaml: 'match_parameters_of' .* not in a circle"):
            resolve_network(name, "mt10")


@pytest.mark.parametrize(
    ("network", "says"),
    [
        ("{type: care, embeddings_file: ''}", "'network': embeddings_file is empty; name a JSON file"),
        ("{hidden_dim: 3}", "key 'network.type' is missing; valid: care, .*soft-modularization"),
        ("{type: mlpp}", "'network.type': unknown type 'mlpp'; did you mean 'mlp'"),
        (
            "{type: mlp, match: d2r}",
            "unknown key 'network.match'; valid: hidden_dim, inner_dim, match_para",
        ),
        ("{type: mlp, matchd: d2r}", "unknown key 'network.matchd'; (?!did you mean 'matched')"),
    ],
)
def test_hints_name_what_a_file_may_say(project, network, says):
    add_method(project, "unclear", f"network: {network}\n")
    with pytest.raises(UserError, match=f"unclear.yaml: {says}"):
        load_method("unclear")


def test_a_size_that_only_the_scale_sets_is_the_scales_fault(project):
    sizes = {"num_modules": 6}
    assert resolve_network("d2r", "mt10", sizes=sizes).num_modules == 6
    with pytest.raises(UserError, match=r"d2r-layer.yaml with the scale's network sizes \(num_modules\)"):
        resolve_network("d2r-layer", "mt10", sizes=sizes)


def test_another_method_may_be_matched(project):
    add_method(project, "moore-sized", "network: {type: multihead, match_parameters_of: moore}\n")
    matched = resolve_network("moore-sized", "mt50").matched
    assert matched.num_experts == 6


@pytest.mark.parametrize(
    "network",
    [
        "{type: independent, hidden_dim: 65536}",
        "{type: paco, num_sets: 256, hidden_dim: 65536}",
        "{type: mlp, num_layers: 256, hidden_dim: 60000}",
        "{type: routed-layer, num_modules: 256, module_dim: 65536}",
        "{type: soft-modularization, num_layers: 256, modules_per_layer: 256}",
    ],
)
def test_a_network_too_large_to_build_is_refused_before_it_is_built(project, network, monkeypatch, capsys):
    add_method(project, "too-large", f"network: {network}\n")
    monkeypatch.setattr("d2r.cli.methods.method_ids", lambda: ("too-large",))
    results = project / "results"
    train = ["train", "--benchmark", "mt10-rand", "--method", "too-large", "--seed", "1", "--scale", "paper"]
    for command in (["methods"], [*train, "--results", str(results)]):
        assert main(command) == 2
        err = capsys.readouterr().err
        assert len(err.splitlines()) == 1
        assert "method 'too-large'" in err
        assert "at most 250,000,000" in err
    assert not results.exists()


@pytest.mark.parametrize("method", ["care", "d2r", "d2r-layer", "d2r-random-route", "paco", "softmod-deep"])
def test_counting_without_memory_agrees_with_what_is_built(method):
    network = resolve_network(method, "mt10")
    built = build_actor(network, 10, torch.Generator())
    assert count_parameters(network, 10).actor == sum(parameter.numel() for parameter in built.parameters())
