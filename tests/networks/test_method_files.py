"""What a method file may say about a baseline's network, through to the network that is built."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from d2r.config import load_scale, project_root, resolve_network, resolve_run
from d2r.errors import UserError
from d2r.networks.registry import build_actor

from .test_baseline_mechanisms import mt10_embeddings


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of its own, to which a test adds method files."""
    shutil.copytree(project_root() / "config", tmp_path / "config")
    monkeypatch.setenv("D2R_ROOT", str(tmp_path))
    return tmp_path


def add_method(project, name, text):
    header = f"id: {name}\ntitle: T\nkind: baseline\nsource: S\nsummary: S\n"
    (project / "config" / "methods" / f"{name}.yaml").write_text(header + text)


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
    with pytest.raises(UserError, match="unknown method 'dtwor'"):
        resolve_network("mis-matched", "mt10")


def test_sizes_for_mt50_are_checked(project):
    add_method(project, "paco-typo", "extends: paco\nmt50: {num_set: 20}\n")
    with pytest.raises(UserError, match="mt50 changes 'num_set'"):
        resolve_network("paco-typo", "mt10")


def test_another_method_may_be_matched(project):
    add_method(project, "moore-sized", "network: {type: multihead, match_parameters_of: moore}\n")
    matched = resolve_network("moore-sized", "mt50").matched
    assert matched.num_experts == 6
