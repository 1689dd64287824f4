"""Record what a network computes, as a tree of module calls and tensor functions.

The network's own Python code runs once, on tensors without data (the `meta` device), and every
function of torch that it calls is written down with its actual arguments. So any control flow works,
and shapes, slice bounds and paddings are plain numbers. Where the code needs data (an `if` on a value),
it runs again on real tensors of a copy.
"""

import copy
import random
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils import _pytree as pytree

from hamp.errors import UserError, one_line
from hamp.pruning.copying import copy_modules, to_meta


class CannotRun(UserError):
    """The network raised an error, within the code of `module`."""

    def __init__(self, message: str, module: str):
        super().__init__(message)
        self.module = module


class TimeLimit:
    """So many seconds from now."""

    def __init__(self, seconds: float):
        self.seconds, self._end = seconds, time.monotonic() + seconds

    def check(self, what: str) -> None:
        """Raise UserError if the time is over."""
        if time.monotonic() > self._end:
            raise UserError(f"{what} took longer than {self.seconds:g} s; raise time_limit")


@dataclass(frozen=True)
class Ref:
    """A tensor that was computed: its number, in order of computation."""

    value: int


def refs_of(tree: Any) -> list[Ref]:
    """The computed tensors in nested arguments or outputs, in order."""
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Ref)]


@dataclass(frozen=True)
class Param:
    """A registered parameter or buffer, by its full name."""

    name: str


