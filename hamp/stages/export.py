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
    source: str,
) -> pa.Table:
    """Write each network as ONNX and as safetensors with its widths into `folder`; table EXPORTED.

    Args:
        networks: by name.
        widths: of each, by name.
        images: some, to compare each file's outputs with the network's own on.
        folder: of the files.
        source: of the images, as the settings name it.

    Raises:
        UserError: a file computes something else.
    """
    examples = images.first(8).images.float() / 255
    rows = []
    for name, network in networks:
        model = exporting.deployable(network, images.mean, images.std)
        told = exporting.metadata(name, widths[name], model, images.classes, source)
        difference = exporting.write("onnx", model, examples, folder / f"{name}.onnx", told)
        exporting.write("safetensors", model, examples, folder / f"{name}.safetensors", told)
        rows.append((name, f"{folder.name}/{name}.safetensors", f"{folder.name}/{name}.onnx", difference))
        print(f"{name}: exported; outputs differ by at most {difference:.1e}", file=sys.stderr, flush=True)
    return build(EXPORTED, dict(zip(EXPORTED.names, zip(*rows, strict=True), strict=True)))
