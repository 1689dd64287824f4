# The search: a static chain of generations, each method with each seed.


rule sensitivity:
    input:
        space=rules.space.output,
        scores=rules.scores.output,
        training=rules.pretrain.output.training,
        weights=ancient(rules.pretrain.output.weights),
        splits=rules.data.output.splits,
        images=ancient(rules.data.output.images),
    output:
        f"{RESULTS}/space/sensitivity.parquet",
    log:
        f"{LOGS}/sensitivity.log",
    benchmark:
        f"{BENCHMARKS}/sensitivity.tsv"
    conda:
        "../../environment.yml"
    threads: CONFIG.threads
    resources:
        mem_mb=by_attempt(4000),
        runtime=by_attempt(240),
        gpu=GPU,
    params:
        settings=options(
            "network",
            "task",
            "augment",
            "sensitivity",
            "evaluate.recalibration_images",
            "evaluate.refit",
            "evaluate.batch_size",
            "evaluate.precision",
            "hardware",
            "threads",
            "seed",
        ),
        files=digests(NETWORK_FILES + TASK_FILES),
        run=command("sensitivity"),
        code=code("sensitivity"),
    shell:
        "{params.run} --space {input.space} --scores {input.scores} --weights {input.weights}"
        " --splits {input.splits} --images {input.images} {params.settings}"
        " --output {output} > {log} 2>&1"


rule initial:
    input:
        space=rules.space.output,
        sensitivity=(
            rules.sensitivity.output if "sensitivity" in CONFIG.search.initial else []
        ),
    output:
        f"{RESULTS}/{SEARCH}/gen0/initial.parquet",
    log:
        f"{LOGS}/{SEARCH}/gen0/initial.log",
    benchmark:
        f"{BENCHMARKS}/{SEARCH}/gen0/initial.tsv"
    conda:
        "../../environment.yml"
    params:
        settings=options("search.population", "search.initial"),
        sensitivity=lambda wildcards, input: (
            f"--sensitivity {input.sensitivity}" if input.sensitivity else ""
        ),
        run=command("initial"),
        code=code("initial"),
    shell:
        "{params.run} --space {input.space} {params.sensitivity} --seed {wildcards.seed} {params.settings}"
        " --output {output} > {log} 2>&1"


rule vary:
    input:
        space=rules.space.output,
        profile=PROFILES,
        population=previous("population.parquet"),
        archive=previous("archive.parquet"),
    output:
        generation_file("variation.parquet"),
    log:
        generation_log("vary"),
    benchmark:
        generation_benchmark("vary")
    wildcard_constraints:
        generation=r"[1-9]\d*",
    conda:
        "../../environment.yml"
    params:
        settings=options(
            "search.offspring", "search.patience", "search.tolerance", "objectives"
        ),
        method=method_options,
        run=command("vary"),
        code=code("vary"),
    shell:
        "{params.run} --space {input.space} --profile {input.profile}"
        " --population {input.population} --archive {input.archive} --method {wildcards.method}"
        " --seed {wildcards.seed} --generation {wildcards.generation} {params.settings}"
        " {params.method} --output {output} > {log} 2>&1"


rule surrogate:
    input:
        space=rules.space.output,
        profile=PROFILES,
        archive=previous("archive.parquet"),
        previous=previous("surrogate.parquet", first=1),
    output:
        generation_file("surrogate.parquet"),
    log:
        generation_log("surrogate"),
    benchmark:
        generation_benchmark("surrogate")
    wildcard_constraints:
        generation=r"[1-9]\d*",
    conda:
        "../../environment.yml"
    params:
        settings=options("objectives", "measure.latency", "search.surrogates"),
        previous=lambda wildcards, input: (
            f"--previous {input.previous}" if input.previous else ""
        ),
        run=command("surrogate"),
        code=code("surrogate"),
    shell:
        "{params.run} --space {input.space} --profile {input.profile}"
        " --archive {input.archive} --seed {wildcards.seed} --generation {wildcards.generation} {params.settings}"
        " {params.previous} --output {output} > {log} 2>&1"


