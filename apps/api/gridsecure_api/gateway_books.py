"""Routes of the gateway for its books: accounts, meters and contracts of meter points, by day.

The gateway knows accounts by number. It has no names and no addresses, and takes none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Set
from datetime import date
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import TypeAdapter
from sqlmodel import Session

from gridsecure.crypto.tokens import TokenClaims
from gridsecure.errors import NotFoundError
from gridsecure.gateway.books.facts import KINDS, OPEN, Fact, Kind, MeterPoint
from gridsecure.gateway.books.imports import (
    Comparison,
    Difference,
    Lines,
    apply_import,
    compare_held,
    hand_in,
    read_import,
    require_held,
)
from gridsecure.gateway.books.lines import LONGEST_ID
from gridsecure.gateway.books.register import (
    fact_of,
    list_holdings,
    read_history,
    revision_in,
)
from gridsecure.gateway.month_files import known_tariffs
from gridsecure.gateway.tables import CURRENT, BooksRevisionRow, DatedRow, HoldingRow
from gridsecure.wire.gateway import (
    BooksChanged,
    BooksComparison,
    BooksDifference,
    BooksNotice,
    BooksRefusal,
    DatedFact,
    KeptFact,
    MeterPointBooks,
    MeterPointHeld,
)
from gridsecure_api.deps import RawBody, require
from gridsecure_api.gateway_readings import OPERATOR, In, Intake
from gridsecure_api.lists import PAGED, Paging, answer_page

router = APIRouter(prefix="/v1/books", tags=["books"])

Operator = Annotated[TokenClaims, Depends(require(OPERATOR))]
_operators = [Depends(require(OPERATOR))]

_MOST_NOTICES: Final = 20
_DIFFERENCES: Final = TypeAdapter(list[BooksDifference])
_EXAMPLE: Final = (
    "meter_point_id,valid_from,account,meter,multiplier,first_face_kwh,zone,customer_class,tariff_id\n"
    "MP-0001,2026-07-15,4403001234,M-77,1,0.00,futian,household,shenzhen-residential-2026\n"
)
_IMPORT: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "text/csv": {
                "schema": {"type": "string", "format": "binary"},
                "example": _EXAMPLE,
            },
            "application/x-ndjson": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@router.post("/imports", dependencies=_operators, openapi_extra=_IMPORT)
def post_import(
    body: RawBody,
    intake: In,
    valid_from: Annotated[
        date | None, Query(description="First day of lines that state no day.")
    ] = None,
) -> BooksComparison:
    """Compare an import with the books. Nothing changes; `digest` is what applies it."""
    return _comparison(intake, hand_in(intake.zone, body, valid_from=valid_from))


@router.get("/imports/{digest}", dependencies=_operators)
def get_import(digest: str, intake: In) -> BooksComparison:
    """An import that is held, beside the books as they are."""
    return _comparison(intake, read_import(intake.zone, digest))


def _require_held(digest: str, intake: In) -> None:
    require_held(intake.zone, digest)


@router.get(
    "/imports/{digest}/differences",
    dependencies=[*_operators, Depends(_require_held)],
    response_model=list[BooksDifference],
    responses=PAGED,
)
async def read_differences(request: Request, digest: str, intake: In, asked: Paging) -> Response:
    """All that an import would change, in the order of its lines, page by page."""
    end = asked.after + asked.limit

    def read(session: Session) -> tuple[Comparison, int | None]:
        shown = range(asked.after, end)
        found = compare_held(session, intake.zone, digest, shown=shown)
        change = found.change
        return found, end if change.added + change.changed + change.ended > end else None

    return await answer_page(
        request,
        intake.zone.engine,
        revision=revision_in,
        read=read,
        write=lambda found: _DIFFERENCES.dump_json([_difference(one) for one in found.examples]),
    )


@router.post("/imports/{digest}/apply")
def post_apply(digest: str, intake: In, claims: Operator) -> BooksChanged:
    """Apply an import as it was compared, whole or not at all; repeating is harmless."""
    made = apply_import(intake.zone, digest, person=claims.subject, at=intake.clock())
    return BooksChanged(
        revision=made.number,
        person=made.person,
        at=made.at.isoformat(),
        added=made.added,
        changed=made.changed,
        ended=made.ended,
    )


@router.get(
    "/meter-points",
    dependencies=_operators,
    response_model=list[MeterPointHeld],
    responses=PAGED,
)
async def read_meter_points(request: Request, intake: In, asked: Paging) -> Response:
    """Who holds each meter point and held it before, in the order of entry, page by page."""
    return await answer_page(
        request,
        intake.zone.engine,
        revision=revision_in,
        read=lambda session: list_holdings(session, asked),
        write=lambda rows: json.dumps([_held(row) for row in rows]).encode(),
    )


@router.get("/history", dependencies=_operators)
def read_meter_point(
    intake: In, meter_point_id: Annotated[str, Query(max_length=LONGEST_ID)]
) -> MeterPointBooks:
    """Everything the books ever said of a meter point, and who said it when."""
    rows, made = read_history(intake.zone, meter_point_id)
    if not any(rows.values()):
        raise NotFoundError(
            "The books have no meter point of this id.",
            reason="not-found.meter-point",
            remedy="Check the id, or import what holds of it.",
        )
    facts = [_kept(row, kind, made[row.revision]) for kind, own in rows.items() for row in own]
    return MeterPointBooks(meter_point_id=meter_point_id, facts=facts)


def _comparison(intake: Intake, found: Comparison) -> BooksComparison:
    change = found.change
    return BooksComparison(
        digest=change.digest,
        revision=change.base,
        lines=found.lines,
        added=change.added,
        changed=change.changed,
        ended=change.ended,
        unchanged=found.unchanged,
        refused=found.refused,
        differences=[_difference(one) for one in found.examples],
        refusals=[
            BooksRefusal(
                line=one.line,
                meter_point_id=one.meter_point_id,
                reason=one.reason,
                message=one.message,
            )
            for one in found.refusals
        ],
        notices=list(_notices(found, known_tariffs(intake.zone))),
    )


def _notices(found: Comparison, known: Set[str]) -> Iterator[BooksNotice]:
    """What an import says that nobody can be billed by, or that mostly means something else.

    Args:
        known: Tariffs that a month can be billed by.
    """
    unknown = [one for one in found.tariffs.items() if one[0] not in known]
    for tariff, lines in unknown[:_MOST_NOTICES]:
        yield _notice(
            lines,
            code="unknown-tariff",
            message=f"No tariff {tariff!r} is in the catalogue, and none was handed in with a"
            " month: correct the id, or hand the tariff in with the month's files.",
        )
    if found.naming is not None:
        yield _notice(
            found.naming,
            code="names-holder",
            message="The books have no number of the account that holds the meter point, so the"
            " line gives it this one and changes its contract. If somebody else moves in, let the"
            " one before move out first: a line with its meter_point_id and valid_to.",
        )


def _notice(lines: Lines, **said: Any) -> BooksNotice:
    return BooksNotice(
        count=lines.count, line=lines.line, meter_point_id=lines.meter_point_id, **said
    )


def _difference(one: Difference) -> BooksDifference:
    return BooksDifference(
        meter_point_id=one.meter_point_id,
        what=one.what,  # type: ignore[arg-type] # what is unchanged is no example
        before=_facts(one.before),
        after=_facts(one.after),
    )


def _facts(books: MeterPoint) -> list[DatedFact]:
    return [DatedFact(**_dated(fact, kind)) for kind in KINDS for fact in books.of(kind)]


def _dated(fact: Fact, kind: Kind) -> dict[str, Any]:
    return {
        "kind": kind,
        "valid_from": fact.valid_from.isoformat(),
        "valid_to": _end(fact.valid_to),
        "values": dict(fact.values),
    }


def _kept(row: DatedRow, kind: Kind, made: BooksRevisionRow) -> KeptFact:
    return KeptFact(
        **_dated(fact_of(row, kind), kind),
        revision=row.revision,
        until_revision=None if row.until_revision == CURRENT else row.until_revision,
        entered_by=made.person,
        entered_at=made.at.isoformat(),
    )


def _held(row: HoldingRow) -> dict[str, Any]:
    return {
        "meter_point_id": row.meter_point_id,
        "account": row.account,
        "holder": row.holder,
        "valid_from": row.valid_from.isoformat(),
        "valid_to": _end(row.valid_to),
    }


def _end(day: date) -> str | None:
    return None if day == OPEN else day.isoformat()
