"""Every message and body of a service, found by itself, with an example made of its schema."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema

import gridsecure
from gridsecure.errors import GridSecureError
from gridsecure.messages import Message
from gridsecure.wire.client import parse_answer
from gridsecure.wire.words import ServiceWords
from tests.fuzz.parsers import Parser

SOURCES: Final = Path(gridsecure.__file__).parent
_TEXTS: Final = (
    *("a", "2026-07", "2026-07-01", "2026-07-01T00:00:00+08:00", "0" * 64, "1.5", "0.5", "MP-1"),
    *("04" + "0" * 128, "00", "day/2026-07-01", "platform/use/2026-07", "https://x.example", "a@b"),
    *("0" * 32, "0" * 40, "0" * 128, "00:00", "08:00-12:00", "total", "Asia/Shanghai", "CNY", ""),
)
_ROUNDS: Final = 40


def _sources() -> Iterator[str]:
    for path in sorted(SOURCES.rglob("*.py")):
        said = path.read_text(encoding="utf-8")
        if "(Message)" in said or "(BaseModel)" in said:
            yield ".".join((SOURCES.name, *path.relative_to(SOURCES).with_suffix("").parts))


@cache
def find_models() -> tuple[type[BaseModel], ...]:
    """All messages, and what is sent to services and answered by them."""
    for name in _sources():
        importlib.import_module(name)
    found = dict[type[BaseModel], None]()
    left: list[type[BaseModel]] = [BaseModel]
    while left:
        below = left.pop().__subclasses__()
        left += below
        found |= {
            one: None
            for one in below
            if one.__module__.startswith(("gridsecure.", "gridsecure_api."))
            and not one.__name__.startswith("_")
            and (
                (issubclass(one, Message) and hasattr(one, "kind"))
                or one.__module__.startswith("gridsecure.wire.")
            )
        }
    return tuple(sorted(found, key=lambda one: (one.__module__, one.__qualname__)))


def sample_of(model: type[BaseModel]) -> bytes:
    """JSON that a model takes, or comes near to: what its own validators want cannot be known."""
    try:
        schema = model.model_json_schema()
    except PydanticInvalidForJsonSchema:
        return b"{}"
    document = _value(schema, schema.get("$defs", {}), depth=0)
    for _ in range(_ROUNDS):
        wrong = _errors(model, document)
        if not wrong or not _mend(model, document, wrong):
            break
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _value(schema: Mapping[str, Any], defs: Mapping[str, Any], *, depth: int) -> Any:  # noqa: PLR0911 - a case each
    if "$ref" in schema:
        return _value(defs[schema["$ref"].rpartition("/")[2]], defs, depth=depth + 1)
    if "const" in schema or "enum" in schema:
        return schema.get("const", next(iter(schema.get("enum", ())), None))
    for one in ("anyOf", "oneOf", "allOf"):
        if one in schema:
            return _value(schema[one][0 if depth < 12 else -1], defs, depth=depth + 1)
    match schema.get("type"):
        case "object":
            parts = schema.get("properties", {})
            return {name: _value(part, defs, depth=depth + 1) for name, part in parts.items()}
        case "array":
            first = [_value(one, defs, depth=depth + 1) for one in schema.get("prefixItems", ())]
            if first or depth > 12:
                return first
            count = max(1, schema.get("minItems", 1))
            return [_value(schema.get("items", {}), defs, depth=depth + 1) for _ in range(count)]
        case "string":
            return _text(schema)
        case "integer" | "number":
            return max(schema.get("minimum", 1), schema.get("exclusiveMinimum", 0) + 1)
        case "boolean":
            return True
        case "null":
            return None
    return {}


def _text(schema: Mapping[str, Any]) -> str:
    pattern, least = schema.get("pattern", ""), schema.get("minLength", 0)
    for text in _TEXTS:
        if re.search(pattern, text) and least <= len(text) <= schema.get("maxLength", 1 << 20):
            return text
    return "0" * least


def _errors(model: type[BaseModel], document: Any) -> list[tuple[int | str, ...]]:
    try:
        model.model_validate_json(json.dumps(document))
    except ValidationError as error:
        return [one["loc"] for one in error.errors(include_url=False, include_input=False)]
    except GridSecureError:
        return [()]
    return []


def _mend(model: type[BaseModel], document: Any, wrong: list[tuple[int | str, ...]]) -> bool:
    """Try other texts at the first place that is refused; whether one is better."""
    held, place = document, wrong[0]
    for key in place[:-1]:
        if not isinstance(held, dict | list) or (isinstance(held, dict) and key not in held):
            return False
        held = held[key]  # type: ignore[index]
    if not place or not isinstance(held, dict | list):
        return False
    key = place[-1]
    for new in (*_TEXTS, 1, 0, [], {}, None):
        held[key] = new  # type: ignore[index]
        if wrong[0] not in _errors(model, document):
            return True
    return False


def _parser(model: type[BaseModel]) -> Parser:
    name = f"{model.__module__.removeprefix('gridsecure.')}.{model.__name__}"
    if issubclass(model, Message):
        return Parser(name, model.parse, lambda: [sample_of(model)])
    read = partial(parse_answer, kind=model, words=ServiceWords("service"))
    return Parser(name, read, lambda: [sample_of(model)])


@cache
def message_parsers() -> tuple[Parser, ...]:
    """A parser of every model."""
    return tuple(map(_parser, find_models()))
