# What the rules share: the chosen scale, and what a rule asks about a run.
import sys
from pathlib import Path

from d2r.config import SEED, RunKey, load_scale, plan_runs
from d2r.errors import UserError
from d2r.runs.layout import RUN_FILES, files_of_runs
from d2r.planning.workflow import (
    check_report,
    check_targets,
    choose_scale,
    find_own_commands_first,
    refuse_to_repeat,
    run_settings,
    sources_of_analysis,
    take_over_stale_lock,
)
from d2r.processes import ignore_current_folder

ignore_current_folder()


def in_one_line(ask, *arguments):
    """Call a function of the package, whose complaint ends Snakemake in one line."""
    try:
        return ask(*arguments)
    except UserError as error:
        print(f"d2r: error: {error}", file=sys.stderr)
        sys.exit(2)


find_own_commands_first()

if workflow.is_main_process:
    take_over_stale_lock(Path(".snakemake"))

SCALE = in_one_line(choose_scale, config)
config["scale"] = SCALE.id  # which Snakemake takes for a number where it looks like one

if workflow.is_main_process:
    in_one_line(check_targets, sys.argv[1:])
    if workflow.storage_settings.default_storage_provider is None:
        in_one_line(check_report, sys.argv[1:], SCALE)

# A parameter of the cheap rules, which take seconds: a new version of the package gives new tables.
SOURCES_OF_ANALYSIS = sources_of_analysis()

validate(config, "../schemas/config.schema.json")
validate(SCALE.model_dump(mode="json"), "../schemas/scale.schema.json")


wildcard_constraints:
    scale="[a-z0-9-]+",
    benchmark="mt(10|50)-(fixed|rand)",
    method="[a-z0-9-]+",
    seed=SEED,


def files_of_scale(wildcards):
    return files_of_runs(plan_runs(load_scale(wildcards.scale)))


def results_folder(wildcards, output):
    """``results/<scale>``, or Snakemake's copy of it while object storage holds the outputs."""
    folder = Path(output[0])
    while folder.parts[-2:] != ("results", wildcards.scale):
        folder = folder.parent
    return folder


def identity_of_run(wildcards):
    return run_settings(wildcards).identity


def memory_of_run(wildcards):
    return run_settings(wildcards).memory_mb
