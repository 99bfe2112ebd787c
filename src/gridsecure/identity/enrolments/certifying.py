"""Which facts a credential certifies: the utility's books decide, once a holder and period.

Of a customer's meter points, the first to get a credential of a period counts, and no other one
does until the period ends. So counted slots of a cell, and of any cells together, never exceed
their customers, and nobody who counts them learns which meter points are one customer's. They may
fall short: the one that counts may be in another cell, have no readings, or be revoked.

1. A credential that was given before keeps its facts, whatever the books say since.
2. A new one states what the books have now. After a re-key a meter point does not count a second
   time where it counted: its old pseudonym may still sit somewhere.

Writers of a database take turns (`write_session`), so two gateways that enrol two meter points of
one customer at once find one claim.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmodel import Session, col, select

from gridsecure.credentials.suites import frame_parts
from gridsecure.crypto.sm3 import hmac_sm3, sm3_hex
from gridsecure.errors import AccessDeniedError, ConflictError
from gridsecure.identity.enrolments.accounts import Account, find_accounts, find_owners
from gridsecure.identity.enrolments.enrolled_keys import Enrolment, generations_of
from gridsecure.identity.enrolments.tables import CertifiedRow, CountedRow
from gridsecure.identity_messages import NO_FACTS, Facts
from gridsecure.store.rows import Draft, find_many, keep_all, keep_groups

UNKNOWN_ACCOUNT: Final = "identity.unknown-account"


@dataclass(frozen=True, slots=True)
class _Claim:
    """That a meter point counts for a customer in a period."""

    period: str
    customer_id: str

    def row(self, meter_point_id: str, *, credential: str, at: datetime) -> Draft:
        return CountedRow.draft(
            claim=sm3_hex(frame_parts(self.customer_id, self.period)),
            period=self.period,
            meter_point_id=meter_point_id,
            credential=credential,
            at=at,
        )


def find_unlisted(session: Session, entries: Sequence[Enrolment]) -> dict[int, AccessDeniedError]:
    """Those entries whose meter point is not in the books, by place, with the refusal."""
    names = sorted({e.identity for e in entries if e.context.role == "meter-point"})
    missing = set(names) - find_accounts(session, names).keys()
    return {at: _unknown() for at, entry in enumerate(entries) if entry.identity in missing}


def certify(
    session: Session, entries: Sequence[Enrolment], *, secret: bytes, now: datetime
) -> list[Facts]:
    """Decide and keep the facts of credentials, as the module says.

    Args:
        session: From `write_session`, on the database of enrolments.
        entries: Who is given which credential; their meter points are in the books.
        secret: The issuer's own, from which owners' names of a period follow.
        now: The present, aware.

    Returns:
        The facts, in the order of the entries.

    Raises:
        StorageError: The database refuses.
    """
    since = generations_of(session, sorted({entry.reference for entry in entries}))
    names = [entry.credential_name(since.get(entry.reference, 0)) for entry in entries]
    # 1. given before
    known = {
        name: Facts(**row.model_dump(include=set(Facts.model_fields)))
        for name, row in find_many(
            session, CertifiedRow, sorted(set(names)), by="credential"
        ).items()
    }
    # 2. new ones
    fresh = {n: e for n, e in zip(names, entries, strict=True) if n not in known}
    made = _meter_facts(session, fresh, now=now)
    made |= _gateway_facts(session, fresh, secret=secret)
    new = [CertifiedRow.draft(credential=n, **made[n].model_dump(), at=now) for n in sorted(made)]
    keep_all(session, new)
    known |= made
    return [known.get(name, NO_FACTS) for name in names]


def move_claims(
    session: Session, before: Mapping[str, Account], after: Sequence[Account], *, now: datetime
) -> int:
    """Let meter points that change hands count for the new customer, where nothing of it does yet.

    Args:
        session: From `write_session`, on the database of enrolments.
        before: Accounts by meter point, as they were.
        after: As they are now.
        now: The present, aware.

    Returns:
        How many meter points count for a customer beside another one of its own, until their
        period ends: a credential that was given cannot be taken back.
    """
    moved = [
        account
        for account in after
        if (old := before.get(account.meter_point_id)) and old.customer_id != account.customer_id
    ]
    twice = 0
    for account in moved:
        held = select(CountedRow).where(CountedRow.meter_point_id == account.meter_point_id)
        for one in session.exec(held.order_by(col(CountedRow.period), col(CountedRow.claim))).all():
            claim = _Claim(one.period, account.customer_id)
            row = claim.row(account.meter_point_id, credential=one.credential, at=now)
            (outcome,) = keep_groups(session, [[row]])
            twice += isinstance(outcome, ConflictError)
    return twice


def _meter_facts(
    session: Session, fresh: Mapping[str, Enrolment], *, now: datetime
) -> dict[str, Facts]:
    meters = {name: e for name, e in fresh.items() if e.context.role == "meter-point"}
    accounts = find_accounts(session, sorted({entry.identity for entry in meters.values()}))
    claims: dict[str, Draft] = {}
    for name, entry in meters.items():
        claim = _Claim(entry.context.period, accounts[entry.identity].customer_id)
        claims[name] = claim.row(entry.identity, credential=name, at=now)
    # In an order that all processes use; of one customer's, the first by meter point counts.
    order = sorted(
        claims, key=lambda name: (str(claims[name].values["claim"]), meters[name].identity)
    )
    outcomes = keep_groups(session, [[claims[name]] for name in order])
    counted = {
        name
        for name, outcome in zip(order, outcomes, strict=True)
        if not isinstance(outcome, ConflictError)
    }
    return {
        name: Facts(
            zone=accounts[entry.identity].zone,
            customer_class=accounts[entry.identity].customer_class,
            counted=name in counted,
        )
        for name, entry in meters.items()
    }


def _gateway_facts(
    session: Session, fresh: Mapping[str, Enrolment], *, secret: bytes
) -> dict[str, Facts]:
    gateways = {name: e for name, e in fresh.items() if e.context.role == "gateway"}
    owners = find_owners(session, sorted({entry.identity for entry in gateways.values()}))
    return {
        name: Facts(owner=_owner_name(owners.get(entry.identity, ""), entry, secret=secret))
        for name, entry in gateways.items()
    }


def _owner_name(owner: str, entry: Enrolment, *, secret: bytes) -> str:
    """An owner's name of a period: as telling as a pseudonym, and other in every period.

    The owner's own name on its gateways would say whose each pseudonym is, and one name for all
    periods would link them.
    """
    if not owner:
        return ""
    return hmac_sm3(secret, frame_parts("gateway owner", entry.context.period, owner)).hex()


def _unknown() -> AccessDeniedError:
    return AccessDeniedError(
        "This meter point is not in the utility's books.",
        reason=UNKNOWN_ACCOUNT,
        remedy="Have the operator write its account into the books.",
    )
