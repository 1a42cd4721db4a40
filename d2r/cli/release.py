"""Move a scale's finished runs to results/released, hash them, and store their policies with DVC."""

from __future__ import annotations

import argparse
from pathlib import Path

from d2r.cli.folders import add_results, scale_folder
from d2r.cli.text import size
from d2r.config import RUNS, load_scale, project_root
from d2r.errors import UserError
from d2r.release.publish import Release, release_scale
from d2r.release.remote import store_policies
from d2r.runs.manifest import check_manifest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("scale", help="scale to release")
    add_results(parser, "results/SCALE")
    parser.add_argument(
        "--partial", action="store_true", help="release the finished runs although others are missing"
    )
    parser.add_argument(
        "--replace",
        action="store_true",
        help="replace released runs by new ones with other content, and drop those of another configuration",
    )
    parser.add_argument(
        "--keep", action="store_true", help="copy: leave the files in FOLDER instead of links to them"
    )
    parser.add_argument(
        "--check", action="store_true", help="release nothing; check what is released against its hashes"
    )


def run(args: argparse.Namespace) -> int:
    """Release the scale, or check its release."""
    root = project_root()
    scale = load_scale(args.scale)
    released = root / "results" / "released" / scale.id
    if args.check:
        agree, absent = check_manifest(released)
        note = f"; {absent} policies not here (dvc pull brings them)" if absent else ""
        print(f"{released.relative_to(root)}: {agree} files agree with MANIFEST.json{note}")
        return 0
    results = (args.results or scale_folder(scale)).resolve()
    if not (results / RUNS).is_dir():
        raise UserError(f"{results}: no folder 'runs' there; train with snakemake first")
    outcome = release_scale(
        scale, results, released, partial=args.partial, keep=args.keep, replace=args.replace
    )  # fmt: skip
    store_policies(root, scale.id)
    _describe(outcome, released.relative_to(root), keep=args.keep)
    return 0


def _describe(outcome: Release, released: Path, *, keep: bool) -> None:
    done = "copied" if keep else "moved"
    print(f"{released}: {len(outcome.moved)} runs {done}, {len(outcome.already)} were there already")
    if outcome.failed:
        print(f"  {outcome.failed} of them failed, and tables say so")
    if outcome.dropped:
        print(f"  {len(outcome.dropped)} released runs dropped: of another configuration, or lost")
    if outcome.missing:
        print(f"  {len(outcome.missing)} planned runs are missing, and tables say so")
    if outcome.dirty:
        print(f"  {outcome.dirty} of them were made from a source tree with uncommitted changes")
    print(f"  {outcome.files} files, {size(outcome.size)}, hashed in {released}/MANIFEST.json")
    print("  policies are in DVC's cache and its default remote")
    print("  next: dvc repro && git add results/released workflow/train/dvc.lock dvc.lock && git commit")
