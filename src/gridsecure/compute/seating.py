"""Whose rosters and uploads the platform takes in: those the identity authority vouches for.

There is no list of gateways here. A roster comes with its seats (`credentials.seats`), which show
the gateway's pseudonym and key; the first key of a pseudonym is kept, and no other accepted. What
was revoked since then stands in the identity authority's deny list.
"""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Session, col, select

from gridsecure.compute.occupancy import is_billed
from gridsecure.compute.tables import DenyListRow, GatewayRow, HolderPinRow
from gridsecure.compute.zone import PlatformZone
from gridsecure.credentials.presentations import Domain
from gridsecure.credentials.seats import (
    SeatedRoster,
    billing_domain,
    check_facts,
    check_period,
    verify_seats,
)
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.errors import (
    AccessDeniedError,
    ConflictError,
    InputError,
    UnknownMeterError,
)
from gridsecure.identity_messages import DenyList
from gridsecure.messages import RosterManifest, Signed, UploadManifest, open_message
from gridsecure.store import evidence
from gridsecure.store.database import write_session
from gridsecure.store.rows import find, keep, keep_all


def seat_roster(
    zone: PlatformZone, envelope: Signed, *, seats: bytes, at: datetime
) -> RosterManifest:
    """Check a roster with its seats, and keep the seats and the gateway's key.

    Args:
        envelope: The roster as signed.

    Raises:
        AuthenticityError: As `verify_seats`; another key than the gateway's pseudonym had
            (`authenticity.holder-pin`).
        InputError: As `verify_seats`; not in the billing domain (`identity.domain`); a pseudonym
            that was revoked (`identity.revoked`).
    """
    seated = verify_seats(envelope, seats=seats, identity=zone.identity)
    if seated.roster.domain != billing_domain(Domain.parse(seated.roster.domain).period).text:
        raise InputError(
            "A roster is in another domain than billing.",
            reason="identity.domain",
            remedy="Register the meter points in the billing domain of the year.",
        )
    check_facts(seated.roster)
    with write_session(zone.engine) as session:
        refuse_revoked_gateway(session, seated.gateway_subject)
        if not is_billed(session, seated.roster):
            refuse_revoked(session, seated.roster)
        _pin(session, seated, at=at)
    zone.objects.put(seats)
    return seated.roster


def find_gateway(session: Session, thumbprint: str) -> tuple[Sm2PublicKey, str] | None:
    """A seated gateway's key and pseudonym, or None."""
    found = find(session, GatewayRow, thumbprint=thumbprint)
    return None if found is None else (Sm2PublicKey(found.point), found.subject)


def refuse_revoked_gateway(session: Session, subject: str) -> None:
    """Refuse a gateway whose pseudonym was revoked.

    Raises:
        UnknownMeterError: It was (`authenticity.registration`).
    """
    if subject in list_denied_subjects(session):
        raise UnknownMeterError(
            "The gateway was revoked or is not registered.", reason="authenticity.registration"
        )


def refuse_revoked(session: Session, roster: RosterManifest) -> None:
    """Refuse a roster that seats a revoked pseudonym.

    Raises:
        InputError: The roster must be built without it (`identity.revoked`).
    """
    count = len(list_denied_subjects(session).intersection(roster.pseudonyms))
    if count:
        raise InputError(
            f"{count} pseudonyms of the roster were revoked.",
            reason="identity.revoked",
            remedy="Fetch the registrations anew and build the roster without them.",
        )


def check_year(roster: RosterManifest, manifest: UploadManifest, *, timezone: str) -> None:
    """Refuse an upload of another year than its roster's pseudonyms are for.

    Args:
        timezone: Of the roster's tariff [IANA name].

    Raises:
        InputError: It is, or its period is not told in local time (`identity.period`).
    """
    domain = check_period(
        manifest.start, manifest.end, timezone=timezone, cycle_day=roster.cycle_day
    )
    if roster.domain != domain.text:
        raise InputError(
            "An upload and its roster's pseudonyms are for different years.",
            reason="identity.period",
            remedy="Register the meter points for the upload's year and build a roster for it.",
        )


def install_deny_list(zone: PlatformZone, envelope: Signed, *, at: datetime) -> DenyList:
    """Put a deny list in force; an earlier one changes nothing.

    Args:
        envelope: As the identity authority signed it.

    Returns:
        The list in force.

    Raises:
        AuthenticityError: Not signed by the identity authority.
        InvalidMessageError: Signed, but of another shape.
        ConflictError: Two lists under one number that differ (`conflict.deny-list`).
    """
    given = open_message(envelope, expect=DenyList, trusted=zone.identity)
    with write_session(zone.engine) as session:
        known = _deny_list(session)
        if known is not None and known.sequence >= given.sequence:
            _refuse_fork(known, given)
            return known
        digest, body = envelope.digest, envelope.body
        keep(session, DenyListRow(sequence=given.sequence, digest=digest, body=body, at=at))
        detail: dict[str, evidence.JSON] = {"sequence": given.sequence, "digest": digest}
        evidence.append(
            session, at=at, actor=envelope.signer, action="deny-list.received", detail=detail
        )
    return given


def list_denied_subjects(session: Session) -> frozenset[str]:
    """The pseudonyms in the deny list in force."""
    known = _deny_list(session)
    return frozenset(known.subjects) if known else frozenset()


def _deny_list(session: Session) -> DenyList | None:
    lists = select(DenyListRow.body).order_by(col(DenyListRow.sequence).desc())
    body = session.exec(lists.limit(1)).first()
    return None if body is None else DenyList.parse(body)


def _refuse_fork(known: DenyList, given: DenyList) -> None:
    if known.sequence == given.sequence and known.subjects != given.subjects:
        raise ConflictError(
            "The identity authority signed two different deny lists with one number.",
            reason="conflict.deny-list",
            remedy="Keep both and compare its evidence log with a witness.",
        )


def _pin(session: Session, seated: SeatedRoster, *, at: datetime) -> None:
    """Keep the keys of the gateway and of every holder under their pseudonyms; the first stay.

    And the gateway's pseudonym of its key: under a second one it could go on when the first is
    revoked.
    """
    key, subject = seated.gateway, seated.gateway_subject
    keys = (*seated.holders, (subject, key.thumbprint))
    pins = [
        HolderPinRow.draft(subject=who, thumbprint=thumbprint, at=at) for who, thumbprint in keys
    ]
    gateway = GatewayRow(thumbprint=key.thumbprint, subject=subject, point=key.point, at=at)
    try:
        keep_all(session, pins)
        keep(session, gateway)
    except ConflictError as changed:
        raise AccessDeniedError(
            "A pseudonym arrived with a different key.",
            reason="authenticity.holder-pin",
            remedy="Compare the token service's log; a key is never replaced silently.",
        ) from changed
