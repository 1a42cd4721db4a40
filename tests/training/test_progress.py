"""What ``d2r train`` says while it runs: one line that renews itself on a terminal, plain lines in a log."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.support.tiny import BENCHMARK, environment

COLUMNS = 60
TAKE_YOUR_TIME = "import sys, d2r.training.progress as p; p.TERMINAL_SECONDS = p.LOG_SECONDS = 0.0; "
RUN = "from d2r.cli.main import main; sys.exit(main(sys.argv[1:]))"


def command(*words: str) -> list[str]:
    """``d2r train`` that reports at every step."""
    run = ["train", "--scale", "tiny", "--benchmark", BENCHMARK, "--method", "mtsac", "--seed", "1"]
    return [sys.executable, "-c", TAKE_YOUR_TIME + RUN, *run, *words]


@pytest.fixture
def on_a_terminal(project: Path) -> str:
    """What a terminal of 60 columns gets to see of a run."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    without_size = {k: v for k, v in environment(project).items() if k not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        command("--steps", "70"), cwd=project, env=without_size, stdout=theirs, stderr=subprocess.DEVNULL
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end was closed
            break
        if not part:
            break
        seen += part
    os.close(ours)
    assert process.wait() == 0
    return seen.decode()


def test_a_terminal_shows_one_line_with_rate_time_left_and_success_so_far(on_a_terminal: str) -> None:
    *passing, last = on_a_terminal.rstrip().split("\r\033[K")
    assert "\n" not in "".join(passing)
    assert last.endswith("seed1: finished, success 0.000")
    shown = [line for line in passing if line]
    assert len(shown) > 20
    assert all(len(line) < COLUMNS for line in shown)
    form = r" *\d+%, \d+\.\d steps/s, left \d+:\d\d:\d\d(, success so far \d+\.\d %)?, t"
    assert all(re.match(form, line) for line in shown)
    assert "success so far" not in shown[0]
    assert "success so far 0.0 %" in shown[-1]


def test_a_log_gets_plain_lines(project: Path) -> None:
    done = subprocess.run(
        command("--steps", "70"), cwd=project, env=environment(project), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "\r" not in done.stdout
    assert "\033" not in done.stdout
    form = r"tiny/mt10-rand/mtsac/seed1: step 66/70 \(94%\), \d+\.\d steps/s, left 0:\d\d:\d\d, success so far 0\.0 %"
    assert re.search(form, done.stdout), done.stdout
