"""The command `hamp`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from hamp.errors import UserError

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

Results = Annotated[Path, typer.Argument(help="Folder of a run's results, as results/digits.")]
COLUMNS = ("candidate", "error_validation", "error_test", "latency_ms", "baseline_latency_ms", "memory_bytes", "faster")


@app.command()
def check(configuration: Annotated[Path, typer.Argument(help="A YAML file of settings.")]) -> None:
    """Check a configuration as a run does before its first job.

    Example: hamp check config/experiments/cifar10-resnet20.yaml
    """
    import yaml

    from hamp.check import check as problems
    from hamp.configuration.validate import load

    try:
        settings = yaml.safe_load(configuration.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise UserError(f"{configuration}: no such file") from None
    except yaml.YAMLError as error:
        raise UserError(f"{configuration}: not YAML: {' '.join(str(error).split())}") from None
    if found := problems(load(settings)):
        raise UserError("\n".join(found))
    print(f"{configuration}: good")


@app.command()
def front(results: Results, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the networks of the front.

    Example: hamp front results/digits
    """
    rows = _front(results)
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    print("  ".join(f"{name:>19}" for name in COLUMNS))
    for row in rows:
        print("  ".join(f"{_text(row[name]):>19}" for name in COLUMNS))


@app.command()
def pick(
    results: Results,
    prefer: Annotated[str, typer.Option(help="accuracy, latency, memory or knee.")] = "knee",
    max_latency_ms: Annotated[float | None, typer.Option(help="Largest measured latency.")] = None,
    max_memory_mb: Annotated[float | None, typer.Option(help="Largest memory, in 10^6 bytes.")] = None,
    max_error: Annotated[float | None, typer.Option(help="Largest validation error, as a fraction.")] = None,
) -> None:
    """Choose one network of the front.

    Example: hamp pick results/digits --max-latency-ms 4 --prefer accuracy
    """
    from hamp.choice import PREFERENCES, choose

    if prefer not in PREFERENCES:
        raise UserError(f"--prefer: '{prefer}' is not one of {', '.join(PREFERENCES)}")
    memory = None if max_memory_mb is None else 1e6 * max_memory_mb
    given = {"latency_ms": max_latency_ms, "memory_bytes": memory, "error_validation": max_error}
    limits = {name: value for name, value in given.items() if value is not None}
    chosen = choose(_front(results), limits, next(name for name in PREFERENCES if name == prefer))
    if not chosen.fits:
        over = ", ".join(f"{name} by {excess:.4g}" for name, excess in chosen.excess.items())
        raise UserError(f"no network is within the limits; {chosen.network['candidate']} comes nearest, over in {over}")
    row = chosen.network
    print(f"{row['candidate']}  {results / row['onnx']}")
    print(
        f"{prefer} among {chosen.allowed}: validation error {row['error_validation']:.4f}, test error "
        f"{row['error_test']:.4f}, {row['latency_ms']:.3g} ms ({row['baseline_latency_ms'] / row['latency_ms']:.2f} "
        f"times the unpruned network's speed{'' if row['faster'] else ', within the noise: not faster'}), "
        f"{row['memory_bytes'] / 1e6:.3g} MB"
    )


@app.command()
def inspect(
    network: Annotated[str, typer.Argument(help="As network.name in the settings.")],
    classes: Annotated[int, typer.Option(help="Classes.")] = 10,
    channels: Annotated[int, typer.Option(help="Channels of an image.")] = 3,
    image_size: Annotated[int, typer.Option(help="Pixels a side.")] = 32,
) -> None:
    """Show what may be pruned of a network, and what is left whole and why.

    Example: hamp inspect resnet20
    """
    from hamp.configuration.blocks import Network, Pruning
    from hamp.models.build import build
    from hamp.pruning.inspection import frozen_table
    from hamp.pruning.inspection import inspect as table_of
    from hamp.stages.space import space as space_of

    model = build(Network(name=network), classes, channels)
    space = space_of(model, (channels, image_size, image_size), Pruning())
    for table in (table_of(model, space), frozen_table(space)):
        print(table.to_pandas().to_string(index=False), end="\n\n")


def main() -> None:
    """Run the command; a user's mistake ends it with its lines and exit status 1."""
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def _front(results: Path) -> list[dict]:
    from hamp.tables import FRONT, read

    return read(results / "pareto" / "front.parquet", FRONT).to_pylist()


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
