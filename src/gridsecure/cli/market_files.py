"""Documents of the market as files: what is to be signed, and what was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gridsecure.circulation.kinds import kind_named
from gridsecure.errors import InputError
from gridsecure.messages import Message, Signed

_KIND = "kind"


def read_document(path: Path, *, signed_at: str) -> Message:
    """A document that is to be signed.

    Args:
        signed_at: Stands where the file says no time.

    Raises:
        InputError: The file cannot be read, or names no kind (`market.file`, `market.kind`).
        InvalidMessageError: It has another shape.
    """
    try:
        fields: Any = json.loads(_text(path))
    except ValueError as error:
        raise _unreadable(path) from error
    if not isinstance(fields, dict):
        raise _unreadable(path)
    kind = kind_named(str(fields.pop(_KIND, "")))
    if "signed_at" in kind.model_fields:
        fields.setdefault("signed_at", signed_at)
    return kind.parse(json.dumps(fields))


def document_text(message: Message) -> str:
    """A document as `read_document` reads it."""
    fields = {_KIND: message.kind} | message.model_dump(mode="json")
    return json.dumps(fields, ensure_ascii=False, indent=1) + "\n"


def read_signed(path: Path) -> Signed:
    """A signed document.

    Raises:
        InputError: The file cannot be read (`market.file`).
        InvalidMessageError: It has another shape.
    """
    return Signed.parse(_text(path))


def form_text(kind: str) -> str:
    """What a document of a kind consists of, as a JSON schema.

    Raises:
        InputError: There is no such kind (`market.kind`).
    """
    return json.dumps(kind_named(kind).model_json_schema(), ensure_ascii=False, indent=1)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path) from error


def _unreadable(path: Path) -> InputError:
    return InputError(
        f"{path.name} cannot be read as a document of the market.",
        reason="market.file",
        remedy="Give a JSON file with its kind; gridsecure market form KIND says what is in one.",
    )
