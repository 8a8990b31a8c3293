"""Writes headwater.toml, the reference of every option: `python -m headwater.reference > headwater.toml`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from headwater.settings import Settings

_PREAMBLE = """\
# Every option of Headwater with its default and what it trades; `make reference` writes this file from the code.
# The environment wins over this file: HEADWATER_KAFKA__BOOTSTRAP_SERVERS is kafka.bootstrap_servers.
# Paths that begin with var/ lie in the folder `var` names. HEADWATER_CONFIG or --config names another file than this.
"""


def render() -> str:
    """Return the file's text."""
    return "\n".join([_PREAMBLE, *_section(Settings.model_construct(), ())])


def _section(model: BaseModel, path: tuple[str, ...]) -> Iterator[str]:
    """Yield the lines of one table: its plain options first, as TOML wants, then its tables."""
    nested: list[tuple[str, BaseModel]] = []
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            nested.append((name, value))
            continue
        yield f"# {field.description}"
        yield f"{name} = {_toml(value)}"
    for name, value in nested:
        here = (*path, name)
        yield ""
        yield f"# {(type(value).__doc__ or '').strip().splitlines()[0]}"
        yield f"[{'.'.join(here)}]"
        yield from _section(value, here)
    if not path:
        yield ""


def _toml(value: Any) -> str:
    match value:
        case bool() | int() | float() | str():
            return json.dumps(value, ensure_ascii=False)
        case Path():
            return json.dumps(str(value))
        case dict():
            return (
                "{ " + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + " }" if value else "{}"
            )
        case list() | tuple():
            return "[" + ", ".join(_toml(item) for item in value) + "]"
        case set() | frozenset():
            return _toml(sorted(value))
        case _:
            raise TypeError(f"no way to write {value!r} in TOML: give the option a default that has one")


if __name__ == "__main__":
    print(render(), end="")