rule local_search:
    input:
        space=rules.space.output,
        profile=PROFILES,
        population=previous("population.parquet"),
        archive=previous("archive.parquet"),
        variation=rules.vary.output,
        surrogate=rules.surrogate.output,
    output:
        generation_file("offspring.parquet"),
    log:
        generation_log("local_search"),
    benchmark:
        generation_benchmark("local_search")
    wildcard_constraints:
        generation=r"[1-9]\d*",
    conda:
        "../../environment.yml"
    params:
        settings=options(
            "search.offspring", "objectives", "measure.latency", "portfolio"
        ),
        run=command("local_search"),
        code=code("local_search"),
    shell:
        "{params.run} --space {input.space} --profile {input.profile}"
        " --population {input.population} --archive {input.archive} --variation {input.variation}"
        " --surrogate {input.surrogate} --method {wildcards.method} --seed {wildcards.seed}"
        " --generation {wildcards.generation} {params.settings} --output {output} > {log} 2>&1"


rule evaluate:
    input:
        offspring=offspring,
        space=rules.space.output,
        scores=rules.scores.output,
        training=rules.pretrain.output.training,
        weights=ancient(rules.pretrain.output.weights),
        splits=rules.data.output.splits,
        images=ancient(rules.data.output.images),
    output:
        generation_file("errors-{shard}-of-{shards}.parquet"),
    log:
        generation_log("evaluate-{shard}-of-{shards}"),
    benchmark:
        generation_benchmark("evaluate-{shard}-of-{shards}")
    conda:
        "../../environment.yml"
    threads: CONFIG.threads
    resources:
        mem_mb=by_attempt(4000),
        runtime=by_attempt(240),
        gpu=GPU,
    params:
        settings=options(
            "network", "task", "augment", "evaluate", "hardware", "threads", "seed"
        ),
        files=digests(NETWORK_FILES + TASK_FILES),
        run=command("evaluate"),
        code=code("evaluate"),
    shell:
        "{params.run} --offspring {input.offspring} --space {input.space} --scores {input.scores}"
        " --weights {input.weights} --splits {input.splits} --images {input.images}"
        " --shard {wildcards.shard} --shards {wildcards.shards} {params.settings}"
        " --output {output} > {log} 2>&1"


rule measure:
    input:
        offspring=offspring,
        space=rules.space.output,
        scores=rules.scores.output,
        profile=PROFILES,
        training=rules.pretrain.output.training,
        weights=ancient(rules.pretrain.output.weights),
        images=ancient(rules.data.output.images),
    output:
        generation_file("measured.parquet"),
    log:
        generation_log("measure"),
    benchmark:
        generation_benchmark("measure")
    conda:
        "../../environment.yml"
    threads: measuring_threads
    resources:
        mem_mb=by_attempt(4000),
        runtime=by_attempt(60),
        gpu=measuring_gpu(),
        board=board(CONFIG.all_devices.values()),
    params:
        settings=measure_settings(),
        energy=ENERGY,
        files=digests(NETWORK_FILES),
        run=command("measure"),
        code=code("measure"),
    shell:
        "{params.run} --offspring {input.offspring} --space {input.space} --scores {input.scores}"
        " --profile {input.profile} --weights {input.weights} --images {input.images} {params.settings}"
        " {params.energy}"
        " --output {output} > {log} 2>&1"


rule select:
    input:
        offspring=offspring,
        errors=shards_of(rules.evaluate.output[0], CONFIG.shards),
        measured=rules.measure.output,
        population=previous("population.parquet"),
        archive=previous("archive.parquet"),
    output:
        evaluated=generation_file("evaluated.parquet"),
        archive=generation_file("archive.parquet"),
        population=generation_file("population.parquet"),
    log:
        generation_log("select"),
    benchmark:
        generation_benchmark("select")
    conda:
        "../../environment.yml"
    params:
        settings=options("objectives", size="search.population"),
        method=wishes,
        before=lambda wildcards, input: (
            f"--population-before {input.population} --archive-before {input.archive}"
            if input.population
            else ""
        ),
        run=command("select"),
        code=code("select"),
    shell:
        "{params.run} --offspring {input.offspring} --errors {input.errors}"
        " --measured {input.measured} {params.before} --method {wildcards.method}"
        " --generation {wildcards.generation} {params.settings} {params.method} --evaluated {output.evaluated}"
        " --archive {output.archive} --population {output.population} > {log} 2>&1"
        " && cat {log}"
