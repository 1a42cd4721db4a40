"""The learner that trains reproduces recorded official updates, and any other file of the form."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from d2r.cli.main import main
from d2r.errors import UserError
from d2r.training.learner_file import Learner, start_from
from d2r.verify.golden import INPUTS, TOLERANCE, verify_file
from d2r.verify.reproduce import Reproduction
from tests.verify import slow_update
from tests.verify.slow_update import record

HOSTILE_SIZES = {
    "num_modules": 60_000, "module_dim": 65_000, "encoder_dim": 65_000, "router_dim": 65_000, "num_tasks": 65_000,
    "obs_dim": 65_000, "action_dim": 65_000, "batch_per_task": 10**12, "top_k": -1,
}  # fmt: skip
"""Sizes that would take gigabytes if a network were built before they are compared with the file's matrices."""
HOSTILE_ARRAYS: dict[str, dict[str, np.ndarray]] = {
    "text input": {"in/obs": np.array("x")},
    "longdouble input": {"in/obs": np.zeros((2, 2), np.longdouble)},
    "text parameter": {"before/q1/head.bias": np.array("x")},
    "text recorded": {"update/loss": np.array("x")},
    "date recorded": {"update/loss": np.array("2026-01-01", "datetime64[D]")},
    "struct recorded": {"update/loss": np.zeros(1, [("a", "f8")])},
    "void recorded": {"update/loss": np.zeros(1, "V4")},
    "complex recorded": {"update/loss": np.array(1j)},
    "deep meta": {"meta": np.array("[" * 100_000)},
    "number as meta": {"meta": np.array(1.0)},
}
"""Arrays that torch or JSON cannot take."""
GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.npz"))


def test_official_files_are_there() -> None:
    assert [path.stem for path in GOLDEN] == ["d2r_update", "d2r_update_edge"]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_official_updates_are_reproduced(path: Path) -> None:
    comparisons = verify_file(path)
    assert len(comparisons) > 400
    worst = max(comparisons, key=lambda c: c.error)
    assert worst.error <= TOLERANCE, worst


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_learner_that_started_from_another_makes_the_official_update(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file's parameters reach the learner as those of another run would, and the update is the same."""
    rewind = Reproduction._rewind
    started = []

    def start(reproduction: Reproduction) -> None:
        rewind(reproduction)
        learner = reproduction.learner
        state = learner.state_dict()
        networks = {name: state[name] for name in ("actor", "critics", "targets")}
        tensors = {f"{of}.{name}": t for of, values in networks.items() for name, t in values.items()}
        with torch.no_grad():
            for network in (learner.actor, learner.critics, learner.targets):
                for parameter in network.parameters():
                    parameter.fill_(0.5)
            learner.log_alpha.fill_(-1.0)
        names = [f"task {number}" for number in range(learner.actor.num_tasks)]
        source = Learner(tensors | {"log_alpha": state["log_alpha"]}, "", path)
        start_from(learner, 0, source, names, names)
        started.append(learner)

    monkeypatch.setattr(Reproduction, "_rewind", start)
    assert max(comparison.error for comparison in verify_file(path)) <= TOLERANCE
    assert started


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"top_k": 3, "num_modules": 7},
        {"top_k": None},
        {"top_k": 1},
        {"use_resnet": False},
        {"resrouting": False},
        {"cond_ob": False},
        {"use_resnet": False, "resrouting": False, "cond_ob": False, "top_k": None},
        {"num_tasks": 1, "batch_per_task": 2, "num_modules": 2},
        {"task_loss_threshold": 2.0, "grad_clip": 0.01},
        {"max_log_alpha": None, "task_loss_threshold": None},
        {"num_tasks": 6, "module_dim": 3, "encoder_dim": 11, "router_dim": 5, "num_modules": 16},
    ],
    ids=str,
)
def test_other_sizes_and_switches_are_reproduced(tmp_path: Path, changes: dict[str, object]) -> None:
    """Files recorded by an independent, slow implementation (``slow_update.py``)."""
    path = tmp_path / "update.npz"
    record(path, seed=3, **changes)
    worst = max(verify_file(path), key=lambda c: c.error)
    assert worst.error <= TOLERANCE, worst


