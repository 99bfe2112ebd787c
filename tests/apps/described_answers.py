"""Answers held to what a service's own OpenAPI says, and requests made from it, by Schemathesis.

An answer has to be of a documented status and media type, of the schema and with the headers that
belong to it. `500` is never one; `503` is where what is missing is not the service's.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import requests
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gridsecure import frames
from gridsecure.wire.problems import DOWN, NOT_READY

CHECKS: Final = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
MODES: Final = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
"""Requests that the document allows, and such that it does not."""
LACKING: Final = frozenset({DOWN, NOT_READY})
"""Reasons of the one answer of 5xx that a service may give: what it needs is not there."""
_BINARY: Final = ("application/toml", "application/vnd.gridsecure.envelope", frames.CONTENT_TYPE)
"""Bodies that are bytes to the document, and to Schemathesis unknown."""

Ask = Callable[[str, str, Mapping[str, str], bytes | str | None], httpx.Response]
"""Sends a method, an address, headers and a body."""


@schemathesis.serializer(*_BINARY)
def _as_bytes(_context: object, value: object) -> bytes:
    raw = getattr(value, "data", value)
    return raw if isinstance(raw, bytes) else str(raw).encode(errors="replace")


@dataclass
class Found:
    """What came of requests to one service.

    Args:
        codes: How often each status was answered.
        faults: What was wrong, and with which answer to what.
    """

    codes: Counter[int] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)


class Described:
    """A service by its own document.

    Attributes:
        held: Methods and routes whose answers were checked.
    """

    def __init__(self, app: FastAPI) -> None:
        self.held = set[tuple[str, str]]()
        document = _plain_tuples(app.openapi())
        self._schema = schemathesis.openapi.from_dict(document)
        # Where two fit, as `/keys/{name}` and `/keys/list`, the one with fewer names is meant.
        templates = sorted(document["paths"], key=lambda template: template.count("{"))
        self._paths = {template: _pattern(template) for template in templates}

    def check(self, method: str, path: str, answer: httpx.Response) -> str:
        """What is wrong with an answer; nothing, if it is right, or of no route of the document."""
        for template, pattern in self._paths.items():
            named = pattern.fullmatch(path)
            if named and method in self._schema[template]:
                self.held.add((method, template))
                case = self._schema[template][method].Case(path_parameters=named.groupdict())
                return _fault(case, answer)
        return answer.text if answer.is_server_error else ""

    def try_requests(self, ask: Ask, headers: Mapping[str, str], *, each: int) -> Found:
        """Ask every route for what the document allows, and for what it does not.

        Args:
            each: Requests of either kind, of each route.
        """
        found = Found()

        def send(case: Case) -> None:
            answer = ask(*_request(case, headers))
            found.codes[answer.status_code] += 1
            if fault := _fault(case, answer):
                found.faults.setdefault(f"{case.operation.label} {answer.status_code}", fault)

        # No shrinking, which would ask a hundred times more: the first fault is told.
        bounded = settings(
            max_examples=each, database=None, derandomize=True, deadline=None,
            phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        for result in self._schema.get_all_operations():
            for mode in MODES:
                wanted = result.ok().as_strategy(generation_mode=mode)
                try:
                    bounded(given(case=wanted)(send))()
                except Unsatisfiable:  # a route without parameters takes whatever comes
                    continue
        return found


def _pattern(template: str) -> re.Pattern[str]:
    """Paths of a template; names of tiles alone have slashes in them."""
    text = re.escape(template).replace(r"\{tile\}", "(?P<tile>.+)")
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", text))


def _request(
    case: Case, headers: Mapping[str, str]
) -> tuple[str, str, Mapping[str, str], bytes | str | None]:
    said = case.as_transport_kwargs(base_url="http://testserver", headers=dict(headers))
    named = ("method", "url", "headers", "params", "cookies", "data", "json", "files")
    made = requests.Request(**{name: said[name] for name in named if name in said}).prepare()
    return str(made.method), str(made.url), made.headers, made.body


def _fault(case: Case, answer: httpx.Response) -> str:
    if answer.status_code == 500:
        return answer.text
    if answer.status_code > 500 and answer.json().get("reason") not in LACKING:
        return answer.text
    # Schemathesis makes none of requests whose body is gone, nor of answers that nobody timed.
    held = Response(
        answer.status_code,
        {name: [value] for name, value in answer.headers.items()},
        answer.content,
        requests.Request(answer.request.method, str(answer.request.url)).prepare(),
        elapsed=0.0,
        verify=False,
        encoding=answer.encoding,
    )
    try:
        case.validate_response(held, checks=CHECKS)
    except (Failure, FailureGroup) as failed:
        return "; ".join(map(str, getattr(failed, "exceptions", [failed])))
    return ""


def _plain_tuples(document: dict[str, Any]) -> dict[str, Any]:
    """Pairs of a kind as lists of it: of `prefixItems` Schemathesis makes what it then refuses."""
    text: dict[str, Any] = json.loads(json.dumps(document))
    for schema in _schemas(text):
        first, *more = schema.get("prefixItems", (None,))
        if first is not None and all(one == first for one in more):
            schema["items"] = schema.pop("prefixItems")[0]
    return text


def _schemas(value: Any) -> Iterator[dict[str, Any]]:
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            yield one
            left += one.values()
        elif isinstance(one, list):
            left += one
