"""A film of some tasks of a run: which states are shown, and the file that they become."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from d2r.errors import UserError, nearest
from d2r.files import replacing, write_bytes
from d2r.play.episodes import Episodes, Moment
from d2r.play.picture import Caption, compose
from d2r.play.policy import Policy
from d2r.play.stage import Stage

SIZE = 320
"""Pixels of the arm's square."""
EVERY, MILLISECONDS = 4, 100
"""A picture is shown for so long, every so many steps; four steps of 12.5 ms are half of real speed."""
AFTERWARDS = 30
"""Steps that are shown after a task is solved."""
LAST = 10
"""For how many pictures the last one of an episode stays."""
COLORS, REEL = 192, 120
"""Of a GIF: colours of each reel, and pictures that share them."""
FORMATS = (".gif", ".mp4")


def check_film(path: Path) -> None:
    """Refuse what cannot be written, before anything is simulated.

    Raises:
        UserError: another format, no ffmpeg for mp4, or no such folder.
    """
    if path.suffix not in FORMATS:
        raise UserError(f"{path}: a film's name ends in {' or '.join(FORMATS)}; give it such a name")
    if path.suffix == ".mp4" and shutil.which("ffmpeg") is None:
        raise UserError(f"{path}: mp4 needs ffmpeg, which is not installed; install it or make a .gif")
    if not path.absolute().parent.is_dir():
        raise UserError(f"{path.parent}: no such folder; make it or give another path")


def choose_tasks(policy: Policy, names: Sequence[str]) -> list[int]:
    """Indices of tasks, named such as ``reach`` or ``reach-v3``; all of the benchmark's if none is named.

    Raises:
        UserError: for a task that the benchmark does not have.
    """
    known = {short_name(name): task for task, name in enumerate(policy.task_names)}
    for name in names:
        if short_name(name) not in known:
            raise UserError(
                f"no task '{name}' in {policy.config.benchmark}; {nearest(short_name(name), known)}"
            )
    return [known[short_name(name)] for name in names or known]


def short_name(task: str) -> str:
    """A task's name without its version.

    Example:
        >>> short_name("drawer-close-v3")
        'drawer-close'
    """
    return task.rsplit("-v", 1)[0]


def shoot(
    policy: Policy, tasks: Sequence[int], episodes: int, tell: Callable[[str, Moment], None]
) -> Iterator[Image.Image]:
    """The pictures of a film: the episodes of each task in turn, each up to a little after it is solved.

    Args:
        tell: called with a task's name and the last moment of each of its episodes.

    Raises:
        UserError: nothing can be rendered here.
    """
    config = policy.config
    horizon = config.protocol.horizon
    for task in tasks:
        name = short_name(policy.task_names[task])
        shown = Episodes(policy, task)
        with Stage(shown.env, SIZE) as stage:
            for moment in shown.play(episodes):
                solved = moment.succeeded
                end = horizon if solved is None else min(solved + AFTERWARDS, horizon)
                if moment.step == end or (moment.step < end and moment.step % EVERY == 0):
                    about = f"{config.method}, {config.benchmark}"
                    caption = Caption(name, about, moment.step, solved, over=moment.step == horizon)
                    picture = compose(stage.picture(shown.env), caption, moment.route)
                    yield from [picture] * (LAST if moment.step == end else 1)
                if moment.step == horizon:
                    tell(policy.task_names[task], moment)


def write_film(path: Path, pictures: Iterable[Image.Image]) -> None:
    """Write pictures of one size as a GIF or, by ffmpeg, as mp4; a film that was there before stays until it is whole.

    Raises:
        UserError: ffmpeg failed.
        OSError: the file cannot be written.
    """
    if path.suffix == ".gif":
        first, *others = _of_few_colors(pictures)
        with replacing(path) as file:
            first.save(file, "GIF", save_all=True, append_images=others, duration=MILLISECONDS, loop=0)
    else:
        write_bytes(path, _mp4(iter(pictures)))


def _of_few_colors(pictures: Iterable[Image.Image]) -> Iterator[Image.Image]:
    """Pictures with a palette that a reel shares, undithered, so that what does not move takes no room.

    Half of the palette is of the colours that are frequent, half spread over those that there are: a goal is a few
    pixels only.
    """
    rest = iter(pictures)
    while reel := list(islice(rest, REEL)):
        some = Image.fromarray(
            np.concatenate([np.asarray(picture) for picture in reel[:: len(reel) // 8 or 1]])
        )
        palette = Image.new("P", (1, 1))
        palette.putpalette(
            [
                level
                for method in (Image.Quantize.MEDIANCUT, Image.Quantize.MAXCOVERAGE)
                for level in (some.quantize(COLORS // 2, method).getpalette() or [])[: 3 * COLORS // 2]
            ]
        )
        for picture in reel:
            yield picture.quantize(palette=palette, dither=Image.Dither.NONE)


def _mp4(pictures: Iterator[Image.Image]) -> bytes:
    first = next(pictures)
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        command = ["ffmpeg", "-loglevel", "error"]
        command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{first.width}x{first.height}"]
        command += [
            "-r",
            f"{1000 / MILLISECONDS}",
            "-i",
            "-",
            "-pix_fmt",
            "yuv420p",
            "-movflags",
            "+faststart",
        ]
        with subprocess.Popen([*command, film], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as encoder:
            assert encoder.stdin is not None
            assert encoder.stderr is not None
            try:
                encoder.stdin.write(first.tobytes())
                for picture in pictures:
                    encoder.stdin.write(picture.tobytes())
                encoder.stdin.close()
            except BrokenPipeError:
                pass  # it says why
            said = encoder.stderr.read().decode(errors="replace")
        if encoder.returncode != 0:
            raise UserError(f"ffmpeg: {said.strip() or 'failed'}; make a .gif instead")
        return film.read_bytes()
