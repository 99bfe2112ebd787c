"""Why a text is no question: the field that is wrong, and what would be allowed in it.

Nothing of the text is quoted but names of fields.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from gridsecure.errors import InputError

MAX_TEXT: Final = 131_072
"""Longest question [bytes of UTF-8]."""
_MAX_NAMED: Final = 40
_WORDS: Final = {
    "string_type": "text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}


def check_text(text: str) -> Any:
    """Read JSON within bounds: no NaN, no field twice, nothing that is too long or too deep.

    Raises:
        InputError: `query.size`, `query.shape`, `query.depth`, `query.number`, `query.twice`.
    """
    if len(text) > MAX_TEXT or len(text.encode(errors="replace")) > MAX_TEXT:
        raise InputError(
            "The question is too long.",
            reason="query.size",
            remedy=f"Write it in {MAX_TEXT:,} bytes: describe meter points by what they have in "
            "common.",
        )
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise InputError(
            "The question lies too deep inside itself.",
            reason="query.depth",
            remedy="Nest the expressions of a cohort up to 6 deep.",
        ) from error
    except ValueError as error:
        raise no_question() from error


def no_question() -> InputError:
    """The error for a text that cannot be read at all."""
    return InputError(
        "The question is not JSON, or cannot be read.",
        reason="query.shape",
        remedy="Write it as `gridsecure query schema` describes.",
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InputError(
            "A field of the question stands twice in one object.",
            reason="query.twice",
            remedy="Give each field once.",
        )
    return found


def _refuse_constant(_name: str) -> NoReturn:
    raise InputError(
        "A number of the question is none (NaN), or has no end.",
        reason="query.number",
        remedy='Write whole numbers, or text as in "0.65".',
    )


def check_statistic(document: Any, *, refused: Mapping[str, tuple[str, str]]) -> None:
    """Refuse by name what cannot be computed, with the nearest question that can.

    Args:
        refused: Statistic -> why, and what to ask instead.

    Raises:
        InputError: `query.not-computable`.
    """
    statistic = document.get("statistic") if isinstance(document, dict) else None
    name = statistic.get("name") if isinstance(statistic, dict) else None
    if isinstance(name, str) and name in refused:
        why, instead = refused[name]
        raise InputError(
            f"{name} is not computable here. {why}", reason="query.not-computable", remedy=instead
        )


def explain_error(error: ErrorDetails, *, model: type[BaseModel]) -> InputError:
    """What is wrong with a field, from pydantic's first finding."""
    place, kind = _name_place(error["loc"]), error["type"]
    if kind == "json_invalid":  # what Python reads as JSON and pydantic does not
        return no_question()
    if kind == "extra_forbidden":
        fields = ", ".join(_model_at(model, error["loc"][:-1]).model_fields)
        return _refuse(f"There is no {place}.", f"Fields there are {fields}.")
    if kind == "missing":
        return _refuse(f"{place} is missing.", "Give it.")
    if kind in _WORDS:
        return _refuse(f"{place} has another type.", f"Give {_WORDS[kind]}.")
    context = error.get("ctx", {})
    allowed = context.get("expected") or context.get("expected_tags")
    if allowed is None:
        allowed = _describe(model, error["loc"]) or f"texts and numbers so: {error['msg']}"
    return _refuse(f"{place} is not allowed.", f"Allowed are {allowed}.")


def _refuse(message: str, allowed: str) -> InputError:
    return InputError(message, reason="query.field", remedy=allowed)


def _name_place(places: tuple[int | str, ...]) -> str:
    parts = list(map(str, places))
    if len(parts) > 2 and parts[0] == "statistic":
        del parts[1]  # the statistic's own name, by which its form was chosen
    return ".".join(part[:_MAX_NAMED] for part in parts) or "the question"


def _describe(model: type[BaseModel], places: tuple[int | str, ...]) -> str:
    """What a field's own description says of it."""
    names = [place for place in places if isinstance(place, str)]
    if not names:
        return ""
    field = _model_at(model, tuple(names[:-1])).model_fields.get(names[-1])
    return (field.description if field else "") or ""


def _model_at(model: type[BaseModel], places: tuple[int | str, ...]) -> type[BaseModel]:
    """The model of the object at a place."""
    found, choices = model, list[type[BaseModel]]()
    for place in places:
        if place in found.model_fields:
            choices = list(_models_in(found.model_fields[str(place)].annotation)) or [found]
            found = choices[0]
        elif isinstance(place, str):
            # The name of a statistic: which of the forms it is.
            named = [one for one in choices if place in _names_of(one)]
            found = (named or [found])[0]
    return found


def _names_of(form: type[BaseModel]) -> tuple[object, ...]:
    field = form.model_fields.get("name")
    return get_args(field.annotation) if field else ()


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inside in get_args(annotation):
        yield from _models_in(inside)
