# What the rules share: the chosen scale, and what a rule asks about a run.
import sys
from pathlib import Path

from d2r.config import SEED, load_scale, plan_runs
from d2r.errors import UserError
from d2r.planning.layout import RUN_FILES, files_of_runs
from d2r.planning.workflow import (
    choose_scale,
    run_settings,
    sources_of_analysis,
    take_over_stale_lock,
)

if workflow.is_main_process:
    take_over_stale_lock(Path(".snakemake"))

try:
    SCALE = choose_scale(config)
except UserError as error:
    print(f"d2r: error: {error}", file=sys.stderr)
    sys.exit(2)

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


def config_hash_of_run(wildcards):
    return run_settings(wildcards).config_hash


def memory_of_run(wildcards):
    return run_settings(wildcards).memory_mb
