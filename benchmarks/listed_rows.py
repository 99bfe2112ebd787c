"""The lists of services, paged and whole, and rows of the size that each of them lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import inspect
from sqlalchemy.types import Boolean, Date, Integer, LargeBinary
from sqlmodel import Session, SQLModel

from gridsecure.approvals import ReleaseApproval, ReleaseAuthorisation, ReleaseSubject
from gridsecure.compute import tables as platform
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.gateway import tables as gateway
from gridsecure.key_authority.checker import tables as authority
from gridsecure.messages import KeyNotice, Message, sign_message
from gridsecure.store.rows import Moment

OFFICER: Final = generate_private_key()
SOURCE: Final = "headend"
BATCH: Final = "with-rejects"
DIGEST: Final = "ab" * 32
_NOW: Final = datetime.now(UTC)
_LATER: Final = _NOW + timedelta(days=30)
_MONTH: Final = {"start": "2026-01-01", "end": "2026-02-01"}
_LARGE: Final = 1_800_000
"""A certificate of a month's load curves [bytes]."""

Values = Mapping[str, Any]


@dataclass(frozen=True)
class PagedList:
    """A list as it is asked for; one that is short has no pages.

    Args:
        path: As OpenAPI names it.
        role: Who may ask.
        rows: Tables that it is read from, and what their rows say; the first is listed.
        query: Which of them are asked for.
    """

    zone: str
    path: str
    role: str
    rows: tuple[tuple[type[SQLModel], Values], ...] = ()
    query: str = ""

    def address(self, **names: str) -> str:
        """What is asked for, of things with these names."""
        return self.path.format(name=SOURCE, batch_id=BATCH, **names) + self.query


def add_rows(session: Session, listed: PagedList, numbers: Iterable[int]) -> None:
    """Add rows to a list."""
    for number in numbers:
        for table, values in reversed(listed.rows):  # what the first ones refer to
            session.add(_row(table, values, number))
            session.flush()


def _row(table: type[SQLModel], values: Values, number: int) -> SQLModel:
    """A row that says what it is told, and something of its kind elsewhere."""
    made: dict[str, Any] = {}
    for column in inspect(table).columns:
        name = column.key
        if name in values:
            told = values[name]
            made[name] = told(number) if callable(told) else told
        elif name != "id" and not column.nullable:
            made[name] = _something(column.type, number)
    return table(**made)


def _something(kind: object, number: int) -> object:
    if isinstance(kind, Boolean):
        return False
    if isinstance(kind, Integer):
        return number
    if isinstance(kind, Moment):
        return _NOW
    if isinstance(kind, Date):
        return date(2026, 1, 1)
    return bytes(32) if isinstance(kind, LargeBinary) else f"{number:064x}"


def _signed(message: Message) -> str:
    return sign_message(message, key=OFFICER).model_dump_json()


def _certificate(number: int) -> str:
    """The two oldest are of load curves."""
    return "x" * (_LARGE if number < 2 else 20_000)


_SUBJECT: Final = ReleaseSubject(
    request_id=DIGEST, plan="bill", start=_MONTH["start"], end=_MONTH["end"],
    purpose="billing", requested_by="clerk",
    resolutions=["monthly"], measures=["energy_wh", "amount_fen"], cells=[], transcripts=DIGEST,
    outputs=[DIGEST] * 8, rosters=[DIGEST] * 8, tariffs=[DIGEST] * 3, policy=DIGEST,
    policy_name="strict", policy_version=1, needed=["data-owner"], standing=[],
).model_dump_json()  # fmt: skip
_APPROVAL: Final = ReleaseApproval(
    subject=DIGEST, decision="approve", person="officer", role="data-owner",
    decided_at=_NOW.isoformat(), expires_at=_LATER.isoformat(),
)  # fmt: skip
_AUTHORISATION: Final = ReleaseAuthorisation(
    person="officer", role="data-owner", scope="everything", policy=DIGEST,
    issued_at=_NOW.isoformat(), expires_at=_LATER.isoformat(),
)  # fmt: skip
_NOTICE: Final = KeyNotice(
    key_id=DIGEST, gateway=DIGEST, generation=1, parameters="register", parameters_digest=DIGEST,
    public_key=DIGEST, relinearisation_keys=None, created_at=_NOW.isoformat(),
)  # fmt: skip
_REFUSAL: Final = (
    '{"type":"/reasons/readings.unit","title":"Bad Request","status":400,"detail":"A unit is '
    'unknown.","reason":"readings.unit","remedy":"Write kWh.","problems":[]}'
)


