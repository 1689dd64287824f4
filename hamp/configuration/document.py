"""The JSON schema, `config/config.yaml` and the tables of `config/README.md`, made from the blocks.

`python -m hamp.configuration.document` writes them; a test holds the files against this module.
"""

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from hamp.configuration.blocks import Config
from hamp.tables import atomic

START, END = "<!-- settings: made by `make documents` -->", "<!-- end of settings -->"
HEADER = """\
# The embedded default: handwritten digits, which ship with scikit-learn, on the CPU.
# Made by `make documents` from hamp/configuration/blocks.py; copy it to config/experiments/ to change it,
# and keep there only what differs. Every key is explained in config/README.md.
"""


def schema() -> str:
    """JSON schema of the configuration."""
    return json.dumps(Config.model_json_schema(), indent=2) + "\n"


def default_yaml() -> str:
    """The default configuration with a comment a key."""
    return HEADER + "\n" + "\n".join(_yaml(Config, Config(), 0)) + "\n"


def _yaml(model: type[BaseModel], values: BaseModel, indent: int) -> Iterator[str]:
    margin = " " * indent
    for name, field in model.model_fields.items():
        value = getattr(values, name)
        if isinstance(value, BaseModel):
            yield f"\n{margin}# {(type(value).__doc__ or '').strip().splitlines()[0]}"
            yield f"{margin}{name}:"
            yield from _yaml(type(value), value, indent + 2)
        else:
            yield from textwrap.wrap(
                (field.description or "").replace("`", ""),
                width=100,
                initial_indent=f"{margin}# ",
                subsequent_indent=f"{margin}# ",
            )
            yield f"{margin}{name}: {_scalar(value)}"


def _scalar(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n").removesuffix("\n...")


def tables() -> str:
    """Markdown tables of all keys: default, allowed values and meaning."""
    parts = [_table("Top level", Config, "")]
    for name, field in Config.model_fields.items():
        block = field.annotation
        if isinstance(block, type) and issubclass(block, BaseModel):
            parts.append(_table(f"`{name}`", block, f"{name}."))
    return "\n".join(parts)


def _table(title: str, model: type[BaseModel], prefix: str) -> str:
    lines = [f"### {title}", "", (model.__doc__ or "").strip().splitlines()[0], ""]
    lines += ["| key | default | allowed | meaning |", "| --- | --- | --- | --- |"]
    properties = model.model_json_schema()["properties"]
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            continue
        default = field.get_default(call_default_factory=True)
        meaning = (field.description or "").replace("|", "\\|")
        lines.append(f"| `{prefix}{name}` | `{_scalar(default)}` | {_allowed(properties[name])} | {meaning} |")
    return "\n".join([*lines, ""])


def _allowed(entry: dict[str, Any]) -> str:
    """Allowed values of a JSON schema entry, in words."""
    if "anyOf" in entry:
        return " or ".join(_allowed(option) for option in entry["anyOf"])
    if "enum" in entry:
        return ", ".join(f"`{value}`" for value in entry["enum"])
    kind = entry.get("type", "any")
    if kind == "array":
        least = f" ({entry['minItems']} or more)" if entry.get("minItems") else ""
        return f"list of: {_allowed(entry['items'])}{least}"
    words = {"null": "`null`", "string": "text", "number": "number", "integer": "integer", "boolean": "true or false"}
    words |= {"object": "mapping"}
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {_number(entry[key])}" for key, sign in signs.items() if key in entry]
    return " ".join([words.get(kind, kind), ", ".join(bounds)]).strip()


def _number(value: float) -> str:
    """A bound, in digits: seeds' have more than `:g` shows."""
    return f"{value:.0f}" if float(value).is_integer() else f"{value:g}"


def readme(text: str) -> str:
    """`config/README.md` with its tables replaced by the present ones."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n\n{tables()}\n{END}{after}"


def documents(root: Path) -> dict[Path, str]:
    """What each generated file should hold."""
    readme_file = root / "config" / "README.md"
    return {
        root / "workflow" / "schemas" / "config.schema.json": schema(),
        root / "config" / "config.yaml": default_yaml(),
        readme_file: readme(readme_file.read_text(encoding="utf-8")),
    }


if __name__ == "__main__":
    for file, text in documents(Path.cwd()).items():
        with atomic(file) as temporary:
            temporary.write_text(text, encoding="utf-8")
