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


localrules:
    all,
    search,


# The directive takes names only as they are written, and these depend on the configuration.
workflow.localrules(*local_stages(CONFIG))


onstart:
    spare_the_scheduler()
    look_for_devices()
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
