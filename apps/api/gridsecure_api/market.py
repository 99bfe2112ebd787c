"""The data market's service (数据市场): signed documents in, their rules held, the portal out.

It holds no reading, no ciphertext and no key but its own. No route here decrypts anything, and
nothing imported here could.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from sqlmodel import Session

from gridsecure.analyst.certificates import verify_certificate
from gridsecure.analyst.releases import pin_authority
from gridsecure.circulation.agreed_releases import StandingAgreement
from gridsecure.circulation.documents import REGISTRAR, Member
from gridsecure.circulation.kinds import kind_named
from gridsecure.circulation.trade import Agreement, Offer, OfferRequest
from gridsecure.circulation.uses import MONTH
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.errors import ConflictError
from gridsecure.market import intake, metering, public_pages, shelf, trading
from gridsecure.market.tables import SCHEMA, DocumentRow, PolicyRow
from gridsecure.market.usage import BOOK
from gridsecure.market.zone import MarketZone
from gridsecure.messages import Signed, sign_message
from gridsecure.policy.decisions import Change
from gridsecure.policy.language import Policy
from gridsecure.policy.levels import Level
from gridsecure.policy.signed_policies import SignedPolicy
from gridsecure.store import evidence
from gridsecure.store.database import open_database, read_session
from gridsecure.store.held_policies import PolicyShelf
from gridsecure.store.schema import migrate
from gridsecure.wire.market import AgreementDrafted, DocumentTold, PublicTold
from gridsecure.wire.services import MonthUsage, Usage
from gridsecure.zone_keys import load_signing_key, make_zone_folder
from gridsecure_api import market_workshop, policies
from gridsecure_api.approver_settings import read_approvers
from gridsecure_api.deps import Clock, require, utc_now
from gridsecure_api.lists import KEPT_ANSWERS, PAGED, Paging, answer_page
from gridsecure_api.log_pages import LOG, open_log
from gridsecure_api.market_state import DocumentReader, MarketState, Reader, State
from gridsecure_api.own_build import open_build
from gridsecure_api.readiness import database_check, disk_check
from gridsecure_api.serving import ServiceDescription, binary, new_app
from gridsecure_api.settings import MarketSettings, key_registry, public_key
from gridsecure_api.start import start_app

_HTML: Final = "text/html; charset=utf-8"
_CSS: Final = "text/css; charset=utf-8"
_HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_LISTED: Final = TypeAdapter(list[DocumentTold])

DESCRIPTION: Final = ServiceDescription(
    guests={"/": frozenset({"member"})},  # every document is shown by whose it is
    zone="market",
    title="GridSecure data market",
    text="Keeps signed documents of organisations: records and rights, products and their steps, "
    "offers, needs, agreements, metered uses and settlements. It holds no reading, no ciphertext "
    "and no key but its own. /portal shows everybody what was published.",
    public_paths=frozenset({"/portal", "/portal.css", "/public"}),
)


class SettlementWanted(BaseModel):
    """Which month of which agreement is settled."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    agreement: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    month: Annotated[str, Field(pattern=MONTH)]


