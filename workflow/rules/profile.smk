# What is known of the device before the search: its latency table, baseline and noise.


rule profile:
    input:
        space=rules.space.output,
        scores=rules.scores.output,
        training=rules.pretrain.output.training,
        weights=ancient(rules.pretrain.output.weights),
        images=ancient(rules.data.output.images),
    output:
        f"{RESULTS}/profile/profile.parquet",
    log:
        f"{LOGS}/profile.log",
    benchmark:
        f"{BENCHMARKS}/profile.tsv"
    conda:
        "../../environment.yml"
    threads: exclusive
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        settings=options("network", "device", "seed", settings="profile"),
        files=digests(NETWORK_FILES),
        run=command("profile"),
        code=code("profile"),
    shell:
        "{params.run} --space {input.space} --scores {input.scores} --weights {input.weights}"
        " --images {input.images} {params.settings} --profile {output} > {log} 2>&1"
