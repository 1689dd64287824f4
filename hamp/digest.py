"""What a stage's code is, so that a change of it, and of nothing else, reruns the stage.

Snakemake compares scripts by modification time and does not see the modules they import. The digest is taken of
the syntax trees, without docstrings, of a script and of every `hamp` module that it imports, directly or not: a
touched file, another commit checked out, a changed comment leave it as it is.
"""

import ast
import hashlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent


def code_digest(script: Path) -> str:
    """Digest of a script and of the `hamp` modules that it imports."""
    text = hashlib.sha256(_parsed(script)[0].encode())
    for name in sorted(modules(script)):
        text.update(f"{name}\n{_parsed(_file_of(name))[0]}".encode())
    return text.hexdigest()[:16]


def file_digest(path: Path | str) -> str:
    """Digest of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def modules(script: Path) -> set[str]:
    """Names of the `hamp` modules that a script imports, directly or not."""
    found: set[str] = set()
    pending = set(_parsed(script)[1])
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending |= _parsed(_file_of(name))[1]
    return found


def _file_of(name: str) -> Path:
    path = ROOT.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _parsed(file: Path) -> tuple[str, frozenset[str]]:
    """The syntax tree as text, and the `hamp` modules that the file names in imports."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imported = frozenset(_imports(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
            ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:]
    return ast.dump(tree), imported


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value]  # as in importlib.import_module("hamp.…")
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            if parts[0] == "hamp":
                # Importing a module runs the `__init__` of every package above it.
                yield from (prefix for end in range(1, len(parts) + 1) if _exists(prefix := ".".join(parts[:end])))


@cache
def _exists(name: str) -> bool:
    return re.fullmatch(r"[\w.]+", name) is not None and _file_of(name).is_file()
