"""Running a stage from the command line: options of settings blocks, and errors of one line."""

import argparse
import os
import sys

# As Snakemake has it, and before numpy is imported (by torch too, so scripts import this first): sums come out a little
# differently with another number of threads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from collections.abc import Callable
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, TypeAdapter, ValidationError

from hamp.claims import claim
from hamp.errors import UserError


class StageParser(argparse.ArgumentParser):
    """Options of a stage's script: files, settings blocks as JSON, plain values. All are required unless said."""

    def files(self, *names: str, many: bool = False, optional: bool = False) -> None:
        """Options that name files."""
        for name in names:
            self.add_argument(
                f"--{name}", type=Path, required=not optional, nargs="+" if many else None, metavar="FILE"
            )

    def outputs(self, *names: str) -> None:
        """Options that name files which this process is to write, and claims."""
        for name in names:
            self.add_argument(f"--{name}", type=claim, required=True, metavar="FILE")

    def block(self, name: str, model: type[BaseModel], optional: bool = False) -> None:
        """An option that holds a settings block as JSON."""

        def parse(text: str) -> BaseModel:
            try:
                return model.model_validate_json(text)
            except ValidationError as error:
                raise argparse.ArgumentTypeError(str(error)) from None

        self.add_argument(f"--{name}", type=parse, required=not optional, metavar="JSON")

    def blocks(self, name: str, model: type[BaseModel]) -> None:
        """An option that holds settings blocks by name as JSON; none where it is left out."""
        adapter = TypeAdapter(dict[str, model])  # type: ignore[valid-type]

        def parse(text: str) -> dict[str, BaseModel]:
            try:
                return adapter.validate_json(text)
            except ValidationError as error:
                raise argparse.ArgumentTypeError(str(error)) from None

        self.add_argument(f"--{name}", type=parse, default={}, metavar="JSON")

    def value(
        self,
        name: str,
        kind: Callable[[str], Any],
        default: Any = None,
        optional: bool = False,
        **keywords: Any,
    ) -> None:
        """An option that holds a plain value; one with a default may be left out."""
        required = default is None and not optional
        self.add_argument(f"--{name}", type=kind, default=default, required=required, **keywords)


def run(main: Callable[[], None]) -> None:
    """Call a script's main function; a user's mistake ends it with one line and exit status 1."""
    _settle_pyarrow_without_pandas()
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


class _PandasHidden(MetaPathFinder):
    def find_spec(self, fullname, path, target=None):
        if fullname == "pandas":
            raise ImportError(name=fullname)


def _settle_pyarrow_without_pandas() -> None:
    """Let pyarrow find no pandas on its one look for it, at the first array that it is asked for.

    It would import it, a fifth of what a light stage takes to start, to know pandas' objects; stages give it none.
    `Table.to_pandas` looks again.
    """
    hidden = _PandasHidden()
    sys.meta_path.insert(0, hidden)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(hidden)


def search_of(path: Path) -> tuple[str, int]:
    """Method and seed of a file at `<method>/seed<k>/gen<g>/<file>`."""
    method, seed, _, _ = path.parts[-4:]
    return method, int(seed.removeprefix("seed"))


def generation_of(path: Path) -> int:
    """Generation of such a file."""
    return int(path.parts[-2].removeprefix("gen"))
