"""The offices' side of the identity service: openings, revocations, re-keys, and the log of it all.

Two roles come here, each for one office: the custodian acts for the utility and the regulator for
itself. An office can act as no other, and whoever has both roles as none: dual control would be
one person. What an office must check and compute itself, it does with `gridsecure.identity.offices`
on its own machine; its half of the opening key never comes here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from apps.api.deps import Clock, require
from gridsecure.credentials.opening import Opener
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.errors import AccessDeniedError
from gridsecure.identity.person_searches import SearchState
from gridsecure.identity.rekeying import rekey
from gridsecure.identity.revoking import block, revoke
from gridsecure.identity.warrant_desk import Warrant, WarrantDesk
from gridsecure.identity_messages import LogEntry, SearchAnswer, SearchDocument, SearchWork
from gridsecure.messages import Signed
from gridsecure.store.evidence import EvidenceEntry

OFFICES: Final[Mapping[str, Opener]] = {"custodian": "utility", "regulator": "regulator"}
"""Whose office a role acts for."""

SUBJECT: Final = r"^[0-9a-f]{64}$"


@dataclass(frozen=True, slots=True)
class WarrantService:
    """What these routes need, as `app.state.warrants`.

    Args:
        desk: Where shares and answers come together.
        clock: Tells the time.
        offices: Both offices' keys, which sign re-key orders.
    """

    desk: WarrantDesk
    clock: Clock
    offices: Mapping[Opener, Sm2PublicKey]


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


class WarrantShown(_Body):
    """An order to open, what an office needs for its share, and who has not given one."""

    entry: LogEntry
    subject: str
    escrow: str
    reference: str
    waiting_for: list[Opener]
    opened: int


class AccountShown(_Body):
    """What the utility's books say."""

    meter_point_id: str
    name: str
    address: str


class OpeningShown(_Body):
    """Who a pseudonym is."""

    subject: str
    identity: str
    account: AccountShown | None
    expires_at: str


class Revoked(_Body):
    """How many pseudonyms are revoked by this order and were active before."""

    revoked: int


class SearchShown(_Body):
    """A search and where it stands; `found` was revoked."""

    entry: LogEntry
    document: SearchDocument
    tested: int
    total: int
    found: list[str]
    waiting_for: list[Opener]


class WorkShown(_Body):
    """The next batch that waits for the office that asks, if one does."""

    work: SearchWork | None


class Blocked(_Body):
    """Whether the identity was not blocked before."""

    blocked: bool


class EvidenceShown(_Body):
    """Entries of the log, in order; ask again after the last one until there are none."""

    entries: list[LogEntry]


def _service(request: Request) -> WarrantService:
    service: WarrantService = request.app.state.warrants
    return service


def _office(claims: Annotated[TokenClaims, Depends(require(*OFFICES))]) -> Opener:
    offices = [OFFICES[role] for role in claims.roles if role in OFFICES]
    if len(offices) != 1:
        raise AccessDeniedError("One person would be both offices.", reason="authenticity.offices")
    return offices[0]


Service = Annotated[WarrantService, Depends(_service)]
Office = Annotated[Opener, Depends(_office)]

router = APIRouter()


@router.post("/warrants", tags=["warrants"])
def order_opening(order: SubjectOrder, service: Service, _office: Office) -> WarrantShown:
    """Order to open one pseudonym. The order is in the log from now on."""
    warrant = service.desk.order(order.subject, reference=order.reference, now=service.clock())
    return _warrant(warrant)


@router.get("/warrants", tags=["warrants"])
def list_warrants(service: Service, _office: Office) -> list[WarrantShown]:
    """Every order to open."""
    return [_warrant(warrant) for warrant in service.desk.warrants(now=service.clock())]


@router.get("/warrants/{entry}", tags=["warrants"])
def read_warrant(entry: str, service: Service, _office: Office) -> WarrantShown:
    """One order, by the hash of its log entry."""
    return _warrant(service.desk.warrant(entry, now=service.clock()))


@router.post("/warrants/{entry}/shares", tags=["warrants"])
def give_share(entry: str, given: ShareGiven, service: Service, office: Office) -> WarrantShown:
    """Give this office's share. The second one opens the escrow."""
    if given.opener != office:
        raise AccessDeniedError("An office gives its own share.", reason="authenticity.offices")
    warrant = service.desk.give_share(
        entry, opener=office, share=bytes.fromhex(given.share), now=service.clock()
    )
    return _warrant(warrant)


