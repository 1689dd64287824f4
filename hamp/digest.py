"""What a stage's code is, so that a change of it, and of nothing else, reruns the stage.

Snakemake compares scripts by modification time and does not see the modules they import. The digest is taken of
the syntax trees, without docstrings, of a script and of every `hamp` module that it imports, directly or not: a
touched file, another commit checked out, a changed comment leave it as it is.
"""

import ast
import hashlib
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
MEBIBYTE = 2**20
READ_WHOLE, PARTS = 256 * MEBIBYTE, 64


def code_digest(script: Path) -> str:
    """Digest of a script and of the `hamp` modules that it imports."""
    text = hashlib.sha256(_parsed(script)[0].encode())
    for name in sorted(modules(script)):
        text.update(f"{name}\n{_parsed(_file_of(name))[0]}".encode())
    return text.hexdigest()[:16]


def file_digest(path: Path | str) -> str:
    """Digest of a file's content; of more than 256 MiB, of its size and of 65 mebibytes spread evenly.

    Every job of a cluster asks for it, and to read a data set each time would take longer than many a stage.
    """
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if size <= READ_WHOLE:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
        text = hashlib.sha256(str(size).encode())
        for part in range(PARTS + 1):
            file.seek((size - MEBIBYTE) * part // PARTS)
            text.update(file.read(MEBIBYTE))
        return text.hexdigest()[:16]


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
    return _dumped(tree), imported


def _dumped(part: object) -> str:
    """A syntax tree as text, without empty fields: versions of Python differ in which there are."""
    if isinstance(part, ast.AST):
        fields = [f"{name}={_dumped(value)}" for name, value in ast.iter_fields(part) if value not in (None, [])]
        return f"{type(part).__name__}({', '.join(fields)})"
    return f"[{', '.join(map(_dumped, part))}]" if isinstance(part, list) else repr(part)


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
