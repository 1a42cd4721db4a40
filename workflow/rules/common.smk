# What the rules share: the chosen scale, and what a rule asks about a run.
import sys
from pathlib import Path

from d2r.config import SEED, RunKey, load_scale, plan_runs
from d2r.config.seeds import write_seeds
from d2r.errors import UserError
from d2r.runs.layout import (
    COLLECTED_TABLES,
    LEARNER,
    RUN_FILES,
    RUN_RECORD,
    collected_path,
    files_of_runs,
)
from d2r.planning.cohorts import (
    assign,
    cohorts_of,
    read_assignment,
    write_assignment,
)
from d2r.planning.workflow import (
    check_cohort_config,
    check_report,
    check_targets,
    choose_scale,
    find_own_commands_first,
    gpus_of_job,
    image_of_jobs,
    is_known,
    learners_to_start_from,
    options_of_device,
    refuse_to_repeat,
    run_settings,
    settings_together,
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
IMAGE = in_one_line(image_of_jobs, config)
TRAIN_OPTIONS = in_one_line(options_of_device, config)

# Which runs are trained side by side is decided where the workflow is planned, and known to the processes of its jobs.
RESULTS = Path("results") / SCALE.id
ASSIGNED = in_one_line(read_assignment, SCALE.id, RESULTS)
if workflow.is_main_process:
    size = in_one_line(
        check_cohort_config,
        config,
        workflow.storage_settings.default_storage_provider is None,
    )
    ASSIGNED = assign(plan_runs(SCALE), RESULTS, size, ASSIGNED)
TRAINED_TOGETHER = {
    cohort.name: cohort for cohort in filter(is_known, cohorts_of(ASSIGNED))
}

if workflow.is_main_process:
    in_one_line(check_targets, sys.argv[1:])
    if workflow.storage_settings.default_storage_provider is None:
        in_one_line(check_report, sys.argv[1:], SCALE)

# A parameter of the cheap rules, which take seconds: a new version of the package gives new tables.
SOURCES_OF_ANALYSIS = sources_of_analysis()

validate(config, "../schemas/config.schema.json")
validate(SCALE.model_dump(mode="json"), "../../config/schema/scales.json")


RUN_FOLDER = "results/{scale}/runs/{benchmark}/{method}/seed{seed}"


wildcard_constraints:
    scale="[a-z0-9-]+",
    benchmark="[a-z0-9-]+",
    method="[a-z0-9-]+([+][A-Za-z0-9_.-]+)*",
    seed=SEED,


def files_of_scale(wildcards):
    return files_of_runs(plan_runs(load_scale(wildcards.scale)))


def results_folder(wildcards, output):
    """``results/<scale>``, or Snakemake's copy of it while object storage holds the outputs."""
    folder = Path(output[0])
    while folder.parts[-2:] != ("results", wildcards.scale):
        folder = folder.parent
    return folder


def results_together(wildcards, output):
    """The same for a rule without wildcards."""
    return Path(output[0]).parents[4]


def train_options(wildcards, output):
    """How a run is trained; asks for the output as what follows from it is no reason to train anew."""
    return TRAIN_OPTIONS


def runs_together(wildcards, output):
    """What the command of a rule without wildcards says of its runs."""
    scale, _, benchmark, method, _, _ = Path(output[0]).parts[-6:]
    folders = {Path(file).parent.name for file in output}
    seeds = write_seeds(int(folder.removeprefix("seed")) for folder in folders)
    return f"--scale {scale} --benchmark {benchmark} --method {method} --seeds {seeds}"


def identity_of_run(wildcards):
    return run_settings(wildcards).identity


def learner_to_start_from(wildcards):
    run = (wildcards.scale, wildcards.benchmark, wildcards.method, int(wildcards.seed))
    return learners_to_start_from([RunKey(*run)])


def memory_of_run(wildcards):
    return run_settings(wildcards).memory_mb
