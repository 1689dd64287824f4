"""The subcommands. What is heavy is imported where it is used: `hamp --help`, `front` and `pick` start at once."""

import typer

from hamp.cli import choosing, clusters, devices, networks, runs

app = typer.Typer(
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Hardware-aware pruning of neural networks: choose, export and measure networks; set up and follow runs.",
)
COMMANDS = (
    *(choosing.front, choosing.pick, networks.export, networks.inspect),
    *(devices.measure, devices.profile, devices.doctor, runs.init, runs.check, runs.watch),
    *(clusters.submit, clusters.status, clusters.resume, clusters.plan),
)
for command in COMMANDS:
    app.command()(command)