class DraftWanted(BaseModel):
    """Which offer and which request for it an agreement is drawn up of."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    offer: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    request: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


Bringer = Annotated[TokenClaims, Depends(require("member", "operator"))]
Month = Annotated[str, Query(pattern=MONTH, description="A month of UTC, as 2026-11.")]
Language = Annotated[Literal["zh", "en"], Query(description="Of the page.")]


router = APIRouter()


@router.post("/documents", tags=["documents"])
def take_document(envelope: Signed, claims: Bringer, state: State) -> DocumentTold:
    """Take in a signed document of any kind; the same again changes nothing.

    A member brings what its own organisation signed; the market's staff brings what the
    registration office signed, or anybody.
    """
    sender = intake.Sender(claims.subject, is_staff="operator" in claims.roles)
    row = intake.take_in(state.zone, envelope, sender=sender, now=state.clock())
    with read_session(state.zone.engine) as session:
        return _told(session, row, None)


@router.get("/documents", tags=["documents"], response_model=list[DocumentTold], responses=PAGED)
async def list_documents(
    request: Request,
    reader: DocumentReader,
    state: State,
    asked: Paging,
    kind: Annotated[str, Query(max_length=64)],
    side: shelf.Side = "ours",
) -> Response:
    """Documents of a kind, oldest first, page by page: one's own, others' to one, or published.

    A regulator's `everybody` has all of them.
    """
    name = kind_named(kind).kind

    def read(session: Session) -> tuple[list[DocumentTold], int | None]:
        rows, after = shelf.list_documents(session, name, reader=reader, side=side, asked=asked)
        return _all_told(session, rows, reader), after

    def revision(session: Session) -> str:
        head = evidence.find_head(session)  # every change is an entry
        return head.hash if head else ""

    return await answer_page(
        request,
        state.zone.engine,
        revision=revision,
        read=read,
        write=_LISTED.dump_json,
        # One organisation is never answered with another's.
        scope=(reader.organisation, *sorted(reader.roles)),
    )


@router.get("/documents/{digest}", tags=["documents"])
def read_document(digest: str, reader: DocumentReader, state: State) -> DocumentTold:
    """A document that concerns whoever asks, or is published; there is no other for them."""
    with read_session(state.zone.engine) as session:
        return _told(session, shelf.load_readable(session, digest, reader), reader)


@router.post("/agreement-drafts", tags=["agreements"])
def draft_agreement(wanted: DraftWanted, reader: Reader, state: State) -> AgreementDrafted:
    """The agreement that an offer and a request lead to, under the policy in force; kept nowhere.

    Whoever may read both may draw it up. What is signed is this very text.
    """
    policy = state.zone.policy(state.clock())
    if policy is None:
        raise ConflictError(
            "No release policy is in force at the market.",
            reason="agreement.policy",
            remedy="Wait for the policy's day, or put one in force (gridsecure policy put).",
        )
    with read_session(state.zone.engine) as session:
        offer = shelf.load_readable(session, wanted.offer, reader, kind=Offer.kind)
        asked = shelf.load_readable(session, wanted.request, reader, kind=OfferRequest.kind)
        made = trading.draft_agreement(session, offer, asked, policy=policy)
    return AgreementDrafted(text=made.model_dump_json())


@router.get("/agreements/{digest}/standing", tags=["agreements"])
def tell_standing(digest: str, reader: Reader, state: State) -> Signed:
    """The market's signed word that an agreement stands, for the key authority."""
    now = state.clock()
    with read_session(state.zone.engine) as session:
        row = shelf.load_readable(session, digest, reader, kind=Agreement.kind)
        trading.check_in_force(row, state=trading.CONCLUDED)
    said = StandingAgreement(agreement=digest, at=now.isoformat())
    return sign_message(said, key=state.zone.signing_key)


@router.post("/settlements", tags=["settlements"])
def settle_month(wanted: SettlementWanted, reader: Reader, state: State) -> DocumentTold:
    """The settlement statement of an agreement's month that is over; the same whoever asks."""
    row = metering.issue_statement(
        state.zone, wanted.agreement, month=wanted.month, reader=reader, now=state.clock()
    )
    with read_session(state.zone.engine) as session:
        return _told(session, row, reader)


@router.get("/usage", tags=["evidence"])
def read_usage(month: Month, reader: Reader, state: State) -> MonthUsage:
    """What one's own organisation did in a month, by kind of document; a regulator's has all."""
    with read_session(state.zone.engine) as session:
        found = BOOK.read_month(session, month)
    used = [
        Usage(party=one.party, measure=one.measure, amount=one.amount)
        for one in found
        if one.party == reader.organisation or "regulator" in reader.roles
    ]
    return MonthUsage(month=month, used=used)


@router.get("/public", tags=["portal"], response_model=PublicTold, responses=KEPT_ANSWERS)
async def read_public(request: Request, state: State) -> Response:
    """What was published: products, offers, needs, released totals. Public.

    It has nobody's name, and of totals no withheld cell. Members read all of it as signed.
    """

    def write(rows: public_pages.PublicRows) -> bytes:
        return public_pages.tell_public(rows).model_dump_json().encode()

    return await _answer_public(
        request, state, write=write, media_type="application/json", language=""
    )


@router.get(
    "/portal",
    tags=["portal"],
    response_class=Response,
    responses={200: KEPT_ANSWERS[200] | binary("text/html"), 304: KEPT_ANSWERS[304]},
)
async def read_portal(request: Request, state: State, language: Language = "zh") -> Response:
    """The public portal (互联网公开门户), a page without scripts. Public."""

    def write(rows: public_pages.PublicRows) -> bytes:
        return public_pages.write_page(rows, language=language).encode()

    return await _answer_public(request, state, write=write, media_type=_HTML, language=language)


