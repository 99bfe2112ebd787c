"""The offices' side of the identity service: openings, revocations, re-keys, and the log of it all.

Two roles come here, each for one office: the custodian acts for the utility and the regulator for
itself. An office can act as no other, and a token with any other role beside its office's as none:
dual control would be one person, or somebody who reads bills would open pseudonyms. The log names
the officer of every act. What an office must check and compute itself, it does with
`gridsecure.offices.shares` on its own machine; its half of the opening key never comes here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gridsecure.credentials.opening import OFFICE_OF, Opener
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.errors import AccessDeniedError
from gridsecure.identity.enrolments.blocking import block
from gridsecure.identity.enrolments.books import Enrolled
from gridsecure.identity.enrolments.rekeying import rekey
from gridsecure.identity.office_desk import OfficeDesk
from gridsecure.identity.registrations.leaves import leaves_of
from gridsecure.identity.registrations.person_searches import SearchState
from gridsecure.identity.registrations.revoking import revoke
from gridsecure.identity.registrations.warrant_desk import Opening, Warrant
from gridsecure.identity_messages import LogEntry, SearchAnswer
from gridsecure.messages import Signed
from gridsecure.store.log_entries import log_after, shown_entry
from gridsecure.wire.identity import (
    AccountShown,
    Blocked,
    EvidenceShown,
    LeavesShown,
    OpeningShown,
    Revoked,
    SearchShown,
    WarrantShown,
    WorkShown,
)
from gridsecure_api.deps import Clock, require
from gridsecure_api.lists import KEPT_ANSWERS, answer_whole

SUBJECT: Final = r"^[0-9a-f]{64}$"


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class SubjectOrder(_Body):
    """To open or to revoke a pseudonym."""

    subject: str = Field(pattern=SUBJECT)
    reference: str = Field(min_length=1, max_length=256)


class IdentityOrder(_Body):
    """To block an identity."""

    identity: str = Field(min_length=1, max_length=256)
    reference: str = Field(min_length=1, max_length=256)


class SearchOrder(IdentityOrder):
    """To search for a person; or only for what it had before its key was replaced."""

    replaced: bool = False


class ShareGiven(_Body):
    """One office's share, in hexadecimal."""

    opener: Opener
    share: str = Field(pattern=r"^[0-9a-f]{194}$", repr=False)


class RekeyOrders(_Body):
    """The same order, signed by both offices."""

    orders: list[Signed] = Field(min_length=2, max_length=2)


def show_warrant(warrant: Warrant) -> WarrantShown:
    """An order as it is shown."""
    return WarrantShown(
        entry=shown_entry(warrant.entry),
        subject=warrant.document.subject,
        escrow=warrant.document.escrow,
        reference=warrant.document.reference,
        leaves=warrant.document.leaves,
        waiting_for=list(warrant.waiting_for),
        opened=warrant.opened,
    )


def show_search(state: SearchState) -> SearchShown:
    """A search as it is shown."""
    return SearchShown(
        entry=shown_entry(state.entry),
        document=state.document,
        tested=state.tested,
        total=state.total,
        found=list(state.found),
        waiting_for=list(state.waiting_for),
    )


def show_opening(found: Opening[Enrolled]) -> OpeningShown:
    """Who a pseudonym is, as it is shown."""
    account = None
    if found.person.account is not None:
        account = AccountShown(
            meter_point_id=found.person.account.meter_point_id,
            name=found.person.account.name,
            address=found.person.account.address,
        )
    return OpeningShown(
        subject=found.subject,
        identity=found.person.identity,
        account=account,
        expires_at=found.expires_at.isoformat(),
    )


@dataclass(frozen=True, slots=True)
class WarrantService:
    """What these routes need, as `app.state.warrants`.

    Args:
        desk: Where shares and answers come together.
        offices: Both offices' keys, which sign re-key orders.
    """

    desk: OfficeDesk
    clock: Clock
    offices: Mapping[Opener, Sm2PublicKey]


def _service(request: Request) -> WarrantService:
    service: WarrantService = request.app.state.warrants
    return service


@dataclass(frozen=True, slots=True)
class Officer:
    """Who asks.

    Args:
        name: The token's subject; the log names the officer.
    """

    office: Opener
    name: str


def _officer(claims: Annotated[TokenClaims, Depends(require(*OFFICE_OF))]) -> Officer:
    if len(set(claims.roles)) != 1:
        raise AccessDeniedError(
            "An officer must have the role of one office and no other.",
            reason="authenticity.offices",
        )
    return Officer(OFFICE_OF[claims.roles[0]], claims.subject)


Service = Annotated[WarrantService, Depends(_service)]
Office = Annotated[Officer, Depends(_officer)]

Action = Annotated[str, StringConstraints(max_length=64)]

router = APIRouter()


@router.post("/warrants", tags=["warrants"])
def order_opening(order: SubjectOrder, service: Service, office: Office) -> WarrantShown:
    """Order to open one pseudonym. The order is in the log from now on."""
    warrant = service.desk.openings.order(
        order.subject, reference=order.reference, now=service.clock(), actor=office.name
    )
    return show_warrant(warrant)


