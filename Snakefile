# Trains and evaluates every run of a scale, then collects them into tables, figures and one page.
#
#   snakemake --cores 8 all                        the smoke scale
#   snakemake --cores 8 all --config scale=lite    another one; `d2r plan` says how long it takes
#
# Rules lie in workflow/rules; what a scale holds, in config/scales; how and where jobs run, in profiles.
from snakemake.utils import min_version, validate

min_version("9.19")


container: "docker-daemon://d2r:latest"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/analysis.smk"


localrules:
    all,
    runs,
    collect,
    tables,
    figures,
    page,


rule all:
    default_target: True
    input:
        expand(
            "results/{scale}/{name}",
            scale=SCALE.id,
            name=["tables", "figures", "report/index.html"],
        ),


rule runs:
    input:
        files_of_runs(plan_runs(SCALE), RUN_FILES),
