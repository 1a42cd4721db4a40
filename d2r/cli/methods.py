"""List the methods with their sources and parameter counts."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from d2r.cli.text import table
from d2r.config import load_method, method_ids, resolve_network
from d2r.config.benchmarks import SUITES

HEADER = ["method", "kind", "MT10 actor", "MT10 critic", "MT50 actor", "MT50 critic"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print a JSON list instead of a table")
    form.add_argument("--markdown", action="store_true", help="print the table of docs/methods.md")


def run(args: argparse.Namespace) -> int:
    """Print every method of ``config/methods``."""
    methods = describe_methods()
    if args.json:
        print(json.dumps(methods, indent=1))
        return 0
    if args.markdown:
        print(markdown_table(methods))
        return 0
    print(table(HEADER, _rows(methods), left=2))
    print("\nLearned parameters at full width; a scale's `width` shrinks all methods alike.")
    return 0


def _rows(methods: Sequence[dict[str, Any]]) -> list[list[str]]:
    return [[m["id"], m["kind"], *(f"{count:,}" for count in _counts(m))] for m in methods]


def markdown_table(methods: Sequence[dict[str, Any]]) -> str:
    """Methods of :func:`describe_methods` as a Markdown table: what each is, and its actor's parameters on MT10."""
    lines = [["method", "what it is", "parameters"], ["---", "---", "---:"]]
    for method in methods:
        first, *_ = method["summary"].split(". ")
        size = f"{method['parameters']['mt10']['actor']:,}"
        lines.append([f"`{method['id']}`", f"{first.rstrip('.')}.", size])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _counts(method: dict[str, Any]) -> list[int]:
    return [method["parameters"][suite][network] for suite in SUITES for network in ("actor", "critic")]


def describe_methods() -> list[dict[str, Any]]:
    """Id, kind, title, source, summary, deviations and parameter counts of every method, D2R's variants first."""
    from d2r.networks.registry import check_size, count_parameters

    described = []
    for method in sorted(
        (load_method(name) for name in method_ids()), key=lambda m: (m.kind != "variant", m.id)
    ):
        parameters = {}
        for suite, tasks in SUITES.items():
            network = resolve_network(method.id, suite)
            check_size(network, len(tasks), method.id)
            parameters[suite] = count_parameters(network, len(tasks))._asdict()
        described.append(
            {
                "id": method.id,
                "kind": method.kind,
                "title": method.title,
                "parameters": parameters,
                "summary": method.summary,
                "source": method.source,
                "deviations": list(method.deviations),
            }
        )
    return described
