"""Reading and writing of weights. No file is unpickled."""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from hamp import tables
from hamp.errors import UserError
from hamp.models.names import check_weights

WRAPPERS = ("state_dict", "model", "model_state_dict")
PREFIXES = ("module.", "_orig_mod.")
LISTED = 5


def load_weights(model: nn.Module, path: Path | str) -> None:
    """Load the weights at `path` into `model`: all of them, and nothing else.

    A dict under `state_dict` or `model` is unwrapped; the prefix of DataParallel or torch.compile is
    stripped.

    Raises:
        UserError: the file is absent, damaged or unsafe to load, or does not fit; it lists keys and shapes.
    """
    found = _plain(read(Path(path)))
    wanted = model.state_dict()
    # Files written before PyTorch 0.4.1 do not count batches; nothing here uses the count.
    for key in wanted.keys() - found.keys():
        if key.endswith("num_batches_tracked"):
            found[key] = wanted[key]
    faults = [f"missing {key} {tuple(wanted[key].shape)}" for key in wanted if key not in found]
    faults += [f"unexpected {key} {tuple(found[key].shape)}" for key in found if key not in wanted]
    faults += [
        f"{key} is {tuple(found[key].shape)}, the network has {tuple(wanted[key].shape)}"
        for key in wanted
        if key in found and found[key].shape != wanted[key].shape
    ]
    if faults:
        more = f"; and {len(faults) - LISTED} more" if len(faults) > LISTED else ""
        raise UserError(f"{path}: the weights do not fit the network: {'; '.join(faults[:LISTED])}{more}")
    model.load_state_dict(found)


def read(path: Path) -> dict[str, Tensor]:
    """The content of a file of weights, as it is.

    Raises:
        UserError: the file is absent, damaged or unsafe to load.
    """
    check_weights(path)
    if path.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(path)
        except SafetensorError as error:
            raise UserError(f"{path}: not a safetensors file ({error})") from None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(
            f"{path}: holds more than tensors, so loading it could run code; save the state_dict as .safetensors"
        ) from None
    except (RuntimeError, EOFError, OSError) as error:
        raise UserError(f"{path}: not a file of torch.save ({str(error).splitlines()[0]})") from None


def save_weights(model: nn.Module, path: Path | str, metadata: Mapping[str, str] | None = None) -> None:
    """Write the state dict as safetensors, whole or not at all; equal weights give equal bytes."""
    save_tensors(model.state_dict(), path, metadata)


def save_tensors(tensors: Mapping[str, Tensor], path: Path | str, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as safetensors, whole or not at all; equal tensors give equal bytes."""
    plain = {key: value.detach().to("cpu").contiguous().clone() for key, value in tensors.items()}
    content = safetensors.torch.save(plain, dict(metadata or {}) or None)
    # The library writes metadata in the order of a hash map, another in every process.
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    with tables.atomic(path) as temporary, open(temporary, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.write(memoryview(content)[end:])


def _plain(content: dict[str, Tensor]) -> dict[str, Tensor]:
    for wrapper in WRAPPERS:
        if isinstance(content.get(wrapper), dict):
            content = content[wrapper]  # type: ignore[assignment]
    tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    for prefix in PREFIXES:
        if tensors and all(key.startswith(prefix) for key in tensors):
            tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors
