"""Networks as files that other programs run."""

import json
import logging
import warnings
from pathlib import Path

import numpy as np
import onnx as onnx_format
import onnxruntime
import torch
from torch import Tensor, nn

from hamp.data.images import ImageSet
from hamp.errors import UserError
from hamp.models.normalised import Normalised
from hamp.models.weights import save_weights
from hamp.tables import atomic

OPSET = 18
TOLERANCE = 1e-3
"""Largest difference of outputs, relative to the largest output, that rounding explains."""


def onnx(network: nn.Module, images: ImageSet, examples: Tensor, path: Path, candidate: str) -> float:
    """Write an ONNX file with dynamic batch size and the normalisation inside; the largest difference of outputs.

    Args:
        network: in evaluation mode, for normalised images.
        images: whose mean, standard deviation and classes are meant.
        examples: float32 (n, channels, height, width) in [0, 1], to compare outputs on.
        path: of the file.
        candidate: its name, kept in the file's metadata.

    Raises:
        UserError: the file's outputs are not the network's.
    """
    model = Normalised(network, images.mean, images.std).eval()
    content = _exported(model, examples)
    content.metadata_props.extend(
        onnx_format.StringStringEntryProto(key=key, value=value)
        for key, value in {
            "candidate": candidate,
            "classes": json.dumps(images.classes),
            "input": "float32, batch x channels x height x width, in [0, 1]; normalised inside",
        }.items()
    )
    serialised = content.SerializeToString(deterministic=True)
    session = onnxruntime.InferenceSession(serialised, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = model(examples).numpy()
    found = session.run(None, {session.get_inputs()[0].name: examples.numpy()})[0]
    difference = float(np.abs(found - expected).max())
    if difference > TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise UserError(f"{path}: the ONNX file's outputs differ from the network's by {difference:.2g}")
    with atomic(path) as temporary:
        temporary.write_bytes(serialised)
    return difference


def weights(network: nn.Module, path: Path, widths: np.ndarray, candidate: str) -> None:
    """Write the weights as safetensors; the widths, from which the network is made again, are in the metadata."""
    save_weights(network, path, {"candidate": candidate, "widths": json.dumps([int(width) for width in widths])})


def _exported(model: nn.Module, examples: Tensor) -> onnx_format.ModelProto:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            (examples[:2],),
            dynamo=True,
            input_names=["image"],
            output_names=["output"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None  # it is None for torch's older exporter alone
    return program.model_proto
