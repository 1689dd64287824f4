"""The user's own functions, named in the configuration as `module:callable` or `path/to/file.py:callable`."""

import ast
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from hamp.errors import UserError, one_line

_OWN = "hamp_user_"
"""Begin of the names of modules that are files of the user."""


def file_of(spec: str) -> Path | None:
    """The file of `path/to/file.py:callable`; None for any other name."""
    path, separator, _ = spec.rpartition(":")
    return Path(path) if separator and path.endswith(".py") else None


def files_of(file: Path) -> list[Path]:
    """A file of the user, and those beside it that it imports, directly or not; of a package, all of its modules."""
    found: list[Path] = []
    pending = [file]
    while pending:
        path = pending.pop()
        if path not in found:
            found.append(path)
            for name in sorted(_imported(path)):  # in one order, since what depends on them compares it
                pending += filter(Path.is_file, [file.parent / f"{name}.py"])
                pending += sorted((file.parent / name).rglob("*.py"))
    return found


def file_of_class(kind: type) -> Path | None:
    """The user's file (`load`) that defines a class; None for any other class."""
    return Path(sys.modules[kind.__module__].__file__ or "") if kind.__module__.startswith(_OWN) else None


def check(spec: str, key: str) -> None:
    """Check, without importing anything, that `spec` can name a callable; `key` is the setting it stands in.

    Raises:
        UserError: there is no colon or name, or the file does not exist.
    """
    place, _, name = spec.rpartition(":")
    if not place or not name.isidentifier():
        raise UserError(f"{key}: '{spec}' must be `module:callable` or `path/to/file.py:callable`")
    path = file_of(spec)
    if path is not None and not path.is_file():
        raise UserError(f"{key}: '{spec}': there is no file {path} (paths are relative to {Path.cwd()})")


def load(spec: str, key: str) -> Callable[..., Any]:
    """The callable that `spec` names; `key` is the setting it stands in.

    Raises:
        UserError: it cannot be imported, or has no such callable.
    """
    check(spec, key)
    place, _, name = spec.rpartition(":")
    path = file_of(spec)
    try:
        module = importlib.import_module(place) if path is None else _module_at(path)
    except Exception as error:
        raise UserError(f"{key}: '{place}' cannot be imported: {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        near = get_close_matches(name, [n for n in dir(module) if callable(getattr(module, n))], 1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise UserError(f"{key}: '{place}' has no callable '{name}'{hint}")
    return function


def call(function: Callable[..., Any], offered: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    """Call `function` with all that is `given`, and with what of the `offered` its signature names."""
    # `**kwargs` asks for nothing: they are mostly handed on to what knows other names.
    named = inspect.signature(function).parameters
    return function(**{**{name: value for name, value in offered.items() if name in named}, **given})


def failure(spec: str, key: str, error: Exception) -> UserError:
    """What the callable `spec` raised, and in which line of the user's file; `key` is the setting it stands in."""
    file = file_of(spec)
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if file is not None and frame.filename == str(file.resolve())]
    place = f" in line {lines[-1]}" if lines else ""
    return UserError(f"{key}: '{spec}' raised {type(error).__name__}{place}: {one_line(error)}")


def _module_at(path: Path) -> ModuleType:
    # The name is registered because pickling, dataclasses and torch.fx look modules up in `sys.modules`.
    name = f"{_OWN}{path.stem}"
    module = sys.modules.get(name)
    if module is not None and module.__file__ == str(path.resolve()):
        return module
    # For what it imports from beside it; last, so that nothing there stands in for a library.
    if (folder := str(path.resolve().parent)) not in sys.path:
        sys.path.append(folder)
    found = importlib.util.spec_from_file_location(name, path.resolve())
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
        _check_neighbours(path.resolve())
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _check_neighbours(path: Path) -> None:
    """Check that what a file imports from beside it is not of the same name beside another file of the user."""
    folders = {Path(module.__file__ or "").parent for name, module in sys.modules.items() if name.startswith(_OWN)}
    for name in {name for file in files_of(path) for name in _imported(file)}:
        there = getattr(sys.modules.get(name), "__file__", None)
        beside = [path.parent / f"{name}.py", path.parent / name / "__init__.py"]
        another = there and Path(there) not in beside and folders & set(Path(there).parents[:2])
        if another and any(map(Path.is_file, beside)):
            raise ImportError(f"its '{name}' is not that beside it, but {there}, imported before; rename one")


def _imported(file: Path) -> set[str]:
    """First parts of the names that a file imports; none where it is no Python."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):  # which is told when it is loaded
        return set()
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    return {name.partition(".")[0] for name in names} - {"hamp"}  # which a file in the checkout has beside it
