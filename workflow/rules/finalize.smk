# After the search: the front's networks fine-tuned, tested once, measured again, exported.


def archives(wildcards):
    """What every search evaluated, as of its last generation."""
    return expand(
        f"{RESULTS}/{SEARCH}/gen{CONFIG.search.generations}/archive.parquet",
        method=CONFIG.methods,
        seed=CONFIG.seeds,
    )


rule hypervolume:
    input:
        archives,
    output:
        f"{RESULTS}/pareto/hypervolume.parquet",
    log:
        f"{LOGS}/hypervolume.log",
    benchmark:
        f"{BENCHMARKS}/hypervolume.tsv"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=options("objectives"),
        code=code("hypervolume"),
    shell:
        "{PYTHON} {SCRIPTS}/hypervolume.py --archives {input} {params.settings} --output {output} > {log} 2>&1"


rule aggregate:
    input:
        archives,
    output:
        f"{RESULTS}/front/members.parquet",
    log:
        f"{LOGS}/aggregate.log",
    benchmark:
        f"{BENCHMARKS}/aggregate.tsv"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=options("objectives", "finetune.members"),
        code=code("aggregate"),
    shell:
        "{PYTHON} {SCRIPTS}/aggregate.py --archives {input} {params.settings} --output {output} > {log} 2>&1"


rule finetune:
    input:
        members=rules.aggregate.output,
        space=rules.space.output,
        scores=rules.scores.output,
        training=rules.pretrain.output.training,
        weights=ancient(rules.pretrain.output.weights),
        splits=rules.data.output.splits,
        images=ancient(rules.data.output.images),
    output:
        table=f"{RESULTS}/front/finetuned-{{shard}}-of-{{shards}}.parquet",
        weights=f"{RESULTS}/front/finetuned-{{shard}}-of-{{shards}}.safetensors",
    log:
        f"{LOGS}/finetune-{{shard}}-of-{{shards}}.log",
    benchmark:
        f"{BENCHMARKS}/finetune-{{shard}}-of-{{shards}}.tsv"
    threads: CONFIG.threads
    resources:
        mem_mb=8000,
        runtime=720,
    params:
        settings=options(
            "network", "task", "augment", "finetune", "hardware", "threads", "seed"
        ),
        files=digests(NETWORK_FILES + TASK_FILES),
        code=code("finetune"),
    shell:
        "{PYTHON} {SCRIPTS}/finetune.py --members {input.members} --space {input.space} --scores {input.scores}"
        " --weights {input.weights} --splits {input.splits} --images {input.images} --shard {wildcards.shard}"
        " --shards {wildcards.shards} {params.settings} --finetuned {output.table}"
        " --finetuned-weights {output.weights} > {log} 2>&1"


FINETUNED = shards_of(rules.finetune.output.table, CONFIG.finetune.shards)
FINETUNED_WEIGHTS = shards_of(rules.finetune.output.weights, CONFIG.finetune.shards)


rule test:
    input:
        members=rules.aggregate.output,
        space=rules.space.output,
        scores=rules.scores.output,
        training=rules.pretrain.output.training,
        weights=ancient(rules.pretrain.output.weights),
        splits=rules.data.output.splits,
        images=ancient(rules.data.output.images),
        finetuned=FINETUNED,
        finetuned_weights=ancient(FINETUNED_WEIGHTS),
    output:
        f"{RESULTS}/front/tested.parquet",
    log:
        f"{LOGS}/test.log",
    benchmark:
        f"{BENCHMARKS}/test.tsv"
    threads: CONFIG.threads
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        settings=options("network", "task", "hardware", "threads"),
        files=digests(NETWORK_FILES + TASK_FILES),
        code=code("test"),
    shell:
        "{PYTHON} {SCRIPTS}/test.py --members {input.members} --space {input.space} --scores {input.scores}"
        " --weights {input.weights} --splits {input.splits} --images {input.images}"
        " --finetuned-weights {input.finetuned_weights} {params.settings} --output {output} > {log} 2>&1"


rule remeasure:
    input:
        members=rules.aggregate.output,
        space=rules.space.output,
        scores=rules.scores.output,
        profile=rules.profile.output,
        training=rules.pretrain.output.training,
        weights=ancient(rules.pretrain.output.weights),
        images=ancient(rules.data.output.images),
        finetuned=FINETUNED,
        finetuned_weights=ancient(FINETUNED_WEIGHTS),
    output:
        f"{RESULTS}/front/remeasured.parquet",
    log:
        f"{LOGS}/remeasure.log",
    benchmark:
        f"{BENCHMARKS}/remeasure.tsv"
    threads: exclusive
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings=options("network", "device", "measure", "seed"),
        files=digests(NETWORK_FILES),
        code=code("remeasure"),
    shell:
        "{PYTHON} {SCRIPTS}/remeasure.py --members {input.members} --space {input.space} --scores {input.scores}"
        " --profile {input.profile} --weights {input.weights} --images {input.images}"
        " --finetuned-weights {input.finetuned_weights} {params.settings} --output {output} > {log} 2>&1"


rule export:
    input:
        members=rules.aggregate.output,
        space=rules.space.output,
        scores=rules.scores.output,
        training=rules.pretrain.output.training,
        weights=ancient(rules.pretrain.output.weights),
        splits=rules.data.output.splits,
        images=ancient(rules.data.output.images),
        finetuned=FINETUNED,
        finetuned_weights=ancient(FINETUNED_WEIGHTS),
    output:
        table=f"{RESULTS}/front/exported.parquet",
        networks=directory(f"{RESULTS}/export"),
    log:
        f"{LOGS}/export.log",
    benchmark:
        f"{BENCHMARKS}/export.tsv"
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        settings=options("network", "data.source"),
        files=digests(NETWORK_FILES),
        code=code("export"),
    shell:
        "{PYTHON} {SCRIPTS}/export.py --members {input.members} --space {input.space} --scores {input.scores}"
        " --weights {input.weights} --splits {input.splits} --images {input.images}"
        " --finetuned-weights {input.finetuned_weights} {params.settings} --folder {output.networks}"
        " --output {output.table} > {log} 2>&1"


rule pareto:
    input:
        members=rules.aggregate.output,
        finetuned=FINETUNED,
        tested=rules.test.output,
        measured=rules.remeasure.output,
        exported=rules.export.output.table,
    output:
        f"{RESULTS}/pareto/front.parquet",
    log:
        f"{LOGS}/pareto.log",
    benchmark:
        f"{BENCHMARKS}/pareto.tsv"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("pareto"),
    shell:
        "{PYTHON} {SCRIPTS}/pareto.py --members {input.members} --finetuned {input.finetuned}"
        " --tested {input.tested} --measured {input.measured} --exported {input.exported}"
        " --output {output} > {log} 2>&1"
