"""Make a film of a run's policy at work, with the route that it takes in every state."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from d2r.cli.folders import add_run
from d2r.cli.text import duration
from d2r.errors import UserError

if TYPE_CHECKING:
    from d2r.play.episodes import Moment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_run(parser)
    parser.add_argument(
        "--tasks", nargs="+", default=[], metavar="TASK", help="such as reach (default: all of the benchmark)"
    )
    parser.add_argument(
        "--episodes",
        type=int,
        default=1,
        metavar="N",
        help="of each task, from the first of an evaluation (default 1)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILM", help="film.gif or, with ffmpeg, film.mp4"
    )


def run(args: argparse.Namespace) -> int:
    """Play the episodes that an evaluation plays, and film them."""
    import torch

    from d2r.play.film import check_film, choose_tasks, shoot, write_film
    from d2r.play.policy import load_policy

    if args.episodes < 1:
        raise UserError(f"--episodes {args.episodes}: must be at least 1")
    check_film(args.output)
    policy = load_policy(args.run)
    tasks = choose_tasks(policy, args.tasks)
    torch.set_num_threads(1)

    began, total = time.monotonic(), len(tasks) * args.episodes
    done = 0

    def tell(task: str, last: Moment) -> None:
        nonlocal done
        done += 1
        outcome = "not solved" if last.succeeded is None else f"solved at step {last.succeeded}"
        rest = (time.monotonic() - began) / done * (total - done)
        left = f", {duration(rest)} left" if done < total else ""
        print(f"{task}, episode {last.episode + 1} of {args.episodes}: {outcome}{left}", flush=True)

    write_film(args.output, shoot(policy, tasks, args.episodes, tell))
    print(f"{args.output}: {args.output.stat().st_size / 1e6:.1f} MB")
    return 0
