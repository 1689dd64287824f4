"""Networks as files that other programs run.

Each writer checks what it wrote: the file is loaded by the program that will run it, and its outputs are compared
with the network's own. All files take float32 images (n, channels, height, width) in [0, 1], any number at a time;
the normalisation is inside (but for bare weights, which have it in their metadata).
"""

import io
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from hamp.errors import UserError, one_line
from hamp.models.normalised import Normalised
from hamp.models.weights import save_weights
from hamp.outputs import alike
from hamp.tables import atomic

Format = Literal["onnx", "pt2", "torchscript", "safetensors"]

OPSET = 18
TOLERANCE = 1e-4
"""Largest difference of outputs, relative to the largest output, that rounding explains."""

INPUT, OUTPUT = "image", "output"
METADATA_FILE = "hamp.json"
"""In the archives of pt2 and TorchScript, the file that holds the metadata."""

Metadata = Mapping[str, str]


def metadata(
    candidate: str, widths: np.ndarray, model: Normalised, classes: tuple[str, ...], source: str, **figures: object
) -> dict[str, str]:
    """What a file tells of itself; values are text, JSON where they are no plain text.

    Args:
        candidate: name of the network.
        widths: channels kept, (groups,).
        model: whose normalisation is meant.
        classes: their names, in the order of the outputs; empty where outputs are not classes.
        source: of the data that it was trained on, as the settings name it.
        figures: what else is known of it.
    """
    from hamp.data.licences import licence_of

    return {
        "candidate": candidate,
        "widths": json.dumps([int(width) for width in widths]),
        "classes": json.dumps(classes),
        "input": "float32, batch x channels x height x width, in [0, 1]; normalised inside",
        "mean": json.dumps([float(f"{value:.8g}") for value in model.mean.flatten().tolist()]),
        "std": json.dumps([float(f"{value:.8g}") for value in model.std.flatten().tolist()]),
        "data": source,
        "data_licence": licence_of(source),
        **{name: str(value) for name, value in figures.items()},
    }


def write(form: Format, model: Normalised, examples: Tensor, path: Path, told: Metadata) -> float:
    """Write a network to a file, whole or not at all; the largest difference of the file's outputs from its own.

    Args:
        form: of the file.
        model: in evaluation mode.
        examples: float32 (n, channels, height, width) in [0, 1], n at least 3, to compare outputs on.
        path: of the file.
        told: what the file tells of itself (`metadata`).

    Raises:
        UserError: the file computes something else, or this network cannot be written so.
    """
    with torch.inference_mode():
        outputs = model(examples)
    expected = _arrays(outputs)
    with atomic(path) as temporary:
        try:
            _WRITERS[form](model, examples, temporary, told, _names(outputs))
        except (RuntimeError, ValueError, torch.onnx.OnnxExporterError) as error:
            raise UserError(f"{path}: this network cannot be written as {form}: {one_line(error)}") from error
        try:
            found = _READERS[form](temporary, model, examples)
        except Exception as error:  # each program that reads has errors of its own
            raise UserError(
                f"{path}: the {form} file does not take {len(examples)} images ({one_line(error)}); in the network's "
                "code the number of images must be x.shape[0], not a Python number such as len(x) or int(x.shape[0])"
            ) from error
        differences = [float(np.abs(one - other).max()) for one, other in zip(found, expected, strict=True)]
        for difference, output in zip(differences, expected, strict=True):
            if not difference <= TOLERANCE * float(np.abs(output).max()):
                raise UserError(f"{path}: the {form} file's outputs differ from the network's by {difference:.2g}")
    return max(differences)


def check(model: Normalised, examples: Tensor) -> None:
    """Check that a network can be written as ONNX, for any number of images; mostly without writing it.

    Args:
        model: in evaluation mode.
        examples: as those of `write`.

    Raises:
        UserError: it cannot.
    """
    # A trace takes a tenth of the time. Where it holds all that the code does, for more images too, ONNX's exporter
    # will mostly find the same; where it does not, only writing tells.
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", torch.jit.TracerWarning)  # a decision that the trace takes for granted
            traced = torch.jit.trace(model, examples[:2], check_trace=False, strict=False)
            sound = alike(traced(examples), model(examples))
    except Exception:  # of the network's code, as it is traced or run
        sound = False
    if not sound:
        with tempfile.TemporaryDirectory() as folder:
            write("onnx", model, examples, Path(folder) / "network.onnx", {})


