# What is known of the device before the search: its latency table, baseline and noise, and what predictions are worth.


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
        mem_mb=by_attempt(8000),
        runtime=by_attempt(60),
        gpu=DEVICE_GPU,
    params:
        settings=options("network", "device", "seed", settings="profile"),
        files=digests(NETWORK_FILES),
        run=command("profile"),
        code=code("profile"),
    shell:
        "{params.run} --space {input.space} --scores {input.scores} --weights {input.weights}"
        " --images {input.images} {params.settings} --profile {output} > {log} 2>&1"


# Only the report asks for it, so the search does not wait.
rule validation:
    input:
        space=rules.space.output,
        scores=rules.scores.output,
        profile=rules.profile.output,
        training=rules.pretrain.output.training,
        weights=ancient(rules.pretrain.output.weights),
        images=ancient(rules.data.output.images),
    output:
        f"{RESULTS}/profile/validation.parquet",
    log:
        f"{LOGS}/validation.log",
    benchmark:
        f"{BENCHMARKS}/validation.tsv"
    conda:
        "../../environment.yml"
    threads: exclusive
    resources:
        mem_mb=by_attempt(8000),
        runtime=by_attempt(60),
        gpu=DEVICE_GPU,
    params:
        settings=options("network", "device", "measure", "validation.networks", "seed"),
        files=digests(NETWORK_FILES),
        run=command("validation"),
        code=code("validation"),
    shell:
        "{params.run} --space {input.space} --scores {input.scores} --profile {input.profile}"
        " --weights {input.weights} --images {input.images} {params.settings} --output {output} > {log} 2>&1"
