# From runs to what is read: seconds each, deterministic, and the same commands that DVC runs on released runs.
# Which tables and figures there are is the package's affair, hence the folders. Snakemake compares folders by time
# alone, and a checkout changes times; so the page, which names the figures, only waits for them.
rule collect:
    input:
        files_of_scale,
    output:
        [
            str(collected_path(Path("results/{scale}"), table))
            for table in COLLECTED_TABLES
        ],
    log:
        "results/{scale}/logs/collect.log",
    benchmark:
        "results/{scale}/benchmarks/collect.tsv"
    params:
        results=results_folder,
        sources=SOURCES_OF_ANALYSIS,
    shell:
        "d2r collect --results {params.results} > {log} 2>&1"


rule tables:
    input:
        rules.collect.output,
    output:
        report(
            directory("results/{scale}/tables"),
            patterns=["{table}.csv"],
            caption="../report/tables.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
        directory("results/{scale}/metrics"),
    log:
        "results/{scale}/logs/tables.log",
    benchmark:
        "results/{scale}/benchmarks/tables.tsv"
    params:
        results=results_folder,
        sources=SOURCES_OF_ANALYSIS,
    shell:
        "d2r tables --results {params.results} > {log} 2>&1"


rule figures:
    input:
        rules.collect.output,
    output:
        report(
            directory("results/{scale}/figures"),
            patterns=["{figure}.svg"],
            caption="../report/figures.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
    log:
        "results/{scale}/logs/figures.log",
    benchmark:
        "results/{scale}/benchmarks/figures.tsv"
    params:
        results=results_folder,
        sources=SOURCES_OF_ANALYSIS,
    shell:
        "d2r figures --results {params.results} > {log} 2>&1"


rule page:
    input:
        rules.collect.output,
        figures=ancient(rules.figures.output),
    output:
        report(
            "results/{scale}/report/index.html",
            caption="../report/page.rst",
            category="Page",
            labels={"page": "everything on one page"},
        ),
    log:
        "results/{scale}/logs/report.log",
    benchmark:
        "results/{scale}/benchmarks/report.tsv"
    params:
        results=results_folder,
        sources=SOURCES_OF_ANALYSIS,
    shell:
        "d2r report --results {params.results} > {log} 2>&1"
