"""Films: the episodes of an evaluation, untouched by the camera, in files that show them all."""

from __future__ import annotations

import ctypes.util
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from d2r.cli.main import main
from d2r.config import load_scale, resolve_run
from d2r.envs.slices import simulator_state
from d2r.envs.vector import MetaWorldVectorEnv
from d2r.evaluation.success import evaluate
from d2r.networks.d2r import route_graph
from d2r.play import film
from d2r.play.episodes import Episodes, Moment
from d2r.play.film import LAST, MILLISECONDS, REEL, shoot, write_film
from d2r.play.picture import LIT, Caption, compose
from d2r.play.policy import Policy, load_policy
from d2r.play.stage import LIBRARIES, Stage
from d2r.runs.tidy import number
from d2r.training.run import Machine
from d2r.training.seeding import Stream, seed_sequence
from d2r.training.train import train
from tests.support.policies import random_policy
from tests.support.projects import working_in
from tests.support.tiny import BENCHMARK, PROJECT, environment, make_project

renders = pytest.mark.skipif(
    all(ctypes.util.find_library(name) is None for name in LIBRARIES.values()),
    reason="neither OSMesa nor EGL is installed",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of D2R that was trained for a moment."""
    project = make_project(tmp_path_factory.mktemp("film") / "project")
    with working_in(project):
        config = resolve_run(load_scale("tiny"), BENCHMARK, "d2r", 1, {"steps": 40, "warmup_steps": 20})
        assert train(config, project / "results/tiny", Machine()) == 0
    return project / "results/tiny/runs" / BENCHMARK / "d2r/seed1"


def outcomes(policy: Policy, task: int, episodes: int, size: int | None) -> list[tuple[bool, float, bytes]]:
    """Success, return and last simulator state of each episode, looked at by a camera or not."""
    shown = Episodes(policy, task)
    found = []
    with Stage(shown.env, size) if size else nullcontext() as stage:
        for moment in shown.play(episodes):
            if stage is not None:
                stage.picture(shown.env)
            if moment.step == policy.config.protocol.horizon:
                state = simulator_state(shown.env).tobytes()
                found.append((moment.succeeded is not None, moment.returned, state))
    return found


def test_what_is_filmed_are_the_episodes_of_an_evaluation() -> None:
    policy = random_policy()
    seed = seed_sequence(policy.config.seed, Stream.ENVIRONMENT)
    env = MetaWorldVectorEnv(policy.config.benchmark, policy.config.protocol, seed, evaluation=True)
    expected = evaluate(env, policy.actor, 2)
    assert expected is not None
    for task in (0, 3, 8):
        found = outcomes(policy, task, 2, None)
        assert [success for success, *_ in found] == expected.success[task].tolist()
        assert [returned for _, returned, _ in found] == expected.returns[task].tolist()


@renders
@pytest.mark.parametrize("task", [5, 8])
def test_the_camera_changes_no_bit_of_a_simulation(task: int) -> None:
    policy = random_policy()
    assert outcomes(policy, task, 1, 32) == outcomes(policy, task, 1, None)


def test_training_does_not_know_of_films() -> None:
    code = "import sys, d2r.training.train; sys.exit(any(n.startswith(('OpenGL', 'd2r.play')) for n in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT).returncode == 0


@renders
def test_pictures_show_that_the_arm_moves_and_what_is_only_drawn() -> None:
    shown = Episodes(random_policy(), 8)
    with Stage(shown.env, 96) as stage:
        pictures = [stage.picture(shown.env).copy() for _ in shown.play(1)]
    assert (pictures[0] != pictures[-1]).any()
    red = [(p[..., 0] > 90) & (p[..., 1] < 60) & (p[..., 2] < 60) for p in pictures]
    assert all(mask.mean() > 0.03 for mask in red)  # the robot's shell, a mesh that training leaves out


def lit_modules(picture: Image.Image, size: int) -> int:
    """Modules that are lit in a picture: how often a column of its panel comes upon the colour."""
    light = np.array([int(LIT[i : i + 2], 16) for i in (1, 3, 5)])
    panel = np.asarray(picture)[:, size:].astype(int)
    is_lit = np.abs(panel - light).max(2) < 12
    column = is_lit[:, is_lit.sum(0).argmax()]
    return int((np.diff(column.astype(int), prepend=0) == 1).sum())


@pytest.mark.parametrize("method", ["d2r", "d2r-n24", "d2r-soft", "d2r-layer", "d2r-fixed-depth"])
def test_the_modules_that_a_state_uses_are_lit(method: str) -> None:
    policy = random_policy(method)
    states = np.random.default_rng(1).normal(size=(10, 39)) * 3
    routes = policy.route(np.concatenate([states, np.eye(10)], axis=1))
    assert routes is not None
    for route in routes:
        used = int(route_graph.used_modules(torch.from_numpy(route)).sum())
        picture = compose(np.zeros((480, 480, 3), np.uint8), Caption("reach", method, 0, None, False), route)
        assert lit_modules(picture, 480) == used


def test_success_is_marked_and_failure_said() -> None:
    arm = np.zeros((64, 64, 3), np.uint8)
    before, solved, over = (
        np.asarray(compose(arm, Caption("reach", "d2r", 9, at, over), None))
        for at, over in ((None, False), (5, False), (None, True))
    )
    assert (before[0, :64] == 0).all()
    assert (solved[0, :64] != 0).any(axis=1).all()
    assert (over[:, 64:] != before[:, 64:]).any()


def drawn(colors: int, count: int) -> list[Image.Image]:
    """Pictures that all differ, with few pixels of a colour of their own."""
    made = []
    for place in range(count):
        pixels = np.full((40, 64, 3), 120, np.uint8)
        pixels[10:30, place % 60 : place % 60 + 4] = (10, 10 + place % colors, 200)
        pixels[2, 2] = (0, 255, 0)
        made.append(Image.fromarray(pixels))
    return made


def test_a_gif_holds_every_picture_for_as_long_and_loops(tmp_path: Path) -> None:
    pictures = [*drawn(50, REEL + 7), *drawn(50, 1) * LAST]
    write_film(tmp_path / "film.gif", iter(pictures))
    with Image.open(tmp_path / "film.gif") as shown:
        lasts = []
        for place in range(shown.n_frames):
            shown.seek(place)
            lasts.append(shown.info["duration"])
        assert sum(lasts) == MILLISECONDS * len(pictures)
        assert shown.info["loop"] == 0
        shown.seek(3)
        seen = np.asarray(shown.convert("RGB")).astype(int)
    expected = np.asarray(pictures[3]).astype(int)
    assert np.abs(seen - expected).max() <= 8  # colours of few pixels, too


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffmpeg is not installed")
def test_an_mp4_holds_every_picture(tmp_path: Path) -> None:
    write_film(tmp_path / "film.mp4", iter(drawn(50, 23)))
    asked = ["-count_frames", "-show_entries", "stream=width,height,nb_read_frames", "-of", "csv=p=0"]
    said = subprocess.run(
        ["ffprobe", "-v", "error", *asked, tmp_path / "film.mp4"], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "64,40,23"


@renders
def test_a_film_shows_an_episode_to_its_end_or_a_little_beyond_success(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policy = random_policy(horizon=17)
    monkeypatch.setattr(film, "SIZE", 32)
    ends: list[tuple[str, Moment]] = []
    pictures = list(shoot(policy, [2, 0], 2, lambda task, last: ends.append((task, last))))
    assert [task for task, _ in ends] == ["pick-place-v3", "pick-place-v3", "reach-v3", "reach-v3"]
    assert all(last.step == 17 and last.succeeded is None for _, last in ends)
    assert len(pictures) == 4 * (len(range(0, 17, film.EVERY)) + LAST)


@renders
def test_the_script_of_the_films_in_small(run: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", PROJECT / "workflow/films.sh", tmp_path / "films", run, "reach"],
        cwd=PROJECT,
        env=environment(PROJECT) | {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "films/reach.gif") as shown:
        assert shown.n_frames > 3


def complaint(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command complains with."""
    assert main(["watch", *arguments]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    return line


def test_bad_input_is_one_line(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = ["-o", str(tmp_path / "film.gif")]
    assert "no task 'reech' in mt10-rand; did you mean 'reach'?" in complaint(
        [str(run), "--tasks", "reech", *there], capsys
    )
    assert "ends in .gif or .mp4" in complaint([str(run), "-o", "film.avi"], capsys)
    assert "must be at least 1" in complaint([str(run), "--episodes", "0", *there], capsys)
    assert "no such folder" in complaint([str(run), "-o", str(tmp_path / "no/film.gif")], capsys)
    assert "give a run's folder" in complaint([str(tmp_path), *there], capsys)
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    (copy / "policy.safetensors").unlink()
    assert "policy.safetensors: is missing" in complaint([str(copy), *there], capsys)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "mp4 needs ffmpeg" in complaint([str(run), "-o", str(tmp_path / "film.mp4")], capsys)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    assert "apt install libosmesa6" in complaint([str(run), "--tasks", "reach", *there], capsys)
    assert not list(tmp_path.glob("*film.gif*"))


def test_the_policy_of_a_run_is_the_one_that_it_published(run: Path) -> None:
    policy = load_policy(run)
    assert repr(policy) == "<policy of tiny/mt10-rand/d2r/seed1>"
    rows = (run / "evaluation.csv").read_text().splitlines()[1:]
    published = [row.split(",") for row in rows if row.startswith("window-open-v3,")]
    found = outcomes(policy, policy.task_names.index("window-open-v3"), len(published), None)
    assert [number(returned) for _, returned, _ in found] == [row[3] for row in published]
