"""The runtimes. A new one is a small module here and one entry in `MODULES`.

Such a module offers

- `check(settings)`: raises `UserError` where its settings cannot go together; imports nothing heavy, and looks at no
  device, which may be another machine's.
- `fingerprint(settings) -> dict[str, str]`: what a measured time depends on, and clocks and temperature.
- `available(settings)`: raises `UserError` where the device cannot be used from here; imports no torch.
- `prepare(model, shape, settings)`: what is run on the device, from a network in eval mode and the shape
  (channels, height, width) of one image; for a device in this process a callable that runs one inference
  and returns when it is done.
- `prepare_layer(layer, settings)`: the same from a `hamp.hardware.layers.Layer`.
- `prepare_file(content, settings)`: the same from an ONNX file, where the runtime takes such.
- `play(prepared, **plan)`: times prepared networks by turns, as `hamp.hardware.timing.play` does.

`roofline` measures nothing and offers the first two only.
"""

from importlib import import_module
from types import ModuleType

from hamp.configuration.blocks import Device
from hamp.errors import UserError

MODULES = {
    "pytorch": "hamp.hardware.devices.pytorch",
    "onnxruntime": "hamp.hardware.devices.onnxruntime",
    "remote": "hamp.hardware.devices.remote",
    "roofline": "hamp.hardware.devices.roofline",
}


OF_RUNTIME = {"description": "roofline", "host": "remote"}
"""Settings without which a runtime cannot do, and of which the others know nothing."""


def load(settings: Device) -> ModuleType:
    """The module of the device's runtime."""
    return import_module(MODULES[settings.runtime])


def check(settings: Device) -> None:
    """Check that the settings can go together, wherever the device is.

    Raises:
        UserError: they cannot, and what to do; the message calls the device `device`.
    """
    for key, runtime in OF_RUNTIME.items():
        value = getattr(settings, key)
        if value is not None and settings.runtime != runtime:
            raise UserError(
                f"device.{key}: '{value}' is for device.runtime '{runtime}', but it is '{settings.runtime}'; "
                "change that, or leave this out"
            )
    load(settings).check(settings)


def available(settings: Device) -> None:
    """Check, without torch, that the device can be used from this machine.

    Raises:
        UserError: it cannot, and what to do.
    """
    check(settings)
    if not analytic(settings):
        load(settings).available(settings)


def analytic(settings: Device) -> bool:
    """Whether latency on the device is computed, not measured."""
    return settings.runtime == "roofline"


def elsewhere(settings: Device) -> bool:
    """Whether the device is not this machine: it is described, or reached over ssh."""
    return settings.runtime in ("roofline", "remote")
