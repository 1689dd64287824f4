# After the search: the front's networks fine-tuned, tested once, measured again, exported.


rule hypervolume:
    input:
        archives,
    output:
        f"{RESULTS}/pareto/hypervolume.parquet",
    log:
        f"{LOGS}/hypervolume.log",
    benchmark:
        f"{BENCHMARKS}/hypervolume.tsv"
    conda:
        "../../environment.yml"
    params:
        settings=options("objectives"),
        run=command("hypervolume"),
        code=code("hypervolume"),
    shell:
        "{params.run} --archives {input} {params.settings} --output {output} > {log} 2>&1"


rule aggregate:
    input:
        archives,
    output:
        f"{RESULTS}/front/members.parquet",
    log:
        f"{LOGS}/aggregate.log",
    benchmark:
        f"{BENCHMARKS}/aggregate.tsv"
    conda:
        "../../environment.yml"
    params:
        settings=options("objectives", "finetune.members", "portfolio"),
        run=command("aggregate"),
        code=code("aggregate"),
    shell:
        "{params.run} --archives {input} {params.settings} --output {output} > {log} 2>&1"
        " && cat {log}"


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
    conda:
        "../../environment.yml"
    threads: CONFIG.threads
    resources:
        mem_mb=by_attempt(8000),
        runtime=720,  # not more with each attempt, since it goes on from its last epoch
        gpu=GPU,
    params:
        settings=options(
            "network", "task", "augment", "finetune", "hardware", "threads", "seed"
        ),
        files=digests(NETWORK_FILES + TASK_FILES),
        run=command("finetune"),
        code=code("finetune"),
    shell:
        "{params.run} --members {input.members} --space {input.space} --scores {input.scores}"
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
    conda:
        "../../environment.yml"
    threads: CONFIG.threads
    resources:
        mem_mb=by_attempt(8000),
        runtime=by_attempt(120),
        gpu=GPU,
    params:
        settings=options("network", "task", "hardware", "threads"),
        files=digests(NETWORK_FILES + TASK_FILES),
        run=command("test"),
        code=code("test"),
    shell:
        "{params.run} --members {input.members} --space {input.space} --scores {input.scores}"
        " --weights {input.weights} --splits {input.splits} --images {input.images}"
        " --finetuned-weights {input.finetuned_weights} {params.settings} --output {output} > {log} 2>&1"


rule remeasure:
    input:
        members=rules.aggregate.output,
        space=rules.space.output,
        scores=rules.scores.output,
        profile=PROFILES,
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
    conda:
        "../../environment.yml"
    threads: lambda wildcards: exclusive(CONFIG.all_devices.values())
    resources:
        mem_mb=by_attempt(4000),
        runtime=by_attempt(60),
        gpu=device_gpu(CONFIG.all_devices.values()),
        board=board(CONFIG.all_devices.values()),
    params:
        settings=options("network", "device", "devices", "measure", "seed"),
        energy=ENERGY,
        files=digests(NETWORK_FILES),
        run=command("remeasure"),
        code=code("remeasure"),
    shell:
        "{params.run} --members {input.members} --space {input.space} --scores {input.scores}"
        " --profile {input.profile} --weights {input.weights} --images {input.images}"
        " --finetuned-weights {input.finetuned_weights} {params.settings}"
        " {params.energy} --output {output} > {log} 2>&1"


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
    conda:
        "../../environment.yml"
    resources:
        mem_mb=by_attempt(8000),
        runtime=by_attempt(60),
    params:
        settings=options("network", "data.source"),
        files=digests(NETWORK_FILES),
        run=command("export"),
        code=code("export"),
    shell:
        "{params.run} --members {input.members} --space {input.space} --scores {input.scores}"
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
    conda:
        "../../environment.yml"
    params:
        settings=options("objectives"),
        run=command("pareto"),
        code=code("pareto"),
    shell:
        "{params.run} --members {input.members} --finetuned {input.finetuned}"
        " --tested {input.tested} --measured {input.measured} --exported {input.exported} {params.settings}"
        " --output {output} > {log} 2>&1"