@router.get(
    "/warrants", tags=["warrants"], response_model=list[WarrantShown], responses=KEPT_ANSWERS
)
async def list_warrants(request: Request, service: Service, _office: Office) -> Response:
    """Every order to open."""

    def read() -> list[WarrantShown]:
        orders = service.desk.openings.warrants(now=service.clock())
        return [show_warrant(order) for order in orders]

    return await answer_whole(request, read)


@router.get("/warrants/{entry}", tags=["warrants"])
def read_warrant(entry: str, service: Service, _office: Office) -> WarrantShown:
    """One order, by the hash of its log entry."""
    return show_warrant(service.desk.openings.warrant(entry, now=service.clock()))


@router.post("/warrants/{entry}/shares", tags=["warrants"])
def give_share(entry: str, given: ShareGiven, service: Service, office: Office) -> WarrantShown:
    """Give this office's share. The second one opens the escrow."""
    if given.opener != office.office:
        raise AccessDeniedError("An office gives its own share.", reason="authenticity.offices")
    warrant = service.desk.openings.give_share(
        entry,
        opener=office.office,
        share=bytes.fromhex(given.share),
        now=service.clock(),
        actor=office.name,
    )
    return show_warrant(warrant)


@router.get("/warrants/{entry}/result", tags=["warrants"])
def read_result(entry: str, service: Service, _office: Office) -> OpeningShown:
    """Who the pseudonym is, for a quarter of an hour after it was opened."""
    found = service.desk.openings.result(entry, now=service.clock())
    return show_opening(found)


@router.post("/revocations", tags=["revocations"])
def revoke_subject(order: SubjectOrder, service: Service, office: Office) -> Revoked:
    """Revoke a pseudonym at once, and its partner of the same presentation."""
    count = revoke(
        service.desk.registrations,
        subject=order.subject,
        reference=order.reference,
        now=service.clock(),
        actor=office.name,
    )
    return Revoked(revoked=count)


@router.post("/person-searches", tags=["revocations"])
def order_search(order: SearchOrder, service: Service, office: Office) -> SearchShown:
    """Order to find and revoke a person's pseudonyms; the identity is blocked at once."""
    state = service.desk.order_search(
        order.identity,
        reference=order.reference,
        replaced=order.replaced,
        now=service.clock(),
        actor=office.name,
    )
    return show_search(state)


@router.get(
    "/person-searches",
    tags=["revocations"],
    response_model=list[SearchShown],
    responses=KEPT_ANSWERS,
)
async def list_searches(request: Request, service: Service, _office: Office) -> Response:
    """Searches in work, and those that ended within a quarter of an hour."""

    def read() -> list[SearchShown]:
        states = service.desk.searches.states(now=service.clock())
        return [show_search(state) for state in states]

    return await answer_whole(request, read)


@router.get("/person-searches/{entry}", tags=["revocations"])
def read_search(entry: str, service: Service, _office: Office) -> SearchShown:
    """Where a search stands."""
    return show_search(service.desk.searches.state(entry, now=service.clock()))


@router.get("/person-searches/{entry}/work", tags=["revocations"])
def read_work(entry: str, service: Service, office: Office) -> WorkShown:
    """The next batch that waits for this office."""
    work = service.desk.searches.work(entry, opener=office.office, now=service.clock())
    return WorkShown(work=work)


@router.post("/person-searches/{entry}/work", tags=["revocations"])
def take_work(entry: str, answer: SearchAnswer, service: Service, office: Office) -> SearchShown:
    """What this office did with a batch."""
    state = service.desk.searches.take(
        entry, opener=office.office, answer=answer, now=service.clock(), actor=office.name
    )
    return show_search(state)


@router.post("/rekeys", tags=["revocations"])
def order_rekey(sent: RekeyOrders, service: Service, office: Office) -> LogEntry:
    """Replace an identity's key, by both offices' order; the entry is in the log of enrolments."""
    desk = service.desk
    entry = rekey(
        desk.enrolments,
        sent.orders,
        offices=service.offices,
        suite=desk.suite,
        now=service.clock(),
        actor=office.name,
    )
    return shown_entry(entry)


@router.post("/blocks", tags=["revocations"])
def block_identity(order: IdentityOrder, service: Service, office: Office) -> Blocked:
    """Give an identity no new credential; those it has end with their period."""
    is_new = block(
        service.desk.enrolments,
        identity=order.identity,
        reference=order.reference,
        now=service.clock(),
        actor=office.name,
    )
    return Blocked(blocked=is_new)


@router.get("/evidence", tags=["evidence"])
def read_evidence(
    service: Service,
    _office: Office,
    log: Literal["registrations", "enrolments"] = "registrations",
    after: Annotated[int, Query(ge=-1)] = -1,
    action: Annotated[tuple[Action, ...], Query(max_length=16)] = (),
) -> EvidenceShown:
    """Entries of one of the two logs behind an index, at most a thousand.

    With `action`, once or several times, only those of these actions. Whoever checks the log reads
    all of them.
    """
    desk = service.desk
    engine = desk.registrations if log == "registrations" else desk.enrolments
    return EvidenceShown(entries=log_after(engine, after, actions=action))


@router.get("/evidence/{entry}/leaves", tags=["evidence"])
def read_leaves(entry: str, service: Service, _office: Office) -> LeavesShown:
    """What an entry of registrations commits to, by the entry's hash."""
    return LeavesShown(leaves=leaves_of(service.desk.registrations, entry))
