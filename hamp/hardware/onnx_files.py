"""Networks and single layers as ONNX files in memory, of one batch size, to be timed by ONNX Runtime."""

import io
import logging
import warnings
from typing import TYPE_CHECKING, Any

from hamp.errors import UserError, one_line
from hamp.hardware.layers import Layer, output_padding

if TYPE_CHECKING:
    import onnx
    import torch
    from torch import nn

OPSET, NEWER_OPSET = 17, 18
# Value of the weights of a layer that is only timed; any normal number does.
WEIGHT = 0.01


def network(model: "nn.Module", shape: tuple[int, int, int], batch_size: int) -> bytes:
    """The network as an ONNX file for a fixed batch of images of `shape` (channels, height, width).

    The older exporter of PyTorch writes it: ONNX Runtime's own optimisation makes the graphs the same, and it
    takes a tenth of the time of the newer one, of which there would be one call a candidate. The newer one writes what
    the older cannot.

    Raises:
        UserError: neither can.
    """
    import torch

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    example = torch.rand(batch_size, *shape)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        try:
            return _written(model.eval(), example, newer=False)
        except Exception:  # of many kinds, some of which are the network's own; the newer one tells what it is
            pass
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _written(model, example, newer=True)
        except Exception as error:
            raise UserError(f"this network cannot be written as ONNX for the device: {one_line(error)}") from error


def _written(model: "nn.Module", example: "torch.Tensor", newer: bool) -> bytes:
    import torch

    opset = NEWER_OPSET if newer else OPSET
    buffer = io.BytesIO()
    target: Any = None if newer else buffer
    program = torch.onnx.export(
        model, (example,), target, dynamo=newer, opset_version=opset, input_names=["image"], verbose=False
    )
    if program is not None:
        program.save(buffer)  # type: ignore[arg-type]
    return buffer.getvalue()


def layer(cell: Layer, batch_size: int) -> bytes:
    """One layer as an ONNX file of some hundred bytes: its weights are written as one repeated number."""
    from onnx import TensorProto, helper

    family = cell.family
    initial: list[TensorProto] = []
    shape = [batch_size * family.times, *cell.shape]
    source = helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)
    target = helper.make_tensor_value_info("output", TensorProto.FLOAT, None)
    if family.kind == "elementwise":
        nodes = [helper.make_node("Relu", ["input"], ["output"])]
    elif family.kind == "linear":
        nodes, initial = _weights([cell.in_channels, cell.out_channels], cell.out_channels)
        nodes.append(helper.make_node("MatMul", ["input", "weight"], ["product"]))
        nodes.append(helper.make_node("Add", ["product", "bias"], ["output"]))
    else:
        transposed = family.kind == "conv_transpose"
        first, second = cell.out_channels, cell.in_channels
        if transposed:
            first, second = second, first
        nodes, initial = _weights([first, second // cell.groups, *family.kernel], cell.out_channels)
        extra: dict[str, Any] = {"output_padding": output_padding(family)} if transposed else {}
        nodes.append(
            helper.make_node(
                "ConvTranspose" if transposed else "Conv",
                ["input", "weight", "bias"],
                ["output"],
                kernel_shape=family.kernel,
                strides=family.stride,
                pads=family.padding * 2,
                dilations=family.dilation,
                group=cell.groups,
                **extra,
            )
        )
    graph = helper.make_graph(nodes, "layer", [source], [target], initial)
    return bytes(_model(graph).SerializeToString())


def _model(graph: "onnx.GraphProto") -> "onnx.ModelProto":
    from onnx import helper

    # The interface version of this opset: newer ones are refused by runtimes of some years ago.
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def _weights(shape: list[int], channels: int) -> tuple[list["onnx.NodeProto"], list["onnx.TensorProto"]]:
    from onnx import TensorProto, helper

    value = helper.make_tensor("value", TensorProto.FLOAT, [1], [WEIGHT])
    initial, nodes = [], []
    for name, dims in (("weight", shape), ("bias", [channels])):
        initial.append(helper.make_tensor(f"{name} shape", TensorProto.INT64, [len(dims)], dims))
        nodes.append(helper.make_node("ConstantOfShape", [f"{name} shape"], [name], value=value))
    return nodes, initial
