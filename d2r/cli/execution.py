"""Options that say how updates are executed."""

from __future__ import annotations

import argparse

from d2r.config.execution import Execution


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of a command that makes updates: on which device, and how."""
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    parser.add_argument(
        "--compile", action="store_true", help="compile the losses with torch.compile; needs a C++ compiler"
    )
    parser.add_argument("--graph", action="store_true", help="capture the update as CUDA graphs (cuda only)")
    parser.add_argument(
        "--autocast",
        choices=("none", "bf16"),
        default="none",
        help="of the networks' products in the losses (default none: the parameters' own precision)",
    )
    parser.add_argument("--tf32", action="store_true", help="TF32 for float32 products (cuda only)")


def chosen(args: argparse.Namespace) -> Execution:
    """Return what was chosen by the options."""
    return Execution(args.compile, args.graph, args.autocast, args.tf32)
