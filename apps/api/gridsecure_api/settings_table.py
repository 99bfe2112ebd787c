"""Every setting of every program, from the classes that read them: the page of the documentation.

The classes are the table: a field's type and default are what is checked at start, and its line in
the docstring is what it means. Nothing is said of a setting in a second place.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from gridsecure.errors import GridSecureError
from gridsecure_api.settings import (
    AuthoritySettings,
    DaskWorkerSettings,
    EncryptionSettings,
    GatewaySettings,
    IdentitySettings,
    MarketSettings,
    PlatformSettings,
    VaultSettings,
    WorkerSettings,
)
from gridsecure_api.start import FILE, prefix_of, read_settings

PROGRAMS: Final[dict[str, type[BaseSettings]]] = {
    "identity": IdentitySettings,
    "gateway": GatewaySettings,
    "platform": PlatformSettings,
    "worker": WorkerSettings,
    "authority": AuthoritySettings,
    "vault": VaultSettings,
    "market": MarketSettings,
    "encryption": EncryptionSettings,
    "dask": DaskWorkerSettings,
}
"""Every program that reads settings here, by its zone."""

_ARGUMENT: Final = re.compile(r"^ {4,8}(\w+): (.+)$")
_WORDS: Final = {str: "text", int: "number", float: "number", bool: "true or false", Path: "path"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table.

    Args:
        variable: The whole name of the environment variable.
        form: What it holds, in words.
        default: As text; empty where it has to be set.
        meaning: The sentence of the class's docstring.
        is_secret: Whether it may be kept in a file instead.
    """

    variable: str
    form: str
    default: str
    meaning: str
    is_secret: bool


def list_settings(kind: type[BaseSettings]) -> list[Setting]:
    """A program's settings, those that have to be set first."""
    meanings = _meanings(kind)
    rows = [
        Setting(
            variable=f"{prefix_of(kind)}{name.upper()}",
            form=_form(field.annotation),
            default=_default(field),
            meaning=meanings.get(name, ""),
            is_secret=not field.repr,
        )
        for name, field in kind.model_fields.items()
    ]
    return sorted(rows, key=lambda row: row.default != "")


def settings_page() -> str:
    """The page of the documentation, in Markdown."""
    lines = [
        "# Settings",
        "",
        "Every variable that a program reads at its start, from the very classes that check it. `gridsecure init` and `join` write what follows from keys and neighbours ([operations](operations.md)). A program refuses to start on a setting that is missing "  # noqa: E501 - a paragraph of the page
        "(`settings.missing`), malformed (`settings.value`), unknown (`settings.unknown`) or there twice (`settings.twice`), and names the variable and never its value.",  # noqa: E501 - likewise
        "",
        f"What may hold a password can be kept in a file: `…{FILE}` names it, mode 0600 or narrower (`settings.secret-file`). Lists are written as JSON.",  # noqa: E501 - likewise
    ]
    for program, kind in PROGRAMS.items():
        lines += ["", f"## {program}", "", "| variable | holds | when left out | meaning |"]
        lines.append("|---|---|---|---|")
        lines += [_row(one) for one in list_settings(kind)]
    return "\n".join(lines) + "\n"


def _row(one: Setting) -> str:
    name = f"`{one.variable}`" + (f", or `{one.variable}{FILE}`" if one.is_secret else "")
    cells = (name, one.form, one.default or "has to be set", one.meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    if field.default_factory is not None:
        return "what the machine has"
    default = field.default
    if default is None or default in ("", ()):
        return "–"
    if isinstance(default, bool):
        return str(default).lower()
    return f"`{default}`"


def _form(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    if get_origin(annotation) is tuple:
        return "JSON list"
    if get_args(annotation):  # a union with None, or a type with bounds
        return next(_form(one) for one in get_args(annotation) if one is not type(None))
    return _WORDS.get(annotation, "text")


def _meanings(kind: type[BaseSettings]) -> dict[str, str]:
    """What the docstrings of a class and of those that it is made of say of each setting."""
    found: dict[str, str] = {}
    for room in reversed(kind.__mro__):
        if issubclass(room, BaseSettings) and room is not BaseSettings:
            found |= dict(_arguments(room.__doc__ or ""))
    return found


def _arguments(docstring: str) -> Iterator[tuple[str, str]]:
    """Names and sentences of a docstring's section of arguments."""
    name, words = "", ""
    for line in docstring.partition("Args:\n")[2].splitlines():
        if start := _ARGUMENT.match(line):
            if name:
                yield name, words
            name, words = start[1], start[2]
        elif name and line.strip():
            words += f" {line.strip()}"
    if name:
        yield name, words


def main() -> None:
    """`python -m gridsecure_api.settings_table ZONE`: whether this environment starts a program.

    Prints what is wrong as JSON, with status 1, or nothing.
    """
    try:
        read_settings(PROGRAMS[sys.argv[1]])
    except GridSecureError as error:
        told = {"reason": error.reason, "message": error.message, "remedy": error.remedy}
        print(json.dumps(told))
        sys.exit(1)


if __name__ == "__main__":
    main()
