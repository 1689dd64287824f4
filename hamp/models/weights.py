"""Reading and writing of weights. No file is unpickled."""

import json
import pickle
import warnings
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
SECOND_OUTPUTS = ("aux1", "aux2", "AuxLogits")
"""Parts of torchvision's googlenet and inception_v3 that only training uses; where built without, they are None."""
LISTED = 5


def load_weights(model: nn.Module, path: Path | str) -> None:
    """Load the weights at `path` into `model`: all of them, and nothing else.

    A dict under `state_dict` or `model` is unwrapped; the prefixes of DataParallel and torch.compile are
    stripped; the second outputs of torchvision's networks are left out where `model` was built without.

    Raises:
        UserError: the file is absent, damaged or unsafe to load, or does not fit; it lists keys and shapes.
    """
    wanted = model.state_dict()
    found = _plain(read(Path(path)), wanted)
    absent = {name for name in SECOND_OUTPUTS if getattr(model, name, model) is None}
    if absent & {key.partition(".")[0] for key in found} and not getattr(model, "transform_input", True):
        warnings.warn(
            f"{path}: has second outputs, as torchvision's own weights; those need network.arguments: "
            "{transform_input: true}",
            stacklevel=2,
        )
    found = {key: value for key, value in found.items() if key.partition(".")[0] not in absent}
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
        UserError: the file is absent, damaged, unsafe to load or holds no state dict.
    """
    check_weights(path)
    _refuse_text(path)
    if path.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(path)
        except SafetensorError as error:
            raise UserError(f"{path}: not a safetensors file ({error})") from None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(
            f"{path}: holds more than tensors, so loading it could run code; save the state_dict as .safetensors"
        ) from None
    except Exception as error:  # of what kind depends on where the file is damaged
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{path}: not a file of torch.save ({reason})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}; must be a state dict, from names to tensors")
    return content


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


def _refuse_text(path: Path) -> None:
    """No file of weights begins with text, but what is fetched in its place does."""
    try:
        with open(path, "rb") as file:
            start = file.read(24)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if start and start.isascii() and all(byte >= 32 or byte in b"\t\r\n" for byte in start):
        raise UserError(
            f"{path}: is text, not weights; it begins with {start.decode()!r}: fetch the file itself "
            "(of a Git LFS pointer: git lfs pull; of a web page: download it again)"
        )


def _plain(content: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    for wrapper in WRAPPERS:
        if isinstance(content.get(wrapper), dict):
            content = content[wrapper]  # type: ignore[assignment]
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    for prefix in PREFIXES:
        own = all(key.startswith(prefix) for key in wanted)  # a network's own attribute may be called so
        if tensors and not own and all(key.startswith(prefix) for key in tensors):
            # One wrapper may be around the other.
            return _plain({key.removeprefix(prefix): value for key, value in tensors.items()}, wanted)
    return tensors
