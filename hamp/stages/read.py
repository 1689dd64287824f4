"""Tables of the space and of the devices, as the stages read them."""

from collections.abc import Sequence
from pathlib import Path

from hamp.pruning.space import SCHEMA, Space
from hamp.stages.known import Profiles
from hamp.tables import PROFILE, read


def read_space(path: Path) -> Space:
    """The space that the `space` stage wrote.

    Raises:
        UserError: the file is absent, damaged or not a space.
    """
    return Space.from_table(read(path, SCHEMA))


def read_profiles(paths: Sequence[Path]) -> Profiles:
    """The profile of the device, `profile/profile.parquet`, and of further ones, `profile/<name>/profile.parquet`."""
    first, *further = paths
    return {"": read(first, PROFILE), **{path.parent.name: read(path, PROFILE) for path in further}}
