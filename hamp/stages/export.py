"""Stage `export`: networks as files that other programs run."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from torch import nn

from hamp import export as exporting
from hamp.data.images import ImageSet
from hamp.tables import EXPORTED, build


def export(
    networks: Iterator[tuple[str, nn.Module]],
    widths: Mapping[str, np.ndarray],
    images: ImageSet,
    folder: Path,
) -> pa.Table:
    """Write each network as ONNX and as safetensors with its widths into `folder`; table EXPORTED.

    The files take float32 (n, channels, height, width) in [0, 1]: normalisation is inside. Each ONNX file's outputs
    are compared with the network's own on some images.

    Raises:
        UserError: an ONNX file computes something else.
    """
    examples = images.first(8).images.float() / 255
    rows = []
    for name, network in networks:
        file = folder / name
        difference = exporting.onnx(network, images, examples, file.with_suffix(".onnx"), candidate=name)
        exporting.weights(network, file.with_suffix(".safetensors"), widths[name], name)
        rows.append((name, f"{folder.name}/{name}.safetensors", f"{folder.name}/{name}.onnx", difference))
        print(f"{name}: exported; outputs differ by at most {difference:.1e}", file=sys.stderr, flush=True)
    return build(EXPORTED, dict(zip(EXPORTED.names, zip(*rows, strict=True), strict=True)))
