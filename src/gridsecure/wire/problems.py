"""How errors travel: one table from our classes to HTTP and back, and one body.

A service answers an error with its status and a `Problem`; a client makes the same error of them.
Where two classes share a status, the area of the reason code tells them apart. `AuthenticityError`
and what is below it reads alike outside: the body says nothing of the check that failed. But whose
token was good, and whose role is another, is told which roles may (`RoleError`).
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gridsecure.errors import (
    AccessDeniedError,
    AuditBrokenError,
    AuthenticityError,
    CiphertextError,
    ConflictError,
    GridSecureError,
    InputError,
    InvalidMessageError,
    InvalidReadingsError,
    NotFoundError,
    ReleaseRefusedError,
    RoleError,
    RowFault,
    StorageError,
)

STATUS: Final[Mapping[type[GridSecureError], int]] = {
    GridSecureError: 500,
    InputError: 400,
    InvalidMessageError: 422,
    AuthenticityError: 401,
    AccessDeniedError: 403,
    CiphertextError: 409,
    ReleaseRefusedError: 403,
    NotFoundError: 404,
    ConflictError: 409,
    StorageError: 507,
    AuditBrokenError: 500,
}
"""HTTP status by class; a class not named answers as the nearest one above it."""

_CRYPTOGRAPHY: Final = (
    "bill",
    "ciphertext",
    "column",
    "keys",
    "load-curve",
    "parameters",
    "plan",
    "upload",
)
AREAS: Final[Mapping[tuple[int, str], type[GridSecureError]]] = {
    (400, "readings"): InvalidReadingsError,
    (403, "correction"): ReleaseRefusedError,
    (403, "release"): ReleaseRefusedError,
    (500, "audit"): AuditBrokenError,
    (503, "storage"): StorageError,
} | {(409, area): CiphertextError for area in _CRYPTOGRAPHY}
"""Class by status and area of the reason code, where the status alone names another one."""

TOO_LARGE: Final = "message.too-large"
BUSY: Final = "service.busy"
ATTEMPTS: Final = "sign-in.attempts"
NOT_READY: Final = "service.not-ready"
LOCKED: Final = "vault.locked"
"""Whatever needs a secret key, until custodians have unlocked the vault."""
DOWN: Final = "vault.down"
"""Whatever needs the vault, until somebody has started it."""
QUEUE_FULL: Final = "storage.queue-full"
LATER: Final = 503
"""The status of what was not done and may be asked again soon; `Retry-After` says when."""

_STATUS_OF_REASON: Final = {
    ATTEMPTS: 429,
    TOO_LARGE: 413,
    BUSY: LATER,
    NOT_READY: LATER,
    "storage.busy": LATER,
    QUEUE_FULL: LATER,
    LOCKED: LATER,
    DOWN: LATER,
}
_CLASS_OF_STATUS: Final[Mapping[int, type[GridSecureError]]] = {
    STATUS[kind]: kind
    for kind in (
        GridSecureError,
        InputError,
        InvalidMessageError,
        AuthenticityError,
        AccessDeniedError,
        NotFoundError,
        ConflictError,
        StorageError,
    )
} | {413: InvalidMessageError}

PROBLEM_TYPE: Final = "application/problem+json"
"""The media type of a `Problem` (RFC 9457)."""
REASONS_PATH: Final = "/reasons/"
"""Below this path every service says what a reason code means."""

_REASON: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
_LONGEST_TEXT: Final = 500  # a sentence for people; more is not one


class Problem(BaseModel):
    """The body of every answer that is no success (RFC 9457).

    `type` is the address, at the same service, of what the reason code means. `reason`, that code,
    and `remedy`, the way out, are ours beside the members of the standard.
    """

    model_config = ConfigDict(frozen=True)

    type: str
    title: str
    status: int
    detail: str
    reason: str
    remedy: str

    @classmethod
    def of(cls, reason: str, *, status: int, detail: str, remedy: str) -> Problem:
        """A problem with the address of its reason code, and the title of its status."""
        return cls(
            type=REASONS_PATH + quote(reason, safe=""),
            title=HTTPStatus(status).phrase,
            status=status,
            detail=detail,
            reason=reason,
            remedy=remedy,
        )


MOST_PLACES: Final = 20
"""Places in one refusal of readings."""
MOST_FAULTS: Final = 50
"""Kinds of fault in one refusal of readings."""
MOST_RUNS: Final = 100
"""Runs of rows of one kind."""


class RowRun(BaseModel):
    """Rows that follow each other, from the first to the last, counted from 1."""

    model_config = ConfigDict(frozen=True)

    first: int = Field(ge=1)
    last: int = Field(ge=1)


class ReadingsFault(BaseModel):
    """A kind of fault, and the rows that have it.

    `reason` is the code of a refusal for these rows alone. `count` is of all of them, and `rows`
    are the first `MOST_RUNS` runs, of lines of the text, or of readings where a body has no lines.
    """

    model_config = ConfigDict(frozen=True)

    reason: str
    rule: str
    detail: str
    remedy: str
    place: Literal["line", "reading"]
    count: int = Field(ge=1)
    rows: list[RowRun]

    @classmethod
    def of(cls, fault: RowFault) -> ReadingsFault:
        """A kind of fault as it is told."""
        runs = zip(fault.firsts[:MOST_RUNS], fault.lasts[:MOST_RUNS], strict=True)
        return cls(
            reason=fault.reason,
            rule=fault.rule,
            detail=fault.detail,
            remedy=fault.remedy,
            place=fault.place,
            count=fault.count,
            rows=[RowRun(first=first, last=last) for first, last in runs],
        )

    def told(self) -> RowFault:
        """What a client makes of it, with texts as far as they are fit to print."""
        return RowFault(
            reason=_sentence(self.reason),
            rule=_sentence(self.rule),
            detail=_sentence(self.detail),
            remedy=_sentence(self.remedy),
            count=self.count,
            firsts=array("q", [run.first for run in self.rows[:MOST_RUNS]]),
            lasts=array("q", [run.last for run in self.rows[:MOST_RUNS]]),
            place=self.place,
        )


class ReadingsProblem(Problem):
    """A refusal of readings: some places where they are wrong, and every faulty row by kind."""

    problems: list[str] = []
    faults: list[ReadingsFault] = []


REFUSED: Final = Problem.of(
    AuthenticityError.default_reason,
    status=STATUS[AuthenticityError],
    detail="The request could not be trusted.",
    remedy="Sign in again for this service with a role that may do this; after repeated "
    "failures wait five minutes. If that does not help, compare the machines' clocks "
    "(gridsecure doctor).",
)
"""What everybody outside reads of an `AuthenticityError`, whatever its status is."""

INTERNAL: Final = Problem.of(
    "internal",
    status=500,
    detail="The service met an error of its own.",
    remedy="Try again; if it stays, give the operator the time of the request.",
)


def status_of(error: GridSecureError) -> int:
    """The HTTP status of one of our errors."""
    nearest = next(kind for kind in type(error).__mro__ if kind in STATUS)
    return _STATUS_OF_REASON.get(error.reason, STATUS[nearest])


def problem_of(error: GridSecureError) -> Problem:
    """What everybody outside reads of one of our errors."""
    reason, detail, remedy = error.reason, error.message, error.remedy
    if isinstance(error, AuthenticityError) and not isinstance(error, RoleError):
        reason, detail, remedy = REFUSED.reason, REFUSED.detail, REFUSED.remedy
    return Problem.of(reason, status=status_of(error), detail=detail, remedy=remedy)


def error_of(status: int, content: bytes) -> GridSecureError | None:
    """The error that an answer tells; None where its body gives no well-formed reason.

    Texts are kept as far as they are fit to print. Fields may be missing: what answers may be
    something else than a service of ours.
    """
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):  # brackets nested a thousand deep
        return None
    reason = body.get("reason") if isinstance(body, dict) else None
    if not isinstance(reason, str) or not _REASON.fullmatch(reason):
        return None
    kind = class_of(status, reason=reason)
    error = kind(_sentence(body.get("detail")), reason=reason, remedy=_sentence(body.get("remedy")))
    if isinstance(error, InvalidReadingsError):
        places = body.get("problems")
        if isinstance(places, list):
            error.problems = tuple(map(_sentence, places[:MOST_PLACES]))
        error.faults = _read_faults(body.get("faults"))
    return error


def _read_faults(told: object) -> tuple[RowFault, ...]:
    """Kinds of fault that an answer tells; none where it tells them in another shape."""
    if not isinstance(told, list):
        return ()
    try:
        return tuple(ReadingsFault.model_validate(one).told() for one in told[:MOST_FAULTS])
    except (ValidationError, OverflowError):  # a number beyond 63 bits
        return ()


def class_of(status: int, *, reason: str = "") -> type[GridSecureError]:
    """The class that a status and a reason stand for."""
    area = reason.partition(".")[0]
    return AREAS.get((status, area)) or _CLASS_OF_STATUS.get(status, GridSecureError)


def _sentence(text: object) -> str:
    """Text of another party as far as it is fit to print."""
    if not isinstance(text, str):
        return ""
    return "".join(character for character in text if character.isprintable())[:_LONGEST_TEXT]