def test_slow_implementation_agrees_with_the_official_recordings() -> None:
    """What records the files above is itself held to the official one, so the two cannot be wrong together."""
    for path in GOLDEN:
        with np.load(path, allow_pickle=False) as file:
            given = {name: file[name] for name in file.files}
        again = slow_update.rerecord(given)
        for name, expected in given.items():
            if name.startswith(("forward/", "after/")) or name == "update/loss":
                scale = np.abs(expected).max() or 1.0
                assert np.abs(again[name] - expected).max() / scale < 1e-9, name


@pytest.mark.parametrize("name", ["after/actor/module.2.weight", "update/grad/q2/head.bias", "update/loss"])
def test_a_wrong_number_is_named(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with np.load(GOLDEN[0], allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    changed = arrays[name].copy()
    changed.flat[0] += 1e-6 * (np.abs(changed).max() or 1.0)
    np.savez(tmp_path / "wrong.npz", **arrays | {name: changed})
    assert main(["verify", "golden", str(tmp_path / "wrong.npz")]) == 1
    assert name in capsys.readouterr().out


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_in_float32_errors_are_those_of_rounding(path: Path) -> None:
    errors = [comparison.error for comparison in verify_file(path, precision=torch.float32)]
    assert TOLERANCE < max(errors) < 100 * torch.finfo(torch.float32).eps


def test_float32_is_shown_and_not_judged(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["verify", "golden", str(GOLDEN[0]), "--precision", "float32"]
    assert main(asked) == 0
    said = capsys.readouterr().out
    assert "errors of float32" in said
    assert "ok" not in said
    assert main([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["passed"] is None
    assert found["files"][0]["tolerance"] is None


def test_options_of_float32_need_float32(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["verify", "golden", str(GOLDEN[0]), "--autocast", "bf16"]
    assert main(asked) == 2
    assert "give --precision float32" in capsys.readouterr().err
    assert main([*asked, "--precision", "float32"]) == 0


def test_json_is_one_object_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "golden", "--json", *map(str, GOLDEN)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    answer = json.loads(lines[0])
    assert answer["passed"] is True
    assert len(answer["files"]) == 2


@pytest.mark.parametrize(
    "damage",
    [
        "missing",
        "text",
        "truncated",
        "no meta",
        "short meta",
        "lost",
        "shape",
        "extra",
        *HOSTILE_SIZES,
        *HOSTILE_ARRAYS,
    ],
)
def test_bad_files_get_one_line(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "bad.npz"
    with np.load(GOLDEN[0], allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    if damage == "text":
        path.write_text("not an archive")
    elif damage == "truncated":
        path.write_bytes(GOLDEN[0].read_bytes()[:5000])
    elif damage != "missing":
        if damage == "no meta":
            del arrays["meta"]
        elif damage == "short meta":
            arrays["meta"] = np.array('{"num_tasks": 3}')
        elif damage in HOSTILE_SIZES:
            arrays["meta"] = np.array(
                json.dumps(json.loads(str(arrays["meta"])) | {damage: HOSTILE_SIZES[damage]})
            )
        elif damage in HOSTILE_ARRAYS:
            arrays |= HOSTILE_ARRAYS[damage]
        elif damage == "lost":
            del arrays["before/q1/head.bias"]
        elif damage == "shape":
            arrays["before/q1/head.bias"] = np.zeros((2, 2))
        elif damage == "extra":
            arrays["after/actor/module.99.weight"] = np.zeros(3)
        np.savez(path, **arrays)
    with pytest.raises(UserError) as error:
        verify_file(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kept", [(), ("update/loss",)], ids=["nothing recorded", "one array recorded"])
def test_a_file_that_records_less_does_not_pass(
    tmp_path: Path, kept: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with np.load(GOLDEN[0], allow_pickle=False) as file:
        names = [name for name in file.files if name == "meta" or name.startswith(INPUTS) or name in kept]
        np.savez(tmp_path / "less.npz", **{name: file[name] for name in names})
    assert main(["verify", "golden", str(tmp_path / "less.npz")]) == 2
    assert "array 'forward/eval/actor/deterministic/output' is missing" in capsys.readouterr().err


def test_an_archive_with_other_members_is_refused(tmp_path: Path) -> None:
    path = Path(shutil.copy(GOLDEN[0], tmp_path / "more.npz"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("update/loss", "text")
    with pytest.raises(UserError, match="'update/loss' is no array"):
        verify_file(path)


def test_an_archive_that_unpacks_to_too_much_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, zeros=np.zeros(2**20))
    monkeypatch.setattr("d2r.verify.golden.MAX_BYTES", 2**20)
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("unpacked"))
    with pytest.raises(UserError, match="unpacked"):
        verify_file(path)
