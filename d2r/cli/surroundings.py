"""What a command finds when it is started: environment variables that it does not need, and standard streams."""

from __future__ import annotations

import io
import os
import sys

from d2r.errors import UserError
from d2r.text import printable


class OutputLost(UserError):
    """Standard output took no more."""


class _Output(io.TextIOWrapper):
    """Standard output whose failures are told from those of other files."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise _lost(error) from None

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise _lost(error) from None


def _lost(error: OSError) -> Exception:
    if isinstance(error, BrokenPipeError):
        return error
    return OutputLost(f"standard output: cannot be written ({error.strerror}); send it elsewhere")


def prepare() -> None:
    """Make the process independent of what a notebook or a desktop sets, and see to its standard streams.

    Figures are drawn by Agg and nothing is rendered, but Matplotlib and MuJoCo fail to load where these variables name
    what is not there.

    Raises:
        OutputLost: standard output is closed.
    """
    os.environ.pop("MPLBACKEND", None)
    os.environ["MUJOCO_GL"] = "disable"
    for number in (0, 2):  # or the next file to be opened would take its place
        _open_if_closed(number)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - until the process ends
    if sys.stdout is None:
        raise OutputLost("standard output is closed; send it to a file or to /dev/null")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may hold what no encoding has
        if sys.stdout is sys.__stdout__:
            out = sys.stdout
            sys.stdout = _Output(
                out.buffer, out.encoding, out.errors, None, out.line_buffering, out.write_through
            )


def _open_if_closed(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        _discard(number)


def _discard(number: int) -> None:
    """Let whatever is written to a descriptor, also by processes that this one starts, go nowhere."""
    null = os.open(os.devnull, os.O_RDWR)
    if null == number:
        os.set_inheritable(null, True)
    else:
        os.dup2(null, number)
        os.close(null)


def complain(message: str) -> None:
    """Print a line on standard error, if anything can be printed there; standard output comes before it."""
    settle_output()
    try:
        print(f"d2r: error: {printable(' '.join(message.split()))}", file=sys.stderr)
    except OSError:
        _discard(sys.stderr.fileno())


def settle_output() -> None:
    """Write what standard output still holds, or drop it: at its end Python would try again, and complain."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OutputLost, BrokenPipeError):
        _discard(sys.stdout.fileno())
