# The search: a static chain of generations, each method with each seed.


def generation_file(name):
    return f"{RESULTS}/{GENERATION}/{name}"


def generation_log(name):
    return f"{LOGS}/{GENERATION}/{name}.log"


def generation_benchmark(name):
    return f"{BENCHMARKS}/{GENERATION}/{name}.tsv"


def previous(name):
    """Input function: a file of the generation before this one; nothing before the first."""

    def file(wildcards):
        generation = int(wildcards.generation)
        if generation == 0:
            return []
        return f"{RESULTS}/{SEARCH}/gen{generation - 1}/{name}".format(**wildcards)

    return file


def offspring(wildcards):
    """The table that holds this generation's new candidates: made by the last stage that its method has."""
    if wildcards.generation == "0":
        name = "initial.parquet"
    elif METHODS[wildcards.method].surrogate:
        name = "offspring.parquet"
    else:
        name = "variation.parquet"
    return generation_file(name).format(**wildcards)


rule initial:
    input:
        space=rules.space.output,
    output:
        f"{RESULTS}/{SEARCH}/gen0/initial.parquet",
    log:
        f"{LOGS}/{SEARCH}/gen0/initial.log",
    benchmark:
        f"{BENCHMARKS}/{SEARCH}/gen0/initial.tsv"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=options("search.population"),
        code=code("initial"),
    shell:
        "{PYTHON} {SCRIPTS}/initial.py --space {input.space} --seed {wildcards.seed} {params.settings}"
        " --output {output} > {log} 2>&1"


rule vary:
    input:
        space=rules.space.output,
        profile=rules.profile.output,
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
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=options(
            "search.offspring", "search.patience", "search.tolerance", "objectives"
        ),
        code=code("vary"),
    shell:
        "{PYTHON} {SCRIPTS}/vary.py --space {input.space} --profile {input.profile}"
        " --population {input.population} --archive {input.archive} --method {wildcards.method}"
        " --seed {wildcards.seed} --generation {wildcards.generation} {params.settings}"
        " --output {output} > {log} 2>&1"


rule surrogate:
    input:
        space=rules.space.output,
        profile=rules.profile.output,
        archive=previous("archive.parquet"),
    output:
        generation_file("surrogate.parquet"),
    log:
        generation_log("surrogate"),
    benchmark:
        generation_benchmark("surrogate")
    wildcard_constraints:
        generation=r"[1-9]\d*",
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        settings=options("objectives", "measure.latency"),
        code=code("surrogate"),
    shell:
        "{PYTHON} {SCRIPTS}/surrogate.py --space {input.space} --profile {input.profile}"
        " --archive {input.archive} --seed {wildcards.seed} --generation {wildcards.generation} {params.settings}"
        " --output {output} > {log} 2>&1"


rule local_search:
    input:
        space=rules.space.output,
        profile=rules.profile.output,
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
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        settings=options("search.offspring", "objectives", "measure.latency"),
        code=code("local_search"),
    shell:
        "{PYTHON} {SCRIPTS}/local_search.py --space {input.space} --profile {input.profile}"
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
    threads: CONFIG.threads
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        settings=options(
            "network", "task", "augment", "evaluate", "hardware", "threads", "seed"
        ),
        files=digests(NETWORK_FILES + TASK_FILES),
        code=code("evaluate"),
    shell:
        "{PYTHON} {SCRIPTS}/evaluate.py --offspring {input.offspring} --space {input.space} --scores {input.scores}"
        " --weights {input.weights} --splits {input.splits} --images {input.images}"
        " --shard {wildcards.shard} --shards {wildcards.shards} {params.settings}"
        " --output {output} > {log} 2>&1"


rule measure:
    input:
        offspring=offspring,
        space=rules.space.output,
        scores=rules.scores.output,
        profile=rules.profile.output,
        training=rules.pretrain.output.training,
        weights=ancient(rules.pretrain.output.weights),
        images=ancient(rules.data.output.images),
    output:
        generation_file("measured.parquet"),
    log:
        generation_log("measure"),
    benchmark:
        generation_benchmark("measure")
    threads: measuring_threads
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings=options("network", "device", "measure", "seed"),
        files=digests(NETWORK_FILES),
        code=code("measure"),
    shell:
        "{PYTHON} {SCRIPTS}/measure.py --offspring {input.offspring} --space {input.space} --scores {input.scores}"
        " --profile {input.profile} --weights {input.weights} --images {input.images} {params.settings}"
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
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=options("objectives", size="search.population"),
        before=lambda wildcards, input: (
            f"--population-before {input.population} --archive-before {input.archive}"
            if input.population
            else ""
        ),
        code=code("select"),
    shell:
        "{PYTHON} {SCRIPTS}/select.py --offspring {input.offspring} --errors {input.errors}"
        " --measured {input.measured} {params.before} --method {wildcards.method}"
        " --generation {wildcards.generation} {params.settings} --evaluated {output.evaluated}"
        " --archive {output.archive} --population {output.population} > {log} 2>&1"
        " && cat {log}"
