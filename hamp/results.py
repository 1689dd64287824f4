"""The results of a run as its readers see them: the report, the command line, `hamp.load`.

Nothing here is heavy: tables are read when they are asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hamp import tables
from hamp.candidates import UNPRUNED
from hamp.configuration.blocks import Config
from hamp.errors import UserError
from hamp.paths import profile_folder

SETTINGS = "settings.yaml"

Search = tuple[str, int]
"""Method and seed of one search."""


@dataclass(frozen=True)
class Results:
    """A folder `results/<name>`, finished or not.

    Attributes:
        folder: of the run.
    """

    folder: Path

    @cached_property
    def settings(self) -> Config:
        """The run's settings, as the workflow used them.

        Raises:
            UserError: the run did not record them, or they are no settings of this version.
        """
        import yaml

        file = self.folder / SETTINGS
        if not file.is_file():
            raise UserError(
                f"{file}: no such file; '{self.folder}' is not the results of a run, or the run is to begin"
            )
        try:
            return Config.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
        except (ValueError, yaml.YAMLError) as error:
            first = str(error).splitlines()[0]
            raise UserError(
                f"{file}: not the settings of this version of hamp ({first}); run the workflow again"
            ) from None

    @property
    def searches(self) -> list[Search]:
        """Method and seed of every search of the run."""
        return [(method, seed) for method in self.settings.methods for seed in self.settings.seeds]

    @cached_property
    def front(self) -> pa.Table:
        """The front (table FRONT).

        Raises:
            UserError: the run has none yet.
        """
        return tables.read(self.folder / "pareto" / "front.parquet", tables.FRONT)

    @cached_property
    def archives(self) -> dict[Search, pa.Table]:
        """All that each search evaluated until its last generation (table EVALUATED)."""
        return {search: self._last(search, "archive.parquet") for search in self.searches}

    @cached_property
    def unpruned(self) -> dict[str, Any]:
        """The unpruned network as the search evaluated it (a row of EVALUATED)."""
        archive = next(iter(self.archives.values()))
        return archive.filter(pc.equal(archive["origin"], UNPRUNED)).to_pylist()[0]

    @cached_property
    def evaluated(self) -> np.ndarray:
        """Latency (ms) and validation error of all that the searches evaluated, (n, 2), to be shown beside the front.

        The front was measured again in a session of its own: latencies are scaled to it by the unpruned network's.
        """
        scale = self.front["baseline_latency_ms"][0].as_py() / self.unpruned["latency_ms"]
        found = [tables.columns(archive, ["latency_ms", "error"]) for archive in self.archives.values()]
        return np.concatenate(found) * [scale, 1.0]

    @cached_property
    def space(self) -> pa.Table:
        """Name and channels of every group, as a table without its graph."""
        return tables.read(self.folder / "space" / "space.parquet", SPACE)

    def profile(self, device: str, name: str, schema: pa.Schema) -> pa.Table:
        """A table of a device's profile: `profile.parquet` or `validation.parquet`."""
        return tables.read(self.folder / profile_folder(device) / name, schema)

    def generation(self, search: Search, generation: int) -> Path:
        """The folder of one generation of a search."""
        method, seed = search
        return self.folder / method / f"seed{seed}" / f"gen{generation}"

    def generations(self, search: Search, name: str, schema: pa.Schema) -> Iterator[tuple[int, pa.Table]]:
        """One table of every generation of a search that has it, with the generation's number."""
        for generation in range(self.settings.search.last(search[0]) + 1):
            file = self.generation(search, generation) / name
            if file.is_file():
                yield generation, tables.read(file, schema)

    def _last(self, search: Search, name: str) -> pa.Table:
        return tables.read(self.generation(search, self.settings.search.last(search[0])) / name, tables.EVALUATED)


SPACE = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("channels", pa.int32(), nullable=False),
        pa.field("layers", pa.list_(pa.string())),
    ]
)
"""The columns of the space's table that a reader who prunes nothing needs."""


def write_settings(settings: Config, path: Path) -> None:
    """Record a run's settings: a file that can be given to `--configfile` to run the same again."""
    import yaml

    text = "# The settings of this run, defaults included: --configfile with this file runs the same again.\n"
    text += yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    with tables.atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
