"""A run's folder and a folder of results are asked for alike by every command."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from d2r.cli.main import COMMANDS, main


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A command's parser, and those of the words that it knows."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for further in action.choices.values():
                yield from parsers(further)


def actions() -> Iterator[tuple[str, argparse.Action]]:
    for name, path in COMMANDS.items():
        parser = argparse.ArgumentParser(name)
        importlib.import_module(path).add_arguments(parser)
        for each in parsers(parser):
            for action in each._actions:
                yield each.prog, action


def test_every_folder_of_results_is_named_by_the_same_option_and_every_run_by_its_place() -> None:
    results = {prog: action for prog, action in actions() if action.dest == "results"}
    assert len(results) > 10
    for prog, action in results.items():
        assert (action.option_strings, action.metavar, action.type) == (["--results"], "FOLDER", Path), prog
        assert str(action.help).startswith("results of one scale, such as results/smoke"), prog
    runs = {prog: action for prog, action in actions() if action.metavar == "RUN"}
    assert set(runs) == {"evaluate", "export learner", "routes", "watch"}
    assert all(not action.option_strings for action in runs.values())
    others = {action.dest for _, action in actions() if action.type is Path} - {"results", "run"}
    assert others == {"output", "update", "files", "folder"}


@pytest.mark.parametrize("name", ["collect", "tables", "figures", "report", "compare d2r mtsac", "status"])
def test_a_folder_that_is_not_there_is_said_alike(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = tmp_path / "nowhere"
    assert main([*name.split(), "--results", str(nowhere)]) == 2
    assert f"{nowhere}: no such folder; give one like results/smoke" in capsys.readouterr().err


def test_a_folder_to_verify_is_given_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "artifact", "results/smoke", "--results", "results/smoke"]) == 2
    assert "give one of them" in capsys.readouterr().err