async def _answer_public(
    request: Request,
    state: MarketState,
    *,
    write: Callable[[public_pages.PublicRows], bytes],
    media_type: str,
    language: str,
) -> Response:
    """A public page, made once for each change of the market and each minute: offers end.

    Whatever else a stranger's address asks for is left out, or each would have the page made anew.
    """
    now = state.clock()
    asked = Request({**request.scope, "query_string": f"language={language}".encode()})

    def revision(session: Session) -> tuple[str, str]:
        head = evidence.find_head(session)
        return (head.hash if head else "", f"{now:%Y%m%d%H%M}")

    answer = await answer_page(
        asked,
        state.zone.engine,
        revision=revision,
        read=lambda session: (public_pages.read_public(session, now=now), None),
        write=write,
    )
    answer.headers.update(_HEADERS)
    if answer.status_code == 200:
        answer.headers["Content-Type"] = media_type
    return answer


@router.get(
    "/portal.css", tags=["portal"], response_class=Response, responses={200: binary("text/css")}
)
def read_style() -> Response:
    """The portal's style. Public."""
    return Response(public_pages.stylesheet(), media_type=_CSS, headers=_HEADERS)


def _told(session: Session, row: DocumentRow, reader: Member | None) -> DocumentTold:
    (told,) = _all_told(session, [row], reader)
    return told


def _all_told(
    session: Session, rows: Sequence[DocumentRow], reader: Member | None
) -> list[DocumentTold]:
    uses = {} if reader is None else shelf.read_uses(session, rows, reader)
    return [
        DocumentTold(
            digest=row.digest,
            kind=row.kind,
            name=row.name,
            organisation=row.organisation,
            counterpart=row.counterpart,
            state=row.state,
            at=row.at.isoformat(),
            uses=uses.get(row.digest),
            signed=trading.read_signatures(session, row.digest)
            if row.kind == Agreement.kind
            else [row.envelope],
        )
        for row in rows
    ]


def open_zone(
    settings: MarketSettings, *, now: datetime, level: Level | None = None
) -> tuple[MarketZone, PolicyShelf]:
    """Open the zone's folder; its signing key is made at first start.

    Args:
        level: What its policies are held to.

    Raises:
        StorageError: The folder or database cannot be used.
        InvalidMessageError: A key is not a point of the curve.
        GridSecureError: The policy may not hold, as `PolicyShelf.open`.
    """
    folder = make_zone_folder(settings.folder)
    registrar = public_key(settings.registrar_public_key)
    engine = open_database(settings.database_url, connections=settings.connections)
    migrate(engine, SCHEMA)
    held = PolicyShelf(engine, PolicyRow, actor="market", level=level)
    held.open(settings.policy, approvers=read_approvers(settings.approvers), now=now)
    zone = MarketZone(
        engine=engine,
        signing_key=load_signing_key(folder),
        registrar=Member(REGISTRAR, REGISTRAR, registrar, frozenset()),
        authority=key_registry(settings.authority_public_key),
        verify=partial(verify_certificate, authority=pin_authority(settings.authority_public_key)),
        policy=lambda at: _in_force(held, at),
    )
    return zone, held


def _in_force(held: PolicyShelf, at: datetime) -> Policy | None:
    found = held.stand(now=at).in_force
    return None if found is None else found.policy


def create_market_app(settings: MarketSettings, *, clock: Clock = utc_now) -> FastAPI:
    """The market's service.

    Raises:
        GridSecureError: It must not start: engines, folder or settings are not sound.
    """
    build = open_build(settings, whose="the market")
    zone, held = open_zone(settings, now=clock(), level=build.level)
    approvers = read_approvers(settings.approvers)

    def put(document: SignedPolicy, by: str, now: datetime) -> list[Change]:
        return held.hold(document, approvers=approvers, now=now, by=by)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        zone.engine.dispose()

    log = open_log(zone.engine, settings.folder, name="market", key=zone.signing_key)
    app = new_app(
        replace(
            DESCRIPTION,
            logs={LOG: log},
            tenant=settings.tenant,
            checks=(database_check(zone.engine), disk_check(settings.folder)),
            policy=policies.state_policy(held, clock),
        ),
        identity_key=public_key(settings.identity_public_key),
        max_body_bytes=settings.max_body_bytes,
        clock=clock,
        build=build,
        lifespan=lifespan,
    )
    app.state.market = MarketState(zone, clock)
    app.state.policies = policies.PolicyDesk(held, put, clock)
    app.include_router(router)
    app.include_router(market_workshop.router)
    app.include_router(policies.router)
    return app


def main_app() -> FastAPI:
    """The market as the environment describes it, for `uvicorn --factory`."""
    return start_app(create_market_app, MarketSettings)
