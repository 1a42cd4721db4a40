# Trains and evaluates every run of a scale, then collects them into tables, figures and one page.
#
#   snakemake --cores 8 all                        the smoke scale
#   snakemake --cores 8 all --config scale=lite    another one; `d2r plan` says how long it takes
#   snakemake --profile profiles/cohorts all       ten seeds of a method side by side in one process
#
# Rules lie in workflow/rules; what a scale holds, in config/scales; how and where jobs run, in profiles.
from snakemake.utils import min_version, validate

min_version("9.19")


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"


# Where jobs run if Snakemake is told --sdm apptainer; else it is not looked at.
container: IMAGE


include: "workflow/rules/train.smk"
include: "workflow/rules/analysis.smk"


localrules:
    all,
    runs,
    collect,
    tables,
    figures,
    page,


# Not called in the processes of single jobs, which Snakemake always forces, nor for a dry run.
onstart:
    forced = [
        RunKey(**{**job.wildcards_dict, "seed": int(job.wildcards_dict["seed"])})
        for job in workflow.dag.needrun_jobs()
        if job.rule.name == "train" and workflow.dag.reason(job).forced
    ]
    forced += [
        key
        for job in workflow.dag.needrun_jobs()
        if job.rule.name in TRAINED_TOGETHER and workflow.dag.reason(job).forced
        for key in TRAINED_TOGETHER[job.rule.name].keys
    ]
    if not workflow.touch:
        in_one_line(refuse_to_repeat, forced)
        in_one_line(write_assignment, ASSIGNED, RESULTS)


rule all:
    default_target: True
    input:
        expand(
            "results/{scale}/{name}",
            scale=SCALE.id,
            name=["tables", "figures", "report/index.html"],
        ),
        # Snakemake does not miss a file between others that are there, so a run that was removed is asked for here.
        files_of_runs(plan_runs(SCALE), RUN_FILES),


rule runs:
    input:
        files_of_runs(plan_runs(SCALE), RUN_FILES),
