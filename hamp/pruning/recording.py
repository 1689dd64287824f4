"""Which modules of a network need a recorded program, and the program of each."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn
from torch.utils import _pytree as pytree

from hamp.pruning.branches import Branch
from hamp.pruning.channels import Channels
from hamp.pruning.grouping import Units
from hamp.pruning.program import CALL, GATHER, Count, encode, function
from hamp.pruning.propagation import Propagation
from hamp.pruning.rules import RULES, argument, constants, movement, padding, short_name
from hamp.pruning.trace import Batch, Call, Const, Op, Param, Ref, refs_of


class Unrecordable(Exception):
    """An operation whose channels must stay whole, since no stored step can do it at other widths."""

    def __init__(self, op: Op | None, why: str):
        super().__init__(why)
        self.op, self.why = op, why


class _OutOfScope(Exception):
    """A step needs a tensor that only the calling module has."""


class Recorder:
    """Builds the programs of one network.

    forced: modules that need a program whatever their operations.
    mark: puts Batch and InputType into the traces (see `trace.mark_input`), or says why that's impossible; called if needed.
    """

    def __init__(
        self,
        model: nn.Module,
        propagations: list[Propagation],
        units: Units,
        branches: list[Branch],
        forced: set[str],
        mark: Callable[[], str],
    ):
        self.model, self.propagations, self.units, self.branches = model, propagations, units, branches
        self.forced, self.mark, self.modules = forced, mark, dict(model.named_modules())
        self.axes: list[NDArray[np.int64]] = []
        self._known: dict[bytes, int] = {}

    def axis(self, atoms: NDArray[np.int64]) -> int:
        units = self.units(atoms)
        data = units.tobytes()
        if data not in self._known:
            self._known[data] = len(self.axes)
            self.axes.append(units)
        return self._known[data]

    def record(self) -> dict[str, Any]:
        """All programs, as JSON.

        A module that is called more than once in a mode becomes part of the program of its caller, and so does one
        that uses tensors from outside.
        """
        calls: list[dict[str, list[Call]]] = [{} for _ in self.propagations]
        callers: dict[str, set[str]] = {}
        for p, by_path in zip(self.propagations, calls, strict=True):
            _collect(p.trace.root, by_path, callers)
        wanted = {
            path for p, by_path in zip(self.propagations, calls, strict=True) for path in self._wanted(p, by_path)
        }
        wanted |= self.forced
        if wanted and (problem := self.mark()):
            rigid = (op for p in self.propagations for op in p.trace.root.ops() if self.rigid(p, op))
            raise Unrecordable(next(rigid, None), problem)
        inlined: set[str] = set()
        while True:
            repeated = {path for path in wanted - inlined if any(len(c.get(path, ())) > 1 for c in calls)}
            if not repeated:
                programs, escaping = self._try(wanted - inlined, inlined, calls)
                if not escaping:
                    return self._stored(programs)
                repeated = escaping
            for path in repeated:
                inlined.add(path)
                wanted |= callers[path]

    def _wanted(self, p: Propagation, calls: dict[str, list[Call]]) -> set[str]:
        rigid = {
            path
            for path, found in calls.items()
            for c in found
            for op in c.body
            if isinstance(op, Op) and self.rigid(p, op)
        }
        for branch in self.branches:
            rigid |= branch.mixed[self.propagations.index(p)]
        return rigid

    def _try(self, paths: set[str], inlined: set[str], calls: list[dict[str, list[Call]]]):
        programs: dict[str, Any] = {}
        escaping: set[str] = set()
        for path in sorted(paths):
            program = {}
            for mode, p, by_path in zip(("evaluation", "training"), self.propagations, calls, strict=False):
                for call in by_path.get(path, ()):
                    try:
                        program[mode] = _Body(self, p, call, path, inlined).record()
                    except _OutOfScope:
                        escaping.add(path)
            programs[path] = program
        return programs, escaping

    def _stored(self, programs: dict[str, Any]) -> dict[str, Any]:
        modules = {}
        for path, program in programs.items():
            if not program:
                continue
            first = next(iter(program.values()))
            always = any(mode.pop("rigid") for mode in program.values())
            modules[path] = {
                "always": always,
                "branches": [n for n, b in enumerate(self.branches) if any(path in mixed for mixed in b.mixed)],
                "evaluation": program.get("evaluation", first),
                "training": program.get("training", first),
                "otherwise": self._otherwise(path),
            }
        return {
            "axes": [axis.tolist() for axis in self.axes],
            "modules": modules,
            "branches": [b.stored() for b in self.branches],
        }

    def _otherwise(self, path: str) -> list[str]:
        """Modules in this one that stay in evaluation mode in training."""
        prefix = f"{path}." if path else ""
        found = self.propagations[1].trace.otherwise if len(self.propagations) > 1 else ()
        return sorted(name.removeprefix(prefix) for name in found if name.startswith(prefix) and name != path)

    def touches(self, p: Propagation, tensor: Any) -> bool:
        """Whether the tensor has channels that may go."""
        channels = p.channels(tensor)
        return channels is not None and bool(self.units(channels.atoms).any())

    def virtual(self, p: Propagation, op: Op) -> bool:
        """Whether the result has channels over several dimensions, and so is no tensor at other widths."""
        return any(len(c.dims) > 1 for r in op.outputs if (c := p.channels(r)) is not None and self.touches(p, r))

    def rigid(self, p: Propagation, op: Op) -> bool:
        """Whether the recorded arguments hold numbers of channels that may change."""
        tensors = [t for t in (*op.tensors, *op.outputs) if isinstance(t, Ref)]
        if not any(self.touches(p, t) for t in tensors):
            return False
        name = short_name(op.name)
        owner = self.modules.get(op.module)
        if name in ("layer_norm", "group_norm"):
            return not isinstance(owner, (nn.LayerNorm, nn.GroupNorm))
        if name.startswith("conv") and name[-2:] in ("1d", "2d", "3d"):
            return int(argument(op, 6, "groups", 1)) > 1 and not isinstance(owner, nn.modules.conv._ConvNd)
        rule = RULES.get(name)
        if rule is constants:
            return self.touches(p, op.output)
        if rule is padding:
            return _differ(p, op)
        if rule is not movement:
            return False
        if name in ("view", "reshape", "expand", "unflatten"):
            return self._explicit(p, op, name)
        if name == "squeeze":
            return len(op.args) < 2 and not op.kwargs
        if name in ("view_as", "reshape_as", "permute", "transpose", "unsqueeze", "flatten", "contiguous", "clone", "t", "T", "mT",
                    "swapaxes", "swapdims", "movedim", "moveaxis", "pixel_shuffle", "pixel_unshuffle", "ravel"):  # fmt: skip
            return self.virtual(p, op)
        return _differ(p, op) or self.virtual(p, op)

    def _explicit(self, p: Propagation, op: Op, name: str) -> bool:
        channels = p.channels(op.output)
        if channels is None or len(channels.dims) > 1 or name == "unflatten":
            return True
        sizes = op.args[1:] if op.args[1:] else tuple(op.kwargs.values())
        sizes = tuple(sizes[0]) if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes
        return sizes[channels.dims[0]] != -1


def _differ(p: Propagation, op: Op) -> bool:
    """Whether the channels are others than those of the input."""
    before = p.axis_of(op.args[0])
    after = [p.channels(r) for r in op.outputs]
    return any(
        before is None or c is None or c.atoms.shape != before.atoms.shape or (c.atoms != before.atoms).any()
        for c in after
    )


def _collect(call: Call, by_path: dict[str, list[Call]], callers: dict[str, set[str]]) -> None:
    by_path.setdefault(call.module, []).append(call)
    for item in call.body:
        if isinstance(item, Call):
            callers.setdefault(item.module, set()).add(call.module)
            _collect(item, by_path, callers)


class _Body:
    """The program of one call."""

    def __init__(self, recorder: Recorder, p: Propagation, call: Call, path: str, inlined: set[str]):
        self.r, self.p, self.call, self.path, self.inlined = recorder, p, call, path, inlined
        self.mode = recorder.propagations.index(p)
        self.known: set[int] = set()
        self.origin: dict[int, int] = {}  # result of a step that a removed branch drops -> one of its inputs
        self.steps: list[dict[str, Any]] = []
        self.rigid = path in recorder.forced
        self.next = len(p.trace.shapes)
        self.op: Op | None = None

    def record(self) -> dict[str, Any]:
        leaves = pytree.tree_leaves((self.call.args, self.call.kwargs))
        inputs = [leaf if isinstance(leaf, Ref) else None for leaf in leaves]
        self.known = {ref.value for ref in inputs if ref is not None}
        self._items(self.call.body)
        self._check(self.call.output)
        return {
            "inputs": self._encode(inputs, None),
            "batch": self._batch(inputs),
            "output": self._encode(self.call.output, None),
            "steps": self.steps,
            "rigid": self.rigid,
        }

    def _batch(self, inputs: list[Ref | None]) -> list[int]:
        """An input that has the batch in its first dimension, and how many rows of it are one image."""
        for number, ref in enumerate(inputs):
            sizes = self.p.trace.sizes[ref.value] if ref is not None else ()
            if sizes and isinstance(sizes[0], Batch):
                return [number, sizes[0].per_image]
        if self.path == "":
            raise Unrecordable(self.op, "has an input without a batch")
        raise _OutOfScope

    def _items(self, body: list[Op | Call]) -> None:
        for item in body:
            if isinstance(item, Call):
                if item.module in self.inlined:
                    self.rigid |= item.module in self.r.forced
                    self._items(item.body)
                else:
                    self._call(item)
            else:
                self._op(item)

    def _call(self, call: Call) -> None:
        if not any(call.ops()):  # as in nn.Identity: its results are its arguments
            return
        target = self._relative(call.module)
        dead = self._dead(call.computing)
        mixed = self._branch_of(call)
        self._step(CALL, target, call.args, call.kwargs, call.output, None, dead, mixed)

    def _op(self, op: Op) -> None:
        r, p = self.r, self.p
        self.op = op
        dead = self._dead({id(op)})
        if r.virtual(p, op):
            self.rigid = True
            return
        if not r.rigid(p, op):
            joins = [n for n, b in enumerate(r.branches) if b.joins[self.mode] is op]
            self._step("function", op.name, op.args, op.kwargs, op.output, op, dead, None, joins)
            return
        self.rigid = True
        name = short_name(op.name)
        refs = op.outputs
        if name in ("layer_norm", "group_norm") or name.startswith("conv"):
            return self._resized(op, dead)
        if RULES[name] is constants:
            return self._constants(op, dead)
        if all(ref.value in p.gathers for ref in refs):
            for ref in refs:
                self._gather(ref, *p.gathers[ref.value], op, dead)
            return
        if name == "pad":
            return self._pad(op, dead)
        if name in ("__getitem__", "getitem"):
            return self._getitem(op, dead)
        if name in ("view", "reshape", "unflatten", "squeeze", "expand"):
            return self._reshape(op, dead, name)
        raise Unrecordable(op, "cannot be done at other widths")

    def _gather(self, ref: Ref, source: int, index: NDArray[np.int64], op: Op, dead: list[int]) -> None:
        into, out = self._single(Ref(source), op), self._single(ref, op)
        self._check(Ref(source))
        step = self._step(GATHER, "", (Ref(source), out.dims[0]), {}, ref, op, dead)
        step.update(axis=self.r.axis(out.atoms), of=self.r.axis(into.atoms), index=index.tolist())

    def _single(self, ref: Ref | Param, op: Op) -> Channels:
        channels = self.p.axis_of(ref)
        if channels is None or len(channels.dims) > 1:
            raise Unrecordable(op, "cannot be done at other widths")
        return channels

    def _pad(self, op: Op, dead: list[int]) -> None:
        x, pads = op.args[0], list(argument(op, 1, "pad"))
        out = self._single(op.output, op)
        at = 2 * (self.p.ndim(x) - 1 - out.dims[0])
        left, right = pads[at], pads[at + 1]
        pads[at] = Count(self.r.axis(out.atoms[:left]))
        pads[at + 1] = Count(self.r.axis(out.atoms[len(out.atoms) - right :]))
        mode, value = argument(op, 2, "mode", "constant"), argument(op, 3, "value", None)
        self._step("function", op.name, (x, pads, mode, value), {}, op.output, op, dead)

    def _getitem(self, op: Op, dead: list[int]) -> None:
        x, index = op.args
        index = list(index) if isinstance(index, tuple) else [index]
        source, out = self._single(x, op), self._single(op.output, op)
        if Ellipsis in [i for i in index if i is Ellipsis]:
            at = next(n for n, i in enumerate(index) if i is Ellipsis)
            missing = self.p.ndim(x) - sum(i is not None and i is not Ellipsis for i in index)
            index[at : at + 1] = [slice(None)] * missing
        seen = -1
        for n, entry in enumerate(index):  # noqa: B007 (n is used after the loop)
            seen += entry is not None
            if seen == source.dims[0] and isinstance(entry, slice):
                break
        else:
            raise Unrecordable(op, "cannot be done at other widths")
        chosen = np.arange(len(source.atoms))[index[n]]
        index[n] = slice(None)
        whole = Ref(self.next)
        self.next += 1
        self._step("function", op.name, (x, tuple(index)), {}, whole, op, dead)
        step = self._step(GATHER, "", (whole, out.dims[0]), {}, op.output, op, dead)
        step.update(axis=self.r.axis(out.atoms), of=self.r.axis(source.atoms), index=chosen.tolist())

    def _reshape(self, op: Op, dead: list[int], name: str) -> None:
        x = op.args[0]
        self._single(x, op)
        out = self._single(op.output, op)
        before, sizes = self.p.shape(x), self._sizes(op, out)
        if name == "expand":
            shift = len(sizes) - len(before)
            for d, size in enumerate(before):
                if size == self.p.shape(op.output)[d + shift]:
                    sizes[d + shift] = -1
        target = "torch.Tensor.expand" if name == "expand" else "torch.reshape"
        self._step("function", target, (x, sizes), {}, op.output, op, dead)

    def _sizes(self, op: Op, out: Channels) -> list[Any]:
        """The sizes of an operation's output, with that of its channels to be filled in."""
        sizes = list(self.p.trace.sizes[op.output.value])
        if isinstance(sizes[out.dims[0]], Batch):
            raise Unrecordable(op, "folds channels into the batch")
        sizes[out.dims[0]] = Count(self.r.axis(out.atoms))
        return sizes

    def _constants(self, op: Op, dead: list[int]) -> None:
        out = self._single(op.output, op)
        sizes = self._sizes(op, out)
        new, full = short_name(op.name).startswith("new_"), short_name(op.name).endswith("full")
        fill = (argument(op, 1 + new, "fill_value"),) if full else ()
        kwargs = {k: v for k, v in op.kwargs.items() if k in ("dtype", "device")}
        self._step("function", op.name, (*op.args[:new], sizes, *fill), kwargs, op.output, op, dead)

    def _resized(self, op: Op, dead: list[int]) -> None:
        """A norm over channels, or a grouped convolution, that the module's code calls with sizes of its own."""
        name, channels = short_name(op.name), self.p.channels(op.args[0])
        assert channels is not None  # otherwise nothing would change its sizes
        args, kwargs = list(op.args), dict(op.kwargs)
        if name == "layer_norm":
            shape = list(argument(op, 1, "normalized_shape"))
            inside = channels.dims[0] - (self.p.ndim(op.args[0]) - len(shape))
            if inside >= 0:
                shape[inside] = Count(self.r.axis(channels.atoms))
            _replace(args, kwargs, 1, "normalized_shape", shape)
        elif name == "group_norm":
            if argument(op, 1, "num_groups") == len(channels.atoms):
                _replace(args, kwargs, 1, "num_groups", Count(self.r.axis(channels.atoms)))
        else:
            per_group = len(channels.atoms) // int(argument(op, 6, "groups"))
            _replace(args, kwargs, 6, "groups", Count(self.r.axis(channels.atoms), per_group))
        self._step("function", op.name, tuple(args), kwargs, op.output, op, dead)

    def _step(self, kind, target, args, kwargs, output, op, dead, mixed=None, joins=()) -> dict[str, Any]:
        if kind == "function":
            try:
                function(target)
            except Exception:
                raise Unrecordable(op, "cannot be stored") from None
        self._check((args, kwargs))
        step = {
            "kind": kind,
            "target": target,
            "args": self._encode(args, op),
            "kwargs": self._encode(kwargs, op),
            # of what may not be stored, such as the result of `torch.max`, the tensors are enough
            "output": self._encode(output if isinstance(output, Ref) else pytree.tree_leaves(output), op),
        }
        if dead:
            step["dead"] = dead
            sources = refs_of((args, kwargs))
            for ref in refs_of(output):
                if sources:
                    self.origin[ref.value] = self.origin.get(sources[0].value, sources[0].value)
        if joins:
            step["joins"] = list(joins)
        if mixed is not None:
            stand_in = pytree.tree_map(
                lambda t: Ref(self.origin.get(t.value, t.value)) if isinstance(t, Ref) else t, args
            )
            step.update(branch=mixed, args_gone=self._encode(stand_in, op))
        self.known.update(ref.value for ref in refs_of(output))
        self.steps.append(step)
        return step

    def _dead(self, ops: set[int]) -> list[int]:
        """The branches without which none of the operations is needed."""
        return [n for n, b in enumerate(self.r.branches) if ops and ops <= b.dead[self.mode]]

    def _branch_of(self, call: Call) -> int | None:
        """The branch of which a call holds the last layer or a part of what is dropped, but not only that."""
        ops = call.computing
        for n, b in enumerate(self.r.branches):
            inside = ops & (b.dead[self.mode] | {id(b.last[self.mode])})
            if inside and not ops <= b.dead[self.mode]:
                return n
        return None

    def _check(self, tree: Any) -> None:
        for leaf in pytree.tree_leaves(tree):
            if isinstance(leaf, Ref) and leaf.value not in self.known:
                if self.path == "":
                    raise Unrecordable(self.op, "uses a tensor that isn't one at other widths")
                raise _OutOfScope

    def _encode(self, tree: Any, op: Op | None) -> Any:
        def local(leaf):
            if isinstance(leaf, Param):
                return Param(self._relative(leaf.name))
            if isinstance(leaf, Const):
                raise Unrecordable(op, "uses a tensor that is no parameter")
            return leaf

        try:
            return encode(pytree.tree_map(local, tree))
        except TypeError as error:
            raise Unrecordable(op, str(error)) from None

    def _relative(self, name: str) -> str:
        prefix = f"{self.path}." if self.path else ""
        if not name.startswith(prefix):
            raise _OutOfScope
        return name[len(prefix) :]


def _replace(args: list, kwargs: dict, position: int, name: str, value: Any) -> None:
    if len(args) > position:
        args[position] = value
    else:
        kwargs[name] = value