def _arrays(outputs: Any) -> list[np.ndarray]:
    """The outputs of a network, one or several."""
    return [output.numpy() for output in pytree.tree_leaves(outputs) if isinstance(output, Tensor)]


def _names(outputs: Any) -> list[str]:
    """Names of the outputs: their keys and numbers, where there are several."""
    places = [place for place, output in pytree.tree_flatten_with_path(outputs)[0] if isinstance(output, Tensor)]
    return [".".join(_step(step) for step in place) or OUTPUT for place in places]


def _step(step: Any) -> str:
    """A key of a dict, a number in a list, or a name in a named tuple."""
    return str(next(getattr(step, kind) for kind in ("key", "idx", "name") if hasattr(step, kind)))


def _onnx(model: Normalised, examples: Tensor, path: Path, told: Metadata, names: list[str]) -> None:
    import onnx

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            (examples[:2],),
            dynamo=True,
            input_names=[INPUT],
            output_names=names,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    buffer = io.BytesIO()
    program.save(buffer)  # type: ignore[arg-type]
    content = onnx.load_from_string(buffer.getvalue())
    content.metadata_props.extend(onnx.StringStringEntryProto(key=key, value=value) for key, value in told.items())
    path.write_bytes(content.SerializeToString(deterministic=True))


def _run_onnx(path: Path, model: Normalised, examples: Tensor) -> list[np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return [np.asarray(output) for output in session.run(None, {session.get_inputs()[0].name: examples.numpy()})]


def _pt2(model: Normalised, examples: Tensor, path: Path, told: Metadata, names: list[str]) -> None:
    program = torch.export.export(model, (examples[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},))
    # A buffer, since the archive would hold the name of the temporary file.
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={METADATA_FILE: json.dumps(told)})
    path.write_bytes(buffer.getvalue())


def _run_pt2(path: Path, model: Normalised, examples: Tensor) -> list[np.ndarray]:
    with torch.inference_mode():
        return _arrays(torch.export.load(io.BytesIO(path.read_bytes())).module()(examples))


def _torchscript(model: Normalised, examples: Tensor, path: Path, told: Metadata, names: list[str]) -> None:
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(model, examples[:2], check_trace=False, strict=False)  # allows dicts of outputs
        buffer = io.BytesIO()
        torch.jit.save(traced, buffer, _extra_files={METADATA_FILE: json.dumps(told)})
    path.write_bytes(buffer.getvalue())


def _run_torchscript(path: Path, model: Normalised, examples: Tensor) -> list[np.ndarray]:
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        return _arrays(torch.jit.load(io.BytesIO(path.read_bytes()))(examples))


def _safetensors(model: Normalised, examples: Tensor, path: Path, told: Metadata, names: list[str]) -> None:
    save_weights(model.model, path, {**told, "input": "float32, normalised by mean and std: the weights alone"})


def _run_safetensors(path: Path, model: Normalised, examples: Tensor) -> list[np.ndarray]:
    copy = deepcopy(model)
    with torch.no_grad():
        for value in (*copy.model.parameters(), *copy.model.buffers()):
            value.zero_()
    copy.model.load_state_dict(load_file(path))
    with torch.inference_mode():
        return _arrays(copy(examples))


_WRITERS: dict[Format, Callable[[Normalised, Tensor, Path, Metadata, list[str]], None]] = {
    "onnx": _onnx,
    "pt2": _pt2,
    "torchscript": _torchscript,
    "safetensors": _safetensors,
}
_READERS: dict[Format, Callable[[Path, Normalised, Tensor], list[np.ndarray]]] = {
    "onnx": _run_onnx,
    "pt2": _run_pt2,
    "torchscript": _run_torchscript,
    "safetensors": _run_safetensors,
}


def deployable(network: nn.Module, mean: Tensor, std: Tensor) -> Normalised:
    """A network in evaluation mode that takes images in [0, 1]."""
    return Normalised(network, mean, std).eval()
