# hamp: hardware-aware pruning of a convolutional network, as a Pareto front of pruned networks.
#
# Reads and validates the configuration, includes the rules, names the targets. Nothing heavy is imported here:
# the file is read again in every cluster job.

from snakemake.utils import min_version

min_version("9.27")


report: "workflow/report/workflow.rst"


# The defaults; --configfile lays an experiment over them.
configfile: Path(workflow.basedir) / "config" / "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/model.smk"
include: "workflow/rules/profile.smk"
include: "workflow/rules/evolve.smk"
include: "workflow/rules/finalize.smk"
include: "workflow/rules/compare.smk"
include: "workflow/rules/report.smk"


# Stages of seconds, which on a cluster would wait longer than they work: they run beside Snakemake itself.
localrules:
    all,
    search,
    settings,
    initial,
    vary,
    surrogate,
    local_search,
    select,
    hypervolume,
    compare,
    aggregate,
    pareto,
    report,


# So do downloads, since compute nodes often have no internet, what only predicts, and what measures a device over ssh,
# which is reached from the login node.
if CONFIG.data.download:

    localrules:
        data,


if CONFIG.device.runtime in ("remote", "roofline"):

    localrules:
        profile,
        validation,
        remeasure,


if CONFIG.device.runtime == "remote" or CONFIG.measure.latency == "predicted":

    localrules:
        measure,


onstart:
    spare_the_scheduler()
    look_at_slurm()


rule all:
    default_target: True
    input:
        rules.report.output,
        comparison,


# The search alone, without fine-tuning: what a comparison of methods needs.
rule search:
    input:
        rules.settings.output,
        rules.hypervolume.output,
        comparison,
