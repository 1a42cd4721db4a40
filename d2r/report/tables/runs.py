"""What was run, what is missing, and what it cost."""

from __future__ import annotations

import pandas as pd

from d2r.findings.quantities import bounds
from d2r.findings.results import Results
from d2r.report.tables.table import Cell, Table
from d2r.report.text import number, number_interval, percent, steps
from d2r.statistics import Estimate, mean_interval


def runs_table(results: Results) -> Table:
    """Every planned or found run, with its score and where its numbers come from."""
    header = [
        "benchmark",
        "method",
        "seed",
        "status",
        "success",
        "steps per task",
        "hours",
        "config",
        "commit",
        "failure",
    ]
    means = results.final_success.groupby(["benchmark", "method", "seed"])["success"].mean()
    scores = dict(zip(means.index, means, strict=True))
    rows = []
    for run in results.listed.itertuples():
        key = (run.benchmark, run.method, run.seed)
        score = scores.get(key)
        folder = "" if run.status == "missing" else f"{run.benchmark}/{run.method}/seed{run.seed}"
        planned = "" if run.planned else " (not in the plan)"
        rows.append(
            [
                Cell(str(run.benchmark)),
                Cell(str(run.method)),
                Cell(str(run.seed), sort=float(str(run.seed))),
                Cell(f"{run.status}{planned}"),
                Cell(percent(score), sort=score, runs=folder),
                Cell(steps(_known(run.steps)), sort=_known(run.steps)),
                Cell(number(_known(run.hours)), sort=_known(run.hours)),
                Cell(_short(run.config_hash)),
                Cell(_short(run.commit)),
                Cell(str(run.failure)),
            ]
        )
    data = results.listed.drop(columns=["choices"])
    notes = [
        (
            "Success in percent of the final policy; failed and missing runs enter no table. Each run's folder "
            "holds run.json (configuration, package versions, commit, machine, sha256 of its files)."
        ),
        *_mixed_configurations(results),
        *_unusual(results),
    ]
    return Table("runs", "Runs", header, rows, data, notes, scope=results.label)


def compute_table(results: Results) -> Table:
    """Parameters, multiply-adds, updates and time of each method."""
    header = ["benchmark", "method", "parameters (actor)", "parameters (critic)", "multiply-adds per decision",
              "of all its modules", "of fixed depth", "updates", "ms per update", "hours per run",
              "machine"]  # fmt: skip
    rows, data = [], []
    for benchmark in results.benchmarks:
        fixed_depth = multiply_adds(results, benchmark, "d2r-fixed-depth")
        for method in results.methods:
            runs = results.finished
            runs = runs[(runs["benchmark"] == benchmark) & (runs["method"] == method.id)]
            if runs.empty:
                continue
            work = multiply_adds(results, benchmark, method.id)
            dense = mean_interval(results.last_values("multiply_adds_dense", benchmark, method.id))
            of_dense, of_fixed = _ratio(work, dense), _ratio(work, fixed_depth)
            update = mean_interval(runs["update_seconds"].dropna() * 1000, bounds("update_seconds"))
            hours = mean_interval(runs["hours"].dropna(), bounds("hours"))
            actor, critic = (float(runs[f"parameters_{part}"].iloc[0]) for part in ("actor", "critic"))
            machine = ", ".join(
                sorted(
                    {f"{row.device}, {float(str(row.threads)):.0f} thread(s)" for row in runs.itertuples()}
                )
            )
            folder = f"{benchmark}/{method.id}"
            updates = float(runs["updates"].max())
            rows.append(
                [
                    Cell(benchmark),
                    Cell(method.title),
                    Cell(f"{actor:,.0f}", sort=actor, runs=folder),
                    Cell(f"{critic:,.0f}", sort=critic),
                    Cell(number_interval(work), sort=work.value),
                    Cell(_share(of_dense), sort=of_dense),
                    Cell(_share(of_fixed), sort=of_fixed),
                    Cell(f"{updates:,.0f}", sort=updates),
                    Cell(number_interval(update), sort=update.value),
                    Cell(number_interval(hours), sort=hours.value),
                    Cell(machine),
                ]
            )
            keys = {"scale": results.scale, "benchmark": benchmark, "method": method.id}
            sizes = {
                "parameters_actor": actor,
                "parameters_critic": critic,
                "updates": updates,
                "machine": machine,
            }
            spent = {
                "multiply_adds": work.value,
                "of_dense": of_dense,
                "of_fixed_depth": of_fixed,
                "ms_per_update": update.value,
                "hours_per_run": hours.value,
            }
            data.append({**keys, **sizes, **spent, "runs": len(runs)})
    notes = (
        (
            "Parameters of the actor and of one of the two critics. Multiply-adds: of the actor for one decision, "
            "on the deterministic route for routed methods, mean over tasks at the last evaluation; then as a share of "
            "the network's with every module computed (matrix products only, so mixing may lift it above 100 %) "
            "and of the fixed chain of all modules. Times are "
            "wall-clock, so they depend on the machine and on what else it did; hours include simulation and "
            "evaluation."
        ),
    )
    return Table("compute", "Compute", header, rows, pd.DataFrame(data), notes, scope=results.label)


def _ratio(part: Estimate, whole: Estimate) -> float | None:
    """One mean over another, if both are known."""
    return part.value / whole.value if part.value is not None and whole.value else None


def _share(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.0%}".replace("%", " %")


def multiply_adds(results: Results, benchmark: str, method: str) -> Estimate:
    """Multiply-adds per decision at the last evaluation, mean over tasks; all of them where there is no route."""
    work = results.last_values("multiply_adds", benchmark, method)
    if work.empty:
        work = results.last_values("multiply_adds_dense", benchmark, method)
    return mean_interval(work, bounds("multiply_adds"))


def _mixed_configurations(results: Results) -> list[str]:
    """A warning for each method whose runs differ in more than the seed."""
    kinds = results.finished.groupby(["benchmark", "method"])["choices"].nunique().reset_index()
    kinds = kinds[kinds["choices"] > 1]
    return [
        f"WARNING: the runs of {row.method} on {row.benchmark} differ in more than their seed (see run.json)."
        for row in kinds.itertuples()
    ]


def _unusual(results: Results) -> list[str]:
    """What a reader of any table has to know of its runs beside their configuration."""
    finished = results.finished
    outdated = finished[finished["outdated"].astype(bool)]
    methods = ", ".join(sorted({f"{row.method} on {row.benchmark}" for row in outdated.itertuples()}))
    notes = []
    unplanned = len(results.listed) - len(results.runs)
    if unplanned:
        notes.append(
            f"{unplanned} runs are not in the plan of the scale; they are listed and enter no other table."
        )
    if methods:
        notes.append(f"WARNING: config/ states another configuration now than these runs have: {methods}.")
    for options, runs in finished[finished["execution"] != ""].groupby("execution"):
        notes.append(f"{len(runs)} of {len(finished)} runs were executed with {options}.")
    return notes


def _known(value: object) -> float | None:
    return None if pd.isna(value) else float(str(value))  # type: ignore[call-overload]


def _short(value: object) -> str:
    if pd.isna(value) or value == "":  # type: ignore[call-overload]
        return "–"
    return " then ".join(part[:10] for part in str(value).split(" then "))
