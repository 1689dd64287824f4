"""Stage `test`: errors on images that nothing saw before."""

from collections.abc import Iterator

import pyarrow as pa
from torch import nn

from hamp.data.images import ImageSet
from hamp.tables import TESTED, build
from hamp.training.evaluation import evaluate
from hamp.training.tasks import Task

BATCH = 256


def test(networks: Iterator[tuple[str, nn.Module]], images: ImageSet, task: Task, *, hardware: str) -> pa.Table:
    """Table TESTED: errors on the test images."""
    errors = {name: evaluate(network, images, task, BATCH, hardware=hardware) for name, network in networks}
    return build(TESTED, {"candidate": list(errors), "error_test": list(errors.values())})
