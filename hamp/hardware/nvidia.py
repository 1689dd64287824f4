"""What NVIDIA's management library tells of a GPU: model, clock, temperature, energy."""

import os
from collections.abc import Callable
from contextlib import suppress

import pynvml

from hamp.errors import UserError


def facts() -> dict[str, str]:
    """Model, driver, and where they are told clock and temperature of the GPU in use; empty where there is none."""
    try:
        handle = _handle()
        told = {
            "gpu": str(pynvml.nvmlDeviceGetName(handle)),
            "driver": str(pynvml.nvmlSystemGetDriverVersion()),
        }
    except pynvml.NVMLError:
        return {}
    with suppress(pynvml.NVMLError):  # a slice of a GPU tells neither
        told["clock"] = f"{pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM)} MHz"
        told["temperature"] = f"{pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)} C"
    return told


def joules() -> Callable[[], float]:
    """Function that gives the energy that the GPU in use has used since its driver was loaded, in joules.

    Raises:
        UserError: there is no GPU, or it does not tell (GPUs before the Volta generation do not).
    """
    try:
        handle = _handle()
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError as error:
        raise UserError(f"objective 'energy_mj': the GPU does not tell its energy ({error}); remove it") from None
    return lambda: float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3


def _handle() -> object:
    """The GPU that CUDA programs of this process take: NVML itself knows nothing of CUDA_VISIBLE_DEVICES.

    Numbers are NVML's, by place on the bus; where GPUs differ, those of CUDA agree with CUDA_DEVICE_ORDER=PCI_BUS_ID.
    """
    pynvml.nvmlInit()
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0].strip()
    if first.isdigit():
        return pynvml.nvmlDeviceGetHandleByIndex(int(first))
    return pynvml.nvmlDeviceGetHandleByUUID(first)