@dataclass(frozen=True)
class Const:
    """A tensor of unknown origin (a plain attribute, a global)."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class Batch:
    """A number that grows with the batch: `per_image` times its size."""

    per_image: int


@dataclass(frozen=True)
class InputType:
    """The type of numbers that the input has."""


@dataclass(eq=False)
class Op:
    """One call of a torch function; tensors in `args`, `kwargs` and `output` are Ref, Param or Const."""

    name: str
    args: tuple
    kwargs: dict[str, Any]
    output: Any
    module: str
    clobbers: bool = False  # writes into memory that is read later under another name

    @cached_property
    def tensors(self) -> list["Ref | Param | Const"]:
        """All tensors among the arguments."""
        return [x for x in pytree.tree_leaves((self.args, self.kwargs)) if isinstance(x, (Ref, Param, Const))]

    @cached_property
    def inputs(self) -> list[Ref]:
        """The computed ones among them."""
        return [x for x in self.tensors if isinstance(x, Ref)]

    @cached_property
    def outputs(self) -> list[Ref]:
        """All values that it computes."""
        return refs_of(self.output)


@dataclass(eq=False)
class Call:
    """One call of a module and what happened during it."""

    module: str
    args: tuple
    kwargs: dict[str, Any]
    output: Any = None
    body: list["Op | Call"] = field(default_factory=list)

    def ops(self) -> Iterator[Op]:
        """All functions called during this call, in order."""
        for item in self.body:
            if isinstance(item, Op):
                yield item
            else:
                yield from item.ops()

    @cached_property
    def computing(self) -> set[int]:
        """Ids of the functions that compute a tensor; the others only update buffers."""
        return {id(op) for op in self.ops() if op.outputs}


@dataclass(eq=False)
class Trace:
    """`root` is the call of the whole network; value `v` has shape `shapes[v]` and memory `storages[v]`.

    `meta`: it was made without data. `sizes` are the shapes with Batch in them, see `mark_input`. `released` says after
    which operation (by number) the network's own code let go of each value, in evaluation mode; those that it never let
    go of are absent. `otherwise` are the modules that its own code left in the other mode than it was set to, such as a
    BatchNorm that stays as it is in training. `chance`: its own code drew random numbers, of Python or NumPy.
    """

    root: Call
    shapes: list[tuple[int, ...]]
    storages: list[int]
    batch: int
    meta: bool
    released: dict[int, int]
    otherwise: frozenset[str] = frozenset()
    chance: bool = False
    sizes: list[tuple] = field(default_factory=list)


class _Recorder(TorchFunctionMode):
    def __init__(self, names: dict[int, str], limit: TimeLimit):
        super().__init__()
        self.names, self.limit = names, limit
        self.values: dict[int, int] = {}
        self.alive: list[Tensor] = []  # keeps ids unique
        self.shapes: list[tuple[int, ...]] = []
        self.storages: list[int] = []
        self.writes: list[tuple[Op, int, int]] = []  # operation, memory, last value before it
        self.stack: list[Call] = []

    def describe(self, tree: Any) -> Any:
        return pytree.tree_map(self._leaf, tree)

    def _leaf(self, x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        if id(x) in self.names:
            return Param(self.names[id(x)])
        if id(x) in self.values:
            return Ref(self.values[id(x)])
        return Const(tuple(x.shape))

    def new_value(self, x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        if id(x) in self.names:  # a buffer written in place keeps its name
            return Param(self.names[id(x)])
        self.values[id(x)] = len(self.shapes)
        self.alive.append(x)
        self.shapes.append(tuple(x.shape))
        self.storages.append(x.untyped_storage()._cdata)
        return Ref(self.values[id(x)])

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        self.limit.check("tracing the network")
        if not self.stack:
            return func(*args, **kwargs)
        described = self.describe((args, kwargs))
        result = func(*args, **kwargs)
        leaves = pytree.tree_leaves(result)
        if _computes(func, leaves):
            name = _name_of(func)
            first = next((a for a in pytree.tree_leaves(args) if isinstance(a, Tensor)), None)
            before = len(self.shapes)
            given, named = described
            if not given and "input" in named:  # by which the rules know it
                given = (named.pop("input"),)
            op = Op(name, given, named, pytree.tree_map(self.new_value, result), self.stack[-1].module)
            self.stack[-1].body.append(op)
            if first is not None and (any(x is first for x in leaves) or name.endswith("__setitem__")):
                self.writes.append((op, first.untyped_storage()._cdata, before))
        return result


class _Lifetimes(TorchFunctionMode):
    """Runs beside the network as `_Recorder` does, with the same numbers, but holds no tensor."""

    def __init__(self, names: dict[int, str], limit: TimeLimit):
        super().__init__()
        self.names, self.limit = names, limit
        self.values = self.operations = 0
        self.released: dict[int, int] = {}

    def follow(self, x: Any) -> None:
        if isinstance(x, Tensor) and id(x) not in self.names:
            weakref.finalize(x, self._let_go, self.values).atexit = False
            self.values += 1

    def _let_go(self, value: int) -> None:
        self.released[value] = self.operations - 1

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.limit.check("tracing the network")
        result = func(*args, **(kwargs or {}))
        leaves = pytree.tree_leaves(result)
        if _computes(func, leaves):
            self.operations += 1
            for x in leaves:
                self.follow(x)
        return result


def _lifetimes(model: nn.Module, sample: Tensor, names: dict[int, str], limit: TimeLimit) -> dict[int, int]:
    """After which operation each value is let go of; the input and the output are held, as a caller does."""
    with _Lifetimes(names, limit) as lifetimes:
        lifetimes.follow(sample)
        output = model(sample)
        released = dict(lifetimes.released)
    del output
    return released


def _computes(func: Any, results: list[Any]) -> bool:
    """Whether a call of this function is an operation: it gives or writes a tensor."""
    return any(isinstance(x, Tensor) for x in results) or _name_of(func).endswith("__setitem__")


def _name_of(func: Any) -> str:
    return resolve_name(func) or getattr(func, "__name__", str(func))


def mark_input(trace: Trace, other: Trace) -> None:
    """Put Batch and InputType in place of what differs in `trace` from that on an input of other batch and type.

    Raises ValueError where the network does not do the same on both.
    """

    def compare(a: Any, b: Any) -> Any:
        if type(a) is int and type(b) is int and a != b:
            per_image, rest = divmod(b - a, other.batch - trace.batch)
            if rest or per_image * trace.batch != a:
                raise ValueError("has a number that is no multiple of the batch")
            return Batch(per_image)
        if isinstance(a, torch.dtype) and a != b:
            return InputType()
        if isinstance(a, slice):
            return slice(*(compare(getattr(a, f), getattr(b, f)) for f in ("start", "stop", "step")))
        if isinstance(a, (tuple, list)):
            items = [compare(x, y) for x, y in zip(a, b, strict=True)]
            return items if isinstance(a, list) else tuple(items)
        if isinstance(a, dict):
            return {k: compare(v, b[k]) for k, v in a.items()}
        return a

    def visit(ours: Call, theirs: Call) -> None:
        if [_name(item) for item in ours.body] != [_name(item) for item in theirs.body]:
            raise ValueError("does other things on other batches")
        for item, same in ((ours, theirs), *zip(ours.body, theirs.body, strict=True)):
            item.args, item.kwargs = compare(item.args, same.args), compare(item.kwargs, same.kwargs)
            if isinstance(item, Call) and isinstance(same, Call) and item is not ours:
                visit(item, same)

    visit(trace.root, other.root)
    trace.sizes = [compare(a, b) for a, b in zip(trace.shapes, other.shapes, strict=True)]


def _name(item: Op | Call) -> str:
    return item.name if isinstance(item, Op) else f"call of {item.module}"


def trace(
    model: nn.Module,
    example_input: Tensor,
    *,
    training: bool,
    limit: TimeLimit,
    batch: int = 2,
    data: bool = True,
    dtype: torch.dtype | None = None,
) -> Trace:
    """Run `model` on a batch like `example_input` (N, ...) and record what it does.

    `data`: where it cannot run without, run it on real tensors. `dtype`: of network and input, if not their own.

    Raises CannotRun with the network's own message.
    """
    shape = (batch, *example_input.shape[1:])
    skeleton = copy_modules(model, to_meta)
    sample = torch.empty(shape, dtype=dtype or example_input.dtype, device="meta")
    try:
        return _record(skeleton.to(dtype) if dtype else skeleton, sample, training, limit, torch.device("meta"))
    except CannotRun:
        if not data:
            raise
    # the code may need data: what it raised without any is not its message
    sample = example_input[:1].expand(shape).to(dtype).clone()
    return _record(copy.deepcopy(model).to(dtype), sample, training, limit, nullcontext())


@contextmanager
def _drawing() -> Iterator[Callable[[], bool]]:
    """Within it, code that draws random numbers draws the same ones each time, then all is as it was; gives a function
    that says whether any were drawn by Python or NumPy."""

    def state() -> tuple[Any, ...]:
        numpys: Any = np.random.get_state(legacy=False)["state"]  # noqa: NPY002 (of the user's code)
        return random.getstate(), numpys["key"].tobytes(), numpys["pos"]

    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # no GPU's
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        begun = state()
        try:
            yield lambda: state() != begun
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


def _names_of(model: nn.Module) -> dict[int, str]:
    """The first name of every parameter and buffer, by its id."""
    names: dict[int, str] = {}
    named = (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False))
    for name, tensor in named:
        names.setdefault(id(tensor), name)
    return names


def _record(model: nn.Module, sample: Tensor, training: bool, limit: TimeLimit, device) -> Trace:
    model.train(training)
    again = None if training else copy.deepcopy(model)  # a first run may keep what a second one then lacks
    names = _names_of(model)
    recorder = _Recorder(names, limit)

    def enter(path):
        def hook(module, args, kwargs):
            if not recorder.stack:
                pytree.tree_map(recorder.new_value, (args, kwargs))
            recorder.stack.append(Call(path, *recorder.describe((args, kwargs))))

        return hook

    calls: list[Call] = []

    def leave(module, args, kwargs, output):
        call = recorder.stack.pop()
        call.output = recorder.describe(output)
        (recorder.stack[-1].body if recorder.stack else calls).append(call)

    for path, module in model.named_modules():
        module.register_forward_pre_hook(enter(path), with_kwargs=True, prepend=True)
        module.register_forward_hook(leave, with_kwargs=True)
    released: dict[int, int] = {}
    try:
        with _drawing() as drawn, torch.no_grad(), device, recorder:
            model(sample)
            chance = drawn()
        if again is not None:
            with torch.no_grad(), device:
                released = _lifetimes(again, sample, _names_of(again), limit)
    except UserError:
        raise
    except Exception as error:
        text = one_line(error)[:300]
        mode, module = "training" if training else "evaluation", recorder.stack[-1].module if recorder.stack else ""
        raise CannotRun(
            f"the network cannot run in {mode} mode on an input of shape {tuple(sample.shape)}: "
            f"{type(error).__name__}: {text}",
            module,
        ) from error
    _mark_clobbering(calls[0], recorder)
    otherwise = frozenset(path for path, module in model.named_modules() if module.training != training)
    return Trace(
        calls[0], recorder.shapes, recorder.storages, sample.shape[0], sample.is_meta, released, otherwise, chance
    )


def _mark_clobbering(root: Call, recorder: _Recorder) -> None:
    order = {id(op): i for i, op in enumerate(root.ops())}
    last_read: dict[int, int] = {}
    for op in root.ops():
        for ref in op.inputs:
            last_read[ref.value] = order[id(op)]
    sharing: dict[int, list[int]] = {}
    for value, memory in enumerate(recorder.storages):
        sharing.setdefault(memory, []).append(value)
    for op, memory, before in recorder.writes:
        op.clobbers = any(last_read.get(v, -1) > order[id(op)] for v in sharing.get(memory, ()) if v < before)
