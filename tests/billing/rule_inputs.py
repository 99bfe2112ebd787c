"""Rule books as operators write them: the packaged one with something else in it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping

from gridsecure.billing.rule_books import default_text


def book_text(*, version: str = "1", **changes: Mapping[str, object]) -> str:
    """A rule book.

    Args:
        changes: Rule, with an underscore for a hyphen -> settings in place of the packaged ones; a
            class as a key is what is otherwise for that class, `children` what is behind what.
    """
    document = tomllib.loads(default_text()) | {"version": version}
    for name, changed in changes.items():
        rule = document[name.replace("_", "-")]
        for key, value in changed.items():
            if isinstance(value, Mapping) and key != "children":
                rule.setdefault("classes", {}).setdefault(key, {}).update(value)
            else:
                rule[key] = value
    return _written(document)


def _written(document: Mapping[str, object], *, above: str = "") -> str:
    plain = {name: value for name, value in document.items() if not isinstance(value, Mapping)}
    lines = [f"{_key(name)} = {_value(value)}" for name, value in plain.items()]
    for name, value in document.items():
        if isinstance(value, Mapping):
            lines += ["", f"[{above}{name}]", _written(value, above=f"{above}{name}.")]
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return name if name.replace("-", "_").isidentifier() else f'"{name}"'


def _value(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value).lower()
