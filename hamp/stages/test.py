"""Stage `test`: errors on images that nothing saw before."""

from collections.abc import Iterator

import pyarrow as pa
from torch import nn

from hamp.data.images import ImageSet
from hamp.tables import TESTED, build
from hamp.training.evaluation import batch_of, evaluate
from hamp.training.tasks import Task


def test(networks: Iterator[tuple[str, nn.Module]], images: ImageSet, task: Task, *, hardware: str) -> pa.Table:
    """Table TESTED: errors on the test images."""
    at_once = batch_of(images)
    errors = {name: evaluate(network, images, task, at_once, hardware=hardware) for name, network in networks}
    return build(TESTED, {"candidate": list(errors), "error_test": list(errors.values())})
