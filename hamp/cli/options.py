"""Options that several subcommands have."""

from pathlib import Path
from typing import Annotated

import typer

from hamp.errors import UserError

ResultsArgument = Annotated[
    Path | None,
    typer.Argument(metavar="RESULTS", help="Folder of a run, as results/digits. None: the only one in results/."),
]
ResultsOption = Annotated[
    Path | None, typer.Option("--results", "-r", help="Folder of a run. None: the only one in results/.")
]
MaxLatency = Annotated[float | None, typer.Option(min=0, help="Largest measured latency, in ms.")]
MaxMemory = Annotated[float | None, typer.Option(min=0, help="Largest memory, in MB (1,000,000 bytes).")]
MaxError = Annotated[float | None, typer.Option(min=0, max=1, help="Largest validation error, as a fraction.")]


def limits(max_latency_ms: float | None, max_memory_mb: float | None, max_error: float | None) -> dict[str, float]:
    """Limits as `hamp.choice.choose` takes them."""
    memory = None if max_memory_mb is None else round(max_memory_mb * 1e6)
    given = {"latency_ms": max_latency_ms, "memory_bytes": memory, "error_validation": max_error}
    return {name: value for name, value in given.items() if value is not None}


def folder_of(results: Path | None) -> Path:
    """The folder that was named, or the only one of a run here.

    Raises:
        UserError: none was named, and there is none or more than one.
    """
    if results is not None:
        if not results.is_dir():
            raise UserError(f"'{results}' is not a folder; give that of a run, such as results/digits")
        return results
    found = sorted(path.parent for path in Path("results").glob("*/settings.yaml"))
    if len(found) != 1:
        here = f"has {len(found)}: {', '.join(map(str, found))}" if found else "has none"
        raise UserError(f"which run? ./results {here}; give its folder")
    return found[0]
