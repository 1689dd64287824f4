# What a person reads: the settings as used, the report, and the page to choose a network with.


REPORT = {
    "front.html": ("Front", "Choose a network"),
    "front.svg": ("Front", "The front"),
    "widths.svg": ("Front", "Widths of its members"),
    "channels.svg": ("Front", "Where the channels went"),
    "hypervolume.svg": ("Search", "Hypervolume against evaluations"),
    "methods.svg": ("Search", "Methods compared"),
    "methods.html": ("Search", "Methods compared: statistics"),
    "surrogate.svg": ("Search", "Quality of the surrogate"),
    "origins.svg": ("Search", "Where survivors came from"),
    "latency.svg": ("Device", "Latency: predicted and measured"),
    "devices.html": ("Device", "The front on every device"),
    "validation.html": ("Device", "Latency: what predictions are worth"),
    "time.svg": ("Run", "Time and memory of the stages"),
    "run.html": ("Run", "Settings, versions, device, seeds"),
}


PAGES = sorted((Path(workflow.basedir) / "hamp" / "report" / "page").iterdir())


rule settings:
    output:
        f"{RESULTS}/settings.yaml",
    log:
        f"{LOGS}/settings.log",
    benchmark:
        f"{BENCHMARKS}/settings.tsv"
    priority: 100
    conda:
        "../../environment.yml"
    params:
        settings=shlex.join(["--settings", CONFIG.model_dump_json()]),
        run=command("settings"),
        code=code("settings"),
    shell:
        "{params.run} {params.settings} --output {output} > {log} 2>&1"


rule report:
    input:
        settings=rules.settings.output,
        splits=rules.data.output.splits,
        space=rules.space.output,
        profile=PROFILES,
        validation=[
            f"{RESULTS}/{profile_folder(name)}/validation.parquet"
            for name in validated(CONFIG)
        ],
        hypervolume=rules.hypervolume.output,
        front=rules.pareto.output,
        archives=archives,
        populations=every_generation("population.parquet"),
        measured=every_generation("measured.parquet"),
        models=models,
    output:
        [reported(name) for name in report_files(CONFIG)],
    log:
        f"{LOGS}/report.log",
    benchmark:
        f"{BENCHMARKS}/report.tsv"
    conda:
        "../../environment.yml"
    params:
        results=lambda wildcards, output: Path(output[0]).parents[1],
        pages=json.dumps([file_digest(page) for page in PAGES]),
        run=command("report"),
        code=code("report"),
    shell:
        "{params.run} --results {params.results} > {log} 2>&1"
