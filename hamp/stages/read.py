"""Tables of the space and of its scores, as the stages read them."""

from pathlib import Path

from hamp.pruning.space import SCHEMA, Space
from hamp.tables import read


def read_space(path: Path) -> Space:
    """The space that the `space` stage wrote.

    Raises:
        UserError: the file is absent, damaged or not a space.
    """
    return Space.from_table(read(path, SCHEMA))
