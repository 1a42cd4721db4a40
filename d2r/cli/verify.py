"""Check what the package claims: verify golden FILE..., verify env, verify artifact FOLDER."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the checks and their options."""
    from d2r.verify import environment

    checks = parser.add_subparsers(dest="check", required=True, metavar="golden|env")
    golden = checks.add_parser(
        "golden", help="reproduce recorded official updates to 1e-9", allow_abbrev=False
    )
    golden.add_argument("files", nargs="+", type=Path, metavar="FILE")
    golden.add_argument("--json", action="store_true", help="one JSON object on one line")
    golden.set_defaults(check=_golden)
    env = checks.add_parser(
        "env", help="compare our environment with stock Meta-World, bit for bit", allow_abbrev=False
    )
    environment.add_arguments(env)
    env.set_defaults(check=environment.run)


def run(args: argparse.Namespace) -> int:
    """Run the chosen check; 1 if it found a difference."""
    status: int = args.check(args)
    return status


def _golden(args: argparse.Namespace) -> int:
    from d2r.verify.golden import TOLERANCE, Comparison, verify_file

    missed = False
    report: list[dict[str, object]] = []
    for path in args.files:
        comparisons = verify_file(path)
        groups: dict[str, Comparison] = {}
        for comparison in comparisons:
            worst = groups.setdefault(comparison.group, comparison)
            if comparison.error > worst.error:
                groups[comparison.group] = comparison
        misses = [c for c in comparisons if not c.error <= TOLERANCE]
        missed = missed or bool(misses)
        report.append(
            {
                "file": str(path),
                "arrays": len(comparisons),
                "tolerance": TOLERANCE,
                "groups": {name: worst.error for name, worst in groups.items()},
                "misses": {c.name: c.error for c in misses},
            }
        )
        if not args.json:
            print(f"{path}: {len(comparisons)} arrays, tolerance {TOLERANCE:g}")
            for name, worst in groups.items():
                verdict = "ok" if worst.error <= TOLERANCE else f"MISS  {worst.name}"
                print(f"  {name:42s} {worst.error:9.2e}  {verdict}")
    if args.json:
        print(json.dumps({"passed": not missed, "files": report}))
    return 1 if missed else 0
