"""A command ends in one line where its streams or limits refuse something, and needs no variable of a desktop."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from d2r.cli import main as command
from d2r.errors import UserError
from d2r.limits import Shortage, refuse_shortage
from d2r.runs.tables import read_table

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = "tests/golden/d2r_update.npz"
RUN = "results/released/lite/runs/mt10-fixed/d2r/seed1"
TRAIN = "train --scale smoke --benchmark mt10-rand --method mtsac --seed 1 --steps 201 --results"
NOTEBOOK = "module://matplotlib_inline.backend_inline"
BUFFERED, UNBUFFERED = {"PYTHONUNBUFFERED": ""}, {"PYTHONUNBUFFERED": "1"}

slow = pytest.mark.slow


def shell(line: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``line``, in which ``d2r`` is the command."""
    script = f"set -o pipefail; d2r() {{ '{sys.executable}' -m d2r.cli.main \"$@\"; }}; {line}"
    return subprocess.run(
        ["bash", "-c", script], cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True
    )


@pytest.mark.parametrize("buffering", [BUFFERED, UNBUFFERED], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("target", [">&-", ">/dev/full", "1</dev/null"])
@pytest.mark.parametrize(
    "arguments",
    [
        "--version",
        "train --help",
        pytest.param("status --results results/released/lite --json", marks=slow),
        pytest.param("--help", marks=slow),
        pytest.param("methods", marks=slow),
        pytest.param(f"routes {RUN} --output FOLDER", marks=slow),
        pytest.param(f"{TRAIN} FOLDER", marks=slow),
        pytest.param(f"{TRAIN} FOLDER --workers 2", marks=slow),
    ],
)
def test_lost_output_is_one_line(
    arguments: str, target: str, buffering: dict[str, str], tmp_path: Path
) -> None:
    done = shell(f"d2r {arguments.replace('FOLDER', str(tmp_path))} {target}", **buffering)
    (line,) = done.stderr.splitlines()
    assert line.startswith("d2r: error: standard output")
    assert done.returncode == 2


@pytest.mark.parametrize("buffering", [BUFFERED, UNBUFFERED], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize(
    "arguments", ["--version", pytest.param("status --results results/released/lite --json", marks=slow)]
)
def test_a_reader_that_leaves_is_met_with_silence(arguments: str, buffering: dict[str, str]) -> None:
    done = shell(f"{{ sleep 0.5; d2r {arguments}; }} | :", **buffering)
    assert done.stderr == ""
    assert done.returncode == 141


@pytest.mark.parametrize("target", ["2>&-", "2>/dev/full"])
def test_an_error_that_nobody_can_read_does_not_reach_the_output(target: str) -> None:
    done = shell(f"d2r nonsense {target}")
    assert (done.returncode, done.stdout) == (2, "")


def test_closed_streams_are_not_taken_by_the_files_that_are_opened_next() -> None:
    done = shell("d2r status --results results/released/lite --json <&- 2>&-")
    assert done.returncode == 0
    assert json.loads(done.stdout)["scale"] == "lite"


@pytest.mark.parametrize("backend", [NOTEBOOK, pytest.param("nonsense", marks=slow)])
def test_figures_need_no_display(backend: str, tmp_path: Path) -> None:
    done = shell(f"d2r routes {RUN} --output {tmp_path}", MPLBACKEND=backend)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.glob("*.svg"))


@pytest.mark.parametrize(
    "renderer", ["nonsense", *(pytest.param(name, marks=slow) for name in ("egl", "osmesa"))]
)
def test_environments_need_no_renderer(renderer: str) -> None:
    done = shell("d2r verify env --benchmark mt10-rand --steps 2 --workers 2", MUJOCO_GL=renderer)
    assert done.returncode == 0, done.stderr


def test_few_descriptors_are_named_and_not_a_path() -> None:
    done = shell("ulimit -n 8; d2r verify env --benchmark mt10-rand --steps 2 --workers 2")
    (line,) = done.stderr.splitlines()
    assert "too many open files; raise their limit (`ulimit -n`)" in line
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MemoryError(), "not enough memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 5 bytes"), "not enough memory"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "not enough memory"),
        (ValueError("Error tokenizing data. C error: out of memory"), "not enough memory"),
        (OSError(errno.EMFILE, "Too many open files"), "too many open files"),
        (ImportError("libgomp.so: cannot open shared object file: Too many open files"), "too many open files"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "too many processes"),
        (RuntimeError("can't start new thread"), "too many processes"),
    ],
    ids=str,
)  # fmt: skip
def test_what_a_limit_refused_is_told_so(error: Exception, says: str) -> None:
    with pytest.raises(UserError, match=says):
        refuse_shortage(error)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "too many open files"),
        (OSError(errno.EACCES, "Permission denied"), r"metrics.csv: cannot be read \(Permission denied\)"),
        (FileNotFoundError(errno.ENOENT, "No such file"), r"metrics.csv: cannot be read \(No such file"),
    ],
    ids=str,
)
def test_a_table_that_cannot_be_read_is_not_called_missing(
    error: OSError, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> bytes:
        raise error

    monkeypatch.setattr("d2r.runs.tables.read_unpacked", fail)
    with pytest.raises(UserError, match=says):
        read_table(Path("metrics.csv"))


def test_a_table_that_does_not_fit_into_memory_is_not_called_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("Error tokenizing data. C error: out of memory")

    monkeypatch.setattr("d2r.runs.tables.read_unpacked", lambda path: b"step\n1\n")
    monkeypatch.setattr("pandas.read_csv", fail)
    with pytest.raises(Shortage, match="not enough memory"):
        read_table(Path("metrics.csv"))


def test_without_address_space_any_error_is_put_down_to_that_and_else_to_nothing() -> None:
    script = (
        "import resource\nfrom d2r.limits import HEADROOM, refuse_shortage\n"
        "refuse_shortage(RuntimeError('Caught an unknown exception!'))\nprint('unlimited')\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**40, 2**40))\n"
        "refuse_shortage(RuntimeError('Caught an unknown exception!'))\nprint('enough')\n"
        "resource.setrlimit(resource.RLIMIT_AS, (HEADROOM, HEADROOM))\n"
        "refuse_shortage(RuntimeError('Caught an unknown exception!'))\nprint('too little')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["unlimited", "enough"]
    assert "not enough memory" in done.stderr
    assert "Caught an unknown exception!" in done.stderr


def test_a_fault_of_our_own_is_not_put_down_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(argv: list[str]) -> int:
        raise RuntimeError("a bug")

    monkeypatch.setattr(command, "_run", fault)
    if resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
        with pytest.raises(RuntimeError, match="a bug"):
            command.main(["methods"])
