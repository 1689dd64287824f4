"""Copies of a module tree that share nothing with the original except what the caller maps."""

import copy
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from hamp.errors import UserError, one_line

_SHARED = frozenset((int, float, bool, str, bytes, type(None), type, FunctionType, BuiltinFunctionType))
_FLAT = frozenset((tuple, list))
_CONTAINERS = frozenset((OrderedDict, dict, list, set))


def copy_modules(
    module: nn.Module,
    tensor: Callable[[str, Tensor], Tensor],
    finish: Callable[[str, nn.Module, nn.Module], nn.Module] = lambda path, old, new: new,
    skip: Collection[str] = (),
) -> nn.Module:
    """Copy `module` and all below it.

    Each distinct registered tensor `t` becomes `tensor(full name, t)`, once; plain tensor attributes have the name
    "". `finish(path, old, new)` may change or replace every new module. Modules whose path is in `skip` are left out.
    Shared modules and tied parameters stay shared. Only what is kept is ever copied, which is why this isn't
    `copy.deepcopy`.

    Raises UserError where an attribute, or a module that was compiled, cannot be copied.
    """
    tensors: dict[int, Tensor] = {}
    modules: dict[int, nn.Module] = {}
    attributes: list[tuple[dict[str, Any], str, Any]] = []

    def map_tensor(name: str, t: Tensor) -> Tensor:
        new = tensors.get(id(t))
        if new is None:
            new = tensors[id(t)] = tensor(name, t)
        return new

    def visit(path: str, old: nn.Module) -> nn.Module:
        known = modules.get(id(old))
        if known is not None:
            return known
        if isinstance(old, torch.jit.ScriptModule):
            raise UserError(
                f"the network cannot be pruned: {path or 'it'} is scripted; give the module that was scripted"
            )
        new = modules[id(old)] = old.__class__.__new__(old.__class__)
        prefix = f"{path}." if path else ""
        source = old.__dict__
        table = dict(source)
        for name in ("_parameters", "_buffers"):
            table[name] = {k: v if v is None else map_tensor(prefix + k, v) for k, v in source[name].items()}
        children = source["_modules"].items()
        table["_modules"] = {
            k: None if v is None else visit(prefix + k, v) for k, v in children if id(v) not in skipped
        }
        for name, value in source.items():
            kind = type(value)
            if kind in _SHARED:
                continue
            if kind in _CONTAINERS and not value:  # hooks, most often
                table[name] = kind()
            elif kind in _FLAT and _SHARED.issuperset(map(type, value)):
                table[name] = value.copy() if kind is list else value
            elif table[name] is value:
                attributes.append((table, name, value))
        object.__setattr__(new, "__dict__", table)
        finished = finish(path, old, new)
        modules[id(old)] = finished
        return finished

    def copy_value(value: Any) -> Any:
        if isinstance(value, nn.Module):
            return visit("", value)
        if isinstance(value, Tensor):
            return map_tensor("", value)
        memo.update({id(x): copy_value(x) for x in _tensors_and_modules(value)})
        return copy.deepcopy(value, memo)

    skipped = {id(module.get_submodule(path)) for path in skip}  # under all of their names
    copied = visit("", module)
    # What is registered is known: a method that is bound to a module of the network gets bound to its copy. And what
    # several attributes share stays shared.
    memo: dict[int, Any] = {**modules}
    for table, name, value in attributes:  # after all modules, which may be mentioned before their turn comes
        if table[name] is value:  # `finish` has not set it
            try:
                table[name] = copy_value(value)
            except Exception as error:  # of whatever class the user's object is
                raise UserError(
                    f"the network cannot be pruned: its attribute '{name}' ({type(value).__name__}) cannot be copied"
                    f" ({one_line(error)}); make it where it is used"
                ) from error
    # `visit` refers to itself and to these, and would keep the copy alive until the next garbage collection
    tensors.clear()
    modules.clear()
    attributes.clear()
    memo.clear()
    return copied


def _tensors_and_modules(value: Any, depth: int = 4) -> Iterator[Tensor | nn.Module]:
    if isinstance(value, (nn.Module, Tensor)):
        yield value
    elif depth and isinstance(value, dict):
        for item in value.values():
            yield from _tensors_and_modules(item, depth - 1)
    elif depth and isinstance(value, (list, tuple, set)):
        for item in value:
            yield from _tensors_and_modules(item, depth - 1)


def to_meta(name: str, tensor: Tensor) -> Tensor:
    """The tensor without data, on the meta device; a parameter stays a parameter."""
    empty = torch.empty_like(tensor, device="meta", requires_grad=False)
    return nn.Parameter(empty, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
