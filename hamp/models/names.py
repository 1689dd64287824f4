"""Names of networks, checked without importing torch."""

from difflib import get_close_matches
from pathlib import Path

from hamp import callables
from hamp.configuration import blocks
from hamp.errors import UserError

CIFAR_DEPTHS = (20, 32, 44, 56, 110)
BUILT_IN = (
    "resnet_small",
    *(f"resnet{depth}" for depth in CIFAR_DEPTHS),
    "vgg16_bn_small",
    "mobilenet_v1_small",
)
TORCHVISION = "torchvision:"
SUFFIXES = (".safetensors", ".pt", ".pth", ".th")


def check(network: blocks.Network) -> None:
    """Check the name of the network and the file of its weights.

    Raises:
        UserError: the name is unknown, or the file is absent or of another kind.
    """
    if not network.name.startswith(TORCHVISION):
        if ":" in network.name:
            callables.check(network.name, "network.name")
        elif network.name not in BUILT_IN:
            raise UserError(unknown(network.name, BUILT_IN))
    if network.weights is not None:
        check_weights(Path(network.weights))


def unknown(name: str, valid: tuple[str, ...] | list[str]) -> str:
    """The message for a name that is not `valid`."""
    near = get_close_matches(name, valid, 1, 0.3)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return (
        f"network.name: '{name}' is unknown; {hint}Built in: {', '.join(BUILT_IN)}; "
        "or `torchvision:NAME`, `module:callable`, `path/to/file.py:callable`"
    )


def check_weights(path: Path) -> None:
    """Check that there is a file of weights at `path`."""
    if path.suffix not in SUFFIXES:
        raise UserError(f"network.weights: '{path}' must end in {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise UserError(f"network.weights: there is no file '{path}' (paths are relative to {Path.cwd()})")
