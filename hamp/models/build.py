"""Networks by name, or the user's own."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from hamp import callables
from hamp.configuration import blocks
from hamp.errors import UserError
from hamp.models import plain, resnet
from hamp.models.names import CIFAR_DEPTHS, TORCHVISION, unknown

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "resnet_small": resnet.resnet_small,
    **{f"resnet{depth}": partial(resnet.cifar_resnet, depth) for depth in CIFAR_DEPTHS},
    "vgg16_bn_small": plain.vgg16_bn_small,
    "mobilenet_v1_small": plain.mobilenet_v1_small,
}


def build(network: blocks.Network, classes: int, channels: int) -> nn.Module:
    """The network that the settings name, with its initial weights (drawn from torch's global generator).

    Args:
        network: its name and arguments; these come before `classes` and `channels`.
        classes: outputs; the user's own callable gets it if it has such a parameter.
        channels: channels of an image; likewise.

    Raises:
        UserError: the name is unknown, an argument does not fit, or the callable fails or gives no network.
    """
    offered = {"classes": classes, "channels": channels}
    if network.name.startswith(TORCHVISION):
        function = _torchvision(network, classes, channels)
        offered = {}
    elif ":" in network.name:
        function = callables.load(network.name, "network.name")
    elif network.name in NETWORKS:
        function = NETWORKS[network.name]
    else:
        raise UserError(unknown(network.name, list(NETWORKS)))
    try:
        model = callables.call(function, offered, network.arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"network.arguments: {network.arguments} do not fit '{network.name}': {error}") from error
    except Exception as error:
        raise callables.failure(network.name, "network.name", error) from error
    if not isinstance(model, nn.Module):
        raise UserError(f"network.name: '{network.name}' gave a {type(model).__name__}, not a torch.nn.Module")
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor):
            raise UserError(
                f"network.name: '{network.name}': {name} has no shape yet; run the network on an image first"
            )
    return model


def _torchvision(network: blocks.Network, classes: int, channels: int) -> Callable[..., nn.Module]:
    from torchvision import models

    name = network.name.removeprefix(TORCHVISION)
    valid = models.list_models(module=models)
    if name not in valid:
        raise UserError(unknown(network.name, [TORCHVISION + known for known in valid]))
    if channels != 3:
        raise UserError(
            f"network.name: '{network.name}' takes images of 3 channels; the data has {channels}; "
            "set data.channels to 3"
        )
    defaults: dict[str, Any] = {"weights": None, "num_classes": classes}
    if name in ("googlenet", "inception_v3"):
        # Their second outputs exist in training only; a task is given one.
        defaults |= {"aux_logits": False, "init_weights": True}
    return partial(models.get_model, name, **defaults)
