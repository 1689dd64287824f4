"""The weights of a pruned network fitted so that its layers give what they gave before pruning."""

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hamp.errors import Diverged
from hamp.training.hardware import mixed
from hamp.training.recalibration import recalibrating

PLACES = 4096
"""Rows of a layer's output that it is fitted on."""
RIDGE = 0.3
"""How far weights are held to those that were cut, in mean variances of a layer's inputs."""

Layer = nn.Conv2d | nn.Linear


class Sample(NamedTuple):
    """What a layer of the unpruned network gave at some places.

    Attributes:
        places: int64, one array (p,) a dimension of the layer's output without its channels.
        outputs: float32 (p, channels).
        normalised: whether BatchNorm follows, so that a constant does not matter.
    """

    places: tuple[Tensor, ...]
    outputs: Tensor
    normalised: bool = False


class Observed(NamedTuple):
    """What the layers of the unpruned network gave for some images.

    Attributes:
        images: normalised, (n, channels, height, width).
        layers: by path.
    """

    images: Tensor
    layers: dict[str, Sample]


def observe(model: nn.Module, images: Tensor, seed: int, precision: str = "float32") -> Observed:
    """What the convolutions and linear layers of `model` give, at places that are drawn once for all pruned networks.

    Left out are grouped convolutions, which do not mix channels, layers that are run more than once or share their
    weights, and classes derived from `Conv2d` and `Linear`, which may compute something else.

    Args:
        model: the unpruned network, on the device of the images; left in evaluation mode.
        images: normalised, (n, channels, height, width).
        seed: of the places.
        precision: of the features (`hardware.data_type`).
    """
    generator = torch.Generator().manual_seed(seed)
    layers: dict[str, Sample] = {}
    calls = Counter[str]()
    last: list[tuple[str, Tensor]] = []

    def keep(path: str, layer: nn.Module, _: Any, output: Tensor) -> None:
        if output.dim() != 4 and (isinstance(layer, nn.Conv2d) or output.dim() < 2):
            return  # no batch
        calls[path] += 1
        last[:] = [(path, output)]
        rows = output.movedim(_channel_dim(layer), -1)
        drawn = torch.randperm(rows[..., 0].numel(), generator=generator)[:PLACES].sort().values
        places = tuple(torch.unravel_index(drawn.to(output.device), rows.shape[:-1]))
        layers[path] = Sample(places, rows[places].float())

    def normalise(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if last and inputs and inputs[0] is last[0][1]:
            path = last[0][0]
            layers[path] = layers[path]._replace(normalised=True)

    owners = Counter(map(id, dict(model.named_parameters(remove_duplicate=False)).values()))
    with ExitStack() as hooks, torch.no_grad(), mixed(precision, images.device):
        for path, layer in model.named_modules():
            if _fitted(layer) and all(owners[id(parameter)] == 1 for parameter in layer.parameters()):
                hooks.enter_context(layer.register_forward_hook(partial(keep, path)))
            elif isinstance(layer, _BatchNorm):
                hooks.enter_context(layer.register_forward_pre_hook(normalise))
        model.eval()(images)
    return Observed(images, {path: layers[path] for path, count in calls.items() if count == 1})


def refit(pruned: nn.Module, kept: Mapping[str, Tensor], observed: Observed, precision: str = "float32") -> None:
    """Fit each layer, in the order in which they run, to what it gave in the unpruned network, in place.

    Given what the layers before it give now, the weights are found by least squares, held to those that were cut out
    by a ridge. So the channels that stay make up for those that go, and what follows a removed branch for the branch,
    as far as they can: reconstruction after He, Zhang and Sun (2017, section 3.2), layer by layer in one pass, with
    the inputs of the pruned network (there "asymmetric", after Zhang et al., 2016). BatchNorm statistics are found
    anew on the same images.

    Args:
        pruned: the pruned network, on the device of the images; left in evaluation mode.
        kept: by parameter, the positions along its first dimension that stayed (`pruning.slicing.kept_positions`).
        observed: of the unpruned network.
        precision: of the features (`hardware.data_type`); weights are found in float32.

    Raises:
        Diverged: the features of the pruned network are not finite.
    """
    device = observed.images.device

    def fit(path: str, layer: Layer, inputs: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        (x,) = (*inputs, *named.values())
        places, wanted, normalised = observed.layers[path]
        if (stay := kept.get(f"{path}.weight")) is not None:
            wanted = wanted[:, stay.to(device)]
        with mixed("float32", device):
            fits = _fit(layer, _inputs(layer, x, places).float(), wanted, normalised)
        if not fits:
            raise Diverged(f"layer '{path}': no finite weights fit what it is given")

    with ExitStack() as hooks, torch.no_grad(), recalibrating(pruned), mixed(precision, device):
        for path, layer in pruned.named_modules():
            if path in observed.layers and _fitted(layer):
                hooks.enter_context(layer.register_forward_pre_hook(partial(fit, path), with_kwargs=True))
        pruned(observed.images)


def _fitted(layer: nn.Module) -> bool:
    plain = type(layer) is nn.Linear or (type(layer) is nn.Conv2d and layer.groups == 1)
    return plain and "weight" in layer._parameters  # not where another parameter stands for it


def _channel_dim(layer: nn.Module) -> int:
    return 1 if isinstance(layer, nn.Conv2d) else -1


def _inputs(layer: Layer, x: Tensor, places: tuple[Tensor, ...]) -> Tensor:
    """What the layer computes its output at some places from, (p, inputs), the channels of a pixel side by side."""
    if isinstance(layer, nn.Linear):
        return x[places]
    if layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
        pixels = F.pad(x, [side for pad in reversed(layer.padding) for side in (pad, pad)])
    else:
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        pixels = F.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
    pixels = pixels.permute(0, 2, 3, 1)
    image, *at = places
    rows, columns = (
        start[:, None] * stride + dilation * torch.arange(size, device=x.device)
        for start, stride, dilation, size in zip(at, layer.stride, layer.dilation, layer.kernel_size, strict=True)
    )
    return pixels[image[:, None, None], rows[:, :, None], columns[:, None, :]].flatten(1)


def _fit(layer: Layer, inputs: Tensor, wanted: Tensor, normalised: bool) -> bool:
    """Ridge regression of `wanted` (p, outputs) on `inputs` (p, inputs), towards the layer's own weights; whether there
    is a finite solution.

    A constant does not matter where there is a bias, or a BatchNorm to come (`normalised`).
    """
    weight = layer.weight.movedim(1, -1)
    rows = weight.flatten(1)
    mean_inputs, mean_wanted = inputs.mean(dim=0), wanted.mean(dim=0)
    if layer.bias is not None or normalised:
        inputs, wanted = inputs - mean_inputs, wanted - mean_wanted
    missed = wanted - inputs @ rows.T
    few = len(inputs) < inputs.shape[1]  # then the same solution by the smaller system of its dual form
    system = inputs @ inputs.T if few else inputs.T @ inputs
    ridge = RIDGE * inputs.square().sum() / inputs.shape[1]
    system.diagonal().add_(ridge.clamp_min(torch.finfo(system.dtype).tiny))
    factor, failed = torch.linalg.cholesky_ex(system)
    solved = torch.cholesky_solve(missed if few else inputs.T @ missed, factor)
    rows = rows + (inputs.T @ solved if few else solved).T
    if failed or not rows.isfinite().all():  # CUDA does not fail where there is no number
        return False
    layer.weight.copy_(rows.view(weight.shape).movedim(-1, 1))
    if layer.bias is not None:
        layer.bias.copy_(mean_wanted - rows @ mean_inputs)
    return True
