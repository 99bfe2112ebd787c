"""Whose rosters the checker believes, and under which names their bills are.

Nothing of the platform's word is used: seats are checked again from the identity authority's key.
They are checked once, because a roster serves a year and its seats are thousands of signatures.
What is remembered is the gateway that a roster of this digest speaks for, under these very keys of
the identity authority; the roster's own signature is verified every time. A pseudonym that was
revoked since is still billed for what was metered before; the platform takes in nothing new of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gridsecure.credentials.seats import check_period, verify_seats
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import (
    AuthenticityError,
    GridSecureError,
    InvalidMessageError,
    ReleaseRefusedError,
    UnknownMeterError,
)
from gridsecure.identity_messages import SettlementNames
from gridsecure.key_authority.checker.tables import SeatedRosterRow
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.key_authority.filing import SUBJECT, check_names
from gridsecure.messages import RosterManifest, Signed, open_message
from gridsecure.plans.transcript_inputs import (
    PlatformView,
    fetch_message,
    fetch_object,
    fetch_tariff,
)
from gridsecure.store.database import read_session
from gridsecure.store.rows import find, keep_once
from gridsecure.tariffs.tariff import parse_tariff
from gridsecure.wire.client import Client


def prove_roster(
    digest: str, *, period: tuple[str, str], zone: AuthorityZone, view: PlatformView
) -> tuple[RosterManifest, Sm2PublicKey]:
    """A roster whose seats hold, and the key of the gateway that speaks for it.

    Args:
        digest: Of the signed roster.
        period: Start and end of the period it is used for, ISO 8601.

    Raises:
        AuthenticityError: Its seats do not hold, or the platform sent other bytes.
        InputError: Signed, but malformed.
        ReleaseRefusedError: In another domain than billing of that year (`release.domain`).
    """
    envelope = fetch_message(view, "roster", digest)
    key = _find_gateway(envelope, digest, zone=zone, view=view)
    roster = open_message(envelope, expect=RosterManifest, trusted={key.thumbprint: key})
    timezone = find_timezone(roster.tariff, zone=zone, view=view)
    domain = check_period(*period, timezone=timezone, cycle_day=roster.cycle_day)
    if roster.domain != domain.text:
        # In another domain a household has another pseudonym, and could be counted twice.
        raise ReleaseRefusedError(
            "A roster is not in the billing domain of its year.",
            reason="release.domain",
            remedy="Build rosters from registrations in the billing domain of the year.",
        )
    return roster, key


def find_timezone(tariff: str, *, zone: AuthorityZone, view: PlatformView) -> str:
    """Local time of a tariff, read once by a process: a digest names one text for good."""
    known = zone.timezones.get(tariff)
    if known is None:
        known = zone.timezones[tariff] = parse_tariff(fetch_tariff(view, tariff)).timezone
    return known


def _find_gateway(
    envelope: Signed, digest: str, *, zone: AuthorityZone, view: PlatformView
) -> Sm2PublicKey:
    """The key of the gateway for which a roster's seats speak; checked, unless they were before."""
    name = {"roster": digest, "identity": sm3_hex("".join(sorted(zone.identity)).encode())}
    with read_session(zone.engine) as session:
        known = find(session, SeatedRosterRow, **name)
    if known is not None:
        return Sm2PublicKey(known.point)
    key = _check_seats(envelope, zone=zone, view=view)
    keep_once(zone.engine, SeatedRosterRow(**name, point=key.point))
    return key


def _check_seats(envelope: Signed, *, zone: AuthorityZone, view: PlatformView) -> Sm2PublicKey:
    named = RosterManifest.parse(envelope.body).seats
    if SUBJECT.fullmatch(named) is None:
        raise UnknownMeterError("A roster names no seats.", reason="authenticity.seats")
    seats = fetch_object(view, named)
    return verify_seats(envelope, seats=seats, identity=zone.identity).gateway


def fetch_settlement_names(roster: RosterManifest, *, zone: AuthorityZone) -> list[str]:
    """The settlement pseudonym of every slot of a roster.

    Raises:
        GridSecureError: The identity authority cannot be reached, refuses, or gives something else
            than one name for each slot. No fault of the request, which therefore waits.
    """
    names = zone.settlement(roster.domain, roster.pseudonyms)
    try:
        check_names(names, slots=roster.slots)
    except InvalidMessageError as error:
        raise _unusable() from error
    return names


class SettlementClient:
    """The identity authority as the key authority sees it.

    Args:
        peer: Its service, with the key authority's access token.
        identity: Its key by thumbprint.
    """

    def __init__(self, peer: Client, *, identity: Mapping[str, Sm2PublicKey]) -> None:
        self._peer = peer
        self._identity = identity

    def __call__(self, domain: str, subjects: Sequence[str]) -> list[str]:
        """Settlement pseudonyms, signed and about what was asked.

        Raises:
            GridSecureError: The identity authority cannot be reached or refuses
                (`identity.settlement`), or its answer is not signed by it or about something else
                (`settlement.names`).
        """
        wanted = {"domain": domain, "subjects": list(subjects)}
        try:
            answer = self._peer.post("/settlement-names", json=wanted)
        except GridSecureError as error:
            raise _refused(error) from error
        try:
            found = open_message(
                Signed.parse(answer.content), expect=SettlementNames, trusted=self._identity
            )
        except (AuthenticityError, InvalidMessageError) as error:
            raise _unusable() from error
        if (found.domain, found.subjects) != (domain, list(subjects)):
            raise _unusable()
        return found.names


def _unusable() -> GridSecureError:
    return GridSecureError(
        "The identity authority sent settlement pseudonyms that were not asked for.",
        reason="settlement.names",
        remedy="Compare its key and release with this authority's, then start the round again.",
    )


def _refused(error: GridSecureError) -> GridSecureError:
    """Whatever the identity authority refuses, the request is as good as before."""
    if type(error) is GridSecureError:
        return error
    return GridSecureError(
        "The identity authority refuses settlement pseudonyms to this authority.",
        reason="identity.settlement",
        remedy=f"It says {error.reason}. Check this authority's registration and clock, then start "
        "the round again.",
    )
