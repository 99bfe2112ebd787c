"""How errors leave a service: with the status and body of `gridsecure.wire.problems`.

The body never holds a value of the request, not even where the framework would put one, and never
a traceback. Every `AuthenticityError` but `RoleError` reads alike outside; the log keeps its class
and reason. What is not one of our errors is answered `internal` and logged by type and place only,
because its own message could quote data.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, runtime_checkable

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from gridsecure.errors import (
    AuthenticityError,
    GridSecureError,
    InvalidMessageError,
    InvalidReadingsError,
)
from gridsecure.wire.problems import (
    ATTEMPTS,
    BUSY,
    DOWN,
    INTERNAL,
    LATER,
    LOCKED,
    MOST_FAULTS,
    PROBLEM_TYPE,
    QUEUE_FULL,
    TOO_LARGE,
    Problem,
    ReadingsFault,
    ReadingsProblem,
    problem_of,
)

_log = logging.getLogger(__name__)

_RETRY_AFTER_S: Final = {QUEUE_FULL: 30, ATTEMPTS: 300}
"""When to ask again what was not done [s]: lanes empty in one, a body is read in half a minute, and
failures are forgotten in five."""


def error_response(error: GridSecureError) -> JSONResponse:
    """The public answer to one of our errors."""
    problem, headers = problem_body(error), None
    status = problem.status
    if isinstance(error, AuthenticityError):
        _log.warning("refused: %s %s", type(error).__name__, error.reason)
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    # When people come to start or unlock the vault nobody knows.
    is_later = status == LATER and error.reason not in {LOCKED, DOWN}
    if is_later or error.reason == ATTEMPTS:
        headers = {"Retry-After": str(_RETRY_AFTER_S.get(error.reason, 1))}
    return _response(problem, headers=headers)


def problem_body(error: GridSecureError) -> Problem:
    """What everybody outside reads of one of our errors, with the rows of wrong readings."""
    problem = problem_of(error)
    if not isinstance(error, InvalidReadingsError):
        return problem
    places, faults = _places(error), [ReadingsFault.of(one) for one in error.faults[:MOST_FAULTS]]
    if not (places or faults):
        return problem
    return ReadingsProblem(**problem.model_dump(), problems=places, faults=faults)


@runtime_checkable
class _Place(Protocol):
    """A `ReadingProblem`, whose module loads what most services do without."""

    rule: str
    detail: str


def _places(error: InvalidReadingsError) -> list[str]:
    """Where readings are wrong, and under which rule; whose they are stays out of it."""
    found = (problem for problem in error.problems if isinstance(problem, _Place))
    return [f"{problem.detail} ({problem.rule})" for problem in found]


def _response(problem: Problem, *, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(
        problem.model_dump(), problem.status, headers=headers, media_type=PROBLEM_TYPE
    )


def internal_response(error: Exception) -> JSONResponse:
    """The public answer to anything else, and its place in the log."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "unknown place"
    _log.error("internal error: %s at %s", type(error).__name__, place)
    return _response(INTERNAL)


def too_large_error() -> InvalidMessageError:
    """A request body beyond the service's limit."""
    return InvalidMessageError(
        "The request body exceeds what this service reads at once.",
        reason=TOO_LARGE,
        remedy="Send it in several requests.",
    )


def busy_error() -> GridSecureError:
    """A request that would have to wait too long."""
    return GridSecureError(
        "The service has as many requests in work as it can answer soon.",
        reason=BUSY,
        remedy="Try again after the seconds that Retry-After names. Nothing was done.",
    )


def install_error_handlers(app: FastAPI) -> None:
    """Make an app answer errors as this module says."""
    app.add_exception_handler(GridSecureError, _on_own_error)
    app.add_exception_handler(RequestValidationError, _on_wrong_shape)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(UnicodeEncodeError, _on_half_a_character)
    app.add_exception_handler(ClientDisconnect, _on_broken_body)


def _on_own_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, GridSecureError):
        return internal_response(error)
    return error_response(error)


def _on_half_a_character(_request: Request, _error: Exception) -> JSONResponse:
    """JSON can spell half of a surrogate pair, which is no text and has no bytes."""
    return error_response(
        InvalidMessageError("A text of the request is not Unicode.", remedy="Send it as UTF-8.")
    )


def _on_broken_body(_request: Request, _error: Exception) -> JSONResponse:
    """Whoever sent it is gone, so nobody reads this: the log has it, and no fault of ours."""
    return http_response(HTTPException(400))


def _on_wrong_shape(_request: Request, error: Exception) -> JSONResponse:
    problems: Sequence[Any] = error.errors() if isinstance(error, RequestValidationError) else ()
    places = sorted({_place(problem) for problem in problems})
    return error_response(
        InvalidMessageError(
            f"The request has the wrong shape: {', '.join(places[:5])}.",
            remedy="Send it as this service's API page documents.",
        )
    )


def _place(problem: Mapping[str, Any]) -> str:
    """Where a problem is, in declared names only: an unknown field's name came from the request."""
    declared = problem["loc"][: 1 if problem["type"] == "extra_forbidden" else 2]
    place = ".".join(part for part in declared if isinstance(part, str))
    return f"{place} (unknown field)" if problem["type"] == "extra_forbidden" else place


def _on_http_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        return internal_response(error)
    return http_response(error)


def http_response(error: HTTPException) -> JSONResponse:
    """The public answer to an error of the framework."""
    status = error.status_code
    if status == 413:
        return error_response(too_large_error())
    if status == LATER:
        return error_response(busy_error())
    detail = {
        404: "There is nothing at this address.",
        405: "This address does not take this method.",
        408: "The body of the request came too slowly.",
    }.get(status, "The request could not be read.")
    problem = Problem.of(
        f"http.{status}", status=status, detail=detail, remedy="See the API page at /docs."
    )
    return _response(problem, headers=error.headers)
