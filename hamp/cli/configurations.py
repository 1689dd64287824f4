"""Configurations as the subcommands read them."""

from pathlib import Path
from typing import TYPE_CHECKING

from hamp.configuration.blocks import Config
from hamp.configuration.validate import load
from hamp.errors import UserError, one_line

if TYPE_CHECKING:
    from torch import nn


def read_configuration(file: Path, here: bool = False) -> Config:
    """The settings in a YAML file, defaults filled in.

    Args:
        file: the configuration.
        here: the devices that it names are looked for on this machine.

    Raises:
        UserError: it is absent, no YAML, or wrong; one line a mistake.
    """
    import yaml

    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{file}: no such file; `hamp init` writes a configuration to begin with") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not YAML: {one_line(error)}") from None
    if settings is not None and not isinstance(settings, dict):
        raise UserError(f"{file}: must be keys with values, as config/config.yaml")
    return load(settings or {}, here)


def described_network(settings: Config) -> "tuple[nn.Module, tuple[int, int, int]]":
    """The network of a configuration, its weights loaded where they are given, and the shape of an image.

    Raises:
        UserError: it cannot be built.
    """
    from hamp.data.sources import describe
    from hamp.models.build import build
    from hamp.models.weights import load_weights

    data = describe(settings.data)
    model = build(settings.network, len(data.classes), data.channels).eval()
    if settings.network.weights is not None:
        load_weights(model, settings.network.weights)
    return model, (data.channels, settings.data.image_size, settings.data.image_size)