def _lists() -> tuple[PagedList, ...]:
    operator = {"month": "2026-07", "revision": lambda number: number + 1}
    asked = _MONTH | {"plan": "bill", "purpose": "billing", "requested_by": "clerk"}
    released = asked | {"message": _certificate, "released_at": "2026-02-02"}
    decided = {"message": _signed(_APPROVAL), "expires_at": _LATER, "state": "given"}
    decided["signer"] = OFFICER.public_key.thumbprint
    standing = {"message": _signed(_AUTHORISATION), "expires_at": _LATER, "state": "in-force"}
    done = asked | {"kind": "published", "state": "done", "failure": None, "shadow": ""}
    source = {"source": SOURCE, "month": "2026-07"}
    told = {"receiver": SOURCE, "event": "release.done", "state": "told"}
    held = {"until_revision": gateway.CURRENT}
    sent = {"message": _signed(_NOTICE), "generation": lambda number: number}
    declared = {
        "name": lambda number: f"source-{number}", "state": "active", "formats": "", "unit": "",
        "meter_points": lambda number: f"M{number:05}-", "stamps": "start", "timezone": "",
        "webhook": "",
    }  # fmt: skip
    return (
        PagedList("authority", "/gateway-key-sets", "operator",
                  ((authority.KeySetRow, {"message": _signed(_NOTICE), "state": "in-force"}),)),
        PagedList("authority", "/releases", "billing", ((authority.ReleaseRow, released),)),
        PagedList("authority", "/shadow-previews", "billing",
                  ((authority.PreviewRow, {"message": "x" * 5_000}),)),
        PagedList("authority", "/approvals", "operator",
                  ((authority.ApprovalRow, decided),
                   (authority.SubjectRow, {"text": _SUBJECT, "state": "released"}))),
        PagedList("authority", "/authorisations", "operator",
                  ((authority.AuthorisationRow, standing),)),
        PagedList("authority", "/v1/receivers/{name}/notices", "operator",
                  ((authority.EventNoticeRow, told),)),
        PagedList("authority", "/v1/receivers", "operator"),
        PagedList("authority", "/approvers", "operator"),
        PagedList("platform", "/runs", "billing", ((platform.RunRow, done),)),
        PagedList("platform", "/release-requests", "authority",
                  ((platform.ReleaseRequestRow,
                    asked | {"message": "x" * 50_000, "state": "waiting", "closing": None}),)),
        PagedList("platform", "/key-sets", "operator", ((platform.KeySetRow, sent),)),
        PagedList("gateway", "/v1/sources", "operator", ((gateway.SourceRow, declared),)),
        PagedList("gateway", "/v1/sources/{name}/gaps", "operator"),
        PagedList("gateway", "/v1/receivers", "operator"),
        PagedList("gateway", "/v1/correction-orders", "operator",
                  ((gateway.CorrectionOrderRow, operator | {"state": "applied"}),)),
        PagedList("gateway", "/v1/sources/{name}/batches", "operator",
                  ((gateway.BatchRow, source | {"message": "x" * 1_500}),)),
        PagedList("gateway", "/v1/waiting-batches", "operator",
                  ((gateway.QueuedBatchRow, {"state": "refused", "refusal": _REFUSAL}),),
                  query="?state=refused"),
        PagedList("gateway", "/v1/sources/{name}/batches/{batch_id}/rejected", "operator"),
        PagedList("gateway", "/v1/sources/{name}/notices", "operator",
                  ((gateway.NoticeRow, source | {"state": "told"}),)),
        PagedList("gateway", "/v1/receivers/{name}/notices", "operator",
                  ((gateway.EventNoticeRow, told),)),
        PagedList("gateway", "/v1/books/imports/{digest}/differences", "operator"),
        PagedList("gateway", "/v1/books/meter-points", "operator", ((gateway.HoldingRow, held),)),
        PagedList("gateway", "/v1/exceptions", "operator",
                  ((gateway.ExceptionRow, operator | {"state": "open", "due": ""}),)),
        PagedList("gateway", "/v1/edits", "operator",
                  ((gateway.EditRow, operator | {"kind": "replacement", "state": "in-force"}),)),
    )  # fmt: skip


LISTS: Final = _lists()
"""All of them; a test compares them with what the services say of themselves."""