@router.get("/warrants/{entry}/result", tags=["warrants"])
def read_result(entry: str, service: Service, _office: Office) -> OpeningShown:
    """Who the pseudonym is, for a quarter of an hour after it was opened."""
    found = service.desk.result(entry, now=service.clock())
    account = found.account and AccountShown(
        meter_point_id=found.account.meter_point_id,
        name=found.account.name,
        address=found.account.address,
    )
    return OpeningShown(
        subject=found.subject,
        identity=found.identity,
        account=account,
        expires_at=found.expires_at.isoformat(),
    )


@router.post("/revocations", tags=["revocations"])
def revoke_subject(order: SubjectOrder, service: Service, _office: Office) -> Revoked:
    """Revoke a pseudonym at once, and its partner of the same presentation."""
    count = revoke(
        service.desk.registrations,
        subject=order.subject,
        reference=order.reference,
        now=service.clock(),
    )
    return Revoked(revoked=count)


@router.post("/person-searches", tags=["revocations"])
def order_search(order: SearchOrder, service: Service, _office: Office) -> SearchShown:
    """Order to find and revoke a person's pseudonyms; the identity is blocked at once."""
    state = service.desk.searches.order(
        order.identity,
        reference=order.reference,
        replaced=order.replaced,
        now=service.clock(),
    )
    return _search(state)


@router.get("/person-searches/{entry}", tags=["revocations"])
def read_search(entry: str, service: Service, _office: Office) -> SearchShown:
    """Where a search stands."""
    return _search(service.desk.searches.state(entry, now=service.clock()))


@router.get("/person-searches/{entry}/work", tags=["revocations"])
def read_work(entry: str, service: Service, office: Office) -> WorkShown:
    """The next batch that waits for this office."""
    work = service.desk.searches.work(entry, opener=office, now=service.clock())
    return WorkShown(work=work)


@router.post("/person-searches/{entry}/work", tags=["revocations"])
def take_work(entry: str, answer: SearchAnswer, service: Service, office: Office) -> SearchShown:
    """What this office did with a batch."""
    state = service.desk.searches.take(entry, opener=office, answer=answer, now=service.clock())
    return _search(state)


@router.post("/rekeys", tags=["revocations"])
def order_rekey(sent: RekeyOrders, service: Service, _office: Office) -> LogEntry:
    """Replace an identity's key, by both offices' order; the entry is in the log of enrolments."""
    desk = service.desk
    entry = rekey(
        desk.enrolments,
        sent.orders,
        offices=service.offices,
        suite=desk.suite,
        now=service.clock(),
    )
    return _entry(entry)


@router.post("/blocks", tags=["revocations"])
def block_identity(order: IdentityOrder, service: Service, _office: Office) -> Blocked:
    """Give an identity no new credential; those it has end with their period."""
    is_new = block(
        service.desk.enrolments,
        identity=order.identity,
        reference=order.reference,
        now=service.clock(),
    )
    return Blocked(blocked=is_new)


@router.get("/evidence", tags=["evidence"])
def read_evidence(
    service: Service, _office: Office, after: Annotated[int, Query(ge=-1)] = -1
) -> EvidenceShown:
    """Entries of the registrations' log behind an index, at most a thousand."""
    return EvidenceShown(entries=[_entry(entry) for entry in service.desk.log(after=after)])


def _warrant(warrant: Warrant) -> WarrantShown:
    return WarrantShown(
        entry=_entry(warrant.entry),
        subject=warrant.document.subject,
        escrow=warrant.document.escrow,
        reference=warrant.document.reference,
        waiting_for=list(warrant.waiting_for),
        opened=warrant.opened,
    )


def _search(state: SearchState) -> SearchShown:
    return SearchShown(
        entry=_entry(state.entry),
        document=state.document,
        tested=state.tested,
        total=state.total,
        found=list(state.found),
        waiting_for=list(state.waiting_for),
    )


def _entry(entry: EvidenceEntry) -> LogEntry:
    return LogEntry(
        index=entry.index,
        at=entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        actor=entry.actor,
        action=entry.action,
        detail=entry.detail,
        previous=entry.previous,
        hash=entry.hash,
    )
