"""Check what the package claims: verify golden FILE..., verify env, verify artifact FOLDER."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from d2r.cli import execution
from d2r.cli.folders import add_results
from d2r.cli.text import BENCHMARK_HELP
from d2r.errors import UserError
from d2r.text import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the checks and their options."""
    checks = parser.add_subparsers(dest="check", required=True, metavar="golden|env|artifact")
    golden = checks.add_parser(
        "golden", help="reproduce recorded official updates to 1e-9", allow_abbrev=False
    )
    golden.add_argument("files", nargs="+", type=Path, metavar="FILE")
    golden.add_argument("--json", action="store_true", help="one JSON object on one line")
    golden.add_argument(
        "--cohort",
        type=int,
        default=1,
        help="seeds that learn side by side, of which the file's is each in turn (default 1)",
    )
    golden.add_argument(
        "--precision",
        choices=("float64", "float32"),
        default="float64",
        help="of the learner; float32 shows its errors and passes no verdict on them (default %(default)s)",
    )
    execution.add_arguments(golden)
    golden.set_defaults(check=_golden)
    env = checks.add_parser(
        "env", help="compare our environment with stock Meta-World, bit for bit", allow_abbrev=False
    )
    _env_arguments(env)
    env.set_defaults(check=_env)
    artifact = checks.add_parser(
        "artifact", help="a reviewer's checklist of a folder of results", allow_abbrev=False
    )
    artifact.add_argument(
        "folder", nargs="?", type=Path, metavar="FOLDER", help="the same as --results FOLDER, in a word less"
    )
    add_results(artifact, "the released `lite`")
    artifact.add_argument("--json", action="store_true", help="one JSON object on one line")
    artifact.set_defaults(check=_artifact)


def run(args: argparse.Namespace) -> int:
    """Run the chosen check; 1 if it found a difference."""
    status: int = args.check(args)
    return status


def _golden(args: argparse.Namespace) -> int:
    import torch

    from d2r.algorithms.execution.prepare import check_cohort, prepare
    from d2r.verify.golden import TOLERANCE, Comparison, verify_file

    how = execution.chosen(args)
    prepare(how, args.device)
    check_cohort(args.cohort)
    precision: torch.dtype = getattr(torch, args.precision)
    judged = precision == torch.double
    tolerance = TOLERANCE if judged else float("inf")
    heading = f"tolerance {tolerance:g}" if judged else f"errors of {args.precision}"
    missed = False
    report: list[dict[str, object]] = []
    for path in args.files:
        comparisons = verify_file(path, how, args.device, args.cohort, precision)
        groups: dict[str, Comparison] = {}
        for comparison in comparisons:
            worst = groups.setdefault(comparison.group, comparison)
            if comparison.error > worst.error:
                groups[comparison.group] = comparison
        misses = [c for c in comparisons if not c.error <= tolerance]
        missed = missed or bool(misses)
        report.append(
            {
                "file": str(path),
                "arrays": len(comparisons),
                "precision": args.precision,
                "tolerance": tolerance if judged else None,
                "groups": {name: worst.error for name, worst in groups.items()},
                "misses": {c.name: c.error for c in misses},
            }
        )
        if not args.json:
            print(f"{path}: {len(comparisons)} arrays, {heading}")
            for name, worst in groups.items():
                verdict = "  ok" if worst.error <= tolerance else f"  MISS  {worst.name}"
                print(f"  {name:42s} {worst.error:9.2e}{verdict if judged else ''}")
    if args.json:
        print(json.dumps({"passed": not missed if judged else None, "files": report}))
    return 1 if missed else 0


def _env_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``d2r verify env``."""
    parser.add_argument("--benchmark", default="mt50-rand", help=f"{BENCHMARK_HELP} (default: %(default)s)")
    parser.add_argument(
        "--protocol", default="d2r-official", help="horizon, goals and reward (default: %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=600, help="steps of every task (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of goals and actions (default: %(default)s)")
    parser.add_argument(
        "--workers", type=int, default=0, help="processes of our environment (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on one line")


def _env(args: argparse.Namespace) -> int:
    from d2r.config import load_protocol
    from d2r.verify.environment import verify_environment

    if args.seed < 0:
        raise UserError(f"seed is {args.seed}: must not be negative")
    protocol = load_protocol(args.protocol)
    compared, difference = verify_environment(args.benchmark, protocol, args.seed, args.steps, args.workers)
    if args.json:
        facts = {
            "benchmark": args.benchmark,
            "protocol": args.protocol,
            "seed": args.seed,
            "steps": args.steps,
            "workers": args.workers,
            "values_compared": compared.total(),
            "compared": dict(compared),
            "equal": difference is None,
            "difference": None if difference is None else difference._asdict(),
        }
        print(json.dumps(facts))
    elif difference is None:
        for field, count in compared.items():
            print(f"  {field:28s} {count:14,d} equal")
        print(
            f"{args.benchmark}, protocol {args.protocol}, seed {args.seed}: {args.steps} steps of every task, "
            f"{compared.total():,} values compared with stock Meta-World, all equal to the last bit"
        )
    else:
        print(f"{args.benchmark}: {difference} (after {compared.total():,} equal values)")
    return 0 if difference is None else 1


def _artifact(args: argparse.Namespace) -> int:
    from d2r.config import project_root
    from d2r.verify.artifact import as_json, verify_artifact

    if args.folder is not None and args.results is not None:
        raise UserError("FOLDER and --results: are the same; give one of them")
    folder = args.folder or args.results or project_root() / "results" / "released" / "lite"
    lines = verify_artifact(folder, project_root())
    failed = [line.check for line in lines if line.verdict == "FAIL"]
    if args.json:
        print(as_json(folder, lines))
        return 1 if failed else 0
    print(f"{printable(str(folder))}:")
    for line in lines:
        print(f"  {line.verdict:4s}  {line.check:13s}  {line.detail}")
    print(f"FAILED: {', '.join(failed)}" if failed else "passed: nothing is wrong with this folder")
    return 1 if failed else 0
