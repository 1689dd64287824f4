# Images, the unpruned network, its space and channel scores: what the search stands on.
#
# Large files (images, weights) are `ancient` inputs, so that a touch of them reruns nothing; the small table that
# is written beside each holds its digest, so that a change of content does.


rule data:
    output:
        splits=f"{RESULTS}/data/splits.parquet",
        images=f"{RESULTS}/data/images.safetensors",
    log:
        f"{LOGS}/data.log",
    benchmark:
        f"{BENCHMARKS}/data.tsv"
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=by_attempt(8000),
        runtime=by_attempt(60),
    params:
        settings=data_settings(),
        # Asks for `input` so that Snakemake does not compare it.
        download=lambda wildcards, input: "--download" if CONFIG.data.download else "",
        files=digests(data_files()),
        run=command("data"),
        code=code("data"),
    shell:
        "{params.run} {params.settings} {params.download}"
        " --splits {output.splits} --images {output.images} > {log} 2>&1"


rule pretrain:
    input:
        splits=rules.data.output.splits,
        images=ancient(rules.data.output.images),
    output:
        training=f"{RESULTS}/model/training.parquet",
        weights=f"{RESULTS}/model/weights.safetensors",
    log:
        f"{LOGS}/pretrain.log",
    benchmark:
        f"{BENCHMARKS}/pretrain.tsv"
    conda:
        "../../environment.yml"
    threads: CONFIG.threads
    resources:
        mem_mb=by_attempt(8000),
        runtime=720,  # not more with each attempt, since it goes on from its last epoch
        gpu=0 if idle("pretrain", CONFIG) else GPU,
    params:
        settings=options("network", *pretrain_settings(), given="network.weights"),
        files=digests(pretrain_files()),
        run=command("pretrain"),
        code=code("pretrain"),
    shell:
        "{params.run} --splits {input.splits} --images {input.images} {params.settings}"
        " --training {output.training} --weights {output.weights} > {log} 2>&1"


rule space:
    input:
        splits=rules.data.output.splits,  # changes where the images do, of which it reads the size
        training=rules.pretrain.output.training,
        weights=ancient(rules.pretrain.output.weights),
        images=ancient(rules.data.output.images),
    output:
        f"{RESULTS}/space/space.parquet",
    log:
        f"{LOGS}/space.log",
    benchmark:
        f"{BENCHMARKS}/space.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=by_attempt(8000),
        runtime=by_attempt(30),
    params:
        settings=options("network", "pruning"),
        files=digests(NETWORK_FILES),
        run=command("space"),
        code=code("space"),
    shell:
        "{params.run} --weights {input.weights} --images {input.images} {params.settings}"
        " --space {output} > {log} 2>&1"


rule scores:
    input:
        space=rules.space.output,
        training=rules.pretrain.output.training,
        weights=ancient(rules.pretrain.output.weights),
        splits=rules.data.output.splits,
        images=ancient(rules.data.output.images),
    output:
        f"{RESULTS}/space/scores.parquet",
    log:
        f"{LOGS}/scores.log",
    benchmark:
        f"{BENCHMARKS}/scores.tsv"
    conda:
        "../../environment.yml"
    threads: CONFIG.threads
    resources:
        mem_mb=by_attempt(8000),
        runtime=by_attempt(30),
        gpu=0 if idle("scores", CONFIG) else GPU,
    params:
        settings=options("network", "task", "importance", "hardware", "threads", "seed"),
        files=digests(NETWORK_FILES + TASK_FILES),
        run=command("scores"),
        code=code("scores"),
    shell:
        "{params.run} --space {input.space} --weights {input.weights} --splits {input.splits}"
        " --images {input.images} {params.settings} --scores {output} > {log} 2>&1"
