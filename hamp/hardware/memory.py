"""Peak memory of inference as it happens in PyTorch, to check the computed one (`Space.costs`) against."""

import weakref
from typing import TYPE_CHECKING

from hamp.configuration.blocks import Device

if TYPE_CHECKING:
    import torch
    from torch import nn


def peak_bytes(model: "nn.Module", shape: tuple[int, int, int], settings: Device) -> int:
    """Most bytes held at once by weights, input and activations in one inference of a network in eval mode.

    On CUDA the allocator's peak, workspace of the kernels included. On the CPU every tensor is counted from its
    making to its release; what a kernel takes for itself is not.

    Args:
        model: in eval mode; BatchNorm is folded and memory is channels-last, as where latency is measured.
        shape: (channels, height, width) of an image.
        settings: batch size, data type and hardware.
    """
    import torch

    from hamp.hardware.devices.pytorch import fold_batchnorm
    from hamp.memory_format import channels_last

    kind = getattr(torch, settings.data_type)
    images = torch.rand(settings.batch_size, *shape)
    model = channels_last(fold_batchnorm(model, images[:1]).to(settings.hardware, kind))
    images = images.to(settings.hardware, kind).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        model(images)  # what is set up once is not counted
        if settings.hardware == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            model(images)
            torch.cuda.synchronize()
            return int(torch.cuda.max_memory_allocated())
        held = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers(), images))
        return held + _counted(model, images)


def _counted(model: "nn.Module", images: "torch.Tensor") -> int:
    """Most bytes at once of all tensors made while the model runs."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    sizes: dict[int, int] = {images.untyped_storage().data_ptr(): 0}
    now = peak = 0

    def released(address: int) -> None:
        nonlocal now
        now -= sizes.pop(address)

    class Counter(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal now, peak
            result = function(*args, **(kwargs or {}))
            for tensor in tree_leaves(result):
                if isinstance(tensor, torch.Tensor):
                    storage = tensor.untyped_storage()
                    address = storage.data_ptr()
                    if address not in sizes:
                        sizes[address] = storage.nbytes()
                        now += sizes[address]
                        weakref.finalize(storage, released, address)
            peak = max(peak, now)
            return result

    sizes |= {tensor.untyped_storage().data_ptr(): 0 for tensor in (*model.parameters(), *model.buffers())}
    with Counter():
        model(images)
    return peak
