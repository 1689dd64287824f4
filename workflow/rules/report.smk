# What a person reads: the settings as used, the report, and the page to choose a network with.


localrules:
    settings,


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
    "time.svg": ("Run", "Time and memory of the stages"),
    "run.html": ("Run", "Settings, versions, device, seeds"),
}


PAGES = sorted((Path(workflow.basedir) / "hamp" / "report" / "page").iterdir())


def every_generation(name, first=0):
    """A table of every generation of every search."""
    return expand(
        f"{RESULTS}/{GENERATION}/{name}",
        method=CONFIG.methods,
        seed=CONFIG.seeds,
        generation=range(first, CONFIG.search.generations + 1),
    )


def models(wildcards):
    """The surrogates of the methods that fit one."""
    return expand(
        rules.surrogate.output,
        method=[method for method in CONFIG.methods if METHODS[method].surrogate],
        seed=CONFIG.seeds,
        generation=range(1, CONFIG.search.generations + 1),
    )


def reported(name):
    """A file of the report with its caption, category and label."""
    category, label = REPORT[name]
    caption = f"../report/{name.replace('.', '-')}.rst"
    return report(
        f"{RESULTS}/report/{name}",
        caption=caption,
        category=category,
        labels={"content": label},
    )


rule settings:
    output:
        f"{RESULTS}/settings.yaml",
    log:
        f"{LOGS}/settings.log",
    priority: 100
    params:
        settings=shlex.join(["--settings", CONFIG.model_dump_json()]),
        code=code("settings"),
    shell:
        "{PYTHON} {SCRIPTS}/settings.py {params.settings} --output {output} > {log} 2>&1"


rule report:
    input:
        settings=rules.settings.output,
        splits=rules.data.output.splits,
        space=rules.space.output,
        profile=rules.profile.output,
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
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        results=RESULTS,
        pages=json.dumps([file_digest(page) for page in PAGES]),
        code=code("report"),
    shell:
        "{PYTHON} {SCRIPTS}/report.py --results {params.results} > {log} 2>&1"
