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
    threads: lambda wildcards: exclusive([CONFIG.device])
    resources:
        mem_mb=by_attempt(8000),
        runtime=by_attempt(60),
        gpu=device_gpu([CONFIG.device]),
        board=board([CONFIG.device]),
    params:
        settings=options("network", "device", "seed", settings="profile"),
        files=digests(profile_files(CONFIG.device)),
        run=command("profile"),
        code=code("profile"),
    shell:
        "{params.run} --space {input.space} --scores {input.scores} --weights {input.weights}"
        " --images {input.images} {params.settings} --profile {output} > {log} 2>&1"


use rule profile as profile_further with:
    output:
        f"{RESULTS}/profile/{{device}}/profile.parquet",
    log:
        f"{LOGS}/profile-{{device}}.log",
    benchmark:
        f"{BENCHMARKS}/profile-{{device}}.tsv"
    threads: lambda wildcards: exclusive([CONFIG.devices[wildcards.device]])
    resources:
        mem_mb=by_attempt(8000),
        runtime=by_attempt(60),
        gpu=lambda wildcards: device_gpu([CONFIG.devices[wildcards.device]]),
        board=lambda wildcards: board([CONFIG.devices[wildcards.device]]),
    params:
        settings=lambda wildcards: options(
            "network", "seed", settings="profile", device=f"devices.{wildcards.device}"
        ),
        files=lambda wildcards: digests(profile_files(CONFIG.devices[wildcards.device])),


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
    threads: lambda wildcards: exclusive([CONFIG.device])
    resources:
        mem_mb=by_attempt(8000),
        runtime=by_attempt(60),
        gpu=device_gpu([CONFIG.device]),
        board=board([CONFIG.device]),
    params:
        settings=options("network", "device", "measure", "validation.networks", "seed"),
        files=digests(NETWORK_FILES),
        run=command("validation"),
        code=code("validation"),
    shell:
        "{params.run} --space {input.space} --scores {input.scores} --profile {input.profile}"
        " --weights {input.weights} --images {input.images} {params.settings} --output {output} > {log} 2>&1"


use rule validation as validation_further with:
    input:
        space=rules.space.output,
        scores=rules.scores.output,
        profile=rules.profile_further.output,
        training=rules.pretrain.output.training,
        weights=ancient(rules.pretrain.output.weights),
        images=ancient(rules.data.output.images),
    output:
        f"{RESULTS}/profile/{{device}}/validation.parquet",
    log:
        f"{LOGS}/validation-{{device}}.log",
    benchmark:
        f"{BENCHMARKS}/validation-{{device}}.tsv"
    threads: lambda wildcards: exclusive([CONFIG.devices[wildcards.device]])
    resources:
        mem_mb=by_attempt(8000),
        runtime=by_attempt(60),
        gpu=lambda wildcards: device_gpu([CONFIG.devices[wildcards.device]]),
        board=lambda wildcards: board([CONFIG.devices[wildcards.device]]),
    params:
        settings=lambda wildcards: options(
            "network",
            "measure",
            "validation.networks",
            "seed",
            device=f"devices.{wildcards.device}",
        ),
