# Methods and seeds against each other, where there are several.


rule compare:
    input:
        archives=archives,
        models=models,
        space=rules.space.output,
        profile=PROFILES,
    output:
        **{
            name: f"{RESULTS}/compare/{name}.parquet"
            for name in ("curves", "pairs", "ranks", "foresight")
        },
    log:
        f"{LOGS}/compare.log",
    benchmark:
        f"{BENCHMARKS}/compare.tsv"
    conda:
        "../../environment.yml"
    params:
        settings=options("objectives", "measure.latency"),
        models=lambda wildcards, input: (
            f"--models {input.models}" if input.models else ""
        ),
        run=command("compare"),
        code=code("compare"),
    shell:
        "{params.run} --archives {input.archives} {params.models} --space {input.space} --profile {input.profile}"
        " {params.settings} --curves {output.curves} --pairs {output.pairs} --ranks {output.ranks}"
        " --foresight {output.foresight} > {log} 2>&1"
