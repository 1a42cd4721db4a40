# One process trains one run with one thread, evaluates its final policy, and publishes both.
# Its training state lies in results/{scale}/state, which is no output: Snakemake deletes outputs before a job
# starts and after it fails, and a killed run goes on from its state when the same command is given again.
# A Snakemake that is killed takes its runs along (they save a checkpoint first), so that none trains on unseen.
# A run whose numbers go wrong is published as failed, and tables mark it; any other failure fails the job.
rule train:
    input:
        learner_to_start_from,
    output:
        expand(f"{RUN_FOLDER}/{{name}}", name=RUN_FILES, allow_missing=True),
    log:
        "results/{scale}/logs/train/{benchmark}/{method}/seed{seed}.log",
    benchmark:
        "results/{scale}/benchmarks/train/{benchmark}/{method}/seed{seed}.tsv"
    threads: 1
    resources:
        mem_mb=memory_of_run,
        gpu=gpus_of_job(config),
    params:
        identity=identity_of_run,
        results=results_folder,
        options=train_options,
    shell:
        "exec setpriv --pdeathsig TERM"
        " d2r train --scale {wildcards.scale} --benchmark {wildcards.benchmark}"
        " --method {wildcards.method} --seed {wildcards.seed} --results {params.results}"
        " --record-failure {params.options}"
        " >> {log} 2>&1"


# The learner of a finished run, from its last checkpoint, for a run that starts from it. It lies beside what the run
# published and is made only where another run asks for it.
rule learner:
    input:
        f"{RUN_FOLDER}/{RUN_RECORD}",
    output:
        f"{RUN_FOLDER}/{LEARNER}",
    log:
        "results/{scale}/logs/learner/{benchmark}/{method}/seed{seed}.log",
    benchmark:
        "results/{scale}/benchmarks/learner/{benchmark}/{method}/seed{seed}.tsv"
    shell:
        "d2r export learner $(dirname {output}) > {log} 2>&1"


# Seeds of one method side by side in one process, where the profile says so (`cohort` in the configuration). A command
# is put together when its job runs, so what tells these rules apart is in their parameters; those that follow from the
# output are no reason to train anew.
for TOGETHER in TRAINED_TOGETHER.values():

    rule:
        name:
            TOGETHER.name
        input:
            learners_to_start_from(TOGETHER.keys),
        output:
            files_of_runs(TOGETHER.keys, RUN_FILES),
        log:
            RESULTS / f"logs/train/{TOGETHER.files}.log",
        benchmark:
            RESULTS / f"benchmarks/train/{TOGETHER.files}.tsv"
        threads: 1
        resources:
            mem_mb=settings_together(TOGETHER).memory_mb,
            gpu=gpus_of_job(config),
        params:
            identity=settings_together(TOGETHER).identity,
            results=results_together,
            runs=runs_together,
            options=train_options,
        shell:
            "exec setpriv --pdeathsig TERM"
            " d2r train {params.runs} --results {params.results}"
            " --record-failure {params.options}"
            " >> {log} 2>&1"

    workflow.ruleorder(TOGETHER.name, "train")
