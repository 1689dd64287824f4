"""`hamp export` and `hamp inspect`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from hamp.cli.options import ResultsOption, folder_of
from hamp.errors import UserError

ExportFormat = Literal["onnx", "pt2", "torchscript", "safetensors"]
SUFFIX = {"onnx": ".onnx", "pt2": ".pt2", "torchscript": ".pt", "safetensors": ".safetensors"}


def export(
    candidate: Annotated[str, typer.Argument(help="A network of the front by name, or `unpruned`.")],
    results: ResultsOption = None,
    form: Annotated[ExportFormat, typer.Option("--format", "-f", help="Of the file.")] = "onnx",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File; none: named after the network.")] = None,
) -> None:
    """Write a network to a file that other programs run, and check the file against the network.

    Example: hamp export 2e4fb1a4e403 --results results/digits --format onnx --output digits.onnx
    """
    folder = folder_of(results)
    import torch

    from hamp.candidates import UNPRUNED
    from hamp.export import deployable, metadata, write
    from hamp.hardware import fingerprint
    from hamp.loading import load_parts
    from hamp.progress import digits
    from hamp.results import Results
    from hamp.tables import PROFILE, read

    run = Results(folder)
    found = load_parts(run, candidate)
    model = deployable(found.network, found.mean, found.std)
    figures: dict[str, object] = {}
    for row in [] if found.candidate == UNPRUNED else run.front.to_pylist():
        if row["candidate"] == found.candidate:
            names = ("error_validation", "error_test", "latency_ms", "latency_iqr_ms", "baseline_latency_ms")
            figures = {name: row[name] for name in (*names, "memory_bytes", "macs", "parameters")}
    if figures:
        facts = fingerprint.of(read(folder / "profile" / "profile.parquet", PROFILE))
        figures["device"] = ", ".join(f"{key}: {value}" for key, value in facts.items())
    told = metadata(found.candidate, found.widths, model, found.classes, run.settings.data.source, **figures)
    examples = torch.rand(4, *found.shape, generator=torch.Generator().manual_seed(0))
    path = output or Path(f"{found.candidate}{SUFFIX[form]}")
    difference = write(form, model, examples, path, told)
    size = path.stat().st_size / 1e6
    print(f"{path}: {digits(size)} MB; loaded again, its outputs differ from the network's by at most {difference:.1e}")


def inspect(
    context: typer.Context,
    network: Annotated[str, typer.Argument(help="As network.name in the settings, or a configuration (.yaml).")],
    classes: Annotated[int, typer.Option(min=1, help="Classes.")] = 10,
    channels: Annotated[int, typer.Option(min=1, help="Channels of an image.")] = 3,
    image_size: Annotated[int, typer.Option(min=1, help="Pixels a side.")] = 32,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Pattern of layers to leave whole; may be repeated.")
    ] = None,
    branch_removal: Annotated[bool, typer.Option(help="Residual branches may go as a whole.")] = False,
) -> None:
    """Show what may be pruned of a network, with its share of the work, and what is left whole and why.

    Example: hamp inspect torchvision:mobilenet_v2 --image-size 224 --classes 1000
    """
    from hamp.cli.configurations import read_configuration
    from hamp.configuration.blocks import Network, Pruning
    from hamp.models.build import build
    from hamp.pruning.inspection import frozen_table
    from hamp.pruning.inspection import inspect as table_of
    from hamp.stages.space import space as space_of

    if network.endswith((".yaml", ".yml")):
        _refuse_options(context, network)
        from hamp.cli.configurations import described_network

        settings = read_configuration(Path(network))
        model, shape = described_network(settings)
        pruning = settings.pruning
    else:
        model, shape = build(Network(name=network), classes, channels), (channels, image_size, image_size)
        pruning = Pruning(exclude=exclude or [], branch_removal=branch_removal)
    space = space_of(model, shape, pruning)
    table = table_of(model, space).to_pandas()
    table["layers"] = [", ".join(layers) for layers in table["layers"]]
    for name in ("macs_share", "parameters_share"):
        table[name] = [f"{share:.1%}" for share in table[name]]
    whole = frozen_table(space).to_pandas()
    print(table.to_string(index=False))
    print("\nLeft whole:\n" + whole.to_string(index=False) if len(whole) else "\nNothing is left whole.")


def _refuse_options(context: typer.Context, file: str) -> None:
    """A configuration says all that the options say."""
    sources = {name: context.get_parameter_source(name) for name in context.params if name != "network"}
    if given := [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UserError(f"{options}: not beside a configuration; set it in {file}")
